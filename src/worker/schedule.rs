//! What is due now and then becomes a job; of all processes one queues it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Parts;
use crate::queue::{NewJob, Priority, SYSTEM, Sweep, Task};
use crate::telemetry::names;

const HOUR: Duration = Duration::from_secs(3600);

/// What is due, and how often.
const DUE: [(&str, Duration, Sweep); 3] = [
    ("retention", HOUR, Sweep::Retention),
    ("uploads", HOUR, Sweep::Uploads),
    ("orphans", Duration::from_secs(24 * 3600), Sweep::Orphans),
];

/// How often is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// What adding up all bytes costs, at most one part in so many of the time.
const SUMS_SHARE: u32 = 200;

/// Queues what is due, and tells the metrics how much waits, until it is told to stop.
pub async fn keep(parts: Arc<Parts>, mut stopped: watch::Receiver<bool>) {
    let mut sums_due = Instant::now();
    loop {
        observe(&parts).await;
        if sums_due <= Instant::now() {
            let begun = Instant::now();
            sums(&parts).await;
            // However long it takes to add all up, it is a small part of the time.
            sums_due = begun + (begun.elapsed() * SUMS_SHARE).max(LOOK_EVERY);
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for (name, every, what) in DUE {
            if let Err(error) = queue_due(&parts, name, every, what).await {
                // The loop that claims jobs says so loudly; the next look tries again.
                tracing::debug!(%error, name, "what is due could not be queued");
                break;
            }
        }
    }
}

async fn queue_due(parts: &Parts, name: &str, every: Duration, what: Sweep) -> Result<(), crate::queue::Error> {
    if !parts.catalog.due(name, every, &parts.settings.name).await? {
        return Ok(());
    }
    let job = Task::Cleanup { what }.job(SYSTEM, None, Priority::Low);
    parts.queue.push(vec![NewJob { dedupe: Some(format!("cleanup {name}")), ..job }], None).await.map(drop)
}

async fn sums(parts: &Parts) {
    let Ok(storage) = parts.catalog.storage().await else { return };
    metrics::gauge!(names::STORAGE_BYTES, "kind" => "originals").set(storage.originals as f64);
    metrics::gauge!(names::STORAGE_BYTES, "kind" => "mezzanines").set(storage.mezzanines as f64);
    metrics::gauge!(names::STORAGE_BYTES, "kind" => "variants").set(storage.variants as f64);
}

async fn observe(parts: &Parts) {
    let Ok(depth) = parts.queue.depth(None).await else { return };
    for count in &depth.counts {
        if !count.state.ended() && count.state != crate::queue::JobState::Processing {
            metrics::gauge!(names::QUEUE_DEPTH, "kind" => count.kind.word(), "priority" => count.priority.word())
                .set(count.jobs as f64);
        }
    }
    let oldest_ms = depth.oldest_ms.map_or(0, |oldest| (parts.catalog.now_ms() - oldest).max(0));
    metrics::gauge!(names::QUEUE_OLDEST_SECONDS).set(oldest_ms as f64 / 1000.0);
}
