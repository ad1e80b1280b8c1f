//! The API listener: health, metrics, purge. Never on the public side of a CDN.

mod purge;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tower_service::Service as _;

use super::client::request_id;
use super::headers::REQUEST_ID;
use super::problem::{Problem, Refusal};
use super::respond::report;
use super::server::{Handler, Peer, Reply};
use crate::serve::{Component, Origin, State as Condition};

/// How long an API request may take; a purge of a category lists a store.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the API speaks for.
#[derive(Clone)]
pub struct Api {
    /// The origin.
    pub origin: Arc<Origin>,
    /// The bearer token that may purge; without one nobody may.
    pub token: Option<String>,
    /// Renders the metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Set when the shutdown begins: no longer ready, still alive.
    pub draining: Arc<AtomicBool>,
    /// Most bytes of a request's body.
    pub body_bytes_max: usize,
}

/// Answers the requests of the API listener.
pub struct Routes(Router);

impl Routes {
    /// The routes over what the API speaks for.
    pub fn new(api: Api) -> Self {
        let router = Router::new()
            .route("/health", get(health))
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/v1/purge", post(purge::purge))
            .fallback(|headers: HeaderMap| async move { refuse(&headers, Refusal::NoRoute.into()) })
            .method_not_allowed_fallback(|headers: HeaderMap| async move { refuse(&headers, Refusal::Method.into()) })
            .with_state(Arc::new(api));
        Self(router)
    }
}

impl Handler for Routes {
    type Body = Body;

    fn handle(self: &Arc<Self>, _peer: &Peer, request: Request<Incoming>) -> Reply<Body> {
        let mut router = self.0.clone();
        Reply::Later(Box::pin(async move {
            let id = request_id(request.headers());
            let asked = request.headers().clone();
            let answered = tokio::time::timeout(TIMEOUT, router.call(request.map(Body::new))).await;
            let mut response = match answered {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => refuse(&asked, Refusal::Timeout.into()),
            };
            let headers = response.headers_mut();
            headers.entry(REQUEST_ID).or_insert(id);
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
    }
}

/// A problem as the API's response.
fn refuse(asked: &HeaderMap, problem: Problem) -> Response {
    let id = request_id(asked);
    let text = id.to_str().unwrap_or_default();
    report(&problem, text, &problem.detail);
    let body = Body::from(problem.body(text));
    let mut response = (problem.status, body).into_response();
    problem.headers(response.headers_mut());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(REQUEST_ID, id);
    if problem.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"fovea\"");
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    ready: bool,
    draining: bool,
    version: &'static str,
    components: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    state: &'static str,
    detail: String,
}

impl From<Component> for Part {
    fn from(component: Component) -> Self {
        Self { name: component.name, state: word(component.state), detail: component.detail }
    }
}

const fn word(state: Condition) -> &'static str {
    match state {
        Condition::Up => "up",
        Condition::Degraded => "degraded",
        Condition::Down => "down",
    }
}

/// The state of every component. 200 while the process can answer at all: a store's outage makes it degraded, not dead.
async fn health(State(api): State<Arc<Api>>) -> Json<Health> {
    let components: Vec<Part> = api.origin.health().await.into_iter().map(Part::from).collect();
    let ready = api.origin.ready();
    let draining = api.draining.load(Ordering::Relaxed);
    let well = ready && !draining && components.iter().all(|part| part.state == "up");
    let status = if well { "up" } else { "degraded" };
    Json(Health { status, ready, draining, version: env!("CARGO_PKG_VERSION"), components })
}

async fn live() -> &'static str {
    "live\n"
}

/// 503 until everything is warm, and again while draining. Does not ask the stores: what is in memory is served without them.
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    if api.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if api.origin.ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics)())
}
