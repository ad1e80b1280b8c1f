//! Jobs that were looked at a moment ago: kept in memory before the catalog, forgotten when an event tells of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use metrics::counter;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::wire::JobView;
use crate::catalog::{Catalog, EventFilter};
use crate::telemetry::names;

/// Most jobs that are kept.
const JOBS_MAX: usize = 10_000;
/// For how long one is believed without a word from the catalog.
const BELIEVED: Duration = Duration::from_secs(30);
/// Events that are read at once.
const EVENTS: u32 = 1000;
/// How long the follower rests when the catalog fails.
const REST: Duration = Duration::from_secs(1);

/// A job as it was.
struct Kept {
    view: Arc<JobView>,
    /// Where the events stood before it was read.
    seen: i64,
    since: Instant,
}

/// Jobs that were looked at a moment ago.
pub struct Recent {
    jobs: Mutex<HashMap<String, Kept>>,
    /// Up to where the events are read; negative before the first look.
    read: AtomicI64,
    /// Told when somebody looks at a job.
    asked: Notify,
}

impl Default for Recent {
    fn default() -> Self {
        Self { jobs: Mutex::default(), read: AtomicI64::new(-1), asked: Notify::new() }
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl Recent {
    /// A job, if it was looked at and nothing happened to it since.
    pub(super) fn find(&self, id: &str) -> Option<Arc<JobView>> {
        self.asked.notify_one();
        let jobs = self.jobs.lock();
        let found = jobs.get(id).filter(|kept| kept.since.elapsed() < BELIEVED).map(|kept| kept.view.clone());
        let outcome = if found.is_some() { "hit" } else { "miss" };
        counter!(names::JOB_CACHE, "tier" => "memory", "outcome" => outcome).increment(1);
        found
    }

    /// Counts what the shared tier, the catalog, said of a job.
    pub(super) fn asked_shared(&self, found: bool) {
        let outcome = if found { "hit" } else { "miss" };
        counter!(names::JOB_CACHE, "tier" => "shared", "outcome" => outcome).increment(1);
    }

    /// Where the events stand; asked before a job is read that is then kept.
    pub(super) fn mark(&self) -> i64 {
        self.read.load(Ordering::Acquire)
    }

    /// Keeps a job that was read after `mark`.
    pub(super) fn keep(&self, view: Arc<JobView>, mark: i64) {
        let mut jobs = self.jobs.lock();
        if jobs.len() >= JOBS_MAX {
            jobs.retain(|_, kept| kept.since.elapsed() < BELIEVED);
            if jobs.len() >= JOBS_MAX {
                jobs.clear();
            }
        }
        // What happened while it was read may be missing from it.
        if mark >= 0 && self.mark() == mark {
            jobs.insert(view.id.clone(), Kept { view, seen: mark, since: Instant::now() });
        }
    }

    /// Forgets a job that something happened to.
    fn forget(&self, id: &str, seq: i64) {
        let mut jobs = self.jobs.lock();
        if jobs.get(id).is_some_and(|kept| kept.seen < seq) {
            jobs.remove(id);
        }
    }

    /// Follows the events for ever, from the first look at a job on: before, the catalog is left alone. Spawned once.
    pub async fn follow(self: Arc<Self>, catalog: Catalog) {
        self.asked.notified().await;
        let mut last = catalog.follow();
        loop {
            let after = self.read.load(Ordering::Acquire);
            if after < 0 {
                match catalog.last_event().await {
                    Ok(seq) => self.read.store(seq, Ordering::Release),
                    Err(_) => tokio::time::sleep(REST).await,
                }
                continue;
            }
            match catalog.events(after, &EventFilter::default(), EVENTS).await {
                Err(error) => {
                    tracing::debug!(%error, "events cannot be read; jobs are asked of the catalog");
                    self.jobs.lock().clear();
                    tokio::time::sleep(REST).await;
                    continue;
                }
                Ok(events) => {
                    let whole = events.len() >= EVENTS as usize;
                    for event in events {
                        self.read.store(event.seq, Ordering::Release);
                        if let Some(job) = &event.job {
                            self.forget(job, event.seq);
                        }
                    }
                    if whole {
                        continue;
                    }
                }
            }
            if last.changed().await.is_err() {
                return;
            }
        }
    }
}
