//! The one table from errors to what the client is told: status, code, advice on caching and on trying again (RFC 9457).
//!
//! Always true: no match here has a wildcard, so a new kind of error does not compile until somebody has decided what it
//! means to a client; and nothing secret (a signature, an internal address) leaves through a problem.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tracing::Level;

use crate::base::Stopped;
use crate::plan::ErrorKind;
use crate::{auth, catalog, decode, encode, ingest, net, object, plan, render, serve, source, transform};

/// What the listeners themselves refuse, before or beside the rooms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not a method that is answered here.
    Method,
    /// `If-Match` or `If-Unmodified-Since` did not hold.
    Precondition,
    /// The range lies outside of the answer.
    Range,
    /// Nothing is at this path of the API.
    NoRoute,
    /// The request's body is larger than allowed.
    BodyTooLarge,
    /// The request's body is not what the API takes.
    BadBody,
    /// The request's body did not come in time.
    BodyTimeout,
    /// No credentials were given.
    Unauthorised,
    /// The credentials are wrong, or no token is configured at all.
    Forbidden,
    /// The query, or a header, is not what this resource takes.
    BadQuery,
    /// The path's names cannot be read.
    BadPath,
    /// A key or an address asks too often.
    TooOften,
    /// No configured key may sign URLs of the category.
    NoSigningKey,
    /// The answer was not ready in time.
    Timeout,
    /// A header that we would have to send is not legal.
    Header,
    /// What came is no request, or one that could be understood in two ways.
    NoRequest,
    /// The request's header fields are too many, or too long.
    FieldsTooLarge,
    /// The request's URL is too long.
    UrlTooLong,
    /// Not a version of HTTP that is spoken here.
    HttpVersion,
}

/// What a client is told of an error.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// A stable kebab-case name, for programs.
    pub code: &'static str,
    /// What kind of problem it is, for people; the same for the same code.
    pub title: &'static str,
    /// What was wrong this time.
    pub detail: String,
    /// The piece of the URL that was wrong.
    pub at: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// How long a cache may keep the answer; none is not at all.
    pub max_age: Option<Duration>,
    /// How loudly it is logged.
    pub level: Level,
}

/// How long a cache may keep "there is no such picture": short, as it may be on its way.
const ABSENT_MAX_AGE: Duration = Duration::from_secs(10);
/// How long a cache may keep an answer that only another URL, another original or another config changes.
const LASTING_MAX_AGE: Duration = Duration::from_secs(60);
/// Most bytes of `detail` and of `at`.
const TEXT_BYTES_MAX: usize = 400;

