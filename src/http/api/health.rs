//! What answers without a key: whether the process lives, is ready, how its parts are, and the metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::Api;
use crate::serve::{Component, State as Condition};

/// How long the catalog may take to say that it is there.
const CATALOG_WITHIN: Duration = Duration::from_secs(1);

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    ready: bool,
    draining: bool,
    version: &'static str,
    components: Vec<Part>,
}

#[derive(Serialize)]
pub struct Part {
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
pub async fn health(State(api): State<Arc<Api>>) -> Json<Health> {
    let mut components: Vec<Part> = api.origin.health().await.into_iter().map(Part::from).collect();
    // A server that takes no uploads may never open its catalog.
    if api.ingest.categories().next().is_some() {
        let answered = tokio::time::timeout(CATALOG_WITHIN, api.catalog.ping()).await;
        let (state, detail) = match answered {
            Ok(Ok(())) => ("up", String::new()),
            Ok(Err(error)) => ("degraded", format!("{error}; what is in memory and store is served without it")),
            Err(_) => ("degraded", "no answer within a second".to_owned()),
        };
        components.push(Part { name: "catalog".to_owned(), state, detail });
    }
    let ready = api.origin.ready();
    let draining = api.draining.load(Ordering::Relaxed);
    let well = ready && !draining && components.iter().all(|part| part.state == "up");
    let status = if well { "up" } else { "degraded" };
    Json(Health { status, ready, draining, version: env!("CARGO_PKG_VERSION"), components })
}

pub async fn live() -> &'static str {
    "live\n"
}

/// 503 until everything is warm, and again while draining. Does not ask the stores: what is in memory is served without them.
pub async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    if api.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if api.origin.ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

pub async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics)())
}
