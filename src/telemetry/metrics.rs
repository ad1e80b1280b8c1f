//! The metrics: declared once, with kind, help and labels; counted with the `metrics` macros under these names; rendered for
//! Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Error;

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A declared metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its help, with the labels it takes.
    pub help: &'static str,
}

macro_rules! declare {
    ($($kind:ident $name:ident = $text:literal: $help:literal;)*) => {
        /// The names, for the `metrics` macros. Each one's documentation is its help text.
        pub mod names {
            $(#[doc = $help] pub const $name: &str = $text;)*
        }
        /// Every metric, in the order of a request.
        pub static ALL: &[Metric] = &[$(Metric { name: $text, kind: Kind::$kind, help: $help }),*];
    };
}

declare! {
    Gauge BUILD_INFO = "fovea_build_info": "1, with the running version in its label";
    Gauge PROCESS_RESIDENT_BYTES = "fovea_process_resident_bytes": "Memory of the process that is resident";
    Gauge PROCESS_CPU_SECONDS = "fovea_process_cpu_seconds": "CPU time of the process since its start, user and system";
    Gauge READY = "fovea_ready": "Whether the process answers ready (1) or not (0)";
    Counter CONFIG_RELOADS = "fovea_config_reloads_total": "Reloads of the configuration, by outcome";

    Counter HTTP_REQUESTS = "fovea_http_requests_total": "Requests answered, by listener, method, status class and where the answer came from";
    Histogram HTTP_REQUEST_SECONDS = "fovea_http_request_seconds": "From a request's head to the last byte of its answer, by where the answer came from";
    Counter HTTP_RESPONSE_BYTES = "fovea_http_response_bytes_total": "Bytes of answers' bodies";
    Gauge HTTP_REQUESTS_IN_FLIGHT = "fovea_http_requests_in_flight": "Requests being answered";
    Gauge HTTP_CONNECTIONS = "fovea_http_connections": "Connections that are open, by listener";
    Counter HTTP_CONNECTIONS_CUT = "fovea_http_connections_cut_total": "Connections cut off, by reason";
    Counter HTTP_PROBLEMS = "fovea_http_problems_total": "Answers that were problems, by code";
    Counter HTTP_RATE_LIMITED = "fovea_http_rate_limited_total": "Misses refused because their address asked for too many";

    Counter SOURCE_FETCHES = "fovea_source_fetches_total": "Fetches of originals, by category and outcome";
    Histogram SOURCE_FETCH_SECONDS = "fovea_source_fetch_seconds": "Time of one fetch of an original, by category";
    Counter SOURCE_BYTES = "fovea_source_bytes_total": "Bytes of originals that were read, by category";
    Counter SOURCE_RETRIES = "fovea_source_retries_total": "Tries after a failed one, by category";
    Gauge SOURCE_IN_FLIGHT = "fovea_source_in_flight": "Fetches under way, by category";
    Gauge SOURCE_BREAKER_STATE = "fovea_source_breaker_state": "A category's circuit breaker: 0 closed, 1 half open, 2 open";
    Counter SOURCE_BREAKER_OPENED = "fovea_source_breaker_opened_total": "How often a category's breaker opened";
    Counter SOURCE_REJECTED = "fovea_source_rejected_total": "Fetches refused without a try, by category and reason (breaker, bulkhead, address, loop)";

    Counter CACHE_LOOKUPS = "fovea_cache_lookups_total": "Lookups, by tier (memory, negative, alias) and outcome (hit, miss)";
    Gauge CACHE_BYTES = "fovea_cache_bytes": "Bytes held, by tier";
    Gauge CACHE_ENTRIES = "fovea_cache_entries": "Entries held, by tier";
    Counter CACHE_EVICTIONS = "fovea_cache_evictions_total": "Entries dropped, by tier and cause";
    Counter CACHE_PURGES = "fovea_cache_purges_total": "Purges, by what was purged";

    Counter STORE_READS = "fovea_store_reads_total": "Reads of the derivative store, by outcome (hit, miss, stale, error)";
    Counter STORE_WRITES = "fovea_store_writes_total": "Writes to the derivative store, by outcome (written, existed, dropped, error)";
    Histogram STORE_SECONDS = "fovea_store_seconds": "Time of one operation of the derivative store, by operation";
    Gauge STORE_QUEUE = "fovea_store_queue": "Variants waiting to be written";
    Gauge STORE_BYTES = "fovea_store_bytes": "Bytes in a folder of derivatives, as far as counted";
    Counter STORE_EVICTIONS = "fovea_store_evictions_total": "Derivatives removed from a folder to keep its bound";

    Counter FLIGHT_STARTED = "fovea_flight_started_total": "Flights begun, by kind (variant, source)";
    Counter FLIGHT_JOINED = "fovea_flight_joined_total": "Requests that joined a flight under way, by kind";
    Counter FLIGHT_CANCELLED = "fovea_flight_cancelled_total": "Flights ended because nobody waited any more, by kind";
    Gauge FLIGHT_ACTIVE = "fovea_flight_active": "Flights under way, by kind";

    Counter RENDER_JOBS = "fovea_render_jobs_total": "Renders, by output format and outcome";
    Histogram RENDER_SECONDS = "fovea_render_seconds": "Time of a render's stages, by stage (decode, transform, encode)";
    Histogram RENDER_QUEUE_SECONDS = "fovea_render_queue_seconds": "Time a render waited for memory and a thread";
    Gauge RENDER_WORK_BYTES = "fovea_render_work_bytes": "Bytes of work that are charged";
    Gauge RENDER_WORK_BYTES_MAX = "fovea_render_work_bytes_max": "Bytes of work that may be charged";
    Gauge RENDER_WAITING = "fovea_render_waiting": "Renders waiting for memory or a thread";
    Counter RENDER_REFUSED = "fovea_render_refused_total": "Renders refused, by reason (too_large, overloaded, deadline, cancelled)";
    Histogram RENDER_OUTPUT_BYTES = "fovea_render_output_bytes": "Bytes of made variants, by output format";
}

/// Bounds of time, in seconds: from a memory hit to a miss's deadline.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Bounds of size, in bytes: 1 KiB to 16 MiB by factors of four.
const BYTES: [f64; 8] = [1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// How often distributions are folded together, so that memory stays bounded while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder's other end: renders what was counted.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Installs the recorder, or answers the one that this function installed before (a process has one).
///
/// # Errors
/// [`Error::Recorder`] when somebody else installed one.
pub fn install() -> Result<Metrics, Error> {
    static INSTALLED: OnceLock<Option<Metrics>> = OnceLock::new();
    INSTALLED.get_or_init(|| build().ok()).clone().ok_or(Error::Recorder)
}

fn build() -> Result<Metrics, Error> {
    let bounds = |builder: PrometheusBuilder, suffix: &str, bounds: &[f64]| {
        let matcher = Matcher::Suffix(suffix.to_owned());
        builder.set_buckets_for_metric(matcher, bounds).expect("the bounds are not empty")
    };
    let builder = bounds(PrometheusBuilder::new(), "_seconds", &SECONDS);
    let handle = bounds(builder, "_bytes", &BYTES).install_recorder().map_err(|_| Error::Recorder)?;
    for metric in ALL {
        let unit = if metric.name.contains("_seconds") {
            Unit::Seconds
        } else if metric.name.contains("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        };
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Metrics(handle))
}

impl Metrics {
    /// The metrics in Prometheus' text format, with the process's memory and CPU time as they are now.
    pub fn render(&self) -> String {
        if let Some((resident_bytes, cpu_seconds)) = process() {
            gauge!(names::PROCESS_RESIDENT_BYTES).set(resident_bytes);
            gauge!(names::PROCESS_CPU_SECONDS).set(cpu_seconds);
        }
        self.0.render()
    }

    /// Folds distributions together for ever; spawned once.
    pub async fn keep_up(self) {
        let mut interval = tokio::time::interval(UPKEEP);
        loop {
            interval.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// Resident bytes and CPU seconds of this process, where the system has /proc.
fn process() -> Option<(f64, f64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold spaces; what follows its closing bracket does not. utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // Linux shows both in fixed units on every architecture we build for: 4 KiB pages, 100 ticks a second.
    Some((pages * 4096.0, ticks / 100.0))
}

#[cfg(test)]
mod tests {
    use ::metrics::{counter, histogram};

    use super::*;

    #[test]
    fn names_are_well_formed() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(metric.name.starts_with("fovea_"), "{}", metric.name);
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            if metric.kind == Kind::Histogram {
                assert!(metric.name.ends_with("_seconds") || metric.name.ends_with("_bytes"), "{}", metric.name);
            }
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{}", metric.name);
            assert!(seen.insert(metric.name), "{} is declared twice", metric.name);
        }
    }

    #[test]
    fn what_is_counted_is_rendered_with_its_help() {
        let metrics = install().unwrap();
        assert!(install().is_ok(), "a second part of the process gets the same recorder");
        counter!(names::HTTP_PROBLEMS, "code" => "teapot").increment(3);
        histogram!(names::STORE_SECONDS, "operation" => "test").record(0.002);
        histogram!(names::RENDER_OUTPUT_BYTES, "format" => "test").record(5000.0);
        let text = metrics.render();
        for line in [
            "# HELP fovea_http_problems_total Answers that were problems, by code",
            "# TYPE fovea_http_problems_total counter",
            "fovea_http_problems_total{code=\"teapot\"} 3",
            "fovea_store_seconds_bucket{operation=\"test\",le=\"0.0025\"} 1",
            "fovea_store_seconds_bucket{operation=\"test\",le=\"0.001\"} 0",
            "fovea_render_output_bytes_bucket{format=\"test\",le=\"16384\"} 1",
            concat!("fovea_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(text.contains("fovea_process_resident_bytes "));
    }
}