impl From<&serve::Error> for Problem {
    fn from(error: &serve::Error) -> Self {
        match error {
            serve::Error::NoCategory(_) => {
                lasting(StatusCode::NOT_FOUND, "unknown-category", "No such category", error)
            }
            serve::Error::Plan(error) => Self::from(&**error),
            serve::Error::NoVersion => absent("no-such-version", "No such version", error),
            serve::Error::Source(error) => Self::from(error),
            serve::Error::Catalog(error) => Self::from(error),
            serve::Error::Decode(error) => Self::from(&**error),
            serve::Error::Transform(error) => Self::from(&**error),
            serve::Error::Encode(error) => Self::from(&**error),
            serve::Error::Render(error) => Self::from(error),
            serve::Error::RateLimited { retry_after } => {
                let limited = passing(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many new variants", error);
                limited.after(*retry_after).at_level(Level::INFO)
            }
            serve::Error::Store(_) => passing(
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The derivative store failed",
                &"the derivative store did not take what was made",
            )
            .after(Duration::from_secs(1)),
            serve::Error::Internal(_) => internal(),
        }
    }
}

impl From<&plan::Error> for Problem {
    fn from(error: &plan::Error) -> Self {
        let (status, code) = error.kind.code();
        let status = StatusCode::from_u16(status).expect("the codes of URL errors are statuses");
        let title = match error.kind {
            ErrorKind::Malformed => "The URL is not of the grammar",
            ErrorKind::UnknownOption => "No such option",
            ErrorKind::BadValue => "An option's value is not allowed",
            ErrorKind::UnknownPreset => "No such preset",
            ErrorKind::UnknownFormat => "No such output format",
            ErrorKind::UnknownCategory => "No such category",
            ErrorKind::BadSignature => "The signature does not hold",
            ErrorKind::SignatureNeeded => "The URL needs a signature",
            ErrorKind::Expired => "The signed URL has expired",
        };
        let at = match error.kind {
            ErrorKind::Malformed
            | ErrorKind::UnknownOption
            | ErrorKind::BadValue
            | ErrorKind::UnknownPreset
            | ErrorKind::UnknownFormat
            | ErrorKind::UnknownCategory
            | ErrorKind::SignatureNeeded => error.at.as_deref().map(clean),
            ErrorKind::BadSignature | ErrorKind::Expired => None,
        };
        Self { at, ..lasting(status, code, title, error) }
    }
}

impl From<&source::Error> for Problem {
    fn from(error: &source::Error) -> Self {
        match error {
            source::Error::NotFound => absent("not-found", "No such picture", error),
            // The address is ours to know: it goes to the log, not to the client.
            source::Error::Forbidden(_) => Self {
                detail: "the original's address is not allowed".to_owned(),
                level: Level::WARN,
                ..lasting(StatusCode::FORBIDDEN, "source-forbidden", "The original's address is not allowed", error)
            },
            source::Error::TooLarge { .. } => {
                lasting(StatusCode::PAYLOAD_TOO_LARGE, "source-too-large", "The original is too large", error)
            }
            source::Error::Loop => Self {
                level: Level::WARN,
                ..passing(StatusCode::LOOP_DETECTED, "loop", "The request came back to this origin", error)
            },
            source::Error::Timeout => {
                passing(StatusCode::GATEWAY_TIMEOUT, "source-timeout", "The source did not answer in time", error)
            }
            source::Error::Unavailable(_) => Self {
                detail: "the source failed, also after retries".to_owned(),
                ..passing(StatusCode::BAD_GATEWAY, "source-unavailable", "The source failed", error)
            },
            source::Error::BreakerOpen { retry_after } => passing(
                StatusCode::SERVICE_UNAVAILABLE,
                "source-resting",
                "The source is left alone for a while",
                error,
            )
            .after(*retry_after),
            source::Error::Busy => {
                passing(StatusCode::SERVICE_UNAVAILABLE, "source-busy", "Too many fetches are under way", error)
                    .after(Duration::from_secs(1))
            }
        }
    }
}

impl From<&decode::Error> for Problem {
    fn from(error: &decode::Error) -> Self {
        match error {
            decode::Error::Unsupported => {
                lasting(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-format", "Not a format that is read", error)
            }
            decode::Error::UnsupportedKind { .. } => {
                lasting(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-kind", "Not a kind that is read", error)
            }
            decode::Error::Broken { .. } => {
                lasting(StatusCode::UNPROCESSABLE_ENTITY, "broken-image", "The original is broken", error)
            }
            decode::Error::TooLarge(_) => {
                lasting(StatusCode::PAYLOAD_TOO_LARGE, "image-too-large", "The original is too large", error)
            }
            decode::Error::Stopped(stopped) => Self::from(*stopped),
        }
    }
}

impl From<&transform::Error> for Problem {
    fn from(error: &transform::Error) -> Self {
        match error {
            transform::Error::CropOutside(_) => {
                lasting(StatusCode::BAD_REQUEST, "crop-outside", "The crop lies outside of the picture", error)
            }
            transform::Error::Stopped(stopped) => Self::from(*stopped),
        }
    }
}

impl From<&encode::Error> for Problem {
    fn from(error: &encode::Error) -> Self {
        match error {
            encode::Error::TooLarge { .. } => {
                lasting(StatusCode::BAD_REQUEST, "output-too-large", "The format cannot hold this size", error)
            }
            encode::Error::Encoder { .. } => Self { code: "encoder-failed", ..internal() },
            encode::Error::Stopped(stopped) => Self::from(*stopped),
        }
    }
}

impl From<&render::Refused> for Problem {
    fn from(error: &render::Refused) -> Self {
        match error {
            render::Refused::TooLarge { .. } => lasting(
                StatusCode::PAYLOAD_TOO_LARGE,
                "work-too-large",
                "The work needs more memory than there is",
                error,
            ),
            render::Refused::Overloaded { retry_after } => {
                passing(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too much is under way", error)
                    .after(*retry_after)
            }
            render::Refused::Deadline => Self::from(Stopped::Deadline),
            render::Refused::Cancelled => Self::from(Stopped::Cancelled),
            render::Refused::Panicked => internal(),
        }
    }
}

impl From<&auth::Error> for Problem {
    fn from(error: &auth::Error) -> Self {
        match error {
            auth::Error::Missing | auth::Error::Wrong => Refusal::Unauthorised.into(),
            auth::Error::Random(_) => internal(),
            auth::Error::Catalog(error) => Self::from(error),
        }
    }
}

impl From<&catalog::Error> for Problem {
    fn from(error: &catalog::Error) -> Self {
        let refused = |status, code, title| Self { max_age: None, ..lasting(status, code, title, error) };
        match error {
            catalog::Error::NotFound => refused(StatusCode::NOT_FOUND, "not-found", "Nothing of that name"),
            catalog::Error::Foreign => refused(StatusCode::CONFLICT, "id-taken", "The id is another owner's"),
            catalog::Error::Conflict => refused(StatusCode::CONFLICT, "changed-meanwhile", "Somebody else changed it"),
            catalog::Error::KeyReused => {
                refused(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The Idempotency-Key named another request")
            }
            catalog::Error::Full { retry_after } => {
                passing(StatusCode::TOO_MANY_REQUESTS, "queue-full", "The queue is full", error)
                    .after(*retry_after)
                    .at_level(Level::INFO)
            }
            catalog::Error::State(_) => {
                refused(StatusCode::CONFLICT, "not-in-this-state", "Not possible in this state")
            }
            catalog::Error::Unavailable(_) => Self {
                detail: "the catalog does not answer".to_owned(),
                ..passing(StatusCode::SERVICE_UNAVAILABLE, "catalog-unavailable", "The catalog does not answer", error)
            }
            .after(Duration::from_secs(2)),
            catalog::Error::Corrupt(_) => internal(),
        }
    }
}

impl From<&ingest::Error> for Problem {
    fn from(error: &ingest::Error) -> Self {
        let refused = |status, code, title| Self { max_age: None, ..lasting(status, code, title, error) };
        match error {
            ingest::Error::NoStore => refused(StatusCode::CONFLICT, "no-store", "No place for originals is configured"),
            ingest::Error::NoCategory(_) => refused(StatusCode::NOT_FOUND, "unknown-category", "No such category"),
            ingest::Error::Id(_) => refused(StatusCode::BAD_REQUEST, "bad-id", "The id is not possible"),
            ingest::Error::Empty => refused(StatusCode::BAD_REQUEST, "empty-body", "The body is empty"),
            ingest::Error::TooLarge { .. } => {
                refused(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The original is too large")
            }
            ingest::Error::Broken(_) => refused(StatusCode::BAD_REQUEST, "body-broken", "The body broke off"),
            ingest::Error::Slow => Refusal::BodyTimeout.into(),
            ingest::Error::Decode(error) => Self { max_age: None, ..Self::from(error) },
            ingest::Error::Busy { retry_after } => {
                passing(StatusCode::SERVICE_UNAVAILABLE, "too-many-uploads", "Too many uploads are under way", error)
                    .after(*retry_after)
            }
            ingest::Error::Spool(_) => Self {
                detail: "the upload could not be kept while it came".to_owned(),
                ..passing(StatusCode::INSUFFICIENT_STORAGE, "spool-failed", "The upload could not be kept", error)
            }
            .at_level(Level::ERROR),
            ingest::Error::Store(error) => Self::from(error),
            ingest::Error::Catalog(error) => Self::from(error),
            ingest::Error::Fetch(error) => Self::from(error),
            ingest::Error::FetchStatus(_) => {
                passing(StatusCode::BAD_GATEWAY, "fetch-failed", "The URL answered with no original", error)
            }
            ingest::Error::NoOffers => {
                refused(StatusCode::CONFLICT, "no-signed-uploads", "The store of originals is no bucket")
            }
            ingest::Error::NotPut => refused(StatusCode::CONFLICT, "not-put", "Nothing was put yet"),
            ingest::Error::Expired => refused(StatusCode::GONE, "upload-expired", "The upload is over"),
        }
    }
}

impl From<&object::Error> for Problem {
    fn from(error: &object::Error) -> Self {
        let hidden = |problem: Self| Self { detail: "the store of originals failed".to_owned(), ..problem };
        match error {
            object::Error::NotFound => absent("not-found", "No such picture", error),
            object::Error::TooLarge { .. } => {
                lasting(StatusCode::PAYLOAD_TOO_LARGE, "source-too-large", "The original is too large", error)
            }
            object::Error::Key(_) => lasting(StatusCode::BAD_REQUEST, "bad-id", "The id is not possible", error),
            object::Error::Denied(_) | object::Error::Location(_) | object::Error::Unavailable(_) => {
                hidden(passing(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The store failed", error))
                    .after(Duration::from_secs(2))
            }
            object::Error::Timeout(_) => {
                hidden(passing(StatusCode::GATEWAY_TIMEOUT, "store-timeout", "The store did not answer in time", error))
            }
        }
    }
}

impl From<&net::Error> for Problem {
    fn from(error: &net::Error) -> Self {
        // Addresses are ours to know: they go to the log, not to the client.
        let told = |problem: Self, detail: &str| Self { detail: detail.to_owned(), max_age: None, ..problem };
        match error {
            net::Error::Forbidden(_) => told(
                lasting(StatusCode::FORBIDDEN, "source-forbidden", "The address is not allowed", error),
                "the URL's address is not allowed",
            ),
            net::Error::Url(_) => Self {
                max_age: None,
                ..lasting(StatusCode::BAD_REQUEST, "bad-url", "No URL that could be fetched", error)
            },
            net::Error::Timeout(_) => told(
                passing(StatusCode::GATEWAY_TIMEOUT, "fetch-timeout", "The URL did not answer in time", error),
                "the URL did not answer in time",
            ),
            net::Error::Connect(_) | net::Error::Exchange(_) => told(
                passing(StatusCode::BAD_GATEWAY, "fetch-failed", "The URL answered with no original", error),
                "the URL could not be fetched",
            ),
            net::Error::TooLarge { .. } => told(
                lasting(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The original is too large", error),
                "the URL answered with more bytes than are taken",
            ),
            net::Error::Settings(_) => internal(),
        }
    }
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Deadline => {
                passing(StatusCode::SERVICE_UNAVAILABLE, "out-of-time", "The work was not done in time", &stopped)
                    .after(Duration::from_secs(2))
            }
            Stopped::Cancelled => {
                passing(StatusCode::SERVICE_UNAVAILABLE, "cancelled", "The work was cancelled", &stopped)
                    .after(Duration::from_secs(1))
                    .at_level(Level::INFO)
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code, title, detail) = match refusal {
            Refusal::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Not a method that is answered here",
                "this resource does not take this method; the Allow header names those that it takes",
            ),
            Refusal::Precondition => (
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "A precondition did not hold",
                "If-Match or If-Unmodified-Since does not hold for the current answer",
            ),
            Refusal::Range => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "The range lies outside of the answer",
                "no byte of the answer lies in the range asked for; Content-Range says how many there are",
            ),
            Refusal::NoRoute => (StatusCode::NOT_FOUND, "no-such-route", "Nothing is here", "nothing is at this path"),
            Refusal::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The request's body is too large",
                "the request's body is larger than this resource takes",
            ),
            Refusal::BadBody => (
                StatusCode::BAD_REQUEST,
                "bad-body",
                "The request's body is not what is taken here",
                "the request's body is not of the form that this resource takes",
            ),
            Refusal::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "The request's body did not come in time",
                "the request's body did not come in time",
            ),
            Refusal::Unauthorised => (
                StatusCode::UNAUTHORIZED,
                "unauthorised",
                "Credentials are needed",
                "send an API key that holds as Authorization: Bearer",
            ),
            Refusal::Forbidden => {
                (StatusCode::FORBIDDEN, "forbidden", "The credentials do not allow this", "the key is not for this")
            }
            Refusal::BadQuery => (
                StatusCode::BAD_REQUEST,
                "bad-query",
                "The query is not what is taken here",
                "the query, or a header, is not of the form that this resource takes",
            ),
            Refusal::BadPath => {
                (StatusCode::BAD_REQUEST, "bad-path", "The path cannot be read", "a name in the path cannot be read")
            }
            Refusal::TooOften => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
                "this key or address asks too often",
            ),
            Refusal::NoSigningKey => (
                StatusCode::CONFLICT,
                "no-signing-key",
                "No key can sign this",
                "no key of [keys] may sign for this category: configure one",
            ),
            Refusal::Timeout => (
                StatusCode::SERVICE_UNAVAILABLE,
                "out-of-time",
                "The work was not done in time",
                "the answer was not ready in time",
            ),
            Refusal::Header => return internal(),
            Refusal::NoRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "Not a request of HTTP",
                "what came is not a request of HTTP/1.1, or lacks its one Host, or could be understood in two ways",
            ),
            Refusal::FieldsTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header-too-large",
                "The request's header is too large",
                "the request has more header fields than are taken, or longer ones",
            ),
            Refusal::UrlTooLong => (
                StatusCode::URI_TOO_LONG,
                "url-too-long",
                "The URL is too long",
                "the request's first line is too long",
            ),
            Refusal::HttpVersion => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "http-version",
                "Not a version of HTTP that is spoken here",
                "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here",
            ),
        };
        let retry_after = (refusal == Refusal::Timeout).then_some(Duration::from_secs(2));
        let detail = detail.to_owned();
        Self { status, code, title, detail, at: None, retry_after, max_age: None, level: Level::DEBUG }
    }
}

