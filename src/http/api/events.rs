//! What happens, as it happens: server-sent events, which a client that lost its connection goes on with by `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Asked, Caller, bad_query, header};
use super::wire::ProblemDocument;
use crate::auth::{Principal, Role};
use crate::catalog::{Catalog, Event, EventFilter};
use crate::http::problem::Problem;

/// A line that means nothing is sent so often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that are read at once.
const EVENTS: u32 = 500;
/// How often it is looked whether the process ends.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a client waits before it comes back.
const COME_BACK: Duration = Duration::from_secs(2);

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    /// Its number, which only rises: the id of the server-sent event.
    pub id: i64,
    /// Such as `asset.accepted`, `variant.made`, `job.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `category/id` of the asset.
    pub asset: Option<String>,
    /// The asset's version.
    pub version: Option<String>,
    /// The job.
    pub job_id: Option<String>,
    /// What more there is to say.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// Unix milliseconds.
    pub at_ms: i64,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.seq,
            kind: event.kind,
            asset: event.category.zip(event.asset).map(|(category, id)| format!("{category}/{id}")),
            version: event.version,
            job_id: event.job,
            data: event.data,
            at_ms: event.at_ms,
        }
    }
}

/// Follow what happens, as server-sent events. Begins now, or after the event that `Last-Event-ID` (or `after`) names.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        ("asset" = Option<String>, Query, description = "of one asset, category/id"),
        ("category" = Option<String>, Query, description = "of one category"),
        ("job" = Option<String>, Query, description = "of one job"),
        ("type" = Option<String>, Query, description = "whose type begins so: variant."),
        ("after" = Option<i64>, Query, description = "after this event; 0 is from the first"),
        ("Last-Event-ID" = Option<i64>, Header, description = "after this event"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = EventView),
        (status = 400, body = ProblemDocument),
    )
)]
pub async fn follow(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Viewer)?.clone();
    let last = header(&headers, "last-event-id")
        .map(|text| text.parse::<i64>().map_err(|_| bad_query("Last-Event-ID is an event's id, a number")))
        .transpose()?;
    let asset = asked.asset()?;
    let category = asset.as_ref().map(|(category, _)| category.clone());
    let filter = EventFilter {
        owner: principal.sees().map(str::to_owned),
        category: category.or_else(|| asked.text("category").map(str::to_owned)),
        asset: asset.map(|(_, id)| id),
        job: asked.text("job").map(str::to_owned),
        kind_prefix: asked.text("type").map(str::to_owned),
    };
    let changes = api.catalog.follow();
    let after = match last.or(asked.read("after")?) {
        Some(after) => after,
        None => api.catalog.last_event().await?,
    };
    let catalog = api.catalog.clone();
    let draining = api.probe.draining.clone();
    let following = Following { catalog, principal, filter, after, waiting: VecDeque::new(), changes, draining };
    let events = Sse::new(following.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(events.into_response())
}

/// A client that follows.
struct Following {
    catalog: Catalog,
    principal: Principal,
    filter: EventFilter,
    /// The last event that it knows of.
    after: i64,
    /// Read, and not yet sent.
    waiting: VecDeque<Event>,
    changes: watch::Receiver<i64>,
    draining: Arc<AtomicBool>,
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut this| async move {
            let event = this.next().await?;
            let (id, kind) = (event.seq.to_string(), event.kind.clone());
            let data = serde_json::to_string(&EventView::from(event)).ok()?;
            Some((Ok(sse::Event::default().id(id).event(kind).retry(COME_BACK).data(data)), this))
        })
    }

    /// Until something happens; none when the process ends, and the client comes back to another.
    async fn wait(&mut self) -> Option<()> {
        while !self.draining.load(Ordering::Relaxed) {
            if let Ok(changed) = tokio::time::timeout(LOOK_EVERY, self.changes.changed()).await {
                return changed.ok();
            }
        }
        None
    }

    /// The next event; none when the catalog is gone, and the client comes back with what it knows.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.after = event.seq;
                if event.category.as_deref().is_none_or(|category| self.principal.may_in(category)) {
                    return Some(event);
                }
                continue;
            }
            // Marked before the look, so that what is committed during it wakes again.
            self.changes.borrow_and_update();
            match self.catalog.events(self.after, &self.filter, EVENTS).await {
                Ok(events) => self.waiting = events.into(),
                Err(error) => {
                    tracing::debug!(%error, "events cannot be read; the client comes back");
                    return None;
                }
            }
            if self.waiting.is_empty() {
                self.wait().await?;
            }
        }
    }
}
