//! Originals on another HTTP origin: a base URL, and the id after it.

use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Backend, Context, Error, Fault, MOMENT, Original, OriginalMeta};
use crate::base::Deadline;
use crate::net::{self, Client, Hosts, Response};

/// What stays as it is in a path segment: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A request that passed so many CDNs goes round in circles, whoever they are.
const CDN_HOPS_MAX: usize = 16;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where an HTTP origin is and how it is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL before `/` and the id, without query.
    pub base: String,
    /// Hosts beside the base's that redirects may lead to, as [`Hosts::new`] reads them.
    pub hosts: Vec<String>,
    /// Sent with each request to the base's own host: an `Authorization`, say.
    pub headers: Vec<(String, String)>,
    /// Our name in `CDN-Loop` (RFC 8586): a request that bears it already came from us. One for each origin in a chain.
    pub cdn_id: String,
    /// The largest body.
    pub bytes_max: u64,
    /// Addresses and times. Its `hosts` are replaced by the base's and those above.
    pub client: net::Settings,
}

impl Settings {
    /// An origin with everything else as usual.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            hosts: Vec::new(),
            headers: Vec::new(),
            cdn_id: "fovea".into(),
            bytes_max: crate::base::Limits::default().source_bytes_max,
            client: net::Settings::default(),
        }
    }
}

/// An HTTP origin as a source.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    base: String,
    headers: HeaderMap,
    cdn_id: String,
    bytes_max: u64,
}

impl Http {
    /// A source; nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let wrong = |why: String| Error::Forbidden(format!("{}: {why}", settings.base));
        let base = settings.base.trim_end_matches('/').to_owned();
        let url: Uri = format!("{base}/").parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
            return Err(wrong("a base is http://HOST or https://HOST, with or without a path".into()));
        }
        if url.query().is_some() || url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("a base holds no query and no credentials; these are sent as a header".into()));
        }
        if settings.cdn_id.is_empty() || !settings.cdn_id.bytes().all(is_token) {
            return Err(wrong(format!("{:?} cannot be a name in CDN-Loop", settings.cdn_id)));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name = name.parse::<HeaderName>().map_err(|error| wrong(format!("header {name:?}: {error}")))?;
            let mut value = value.parse::<HeaderValue>().map_err(|_| wrong(format!("the value of header {name}")))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let hosts = Hosts::new(&settings.hosts).map_err(|error| wrong(error.to_string()))?;
        let client = net::Settings { hosts: Hosts::of(&url).and(hosts), ..settings.client.clone() };
        let client = Client::new(client).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, base, headers, cdn_id: settings.cdn_id, bytes_max: settings.bytes_max })
    }

    fn url(&self, id: &str) -> Result<Uri, Fault> {
        let mut text = self.base.clone();
        for segment in id.split('/') {
            // `plan` lets none through; another caller must not climb out of the base either.
            if matches!(segment, "" | "." | "..") {
                return Err(Fault::Answer(Error::NotFound));
            }
            text.push('/');
            text.extend(utf8_percent_encode(segment, ENCODED));
        }
        text.parse().map_err(|_| Fault::Answer(Error::NotFound))
    }

    fn headers(&self, context: &Context) -> Result<HeaderMap, Fault> {
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("image/*,*/*;q=0.5"));
        let passed = passed(context.cdn_loop.as_deref().unwrap_or_default(), &self.cdn_id);
        let value = passed.ok_or(Fault::Answer(Error::Loop))?;
        let value = HeaderValue::try_from(value).map_err(|_| Fault::Answer(Error::Loop))?;
        headers.insert(CDN_LOOP, value);
        // A trace is passed on where it is well-formed, and left out where it is not.
        for (name, value) in [(TRACEPARENT, &context.traceparent), (TRACESTATE, &context.tracestate)] {
            if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    async fn read(&self, id: &str, context: &Context, until: Deadline) -> Result<Original, Fault> {
        let answer = self.client.get(self.url(id)?, self.headers(context)?, self.bytes_max, until).await;
        let answer = answer.map_err(fault)?;
        check(&answer)?;
        let meta = known(&answer.headers, content_length(&answer.headers));
        if meta.size.is_some_and(|size| size > self.bytes_max) {
            return Err(Fault::Answer(Error::TooLarge { bytes_max: self.bytes_max }));
        }
        let body = answer.body.map(|part| part.map_err(|error| fault(error).into_error())).boxed();
        Ok(Original { meta, body })
    }

    async fn look(&self, id: &str, context: &Context, until: Deadline) -> Result<OriginalMeta, Fault> {
        let answer = self.client.head(self.url(id)?, self.headers(context)?, until).await.map_err(fault)?;
        if matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            return self.read(id, context, until).await.map(|original| original.meta);
        }
        check(&answer)?;
        Ok(known(&answer.headers, content_length(&answer.headers)))
    }
}

