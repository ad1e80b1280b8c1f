//! `POST /v1/purge`: takes variants out of memory and store.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{Api, refuse};
use crate::http::problem::{Problem, Refusal};
use crate::serve::{Purge, Purged};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What may be asked for, one at a time.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    /// `category/id`: every variant of it.
    Asset(String),
    /// Every variant of every asset of it.
    Category(String),
    /// `category/preset`, or `preset` for all categories: what was asked for by the preset.
    Preset(String),
    /// The variant behind one URL, or its path.
    Url(String),
}

/// What was taken out.
#[derive(Serialize)]
struct Done {
    /// Objects deleted from the store now. A category's and a preset's are not deleted: what was made before the purge counts as
    /// missing from now on, and is made anew when asked for.
    deleted: u64,
    /// Whether the store took the purge; else only memory was purged: repeat it.
    stored: bool,
}

/// Guards, reads, purges.
pub(super) async fn purge(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    match answer(&api, &head.headers, body).await {
        Ok(Purged { deleted, stored }) => Json(Done { deleted, stored }).into_response(),
        Err(problem) => refuse(&head.headers, problem),
    }
}

async fn answer(api: &Api, headers: &HeaderMap, body: Body) -> Result<Purged, Problem> {
    guard(api.token.as_deref(), headers)?;
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, api.body_bytes_max).collect()).await;
    let bytes = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::BodyTooLarge.into()),
        Ok(Err(error)) => return Err(Problem::from(Refusal::BadBody).with_detail(error.to_string())),
        Err(_) => return Err(Refusal::BodyTimeout.into()),
    };
    let what = wanted(&bytes)?;
    let purged = api.origin.purge(&what).await.map_err(|error| {
        tracing::warn!(?what, %error, "a purge failed");
        Problem::from(&error)
    })?;
    tracing::info!(?what, deleted = purged.deleted, stored = purged.stored, "purged");
    Ok(purged)
}

/// Lets a request pass that bears the token. Compares in constant time; lengths may show.
fn guard(token: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Err(Refusal::Forbidden.into()) };
    let Some(given) = headers.get(AUTHORIZATION) else { return Err(Refusal::Unauthorised.into()) };
    let given = given.as_bytes();
    let (scheme, given) = given.split_at(given.len().min("bearer ".len()));
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::Unauthorised.into());
    }
    if bool::from(given.ct_eq(token.as_bytes())) { Ok(()) } else { Err(Refusal::Forbidden.into()) }
}

fn wanted(bytes: &[u8]) -> Result<Purge, Problem> {
    let bad = |detail: &str| Problem::from(Refusal::BadBody).with_detail(detail);
    let wanted: Wanted = serde_json::from_slice(bytes).map_err(|error| {
        bad(&format!(
            "send one of {{\"asset\"}}, {{\"category\"}}, {{\"preset\"}} or {{\"url\"}} with a string: {error}"
        ))
    })?;
    let pair = |text: &str, form: &str| match text.trim_start_matches('/').split_once('/') {
        Some((category, rest)) if !category.is_empty() && !rest.is_empty() => {
            Ok((category.to_owned(), rest.to_owned()))
        }
        _ => Err(bad(&format!("it is written {form}"))),
    };
    match wanted {
        Wanted::Asset(text) => pair(&text, "category/id").map(|(category, id)| Purge::Asset { category, id }),
        Wanted::Preset(text) if text.is_empty() => Err(bad("a preset has a name")),
        Wanted::Preset(text) if !text.contains('/') => Ok(Purge::Preset { category: None, preset: text }),
        Wanted::Preset(text) => pair(&text, "preset, or category/preset")
            .map(|(category, preset)| Purge::Preset { category: Some(category), preset }),
        Wanted::Category(text) if text.is_empty() => Err(bad("a category has a name")),
        Wanted::Category(text) => Ok(Purge::Category(text)),
        Wanted::Url(text) => path(&text).map(Purge::Url).ok_or_else(|| bad("a URL is https://host/path, or /path")),
    }
}

/// The path of a URL, without its query.
fn path(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(uri.path()).filter(|path| path.len() > 1 && path.starts_with('/')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_token_opens() {
        let check = |token: Option<&str>, given: Option<&'static str>, wanted: Option<u16>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(given));
            }
            let refused = guard(token, &headers).err().map(|problem| problem.status.as_u16());
            assert_eq!(refused, wanted, "{token:?} {given:?}");
        };
        check(Some("secret"), Some("Bearer secret"), None);
        check(Some("secret"), Some("bearer secret"), None);
        check(Some("secret"), Some("Bearer secrets"), Some(403));
        check(Some("secret"), Some("Bearer "), Some(403));
        check(Some("secret"), Some("Basic secret"), Some(401));
        check(Some("secret"), Some("secret"), Some(401));
        check(Some("secret"), None, Some(401));
        check(None, Some("Bearer secret"), Some(403));
        check(None, None, Some(403));
        check(Some(""), Some("Bearer "), Some(403));
    }

    #[test]
    fn bodies() {
        let asset = |category: &str, id: &str| Purge::Asset { category: category.to_owned(), id: id.to_owned() };
        let preset = |category: Option<&str>| Purge::Preset {
            category: category.map(str::to_owned),
            preset: "thumb".to_owned(),
        };
        for (body, expected) in [
            (r#"{"asset":"demo/shoes/red"}"#, asset("demo", "shoes/red")),
            (r#"{"category":"demo"}"#, Purge::Category("demo".to_owned())),
            (r#"{"preset":"demo/thumb"}"#, preset(Some("demo"))),
            (r#"{"preset":"thumb"}"#, preset(None)),
            (
                r#"{"url":"https://cdn.example/demo/a/v1/thumb.auto?x=1"}"#,
                Purge::Url("/demo/a/v1/thumb.auto".to_owned()),
            ),
            (r#"{"url":"/demo/a/v1/thumb.auto"}"#, Purge::Url("/demo/a/v1/thumb.auto".to_owned())),
        ] {
            assert_eq!(wanted(body.as_bytes()).unwrap(), expected);
        }
        for body in [
            "",
            "{}",
            "[]",
            r#"{"asset":"demo"}"#,
            r#"{"asset":"/"}"#,
            r#"{"preset":""}"#,
            r#"{"category":""}"#,
            r#"{"url":"https://cdn.example"}"#,
            r#"{"everything":true}"#,
            r#"{"asset":"demo/a","category":"demo"}"#,
        ] {
            let problem = wanted(body.as_bytes()).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code), (400, "bad-body"), "{body}");
        }
    }
}
