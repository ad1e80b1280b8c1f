//! Leases under way: one heartbeat for all of them, which tells each job when it is to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::queue::{Hold, Job, Queue};

/// What a job is told while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Go on.
    Go,
    /// Somebody asked to stop it.
    Cancel,
    /// Its lease is somebody else's now.
    Lost,
}

/// Leases under way, by job.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<HashMap<String, (i64, watch::Sender<Signal>)>>>);

/// One lease. Dropped, it gets no more heartbeats.
#[derive(Debug)]
pub struct Held {
    leases: Leases,
    id: String,
    lease: i64,
    /// What the job is told.
    pub signal: watch::Receiver<Signal>,
}

impl Leases {
    /// Takes a lease in.
    pub fn hold(&self, job: &Job) -> Held {
        let (tell, signal) = watch::channel(Signal::Go);
        self.0.lock().insert(job.id.clone(), (job.lease, tell));
        Held { leases: self.clone(), id: job.id.clone(), lease: job.lease, signal }
    }

    /// Sends heartbeats for ever: three in the time that a lease lasts.
    pub async fn beat(self, queue: Arc<dyn Queue>) {
        let every = (queue.settings().lease / 3).max(Duration::from_millis(10));
        loop {
            tokio::time::sleep(every).await;
            self.beat_once(&*queue).await;
        }
    }

    async fn beat_once(&self, queue: &dyn Queue) {
        let held: Vec<(String, i64)> = self.0.lock().iter().map(|(id, (lease, _))| (id.clone(), *lease)).collect();
        if held.is_empty() {
            return;
        }
        let holds = match queue.extend(held.clone()).await {
            Ok(holds) => holds,
            // The next one may reach it; if none does, the lease runs out and the job is somebody else's.
            Err(error) => return tracing::warn!(%error, "a heartbeat did not reach the queue"),
        };
        let leases = self.0.lock();
        for ((id, lease), hold) in held.iter().zip(holds) {
            let signal = match hold {
                Hold::Kept => continue,
                Hold::Cancelling => Signal::Cancel,
                Hold::Lost => Signal::Lost,
            };
            if let Some((_, tell)) = leases.get(id).filter(|(held, _)| held == lease) {
                tell.send_replace(signal);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut leases = self.leases.0.lock();
        if leases.get(&self.id).is_some_and(|(lease, _)| *lease == self.lease) {
            leases.remove(&self.id);
        }
    }
}
