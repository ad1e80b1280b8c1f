//! The image handler: from a request's head to the answer that `serve` has for it.
//!
//! Always true: an answer in memory is sent without a task, a queue or a lock held for I/O in between.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, CACHE_CONTROL, CONTENT_TYPE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::client::{self, request_id};
use super::front::{self, Found, Slot};
use super::headers::{self, Looked, phase_name};
use super::lane::Connection;
use super::limit::Limit;
use super::log::Log;
use super::meters::Meters;
use super::page::Page;
use super::problem::{Problem, Refusal};
use super::respond::{Exchange, NOWHERE, whole};
use super::server::{Handler, Peer, Reply};
use super::settings::{ListenerLimits, Settings};
use super::watch::{Graceful, Heads, Watch, Watched, Wire};
use crate::base::{Deadline, Stage};
use crate::plan::{self, Ask, Version};
use crate::popularity::Seen;
use crate::serve::{Answer, Error, Origin, Phase};
use crate::telemetry::{TraceContext, adopt, outgoing};

/// The methods that are answered.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// What a script of another site may send.
const PREFLIGHT_HEADERS: &str = "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, \
    X-Request-Id, Traceparent, Tracestate, Sec-CH-Width, Sec-CH-DPR, Width, DPR, Save-Data";
/// What a request may take beyond its own deadline before it is given up: `serve` should have answered by then.
const GRACE: Duration = Duration::from_millis(500);
/// Room for every header of a usual answer.
pub(super) const HEADERS: usize = 24;

pub(super) type Body = Bytes;

/// Answers the requests of the image listener.
pub struct Images {
    pub(super) origin: Arc<Origin>,
    pub(super) settings: Settings,
    page: Option<Page>,
    limit: Option<Limit>,
    pub(super) log: Log,
    pub(super) meters: Meters,
    runtime: Handle,
}

