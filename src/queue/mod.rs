//! Jobs that wait, and who may work on them: a trait, and behind it the queue that lives in the catalog, and the one whose jobs a
//! broker brings to workers.
//!
//! Enters: jobs. Leaves: leases on them, the most urgent and longest waiting first, no owner before another; and after the
//! last try a dead letter.
//!
//! Always true: a job that was taken in is done, or failed with a reason that can be read, or cancelled; killing any process at
//! any moment changes nothing of that.

mod backoff;
mod board;
mod embedded;
mod jetstream;
mod priority;
mod replay;
#[cfg(test)]
pub(crate) mod suite;
mod task;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use crate::catalog::{
    Depth, Ended, Error, Hold, Idempotency, Job, JobState, Kind, Letter, NewJob, Once, Page, Priority, Pushed,
    Retrying, Subject,
};
pub use backoff::{Backoff, Failure};
pub use board::{Board, Dependency, Outcome, Pressure};
pub use embedded::embedded;
pub use jetstream::{Handing, jetstream};
pub use priority::{Facts, Priorities};
pub use replay::{Since, replay};
pub use task::{SYSTEM, Sweep, Task, batch, reprocess};

/// How a queue treats its jobs.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// Deliveries after which a job whose worker was lost each time is given up.
    pub deliveries_max: u32,
    /// What critical, high, normal and low concede to more urgent jobs: a job goes before one that is more urgent once it has
    /// waited so much longer.
    pub concede: [Duration; 4],
    /// When a failed try is repeated.
    pub backoff: Backoff,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            lease: seconds(15),
            deliveries_max: 10,
            concede: [seconds(0), seconds(30), seconds(120), seconds(600)],
            backoff: Backoff::default(),
        }
    }
}

/// What a worker takes on.
#[derive(Clone, PartialEq, Debug)]
pub struct Ask {
    /// Who asks, for the job's status.
    pub worker: String,
    /// Jobs in all.
    pub most: usize,
    /// The kinds, and how many of each.
    pub kinds: Vec<(Kind, usize)>,
}

/// A queue. Statuses and lists of jobs are read from the catalog, whichever queue hands them out.
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Adds jobs, all or none; one whose `dedupe` is known is answered and not added. [`Error::Full`] above the bound.
    fn push<'a>(&'a self, jobs: Vec<NewJob>, queue_max: Option<u64>) -> BoxFuture<'a, Result<Vec<Pushed>, Error>>;
    /// The same, and with it what is answered under a caller's key for repeats; answers what was answered first.
    fn push_once<'a>(
        &'a self,
        jobs: Vec<NewJob>,
        queue_max: Option<u64>,
        once: Once,
    ) -> BoxFuture<'a, Result<serde_json::Value, Error>>;
    /// Leases jobs to a worker: the next ones, none where there are none.
    fn claim<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Job>, Error>>;
    /// A heartbeat for leases, each a job's id and its [`Job::lease`]. Answers what became of each.
    fn extend<'a>(&'a self, leases: Vec<(String, i64)>) -> BoxFuture<'a, Result<Vec<Hold>, Error>>;
    /// Ends a try under its lease; [`Error::Conflict`] when the lease is lost.
    fn end<'a>(&'a self, job: &'a Job, ended: Ended) -> BoxFuture<'a, Result<Job, Error>>;
    /// Takes a job back; one that is under way is stopped by its worker's next heartbeat.
    fn cancel<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;
    /// Queues a job again that failed or was cancelled.
    fn retry<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;
    /// Dead letters, the youngest first; with categories, those about assets of one of them, or of none.
    fn letters<'a>(
        &'a self,
        owner: Option<&'a str>,
        categories: Option<&'a [String]>,
        cursor: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<Letter>, Error>>;
    /// A dead letter.
    fn letter<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Letter, Error>>;
    /// Queues a dead letter's job again.
    fn requeue<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;
    /// Throws a dead letter away.
    fn discard<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;
    /// Takes back all jobs that wait; answers how many.
    fn clear<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<u64, Error>>;
    /// What there is of jobs now.
    fn depth<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<Depth, Error>>;
    /// Changes when jobs of this process's making may be claimed; other processes' are found by asking now and then.
    fn ready(&self) -> watch::Receiver<u64>;
    /// How long until the next job is due that waits for its time; none where there is none.
    fn next_due<'a>(&'a self) -> BoxFuture<'a, Result<Option<Duration>, Error>>;
    /// How it treats its jobs.
    fn settings(&self) -> &Settings;
}