impl Problem {
    /// The same with another detail.
    pub fn with_detail(self, detail: impl AsRef<str>) -> Self {
        Self { detail: clean(detail.as_ref()), ..self }
    }

    /// The same, with when to try again.
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        self.after(retry_after)
    }

    /// The JSON body.
    pub fn body(&self, request_id: &str) -> Bytes {
        let wire = Wire {
            r#type: format!("urn:fovea:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            at: self.at.as_deref(),
            request_id,
        };
        Bytes::from(serde_json::to_vec(&wire).expect("strings and numbers are always JSON"))
    }

    /// Sets the headers that tell of the problem: type, caching, when to try again.
    pub fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let cache_control = match self.max_age {
            Some(age) => HeaderValue::from_str(&format!("public, max-age={}", age.as_secs()))
                .expect("a number is a legal header value"),
            None => HeaderValue::from_static("no-store"),
        };
        headers.insert(CACHE_CONTROL, cache_control);
        if let Some(retry_after) = self.retry_after {
            // Rounded up: a client that comes back too early is refused again.
            headers
                .insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs_f64().ceil().clamp(1.0, 86_400.0) as u64));
        }
    }

    fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

/// The wire form; the order of fields is the order of the text.
#[derive(Serialize)]
struct Wire<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    request_id: &'a str,
}