impl Images {
    /// A handler over the origin. Must be called within the runtime on which misses are made; the listener may have threads of
    /// its own.
    pub fn new(origin: Arc<Origin>, settings: Settings, log: Log) -> Self {
        let limit = settings.rate.as_ref().map(Limit::new);
        let page = settings.demo.as_ref().map(Page::new);
        Self { origin, settings, page, limit, log, meters: Meters::new(), runtime: Handle::current() }
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn get(self: &Arc<Self>, exchange: Exchange) -> Reply<Body> {
        let path = exchange.path();
        // Before anything is looked up: what is kept under this epoch is forgotten with the next purge.
        let epoch = self.origin.epoch();
        let bucket = || client::bucket(&exchange.head.headers);
        let recent = |slot: &Slot| self.recent(&exchange, slot);
        if let Some(response) = front::find(path, bucket, epoch, exchange.started, recent).flatten() {
            return Reply::now(response);
        }
        if let Some(response) = self.fixed(&exchange, path) {
            return Reply::now(self.close(&exchange, response, NOWHERE));
        }
        let request = match self.origin.read(path) {
            Ok(request) => request,
            Err(error) => {
                let problem = Problem::from(&error);
                let policy = category_of(path).and_then(|category| self.origin.policy(category));
                let looked = policy.as_ref().map(|policy| Looked::at_path(path, policy)).unwrap_or_default();
                let mut headers = HeaderMap::with_capacity(HEADERS);
                if let Some(policy) = &policy {
                    headers::of_category(&mut headers, policy, looked, &exchange.head.headers);
                }
                return Reply::now(self.problem(&exchange, &problem, headers, &error));
            }
        };
        let Some(policy) = self.origin.policy(&request.category) else {
            let error = Error::NoCategory(request.category.to_string());
            return Reply::now(self.problem(&exchange, &Problem::from(&error), HeaderMap::new(), &error));
        };
        let looked = Looked::at(&request, policy);
        if let Some(target) = &request.redirect {
            let response = self.redirect(&exchange, &request, policy, looked, target);
            return Reply::now(response);
        }
        if request.version == Version::Latest && self.origin.is_catalogued(&request.category) {
            return self.latest(exchange, request, looked);
        }
        let mut client = client::client(&exchange.head.headers, looked, exchange.address);
        let planned = exchange.started.elapsed();
        if let Some(mut answer) = self.origin.peek(&request, &client) {
            answer.stages.add(Stage::Plan, planned);
            if answer.phase == Phase::Memory {
                let found = Found { path, looked, bucket: client.bucket, epoch, now: exchange.started };
                let headers = || whole(&request, policy, looked, &answer, &exchange.head.headers);
                front::keep(found, &request, &answer.entry, self.note(&request, &answer), headers);
            } else {
                self.note(&request, &answer);
            }
            return Reply::now(self.answer(&exchange, &request, policy, looked, &answer));
        }
        if let Err(error) = self.take(exchange.address) {
            return Reply::now(self.failure(&exchange, &request, policy, looked, &error));
        }

        let asked = &exchange.head.headers;
        let caller = client::trace(asked);
        // Where nobody traces, a trace is begun here, so that our log and the source's can be laid side by side.
        let trace = caller.unwrap_or_else(|| TraceContext::root(false));
        let span = tracing::info_span!(
            "request",
            request_id = exchange.id.to_str().unwrap_or_default(),
            traceparent = %trace,
            image.category = &*request.category,
            cache.phase = tracing::field::Empty,
        );
        if let Some(caller) = caller {
            adopt(&span, caller, client::tracestate(asked).as_deref());
        }
        client.context = client::context(asked, outgoing(&span, Some(trace)), caller.is_some());
        let this = self.clone();
        Reply::Later(Box::pin(async move {
            let deadline = Deadline::after(this.settings.request_timeout);
            let (origin, asked) = (this.origin.clone(), request.clone());
            let work = async move { origin.answer(asked, client, deadline).await }.instrument(span.clone());
            // Dropping this future (the client left) drops the handle, and that cancels the work.
            let task = AbortOnDropHandle::new(this.runtime.spawn(work));
            let result = match tokio::time::timeout(this.settings.request_timeout + GRACE, task).await {
                Ok(Ok(result)) => result,
                Ok(Err(ended)) => Err(Error::Internal(ended.to_string().into())),
                Err(_) => Err(Error::Render(crate::render::Refused::Deadline)),
            };
            // Looked up again: it may have been reloaded meanwhile, and nothing borrowed may wait.
            let Some(policy) = this.origin.policy(&request.category) else {
                let error = Error::NoCategory(request.category.to_string());
                return this.problem(&exchange, &Problem::from(&error), HeaderMap::new(), &error);
            };
            match result {
                Ok(mut answer) => {
                    answer.stages.add(Stage::Plan, planned);
                    span.record("cache.phase", phase_name(answer.phase));
                    this.note(&request, &answer);
                    this.answer(&exchange, &request, policy, looked, &answer)
                }
                Err(error) => span.in_scope(|| this.failure(&exchange, &request, policy, looked, &error)),
            }
        }))
    }

    /// Counts what is asked for: variants and originals, whatever becomes of the connection.
    fn note(&self, request: &plan::Request, answer: &Answer) -> Option<Arc<Seen>> {
        let popularity = self.settings.popularity.as_ref().filter(|_| !matches!(request.ask, Ask::Info))?;
        popularity.note(&request.canonical, &request.category, answer.entry.bytes.len())
    }

    /// Pages that are no pictures.
    fn fixed(&self, exchange: &Exchange, path: &str) -> Option<Response<Body>> {
        let mut response = match path {
            "/" => self.page.as_ref()?.response(&exchange.head.headers),
            "/favicon.ico" => Response::builder().status(StatusCode::NO_CONTENT).body(Body::default()).ok()?,
            "/robots.txt" => text("text/plain; charset=utf-8", Bytes::from_static(b"User-agent: *\nAllow: /\n")),
            _ => return None,
        };
        let age = HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().entry(CACHE_CONTROL).or_insert(age);
        response.headers_mut().insert(headers::REQUEST_ID, exchange.id.clone());
        Some(response)
    }

    /// Takes one miss from the client's allowance.
    fn take(&self, address: IpAddr) -> Result<(), Error> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let taken = limit.take(address);
        self.meters.rate_addresses.set(limit.addresses() as f64);
        taken.map_err(|retry_after| {
            self.meters.rate_limited.increment(1);
            Error::RateLimited { retry_after }
        })
    }

