//! An event as other services read it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::Message;
use crate::catalog::Event;
use crate::telemetry::TraceContext;

/// Larger messages leave out what the event's `data` is: a server takes a megabyte.
const BYTES_MAX: usize = 768 << 10;

/// An event as JSON: the body of a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventMessage {
    /// Its number in the catalog, which only rises.
    pub id: i64,
    /// What happened: `asset.accepted`, `job.completed`. The subject's end.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose it is.
    pub owner: String,
    /// The category that it is about.
    pub category: Option<String>,
    /// The asset.
    pub asset: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// The job.
    pub job: Option<String>,
    /// The same for all that one request brought about: its trace, else the job, else the event itself.
    pub correlation_id: String,
    /// The W3C trace, 32 hex digits.
    pub trace_id: Option<String>,
    /// The `traceparent` that it was part of.
    pub trace: Option<String>,
    /// What else is to be said; null where it would be too much.
    pub data: serde_json::Value,
    /// Unix milliseconds.
    pub at_ms: i64,
}

impl From<Event> for EventMessage {
    fn from(event: Event) -> Self {
        let trace: Option<TraceContext> = event.trace.as_deref().and_then(|text| text.parse().ok());
        let trace_id = trace.map(|trace| format!("{:032x}", u128::from_be_bytes(trace.trace_id)));
        let own = || event.job.clone().unwrap_or_else(|| id(event.seq));
        Self {
            correlation_id: trace_id.clone().unwrap_or_else(own),
            id: event.seq,
            kind: event.kind,
            owner: event.owner,
            category: event.category,
            asset: event.asset,
            version: event.version,
            job: event.job,
            trace_id,
            trace: event.trace,
            data: event.data,
            at_ms: event.at_ms,
        }
    }
}

impl EventMessage {
    /// As a message.
    pub(super) fn message(mut self) -> Message {
        let mut payload = self.payload();
        if payload.len() > BYTES_MAX {
            self.data = serde_json::Value::Null;
            payload = self.payload();
        }
        Message { subject: format!("events.{}", self.kind), id: id(self.id), payload }
    }

    fn payload(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers are JSON").into()
    }
}

/// An event's id as a message.
pub(super) fn id(number: i64) -> String {
    format!("event-{number}")
}

/// The number of an event by its id as a message.
pub fn number(id: &str) -> Option<i64> {
    id.strip_prefix("event-")?.parse().ok()
}
