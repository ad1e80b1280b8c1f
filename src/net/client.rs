//! The client: one request, its redirects, its bounds.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::dial::{Dial, DialError};
use super::{Body, Error, Guard, Hosts, tls};
use crate::base::{Deadline, in_words};

/// The most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 100;
/// The longest URL that is followed, in bytes.
const URL_BYTES_MAX: usize = 8192;

/// A client's bounds and whom it may ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where hosts may lie.
    pub guard: Guard,
    /// Which hosts may be asked; those that redirects lead to, too.
    pub hosts: Hosts,
    /// To resolve and connect, all addresses together.
    pub connect_timeout: Duration,
    /// From the request to the answer's head, connection and TLS included; each hop anew.
    pub head_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    /// Everything together, redirects and body included.
    pub total_timeout: Duration,
    /// How many redirects are followed.
    pub redirects_max: usize,
    /// How many idle connections are kept to one host.
    pub idle_connections_max: usize,
    /// Root certificates beside the machine's, as PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            hosts: Hosts::any(),
            connect_timeout: Duration::from_secs(3),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            redirects_max: 5,
            idle_connections_max: 16,
            extra_roots_pem: None,
        }
    }
}

/// An HTTP client that connects to nothing the settings do not allow. HTTP/1.1, over TLS or plain; no proxy.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<Dial>, Full<Bytes>>,
    settings: Settings,
}

/// An answer whose body is still to be read.
pub struct Response {
    /// The status; never a redirect that could have been followed.
    pub status: StatusCode,
    /// The head's fields.
    pub headers: HeaderMap,
    /// Where the answer came from, after redirects.
    pub url: Uri,
    /// The body.
    pub body: Body,
}

impl Client {
    /// A client. Reads the machine's root certificates.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let tls = tls::config(settings.extra_roots_pem.as_deref())?;
        let dial = Dial::new(settings.guard.clone(), settings.connect_timeout);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(dial);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(settings.idle_connections_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(connector);
        Ok(Self { http, settings })
    }

    /// Fetches with GET: the answer's head, with a body of at most `bytes_max` bytes to follow.
    pub async fn get(&self, url: Uri, headers: HeaderMap, bytes_max: u64, until: Deadline) -> Result<Response, Error> {
        self.follow(Method::GET, url, headers, bytes_max, until).await
    }

    /// Asks with HEAD.
    pub async fn head(&self, url: Uri, headers: HeaderMap, until: Deadline) -> Result<Response, Error> {
        self.follow(Method::HEAD, url, headers, 0, until).await
    }

