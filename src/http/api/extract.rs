//! What handlers take of a request: who asks, names in the path, what follows the question mark, a JSON body. What is wrong
//! with them is told as every other problem.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::auth::{Principal, Role};
use crate::http::problem::{Problem, Refusal};

/// How long a short body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a short body.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Most items of a page.
pub const PAGE_MAX: u32 = 500;
/// Most characters of an `Idempotency-Key`.
const IDEMPOTENCY_MAX: usize = 255;
/// Items of a page where nothing is said.
const PAGE: u32 = 50;

/// Who asks.
pub struct Caller(pub Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().cloned();
        principal.map(Self).ok_or_else(|| Refusal::Unauthorised.into())
    }
}

impl Caller {
    /// The same, where they may do what a role may.
    pub fn at_least(&self, role: Role) -> Result<&Principal, Problem> {
        if self.0.may(role) {
            Ok(&self.0)
        } else {
            Err(Problem::from(Refusal::Forbidden).with_detail(format!("this takes a key of role {role} or higher")))
        }
    }

    /// The same, where they may do it in a category.
    pub fn at_least_in(&self, role: Role, category: &str) -> Result<&Principal, Problem> {
        let principal = self.at_least(role)?;
        if principal.may_in(category) {
            Ok(principal)
        } else {
            Err(Problem::from(Refusal::Forbidden).with_detail("the key is not for this category"))
        }
    }

    /// The same, where they run the server.
    pub fn root(&self) -> Result<&Principal, Problem> {
        if self.0.is_root() {
            Ok(&self.0)
        } else {
            Err(Problem::from(Refusal::Forbidden).with_detail("this takes an admin's key of the server itself"))
        }
    }
}

/// Names in the path.
pub struct Place<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let bad = |detail: String| Problem::from(Refusal::BadPath).with_detail(detail);
        // No name has one, and not every catalog could look for it.
        if parts.uri.path().contains("%00") {
            return Err(bad("a path holds no NUL".to_owned()));
        }
        path.map(|Path(names)| Self(names)).map_err(|error| bad(error.to_string()))
    }
}

/// What follows the question mark, as pairs; a name may come several times.
pub struct Asked(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned)
        };
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let pairs: Result<Vec<_>, std::str::Utf8Error> = pairs.collect();
        let pairs = pairs.map_err(|_| bad_query("the query is not UTF-8"))?;
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(bad_query("a query holds no NUL"));
        }
        Ok(Self(pairs))
    }
}

/// A query that is wrong.
pub fn bad_query(what: impl AsRef<str>) -> Problem {
    Problem::from(Refusal::BadQuery).with_detail(what)
}

impl Asked {
    /// The value of a name; an empty one says nothing.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, value)| found == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A value that is read.
    pub fn read<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| text.parse().map_err(|_| bad_query(format!("{name} cannot be {text:?}")));
        self.text(name).map(read).transpose()
    }

    /// How many items a page may have.
    pub fn limit(&self) -> Result<u32, Problem> {
        let limit = self.read("limit")?.unwrap_or(PAGE);
        if (1..=PAGE_MAX).contains(&limit) {
            Ok(limit)
        } else {
            Err(bad_query(format!("limit is from 1 to {PAGE_MAX}")))
        }
    }

    /// Where a page goes on.
    pub fn cursor(&self) -> Option<&str> {
        self.text("cursor")
    }

    /// A category and an id in one name: `category/id`.
    pub fn asset(&self) -> Result<Option<(String, String)>, Problem> {
        self.text("asset").map(|text| pair(text).ok_or_else(|| bad_query("an asset is category/id"))).transpose()
    }
}

/// The category and the id of `category/id`.
pub fn pair(text: &str) -> Option<(String, String)> {
    let (category, id) = text.trim_start_matches('/').split_once('/')?;
    (!category.is_empty() && !id.is_empty()).then(|| (category.to_owned(), id.to_owned()))
}

/// A JSON body.
pub struct Told<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Problem> {
        let bytes = body(request.into_body(), BODY_BYTES_MAX).await?;
        // A request without a body says nothing, which may be enough.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if memchr::memmem::find(text, b"\\u0000").is_some() {
            return Err(Problem::from(Refusal::BadBody).with_detail("a text holds no NUL"));
        }
        let read = serde_json::from_slice(text);
        read.map(Self).map_err(|error| Problem::from(Refusal::BadBody).with_detail(error.to_string()))
    }
}

/// A short body.
pub async fn body(body: Body, bytes_max: usize) -> Result<bytes::Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge.into()),
        Ok(Err(error)) => Err(Problem::from(Refusal::BadBody).with_detail(error.to_string())),
        Err(_) => Err(Refusal::BodyTimeout.into()),
    }
}

/// A header's text; an empty one says nothing.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// The caller's key for repeats.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let key = header(headers, "idempotency-key");
    if key.is_some_and(|key| key.len() > IDEMPOTENCY_MAX) {
        return Err(bad_query(format!("an Idempotency-Key has at most {IDEMPOTENCY_MAX} characters")));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(query: &str) -> Result<Asked, Problem> {
        let request = Request::builder().uri(format!("/?{query}")).body(()).unwrap();
        Asked::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn queries_are_read() {
        let found = asked("a=1&a=2&b=x+y%2Fz&c=&limit=7&asset=shop/a/b").await.unwrap();
        assert_eq!(found.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((found.text("b"), found.text("c"), found.text("d")), (Some("x y/z"), None, None));
        assert_eq!(found.read::<u32>("a"), Ok(Some(1)));
        assert_eq!(found.limit(), Ok(7));
        assert_eq!(found.asset(), Ok(Some(("shop".to_owned(), "a/b".to_owned()))));
        assert!(asked("limit=0").await.unwrap().limit().is_err());
        assert!(asked("limit=x").await.unwrap().limit().is_err());
        assert!(asked("asset=shop").await.unwrap().asset().is_err());
        assert!(asked("a=%ff").await.is_err());
        assert!(asked("cursor=%00x").await.is_err());
        assert_eq!(asked("").await.unwrap().limit(), Ok(PAGE));
    }
}
