//! Lanes that stand still: jobs are there, workers ask for them, and the broker brings none.
//!
//! A server that was killed may come back with a stream or consumer that says what lies in it and delivers nothing (seen with
//! NATS 2.9.10 as a cluster of three). Whoever claims sees it: the same job is next, time after time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::catalog::{Lane, Waiting};

/// A job that was next in its lane and did not come.
#[derive(Debug)]
struct Missed {
    job: String,
    lease: i64,
    since: Instant,
}

/// What claims saw of lanes.
#[derive(Debug)]
pub struct Stalls {
    after: Duration,
    missed: Mutex<HashMap<Lane, Missed>>,
    until: Mutex<Option<Instant>>,
}

/// So many times as long as it was waited for a lane that stands still, the broker is done without.
const WITHOUT: u32 = 4;

impl Stalls {
    /// Lanes that bring nothing for longer than `after` stand still.
    pub fn new(after: Duration) -> Self {
        Self { after, missed: Mutex::default(), until: Mutex::default() }
    }

    /// How long a lane may bring nothing.
    pub const fn after(&self) -> Duration {
        self.after
    }

    /// Whether a lane stood still of late.
    pub fn of_late(&self) -> bool {
        self.until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// Notes which jobs a claim wanted and which lanes brought any. Answers whether one stands still.
    pub fn note(&self, wanted: &[Waiting], brought: &BTreeSet<Lane>) -> bool {
        let mut heads: HashMap<Lane, &Waiting> = HashMap::new();
        for job in wanted.iter().filter(|job| !brought.contains(&job.lane)) {
            heads.entry(job.lane).or_insert(job);
        }
        let mut missed = self.missed.lock();
        missed.retain(|lane, missed| {
            heads.get(lane).is_some_and(|head| (&head.id, head.lease) == (&missed.job, missed.lease))
        });
        let now = Instant::now();
        for (lane, Waiting { id, lease, .. }) in heads {
            missed.entry(lane).or_insert_with(|| Missed { job: id.clone(), lease: *lease, since: now });
        }
        let stalled = missed.values().any(|missed| now - missed.since > self.after);
        if stalled {
            missed.clear();
            *self.until.lock() = Some(now + self.after * WITHOUT);
        }
        stalled
    }
}