/// The client's or the original's fault; the same tomorrow.
fn lasting(status: StatusCode, code: &'static str, title: &'static str, error: &dyn std::fmt::Display) -> Problem {
    let detail = clean(&error.to_string());
    let max_age = Some(LASTING_MAX_AGE);
    Problem { status, code, title, detail, at: None, retry_after: None, max_age, level: Level::DEBUG }
}

/// Not there now.
fn absent(code: &'static str, title: &'static str, error: &dyn std::fmt::Display) -> Problem {
    Problem { max_age: Some(ABSENT_MAX_AGE), ..lasting(StatusCode::NOT_FOUND, code, title, error) }
}

/// Ours or a source's trouble; kept by no cache.
fn passing(status: StatusCode, code: &'static str, title: &'static str, error: &dyn std::fmt::Display) -> Problem {
    Problem { max_age: None, level: Level::WARN, ..lasting(status, code, title, error) }
}

/// A defect of ours; what it was is for the log alone.
fn internal() -> Problem {
    Problem {
        level: Level::ERROR,
        ..passing(StatusCode::INTERNAL_SERVER_ERROR, "internal", "An internal error", &"something went wrong here")
    }
}

/// A text that may hold what a client or an original said: no control characters, no signature, not long.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_BYTES_MAX + 4));
    for character in super::log::redacted(text).chars() {
        if out.len() >= TEXT_BYTES_MAX {
            out.push('…');
            break;
        }
        // Direction marks could make a log or a terminal show something else than what is there.
        let hidden = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        out.push(if character.is_control() || hidden { '\u{fffd}' } else { character });
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{Format, Size};

    fn plan_error(kind: ErrorKind) -> serve::Error {
        serve::Error::Plan(Arc::new(plan::Error { kind, detail: "no".to_owned(), at: Some("w_x".to_owned()) }))
    }

    #[test]
    fn every_error_has_its_status_code_and_cache_life() {
        let second = Duration::from_secs(1);
        let jpeg = Format::Jpeg;
        let table: Vec<(serve::Error, u16, &str, bool)> = vec![
            (serve::Error::NoCategory("x".into()), 404, "unknown-category", true),
            (plan_error(ErrorKind::Malformed), 400, "malformed-url", true),
            (plan_error(ErrorKind::UnknownOption), 400, "unknown-option", true),
            (plan_error(ErrorKind::BadValue), 400, "bad-value", true),
            (plan_error(ErrorKind::UnknownPreset), 400, "unknown-preset", true),
            (plan_error(ErrorKind::UnknownFormat), 400, "unknown-format", true),
            (plan_error(ErrorKind::UnknownCategory), 404, "unknown-category", true),
            (plan_error(ErrorKind::BadSignature), 403, "bad-signature", true),
            (plan_error(ErrorKind::SignatureNeeded), 403, "signature-needed", true),
            (plan_error(ErrorKind::Expired), 410, "expired", true),
            (serve::Error::NoVersion, 404, "no-such-version", true),
            (source::Error::NotFound.into(), 404, "not-found", true),
            (source::Error::Forbidden("10.0.0.1".into()).into(), 403, "source-forbidden", true),
            (source::Error::TooLarge { bytes_max: 1 }.into(), 413, "source-too-large", true),
            (source::Error::Loop.into(), 508, "loop", false),
            (source::Error::Timeout.into(), 504, "source-timeout", false),
            (source::Error::Unavailable("10.0.0.1".into()).into(), 502, "source-unavailable", false),
            (source::Error::BreakerOpen { retry_after: second }.into(), 503, "source-resting", false),
            (source::Error::Busy.into(), 503, "source-busy", false),
            (serve::Error::Decode(Arc::new(decode::Error::Unsupported)), 415, "unsupported-format", true),
            (
                serve::Error::Decode(Arc::new(decode::Error::UnsupportedKind { format: jpeg, what: "x".into() })),
                415,
                "unsupported-kind",
                true,
            ),
            (
                serve::Error::Decode(Arc::new(decode::Error::Broken { format: jpeg, what: "x".into() })),
                422,
                "broken-image",
                true,
            ),
            (serve::Error::Decode(Arc::new(decode::Error::TooLarge("x".into()))), 413, "image-too-large", true),
            (serve::Error::Decode(Arc::new(decode::Error::Stopped(Stopped::Deadline))), 503, "out-of-time", false),
            (
                serve::Error::Transform(Arc::new(transform::Error::CropOutside(Size::new(1, 1)))),
                400,
                "crop-outside",
                true,
            ),
            (
                serve::Error::Encode(Arc::new(encode::Error::TooLarge { format: jpeg, side_max: 1 })),
                400,
                "output-too-large",
                true,
            ),
            (
                serve::Error::Encode(Arc::new(encode::Error::Encoder { format: jpeg, what: "x".into() })),
                500,
                "encoder-failed",
                false,
            ),
            (render::Refused::TooLarge { bytes: 2, bytes_max: 1 }.into(), 413, "work-too-large", true),
            (render::Refused::Overloaded { retry_after: second }.into(), 503, "overloaded", false),
            (render::Refused::Deadline.into(), 503, "out-of-time", false),
            (render::Refused::Cancelled.into(), 503, "cancelled", false),
            (serve::Error::RateLimited { retry_after: second }, 429, "rate-limited", false),
            (serve::Error::Store("10.0.0.1".into()), 503, "store-unavailable", false),
            (serve::Error::Internal("secret".into()), 500, "internal", false),
        ];
        for (error, status, code, cached) in table {
            let problem = Problem::from(&error);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{error:?}");
            assert_eq!(problem.max_age.is_some(), cached, "{error:?}");
            assert!(problem.max_age.is_none_or(|age| age <= Duration::from_secs(60)), "{error:?}");
            if status == 503 || status == 429 {
                assert!(problem.retry_after.is_some(), "{error:?} says when to come back");
            }
            let body = problem.body("r1");
            let text = std::str::from_utf8(&body).unwrap();
            assert!(!text.contains("10.0.0.1") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_problem_shows_where_but_never_a_signature_or_a_control_character() {
        let error = plan::Error {
            kind: ErrorKind::Malformed,
            detail: "bad\r\npath /s:k1:0:c2VjcmV0c2VjcmV0/demo/x".to_owned(),
            at: Some("s:k1:0:c2VjcmV0c2VjcmV0".to_owned()),
        };
        let text = String::from_utf8(Problem::from(&error).body("r\u{1}").to_vec()).unwrap();
        assert!(!text.contains("c2VjcmV0"), "{text}");
        assert!(!text.contains('\r') && !text.contains("\\r") && !text.contains("\\n"), "{text}");

        let signature = plan::Error { kind: ErrorKind::BadSignature, detail: "no".into(), at: Some("c2VjcmV0".into()) };
        assert_eq!(Problem::from(&signature).at, None);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let mut headers = HeaderMap::new();
        let refused = render::Refused::Overloaded { retry_after: Duration::from_millis(1200) };
        Problem::from(&refused).headers(&mut headers);
        assert_eq!(headers[RETRY_AFTER], "2");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn the_body_is_rfc_9457() {
        let error = plan::Error { kind: ErrorKind::BadValue, detail: "w is 1 to 8192".into(), at: Some("w_0".into()) };
        let body: serde_json::Value = serde_json::from_slice(&Problem::from(&error).body("abc")).unwrap();
        let wanted = serde_json::json!({
            "type": "urn:fovea:problem:bad-value", "title": "An option's value is not allowed", "status": 400,
            "detail": "w is 1 to 8192", "code": "bad-value", "at": "w_0", "request_id": "abc",
        });
        assert_eq!(body, wanted);
    }
}
