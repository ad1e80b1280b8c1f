//! The loop that claims jobs and starts them, as many at once as the board allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lease::Leases;
use super::{Parts, run};
use crate::base::Went;
use crate::queue::{Ask, Dependency, Job, Kind};
use crate::telemetry::names;

/// Jobs that are claimed in one go.
const BATCH_MAX: usize = 16;

/// The pause after the queue could not be asked; it doubles up to the second one.
const REST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Claims and starts jobs until it is told to stop, then waits for those under way.
pub async fn pull(parts: Arc<Parts>, mut stopped: watch::Receiver<bool>) {
    let leases = Leases::default();
    let beating = Beating(tokio::spawn(leases.clone().beat(parts.queue.clone())));
    let mut ready = parts.queue.ready();
    let mut running: JoinSet<Kind> = JoinSet::new();
    let mut by_kind: HashMap<Kind, usize> = HashMap::new();
    let mut rest = REST.0;
    // A start goes first: the first look waits, unless this process queues a job before.
    tokio::select! {
        _ = ready.changed() => {}
        () = pause(parts.settings.first_look, &mut stopped) => {}
    }
    while !*stopped.borrow() {
        reap(&mut running, &mut by_kind);
        metrics::gauge!(names::WORKER_CONCURRENCY).set(parts.board.concurrency() as f64);
        let free = parts.board.concurrency().saturating_sub(running.len());
        if free == 0 {
            tokio::select! {
                ended = running.join_next() => drop(note(ended, &mut by_kind)),
                _ = stopped.changed() => {}
            }
            continue;
        }
        ready.borrow_and_update();
        let interval = parts.board.start_interval();
        // With pauses between starts, what is claimed is started: no lease waits for its turn.
        let most = if interval.is_zero() { free.min(BATCH_MAX) } else { 1 };
        match claim(&parts, most, &by_kind).await {
            Ok(jobs) if jobs.is_empty() => {
                rest = REST.0;
                idle(&parts, &mut ready, &mut running, &mut by_kind, &mut stopped).await;
            }
            Ok(jobs) => {
                rest = REST.0;
                for job in jobs {
                    *by_kind.entry(job.kind).or_default() += 1;
                    start(&parts, &leases, &mut running, job);
                }
                if !interval.is_zero() {
                    pause(interval, &mut stopped).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the queue could not be asked for jobs; trying again in {rest:?}");
                pause(rest, &mut stopped).await;
                rest = (rest * 2).min(REST.1);
            }
        }
    }
    while running.join_next().await.is_some() {}
    drop(beating);
}

/// The heartbeat ends with the loop, however that ends.
struct Beating(tokio::task::JoinHandle<()>);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn claim(parts: &Parts, most: usize, by_kind: &HashMap<Kind, usize>) -> Result<Vec<Job>, crate::queue::Error> {
    let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Batch).map(|kind| {
        let bound = parts.settings.kinds.get(kind).copied().unwrap_or(usize::MAX);
        (*kind, bound.saturating_sub(by_kind.get(kind).copied().unwrap_or(0)).min(most))
    });
    let ask = Ask { worker: parts.settings.name.clone(), most, kinds: kinds.collect() };
    let claimed = parts.queue.claim(&ask).await;
    parts.board.met(&Dependency::Catalog, if claimed.is_ok() { Went::Well } else { Went::Ill });
    claimed
}

fn start(parts: &Arc<Parts>, leases: &Leases, running: &mut JoinSet<Kind>, job: Job) {
    let waited_ms = (parts.catalog.now_ms() - job.due_ms).max(0);
    metrics::histogram!(names::JOB_WAIT_SECONDS, "priority" => job.priority.word()).record(waited_ms as f64 / 1000.0);
    let (parts, held, kind) = (parts.clone(), leases.hold(&job), job.kind);
    running.spawn(async move {
        run::run(parts, job, held).await;
        kind
    });
}

/// Waits until there may be something to do.
async fn idle(
    parts: &Parts,
    ready: &mut watch::Receiver<u64>,
    running: &mut JoinSet<Kind>,
    by_kind: &mut HashMap<Kind, usize>,
    stopped: &mut watch::Receiver<bool>,
) {
    let due = parts.queue.next_due().await.ok().flatten().unwrap_or(parts.settings.poll);
    tokio::select! {
        _ = ready.changed() => {}
        _ = stopped.changed() => {}
        ended = running.join_next(), if !running.is_empty() => drop(note(ended, by_kind)),
        () = tokio::time::sleep(due.min(parts.settings.poll).max(Duration::from_millis(5))) => {}
    }
}

async fn pause(time: Duration, stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        _ = stopped.changed() => {}
        () = tokio::time::sleep(time) => {}
    }
}

fn reap(running: &mut JoinSet<Kind>, by_kind: &mut HashMap<Kind, usize>) {
    while let Some(ended) = running.try_join_next() {
        note(Some(ended), by_kind);
    }
}

fn note(ended: Option<Result<Kind, tokio::task::JoinError>>, by_kind: &mut HashMap<Kind, usize>) -> Option<Kind> {
    let kind = ended?.ok()?;
    by_kind.entry(kind).and_modify(|count| *count = count.saturating_sub(1));
    Some(kind)
}