    async fn follow(
        &self,
        method: Method,
        mut url: Uri,
        mut headers: HeaderMap,
        bytes_max: u64,
        until: Deadline,
    ) -> Result<Response, Error> {
        let end = Instant::now() + self.settings.total_timeout.min(until.left());
        let mut hops = 0;
        loop {
            self.check(&url)?;
            let answer = self.once(&method, &url, &headers, end).await?;
            let location = match answer.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => answer.headers().get(header::LOCATION),
                _ => None,
            };
            let Some(location) = location else {
                let (head, body) = answer.into_parts();
                let body = Body::new(body, bytes_max, self.settings.idle_timeout, end);
                return Ok(Response { status: head.status, headers: head.headers, url, body });
            };
            if hops == self.settings.redirects_max {
                return Err(Error::Forbidden(format!("more than {hops} redirects")));
            }
            hops += 1;
            let next = resolve(&url, location)?;
            if url.scheme() == Some(&Scheme::HTTPS) && next.scheme() == Some(&Scheme::HTTP) {
                return Err(Error::Forbidden("a redirect from https to http".into()));
            }
            if origin(&url) != origin(&next) {
                headers = without_secrets(&headers);
            }
            url = next;
        }
    }

    /// One request, without a look at where it leads.
    async fn once(
        &self,
        method: &Method,
        url: &Uri,
        headers: &HeaderMap,
        end: Instant,
    ) -> Result<http::Response<Incoming>, Error> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        let agent = HeaderValue::from_static(concat!("Fovea/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let head_end = end.min(Instant::now() + self.settings.head_timeout);
        match timeout_at(head_end, self.http.request(request)).await {
            Err(_) => Err(Error::Timeout("waiting for an answer")),
            Ok(Err(error)) => Err(failed(&error)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    /// Whether a URL may be asked, as far as its text says.
    fn check(&self, url: &Uri) -> Result<(), Error> {
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(Error::Url("it has no scheme or no host".into()));
        };
        if scheme != "http" && scheme != "https" {
            return Err(Error::Forbidden(format!("the scheme {scheme}")));
        }
        if authority.as_str().contains('@') {
            return Err(Error::Forbidden("credentials in a URL".into()));
        }
        if !self.settings.hosts.allow(url) {
            return Err(Error::Forbidden(format!("the host {authority}")));
        }
        Ok(())
    }
}

/// What may be said to a host that a redirect named: neither credentials nor what the caller marked as sensitive.
fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let secret = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    let open = headers.iter().filter(|(name, value)| !value.is_sensitive() && !secret.contains(name));
    open.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Scheme, host and port.
fn origin(url: &Uri) -> (Option<&str>, Option<String>, u16) {
    let usual = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    (url.scheme_str(), url.host().map(str::to_ascii_lowercase), url.port_u16().unwrap_or(usual))
}

/// Where a `Location` leads, by RFC 3986, section 5.2; without its fragment.
fn resolve(base: &Uri, location: &HeaderValue) -> Result<Uri, Error> {
    let wrong = |why: &str| Error::Url(format!("a redirect's location {why}"));
    let text = location.to_str().map_err(|_| wrong("is no ASCII"))?.trim();
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    if text.len() > URL_BYTES_MAX {
        return Err(wrong("is too long"));
    }
    // A scheme stands before any slash, question mark or hash.
    let is_absolute = text.find(':').is_some_and(|colon| text.find(['/', '?']).is_none_or(|at| colon < at));
    if is_absolute {
        return text.parse().map_err(|_| wrong("is no URL"));
    }
    let mut parts = base.clone().into_parts();
    let path = if let Some(rest) = text.strip_prefix("//") {
        let (authority, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
        parts.authority = Some(authority.parse::<Authority>().map_err(|_| wrong("has no usable host"))?);
        match &rest[authority.len()..] {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        }
    } else if text.starts_with('/') {
        text.to_owned()
    } else if text.is_empty() {
        return Err(wrong("is empty"));
    } else if text.starts_with('?') {
        format!("{}{text}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{text}")
    };
    let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
    let path = without_dots(path);
    let whole = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    parts.path_and_query = Some(whole.parse::<PathAndQuery>().map_err(|_| wrong("is no path"))?);
    Uri::from_parts(parts).map_err(|_| wrong("is no URL"))
}

/// A path with its dot segments followed.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let closing = if matches!(last, Some("." | "..")) && !kept.is_empty() { "/" } else { "" };
    format!("/{}{closing}", kept.join("/"))
}

/// The library's error in the room's words; ours, where it only passed through.
fn failed(error: &legacy::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(DialError(error)) = error.downcast_ref() {
            return error.clone();
        }
        cause = error.source();
    }
    let said = in_words(error);
    if error.is_connect() { Error::Connect(said) } else { Error::Exchange(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "https://a.example/x/y?z".parse().unwrap();
        let table = [
            ("https://b.example/c", Some("https://b.example/c")),
            ("http://b.example", Some("http://b.example/")),
            ("//b.example/c", Some("https://b.example/c")),
            ("//b.example?q", Some("https://b.example/?q")),
            ("/c?d#e", Some("https://a.example/c?d")),
            ("c", Some("https://a.example/x/c")),
            ("./c", Some("https://a.example/x/c")),
            ("../c", Some("https://a.example/c")),
            ("../../../c/..", Some("https://a.example/")),
            ("?q", Some("https://a.example/x/y?q")),
            ("c:d/e", None),
            ("file:///etc/passwd", None),
            ("file://b.example/etc", Some("file://b.example/etc")),
            ("https://b.example/é", None),
            ("", None),
            ("#top", None),
            ("https://", None),
        ];
        for (location, wanted) in table {
            let location = HeaderValue::from_bytes(location.as_bytes());
            let url = location.ok().and_then(|value| resolve(&base, &value).ok()).map(|url| url.to_string());
            assert_eq!(url.as_deref(), wanted);
        }
    }
}
