//! What answers without a key: whether the process lives, is ready, how its parts are, and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tower_service::Service as _;

use crate::broker::{self, Broker};
use crate::catalog::Catalog;
use crate::http::problem::{Problem, Refusal};
use crate::http::server::{Handler, Peer, Reply};
use crate::serve::{Component, Origin, State as Condition};

/// How long the catalog may take to say that it is there.
const CATALOG_WITHIN: Duration = Duration::from_secs(1);

/// What tells how a process is.
#[derive(Clone)]
pub struct Probe {
    /// Its origin, which workers have too.
    pub origin: Arc<Origin>,
    /// The catalog, where the process cannot do without: a server that takes no uploads may never open it.
    pub catalog: Option<Catalog>,
    /// The broker, where one is configured.
    pub broker: Option<Broker>,
    /// Renders the metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Set when the shutdown begins: no longer ready, still alive.
    pub draining: Arc<AtomicBool>,
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

/// The routes, for whatever listener.
pub(super) fn routes<S>(probe: Probe) -> Router<S> {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probe))
}

/// A listener of these routes alone: that of a process which serves nothing else.
pub struct Probes(Router);

impl Probes {
    /// The routes over what tells.
    pub fn new(probe: Probe) -> Self {
        let router = routes(probe).fallback(|| async { Problem::from(Refusal::NoRoute) });
        Self(router.method_not_allowed_fallback(|| async { Problem::from(Refusal::Method) }))
    }
}

impl Handler for Probes {
    type Body = Body;

    fn handle(self: &Arc<Self>, _: &Peer, request: Request<Incoming>) -> Reply<Body> {
        let mut router = self.0.clone();
        Reply::Later(Box::pin(async move {
            match router.call(request.map(Body::new)).await {
                Ok(response) => super::shown(response),
                Err(never) => match never {},
            }
        }))
    }
}

impl Probe {
    async fn catalog(&self) -> Option<Part> {
        let answered = tokio::time::timeout(CATALOG_WITHIN, self.catalog.as_ref()?.ping()).await;
        let (state, detail) = match answered {
            Ok(Ok(())) => ("up", String::new()),
            Ok(Err(error)) => ("degraded", format!("{error}; what is in memory and store is served without it")),
            Err(_) => ("degraded", "no answer within a second".to_owned()),
        };
        Some(Part { name: "catalog".to_owned(), state, detail })
    }

    fn broker(&self) -> Option<Part> {
        let (state, detail) = match self.broker.as_ref()?.state() {
            broker::State::Up => ("up", ""),
            broker::State::Connecting => ("degraded", "being connected to"),
            broker::State::Down => {
                ("degraded", "tried again; images are served from the store, and made without leases")
            }
        };
        Some(Part { name: "broker".to_owned(), state, detail: detail.to_owned() })
    }
}

/// The state of every component. 200 while the process can answer at all: a store's outage makes it degraded, not dead.
async fn health(State(probe): State<Arc<Probe>>) -> Json<Health> {
    let mut components: Vec<Part> = probe.origin.health().await.into_iter().map(Part::from).collect();
    components.extend(probe.broker());
    components.extend(probe.catalog().await);
    let ready = probe.origin.ready();
    let draining = probe.draining.load(Ordering::Relaxed);
    let well = ready && !draining && components.iter().all(|part| part.state == "up");
    let status = if well { "up" } else { "degraded" };
    Json(Health { status, ready, draining, version: env!("CARGO_PKG_VERSION"), components })
}

async fn live() -> &'static str {
    "live\n"
}

/// 503 until everything is warm, and again while draining. Does not ask the stores: what is in memory is served without them. Tells
/// how the broker is, without which the process does its work too.
async fn ready(State(probe): State<Arc<Probe>>) -> (StatusCode, String) {
    let (status, word) = if probe.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if probe.origin.ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    let broker = probe.broker().map(|part| format!("broker {}\n", part.state));
    (status, format!("{word}\n{}", broker.unwrap_or_default()))
}

async fn metrics(State(probe): State<Arc<Probe>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (probe.metrics)())
}
