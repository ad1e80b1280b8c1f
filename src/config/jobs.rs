//! The sections of the catalog, the queue and the workers. What each key means stands in `config/default.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::values::{ServerUrl, blank_address, whole_numbers};
use crate::queue::Kind;

/// `[catalog]`: where assets, jobs and events are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: ServerUrl,
    /// Connections that read.
    pub readers: usize,
    /// Connections to a server that write.
    pub writers: usize,
    /// How long another process's write, or a free connection, is waited for.
    pub busy_timeout_ms: u64,
    /// How long a server may take over a statement.
    pub statement_timeout_ms: u64,
}

/// `[popularity]`: how it is counted what traffic asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Popularity {
    /// How often the catalog is told.
    pub flush_ms: u64,
    /// After which time a request counts half.
    pub half_life_s: u64,
    /// Shapes of a category that are told apart between two times.
    pub shapes_max: usize,
    /// Requests, faded to now, from which a shape is popular.
    pub count_min: u32,
}

/// `[queue]`: how jobs are handed out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Jobs that may wait.
    pub size_max: u64,
    /// How long a worker may be silent.
    pub lease_ms: u64,
    /// Deliveries of a job whose worker is lost each time.
    pub deliveries_max: u32,
    /// Jobs of a kind and priority that a broker has for workers to take.
    pub window: usize,
    /// Retries after a pause.
    pub retries_max: u32,
    /// The pause before each retry.
    #[serde(deserialize_with = "whole_numbers")]
    pub pauses_ms: Vec<u32>,
    /// What critical, high, normal and low concede to more urgent jobs.
    #[serde(deserialize_with = "whole_numbers")]
    pub concede_ms: Vec<u32>,
    /// Categories whose jobs are critical.
    pub critical_categories: BTreeSet<String>,
    /// Owners whose jobs are high.
    pub premium_owners: BTreeSet<String>,
    /// Smaller originals' jobs are high.
    pub small_pixels_max: u64,
    /// Larger originals' jobs are low.
    pub large_pixels_min: u64,
}

/// `[worker]`: how jobs are done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Whether `fovea serve` runs workers too.
    pub enabled: bool,
    /// Where a process that only works tells how it is; none is nowhere.
    #[serde(with = "blank_address")]
    pub listen: Option<SocketAddr>,
    /// Jobs at once.
    pub concurrency: usize,
    /// Jobs of a kind at once; 0 is as many as all.
    pub kinds: BTreeMap<Kind, usize>,
    /// Variants of one job at once.
    pub variants_at_once: usize,
    /// Time for one try.
    pub job_timeout_ms: u64,
    /// The pause between two starts; 0 is none.
    pub start_interval_ms: u64,
    /// How often other processes' jobs are looked for.
    pub poll_ms: u64,
    /// How long jobs under way may take after SIGTERM.
    pub drain_ms: u64,
    /// Failures in a row by which a dependency is left alone.
    pub breaker_failures: u32,
    /// For how long it is.
    pub breaker_open_ms: u64,
    /// Successes after which it is well again.
    pub breaker_successes: u32,
    /// The share of failed tries, 0 to 100, from which fewer jobs are done at once.
    pub failures_percent_max: u32,
    /// For how many days ended jobs are kept.
    pub retention_days: u64,
}