    fn options(&self, exchange: &Exchange) -> Response<Body> {
        let mut map = HeaderMap::with_capacity(HEADERS);
        let path = exchange.path();
        if let Some(policy) = category_of(path).and_then(|category| self.origin.policy(category)) {
            let asked = &exchange.head.headers;
            headers::of_category(&mut map, policy, Looked::at_path(path, policy), asked);
            let preflight = asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
            if preflight && map.contains_key(http::header::ACCESS_CONTROL_ALLOW_ORIGIN) {
                map.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
                map.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(PREFLIGHT_HEADERS));
                map.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
            }
        }
        map.insert(ALLOW, HeaderValue::from_static(METHODS));
        headers::common(&mut map, &exchange.id);
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = map;
        self.close(exchange, response, NOWHERE)
    }
}

impl Images {
    /// Answers a request whose head was read.
    pub(super) fn respond(self: &Arc<Self>, started: Instant, peer: &Peer, head: Parts) -> Reply<Body> {
        let id = request_id(&head.headers);
        let (proxies, header) = (&self.settings.trusted_proxies, self.settings.address_header);
        let address = client::address(|name| client::lines(&head.headers, name), peer.address, proxies, header);
        let exchange = Exchange { started, id, address, head };
        match exchange.head.method {
            Method::GET | Method::HEAD => self.get(exchange),
            Method::OPTIONS => Reply::now(self.options(&exchange)),
            _ => {
                let mut map = HeaderMap::with_capacity(HEADERS);
                map.insert(ALLOW, HeaderValue::from_static(METHODS));
                Reply::now(self.problem(&exchange, &Refusal::Method.into(), map, &"a method that is not answered"))
            }
        }
    }
}

impl Handler for Images {
    type Body = Full<Bytes>;

    const HEADS: Heads = Heads::ByReader;

    fn handle(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Reply<Full<Bytes>> {
        // A body means nothing to any method here: it is not read.
        let (head, _) = request.into_parts();
        match self.respond(Instant::now(), peer, head) {
            Reply::Ready(response) => Reply::Ready(response.map(|response| response.map(Full::new))),
            Reply::Later(future) => Reply::Later(Box::pin(async { future.await.map(Full::new) })),
        }
    }

    fn http1<S: Wire>(
        self: &Arc<Self>,
        stream: Watched<S>,
        peer: Peer,
        watch: Arc<Watch>,
        limits: &ListenerLimits,
    ) -> impl Graceful + Send + use<S> {
        Connection::new(self.clone(), peer, stream, watch, limits)
    }
}

/// The category that a path names, whether or not the rest of it is understood.
fn category_of(path: &str) -> Option<&str> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let first = segments.next()?;
    if first.starts_with("s:") { segments.next() } else { Some(first) }
}

/// A response of one text.
pub(super) fn text(content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_category_is_told_from_the_text() {
        for (path, wanted) in [
            ("/demo/a/v1/x.auto", Some("demo")),
            ("/s:k:0:x/demo/a/v1/x.auto", Some("demo")),
            ("/", Some("")),
            ("*", None),
            ("/s:k:0:x", None),
        ] {
            assert_eq!(category_of(path), wanted, "{path}");
        }
    }
}