impl Backend for Http {
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(self.read(id, context, deadline))
    }

    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(self.look(id, context, deadline))
    }
}

/// Whether an answer is an original.
fn check(answer: &Response) -> Result<(), Fault> {
    match answer.status.as_u16() {
        200 => {}
        404 | 410 => return Err(Fault::Answer(Error::NotFound)),
        status @ (401 | 403) => return Err(Fault::Answer(Error::Unavailable(format!("it refused ({status})")))),
        status @ (408 | 425 | 429 | 500..) => {
            return Err(Fault::Source(Error::Unavailable(format!("it answered {status}"))));
        }
        status => return Err(Fault::Answer(Error::Unavailable(format!("it answered {status}")))),
    }
    // We accept no coding; a body in one would be no picture.
    match answer.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(_) => Err(Fault::Answer(Error::Unavailable("it sent a content coding that nobody asked for".into()))),
    }
}

fn known(headers: &HeaderMap, size: Option<u64>) -> OriginalMeta {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let modified = field(header::LAST_MODIFIED);
    let validator = match (field(header::ETAG), modified) {
        (Some(etag), _) => etag.to_owned(),
        (None, Some(modified)) => format!("{modified}, {} bytes", size.map_or("?".to_owned(), |size| size.to_string())),
        (None, None) => format!("{MOMENT}{}", httpdate::fmt_http_date(SystemTime::now())),
    };
    OriginalMeta { size, validator, modified: modified.and_then(|text| httpdate::parse_http_date(text).ok()) }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `CDN-Loop` for the next hop; none when we are in it already, or it is too long.
fn passed(before: &str, own: &str) -> Option<String> {
    let mut hops = 0;
    for element in elements(before) {
        let name = element.split(';').next().unwrap_or_default().trim();
        hops += 1;
        if name.eq_ignore_ascii_case(own) || hops >= CDN_HOPS_MAX {
            return None;
        }
    }
    Some(if hops == 0 { own.to_owned() } else { format!("{}, {own}", before.trim()) })
}

/// A list's elements, parted at commas outside of quotes.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    list.split(move |letter| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
    .filter(|element| !element.trim().is_empty())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn fault(error: net::Error) -> Fault {
    match error {
        net::Error::Forbidden(why) | net::Error::Url(why) => Fault::Answer(Error::Forbidden(why)),
        net::Error::TooLarge { bytes_max } => Fault::Answer(Error::TooLarge { bytes_max }),
        net::Error::Timeout(_) => Fault::Source(Error::Timeout),
        net::Error::Connect(why) | net::Error::Exchange(why) | net::Error::Settings(why) => {
            Fault::Source(Error::Unavailable(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_in_cdn_loop_ends_the_walk() {
        let table = [
            ("", Some("fovea")),
            ("edge.example", Some("edge.example, fovea")),
            ("a;v=1, b ;w=\"x, fovea\"", Some("a;v=1, b ;w=\"x, fovea\", fovea")),
            ("fovea", None),
            ("a, FOVEA;v=2", None),
            ("a,fovea ,b", None),
            ("fovea-2", Some("fovea-2, fovea")),
            (" , ,", Some("fovea")),
        ];
        for (before, wanted) in table {
            assert_eq!(passed(before, "fovea").as_deref(), wanted, "{before:?}");
        }
        assert_eq!(passed(&["x"; CDN_HOPS_MAX].join(","), "fovea"), None);
    }

    #[test]
    fn ids_become_paths_that_stay_below_the_base() {
        let http = Http::new(Settings::new("https://a.example/base/")).unwrap();
        let table = [
            ("x.jpg", Some("https://a.example/base/x.jpg")),
            ("a/b c?.jpg", Some("https://a.example/base/a/b%20c%3F.jpg")),
            ("100%25#ü", Some("https://a.example/base/100%2525%23%C3%BC")),
            ("@b.example/x", Some("https://a.example/base/%40b.example/x")),
            ("../x", None),
            ("a//b", None),
            ("a/./b", None),
        ];
        for (id, wanted) in table {
            assert_eq!(http.url(id).ok().map(|url| url.to_string()).as_deref(), wanted, "{id}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for base in ["ftp://a.example", "https://", "https://u:p@a.example", "https://a.example/x?y", "a.example"] {
            assert!(Http::new(Settings::new(base)).is_err(), "{base}");
        }
        assert!(Http::new(Settings { cdn_id: "a b".into(), ..Settings::new("https://a.example") }).is_err());
        assert!(Http::new(Settings { hosts: vec!["x*".into()], ..Settings::new("https://a.example") }).is_err());
    }
}
