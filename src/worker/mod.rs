//! Workers: they claim jobs, do them, and say what came of it.
//!
//! Enters: leases from the queue. Leaves: variants in the store, facts in the catalog, ends of jobs.
//!
//! `pull` claims and starts, `lease` keeps what is under way alive, `run` does one try and ends it, `verdict` tells whose fault a
//! failure is, `schedule` queues what is due now and then; `jobs` has a file a kind.
//!
//! Always true: a variant is made by `serve`, behind every request that somebody waits for; and a job whose lease is lost writes
//! nothing more.

mod jobs;
mod lease;
mod pull;
mod run;
mod schedule;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::object::ObjectStore;
use crate::popularity::Coverage;
use crate::queue::{Board, Job, Kind, Queue, SYSTEM};
use crate::serve::Origin;

/// What workers are built of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What is known.
    pub catalog: Catalog,
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// What makes variants.
    pub origin: Arc<Origin>,
    /// The store of uploaded originals.
    pub originals: Option<Arc<dyn ObjectStore>>,
    /// How they fare.
    pub board: Arc<Board>,
    /// How they work.
    pub settings: Settings,
}

impl Parts {
    /// Whose things a job may look at: its owner's, or everybody's where nobody asked for it.
    fn seen_by<'a>(&self, job: &'a Job) -> Option<&'a str> {
        Some(job.owner.as_str()).filter(|owner| *owner != SYSTEM)
    }
}

/// How workers work.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Who they are, for the status of jobs.
    pub name: String,
    /// Time for one try, where the job does not say.
    pub job_timeout: Duration,
    /// Jobs at once, by kind; a kind without a number is bounded by all of them together.
    pub kinds: BTreeMap<Kind, usize>,
    /// Variants of one job that are made at once.
    pub variants_at_once: usize,
    /// How often the queue is asked for other processes' jobs.
    pub poll: Duration,
    /// How long after the start the queue is first asked, so that the first requests have the machine to themselves.
    pub first_look: Duration,
    /// Variants that every new asset of a category gets, as a URL's last segment.
    pub prewarm: BTreeMap<String, Vec<String>>,
    /// How much of a category's traffic new assets shall cover; a category without looks at none.
    pub coverage: BTreeMap<String, Coverage>,
    /// After which time a request counts half in what is popular.
    pub half_life: Duration,
    /// For how long ended jobs are kept.
    pub retention: Duration,
    /// After which time an upload in parts that has not ended was given up.
    pub upload_time: Duration,
    /// For how long versions that are no longer current are kept, by category; a category without a number keeps them.
    pub version_retention: BTreeMap<String, Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: format!("worker-{}", std::process::id()),
            job_timeout: Duration::from_secs(30),
            kinds: BTreeMap::new(),
            variants_at_once: 8,
            poll: Duration::from_millis(150),
            first_look: Duration::ZERO,
            prewarm: BTreeMap::new(),
            coverage: BTreeMap::new(),
            half_life: Duration::from_secs(7 * 86_400),
            retention: Duration::from_secs(30 * 86_400),
            upload_time: Duration::from_secs(2 * 3600),
            version_retention: BTreeMap::new(),
        }
    }
}

/// Workers that run.
#[derive(Debug)]
pub struct Worker {
    stop: watch::Sender<bool>,
    pulling: JoinHandle<()>,
    scheduling: JoinHandle<()>,
}

impl Worker {
    /// Starts them.
    pub fn start(parts: Parts) -> Self {
        let (stop, stopped) = watch::channel(false);
        let parts = Arc::new(parts);
        let scheduling = tokio::spawn(schedule::keep(parts.clone(), stopped.clone()));
        let pulling = tokio::spawn(pull::pull(parts, stopped));
        Self { stop, pulling, scheduling }
    }

    /// Claims nothing more, and waits for what is under way, at most so long; what is not done by then is handed back.
    pub async fn drain(mut self, time: Duration) {
        self.stop.send_replace(true);
        self.scheduling.abort();
        if tokio::time::timeout(time, &mut self.pulling).await.is_err() {
            // Its jobs are handed back as they are dropped.
            self.pulling.abort();
            drop(self.pulling.await);
        }
    }
}
