//! The metrics: declared once, with kind, help and labels; counted with the `metrics` macros under these names; rendered for
//! Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

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

    Counter HTTP_REQUESTS = "fovea_http_requests_total": "Image requests answered, by method, status class and where the answer came from";
    Histogram HTTP_REQUEST_SECONDS = "fovea_http_request_seconds": "From a request's head to its answer's, by where the answer came from";
    Counter HTTP_RESPONSE_BYTES = "fovea_http_response_bytes_total": "Bytes of answers' bodies";
    Gauge HTTP_CONNECTIONS = "fovea_http_connections": "Connections that are open, by listener";
    Counter HTTP_CONNECTIONS_ACCEPTED = "fovea_http_connections_total": "Connections that were accepted, by listener";
    Counter HTTP_CONNECTIONS_REFUSED = "fovea_http_connections_refused_total": "Connections refused as above the bound, by listener";
    Counter HTTP_CONNECTIONS_CUT = "fovea_http_connections_cut_total": "Connections cut off, by listener and reason (head, idle, stall, drain)";
    Counter HTTP_PROBLEMS = "fovea_http_problems_total": "Answers that were problems, by code";
    Counter HTTP_RATE_LIMITED = "fovea_http_rate_limited_total": "Misses refused because their address asked for too many";
    Gauge HTTP_RATE_ADDRESSES = "fovea_http_rate_addresses": "Addresses that the rate limit remembers";
    Counter HTTP_ACCESS_LINES_DROPPED = "fovea_http_access_lines_dropped_total": "Access lines dropped because the writer could not keep up";

    Counter SOURCE_REQUESTS = "fovea_source_requests_total": "Tries to open an original, by category and outcome";
    Histogram SOURCE_OPEN_SECONDS = "fovea_source_open_seconds": "Time until an original was opened or not, by category";
    Counter SOURCE_BYTES = "fovea_source_bytes_total": "Bytes of originals that were read, by category";
    Counter SOURCE_RETRIES = "fovea_source_retries_total": "Tries after a failed one, by category";
    Gauge SOURCE_IN_FLIGHT = "fovea_source_in_flight": "Fetches under way, by category";
    Gauge SOURCE_BREAKER_STATE = "fovea_source_breaker_state": "A category's circuit breaker: 0 closed, 1 half open, 2 open";
    Counter SOURCE_BREAKER_OPENED = "fovea_source_breaker_opened_total": "How often a category's circuit breaker opened";

    Gauge CACHE_MEMORY_BYTES = "fovea_cache_memory_bytes": "Bytes in the memory cache";
    Gauge CACHE_MEMORY_ENTRIES = "fovea_cache_memory_entries": "Entries in the memory cache";

    Counter STORE_READS = "fovea_store_reads_total": "Reads of the derivative store, by outcome";
    Counter STORE_WRITES = "fovea_store_writes_total": "Writes to the derivative store, by outcome";
    Gauge STORE_QUEUE_WRITES = "fovea_store_queue_writes": "Variants waiting to be written to the derivative store";
    Gauge STORE_QUEUE_BYTES = "fovea_store_queue_bytes": "Bytes waiting to be written to the derivative store";
    Gauge STORE_BYTES = "fovea_store_bytes": "Bytes in a bounded folder of derivatives, as far as counted";
    Counter STORE_EVICTED = "fovea_store_evicted_total": "Derivatives removed from a folder to keep its bound";

    Gauge FLIGHTS_UNDER_WAY = "fovea_flights_under_way": "Variants being made, whoever waits for them";

    Counter INGEST_ACCEPTED = "fovea_ingest_accepted_total": "Originals that were taken, by the way they came";
    Counter INGEST_REJECTED = "fovea_ingest_rejected_total": "Originals that were not taken, by reason";
    Counter INGEST_BYTES = "fovea_ingest_bytes_total": "Bytes of originals that were taken";
    Histogram INGEST_SECONDS = "fovea_ingest_seconds": "From an upload's head to its record, by stage (body, store, record)";
    Counter JOB_CACHE = "fovea_job_cache_total": "Looks at jobs and assets, by tier (memory, shared, catalog) and outcome (hit, miss)";
    Gauge STORAGE_BYTES = "fovea_storage_bytes": "Bytes that the catalog knows of, by kind (originals, mezzanines, variants)";

    Counter FLEET_FLIGHTS = "fovea_fleet_flights_total": "Variants that the store did not hold, by how the fleet's lease went (led, followed, took_over, in_vain, unavailable)";
    Histogram FLEET_WAIT_SECONDS = "fovea_fleet_wait_seconds": "How long a variant was waited for that another process makes";

    Gauge BROKER_UP = "fovea_broker_up": "Whether the connection to the broker is there, 0 or 1";
    Counter EVENTS_RELAYED = "fovea_events_relayed_total": "Events of the catalog that this process appended to the broker's log";
    Counter EVENTS_RENEWED = "fovea_events_renewed_total": "Times that the broker's log of events was made anew by this process, since it took or brought nothing";
    Gauge EVENTS_LEADING = "fovea_events_leading": "Whether this process is the one that relays events, 0 or 1";

    Counter RENDER_MEZZANINES = "fovea_render_mezzanines_total": "Mezzanines made";
    Counter RENDER_VARIANTS = "fovea_render_variants_total": "Variants made, by output format";
    Counter RENDER_SHARED = "fovea_render_shared_total": "Variants made from another's decode, as they were wanted at the same time";
    Counter RENDER_ASSISTED = "fovea_render_assisted_total": "Parts of a decode that were handed to idle threads";
    Histogram RENDER_STAGE_SECONDS = "fovea_render_stage_seconds": "Time of a render's stages (decode, transform, encode), by stage";
    Gauge RENDER_BUDGET_USED_BYTES = "fovea_render_budget_used_bytes": "Bytes of work that are charged";
    Gauge RENDER_BUDGET_PEAK_BYTES = "fovea_render_budget_peak_bytes": "Most bytes of work that were charged at once";
    Gauge RENDER_BUDGET_WAITING = "fovea_render_budget_waiting": "Requests waiting for memory";
    Gauge RENDER_THREADS_BUSY = "fovea_render_threads_busy": "Render threads at work";
    Gauge RENDER_QUEUE_JOBS = "fovea_render_queue_jobs": "Jobs waiting for a render thread";

    Counter JOB_ENDED = "fovea_job_ended_total": "Tries of jobs that ended, by kind and how (completed, next, retry, failed, cancelled, released)";
    Histogram JOB_SECONDS = "fovea_job_seconds": "From a job's start to the end of the try, by kind";
    Histogram JOB_WAIT_SECONDS = "fovea_job_wait_seconds": "From when a job could be claimed to when it was, by priority";
    Gauge QUEUE_DEPTH = "fovea_queue_depth": "Jobs that wait, by kind and priority";
    Gauge QUEUE_OLDEST_SECONDS = "fovea_queue_oldest_seconds": "How long the oldest job has waited that could be claimed";
    Counter QUEUE_HANDED = "fovea_queue_handed_total": "Jobs handed over to the broker";
    Counter QUEUE_REDELIVERED = "fovea_queue_redelivered_total": "Messages of jobs that the broker delivered again";
    Counter QUEUE_STALE = "fovea_queue_stale_total": "Messages of jobs that were somebody else's by then, or had ended";
    Counter QUEUE_RENEWED = "fovea_queue_renewed_total": "Times that the broker's stream of jobs was made anew, since it did not deliver or was full of what was done with";
    Counter QUEUE_LOST = "fovea_queue_lost_total": "Jobs handed over again, since the broker had lost them";
    Gauge QUEUE_OUTBOX_JOBS = "fovea_queue_outbox_jobs": "Jobs that could be claimed and wait in the catalog to be handed over, as the process that looked last saw it";
    Gauge QUEUE_OUTBOX_SECONDS = "fovea_queue_outbox_seconds": "How long the oldest of them has waited, as the process that looked last saw it";
    Gauge WORKER_RUNNING = "fovea_worker_running": "Jobs that this process is at";
    Gauge WORKER_UTILISATION = "fovea_worker_utilisation": "Jobs that this process is at, as a share of those that it may be at, 0 to 1";
    Gauge WORKER_CONCURRENCY = "fovea_worker_concurrency": "Jobs that this process may be at";
    Gauge WORKER_PRESSURE = "fovea_worker_pressure": "Steps by which this process has lowered its jobs at once, after failures";
    Gauge WORKER_BREAKER_STATE = "fovea_worker_breaker_state": "A dependency's circuit breaker: 0 closed, 1 half open, 2 open";
}

/// Bounds of time, in seconds: from a memory hit to a miss's deadline.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

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
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS).expect("the bounds are not empty");
    let handle = builder.install_recorder().map_err(|_| Error::Recorder)?;
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
                assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
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
        histogram!(names::SOURCE_OPEN_SECONDS, "category" => "test").record(0.002);
        let text = metrics.render();
        for line in [
            "# HELP fovea_http_problems_total Answers that were problems, by code",
            "# TYPE fovea_http_problems_total counter",
            "fovea_http_problems_total{code=\"teapot\"} 3",
            "fovea_source_open_seconds_bucket{category=\"test\",le=\"0.0025\"} 1",
            "fovea_source_open_seconds_bucket{category=\"test\",le=\"0.001\"} 0",
            concat!("fovea_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(text.contains("fovea_process_resident_bytes "));
    }
}
