//! What the listeners count. Handles are made once and kept, so that counting costs an atomic addition.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram};

use crate::telemetry::names;

const METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Where an answer can come from, as a label; `none` for what needed no picture (pages, errors, redirects).
const PHASES: [&str; 6] = ["memory", "store", "miss", "collapsed", "source", "none"];

/// The handles of the image listener.
pub struct Meters {
    requests: [OnceLock<Counter>; METHODS.len() * CLASSES.len() * PHASES.len()],
    seconds: [OnceLock<Histogram>; PHASES.len()],
    bytes: Counter,
    /// Misses refused by the rate limit.
    pub rate_limited: Counter,
    /// Addresses remembered by it.
    pub rate_addresses: Gauge,
}

impl Meters {
    /// Handles of the installed recorder.
    pub fn new() -> Self {
        Self {
            requests: [const { OnceLock::new() }; METHODS.len() * CLASSES.len() * PHASES.len()],
            seconds: [const { OnceLock::new() }; PHASES.len()],
            bytes: metrics::counter!(names::HTTP_RESPONSE_BYTES),
            rate_limited: metrics::counter!(names::HTTP_RATE_LIMITED),
            rate_addresses: metrics::gauge!(names::HTTP_RATE_ADDRESSES),
        }
    }

    /// Counts an answer. `phase` is one of [`PHASES`]; any other text counts as `none`.
    pub fn answered(&self, method: &Method, status: StatusCode, phase: &'static str, bytes: u64, time: Duration) {
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::OPTIONS => 2,
            _ => 3,
        };
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let phase = PHASES.iter().position(|name| *name == phase).unwrap_or(PHASES.len() - 1);
        let cell = (method * CLASSES.len() + class) * PHASES.len() + phase;
        self.requests[cell]
            .get_or_init(|| {
                metrics::counter!(
                    names::HTTP_REQUESTS,
                    "method" => METHODS[method], "status_class" => CLASSES[class], "phase" => PHASES[phase]
                )
            })
            .increment(1);
        self.seconds[phase]
            .get_or_init(|| metrics::histogram!(names::HTTP_REQUEST_SECONDS, "phase" => PHASES[phase]))
            .record(time.as_secs_f64());
        self.bytes.increment(bytes);
    }

    /// Counts a problem. Rare, so its handle is looked up each time; codes are a bounded set.
    pub fn problem(&self, code: &'static str) {
        metrics::counter!(names::HTTP_PROBLEMS, "code" => code).increment(1);
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

/// The handles of one listener's connections.
#[derive(Clone)]
pub struct ConnectionMeters {
    /// Open now.
    pub open: Gauge,
    /// Accepted.
    pub accepted: Counter,
    /// Above the bound.
    pub refused: Counter,
    listener: &'static str,
}

impl ConnectionMeters {
    /// The handles of a listener.
    pub fn new(listener: &'static str) -> Self {
        Self {
            open: metrics::gauge!(names::HTTP_CONNECTIONS, "listener" => listener),
            accepted: metrics::counter!(names::HTTP_CONNECTIONS_ACCEPTED, "listener" => listener),
            refused: metrics::counter!(names::HTTP_CONNECTIONS_REFUSED, "listener" => listener),
            listener,
        }
    }

    /// Counts a connection that was cut off.
    pub fn cut(&self, reason: &'static str) {
        metrics::counter!(names::HTTP_CONNECTIONS_CUT, "listener" => self.listener, "reason" => reason).increment(1);
    }
}
