//! Logs: lines for people or objects for machines, on standard error (standard output is the access log's).

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{Error, Otlp, traces};

/// How long the last traces may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What to log and to export.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Directives, such as `info,fovea::source=debug`.
    pub directives: String,
    /// How lines are written.
    pub format: Format,
    /// Where traces go; none exports nothing.
    pub otlp: Option<Otlp>,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// What runs until the end; [`Telemetry::finish`] sends what is left.
#[must_use = "finish() sends the last traces"]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts logs and, where asked for, traces. With OTLP it must be called in a tokio runtime. A subscriber that is there already
/// stays (tests start several servers in a process).
///
/// # Errors
/// The directives are wrong, or the exporter cannot be built.
pub fn start(settings: &Settings) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_new(&settings.directives)
        .map_err(|source| Error::Directives { directives: settings.directives.clone(), source })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter(filter).boxed()
    } else {
        lines.with_ansi(terminal).with_target(false).with_filter(filter).boxed()
    };
    let (provider, export) = match &settings.otlp {
        None => (None, None),
        Some(otlp) => {
            let (provider, tracer) = traces::provider(otlp)?;
            // Our own spans alone: those of the exporter's HTTP client would be exported in turn, for ever.
            let ours = tracing_subscriber::filter::Targets::new().with_target("fovea", LevelFilter::INFO);
            (Some(provider), Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)))
        }
    };
    // The error is that a subscriber is there already.
    let _ = tracing_subscriber::registry().with(lines).with(export).try_init();
    Ok(Telemetry(provider))
}

impl Telemetry {
    /// Sends what is left of the traces, within seconds.
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            let sent = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
            if let Ok(Err(error)) = sent {
                tracing::warn!(%error, "the last traces were not exported");
            }
        }
    }
}
