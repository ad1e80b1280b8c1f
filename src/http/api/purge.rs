//! `POST /v1/purge`: takes variants out of memory and store.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::Request;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Caller, body};
use super::wire::ProblemDocument;
use crate::auth::{Principal, Role};
use crate::catalog;
use crate::http::problem::{Problem, Refusal};
use crate::serve::Purge;

/// What may be asked for, one at a time.
#[derive(Deserialize, Debug, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
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
#[derive(Serialize, ToSchema)]
pub struct Done {
    /// Objects deleted from the store now. A category's and a preset's are not deleted: what was made before the purge counts as
    /// missing from now on, and is made anew when asked for.
    deleted: u64,
    /// Whether the store took the purge; else only memory was purged: repeat it.
    stored: bool,
}

/// Forget what was made: of an asset, a category, a preset or one URL; in memory and in the store.
#[utoipa::path(
    post, path = "/v1/purge", tag = "purge", request_body = Wanted,
    responses((status = 200, body = Done), (status = 400, body = ProblemDocument), (status = 403, body = ProblemDocument))
)]
pub async fn purge(State(api): State<Arc<Api>>, caller: Caller, request: Request<Body>) -> Result<Json<Done>, Problem> {
    let principal = caller.at_least(Role::Operator)?;
    let what = wanted(&body(request.into_body(), api.settings.body_bytes_max).await?)?;
    allow(&api, principal, &what).await?;
    let purged = api.origin.purge(&what).await.map_err(|error| {
        tracing::warn!(?what, %error, "a purge failed");
        Problem::from(&error)
    })?;
    let stored = purged.stored && purged.told;
    tracing::info!(?what, deleted = purged.deleted, stored, "purged");
    Ok(Json(Done { deleted: purged.deleted, stored }))
}

/// What is nobody's asset is the server's own to purge, and everybody else's asset is not there.
async fn allow(api: &Api, principal: &Principal, what: &Purge) -> Result<(), Problem> {
    let Some(owner) = principal.sees() else { return Ok(()) };
    let refused = || Problem::from(Refusal::Forbidden).with_detail("this takes an admin's key of the server itself");
    let (category, id) = match what {
        Purge::Asset { category, id } => (category.clone(), id.clone()),
        Purge::Url(url) => {
            let request = api.origin.urls().read_trusted(url).map_err(|error| Problem::from(&error))?;
            (request.category.to_string(), request.id)
        }
        Purge::Category(_) | Purge::Preset { .. } => return Err(refused()),
    };
    if !principal.may_in(&category) {
        return Err(refused());
    }
    if api.ingest.takes(&category) {
        api.catalog.asset(Some(owner), &category, &id).await.map(drop).map_err(|error: catalog::Error| error.into())
    } else {
        // A plain source has no owners: whoever may operate in the category may purge in it.
        Ok(())
    }
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
    use super::*;

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
