//! Every metric's name, help and labels; logs; traces and their W3C context.
//!
//! Enters: [`Settings`]. Leaves: installed subscribers and recorders, and [`Metrics`], which renders what was counted.
//!
//! Always true: no label, log line or span holds a query string, a signature or a secret; labels are bounded.

mod context;
mod logs;
mod metrics;
mod traces;

pub use context::{TraceContext, adopt, outgoing};
pub use logs::{Format, Settings, Telemetry, start};
pub use metrics::{ALL, Kind, Metric, Metrics, install, names};
pub use traces::Otlp;

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log directives are wrong.
    #[error("the log directives {directives:?} are wrong")]
    Directives {
        /// As given.
        directives: String,
        /// What is wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP exporter cannot be built.
    #[error("traces cannot be exported to {endpoint:?}: {what}")]
    Otlp {
        /// Where to.
        endpoint: String,
        /// Why not.
        what: String,
    },
    /// Another recorder of metrics is installed.
    #[error("another recorder of metrics is installed")]
    Recorder,
}
