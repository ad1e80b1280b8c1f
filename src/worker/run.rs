//! One try of a job: begun if what it depends on is well, stopped at its deadline or when it is told, and ended in the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lease::{Held, Signal};
use super::verdict::Verdict;
use super::{Parts, jobs};
use crate::base::Deadline;
use crate::queue::{Dependency, Ended, Failure, Job, Kind, Outcome};
use crate::telemetry::names;

/// Tries to tell the queue how a job ended; then its lease runs out, and another worker finds it.
const TELL_TRIES: u32 = 6;

/// What a job that waits for a dependency waits longer at most, so that not all come back in one moment.
const SPREAD_MS: u64 = 1000;

/// Does one try of a job.
pub async fn run(parts: Arc<Parts>, job: Job, held: Held) {
    let uses = uses(&job);
    let begun = Instant::now();
    // Dropped in the middle of a job, when a drain takes too long: the job goes back at once.
    let mut handed = Handed { parts: parts.clone(), job: Some(job.clone()) };
    parts.board.began();
    let (ended, outcome) = match uses.iter().find_map(|one| parts.board.open_for(one)) {
        Some(time) => (Ended::Released { delay_ms: spread(time) }, None),
        None => attempt(&parts, &job, held.signal.clone()).await,
    };
    handed.job = None;
    parts.board.ended(outcome.as_ref(), &uses);
    metrics::histogram!(names::JOB_SECONDS, "kind" => job.kind.word()).record(begun.elapsed());
    metrics::counter!(names::JOB_ENDED, "kind" => job.kind.word(), "outcome" => word(&ended)).increment(1);
    tell(&parts, &job, ended).await;
    drop(held);
}

/// A job that is under way; handed back when it is dropped.
struct Handed {
    parts: Arc<Parts>,
    job: Option<Job>,
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let (Some(job), Ok(runtime)) = (self.job.take(), tokio::runtime::Handle::try_current()) {
            let parts = self.parts.clone();
            runtime.spawn(async move { drop(parts.queue.end(&job, Ended::Released { delay_ms: 0 }).await) });
        }
    }
}

/// Does the work; answers how the job goes on, and what that says of the workers.
async fn attempt(
    parts: &Arc<Parts>,
    job: &Job,
    mut signal: tokio::sync::watch::Receiver<Signal>,
) -> (Ended, Option<Outcome>) {
    let time = job.timeout_ms.map_or(parts.settings.job_timeout, Duration::from_millis);
    let mut work = tokio::spawn(jobs::perform(parts.clone(), job.clone(), Deadline::after(time)));
    let abort = work.abort_handle();
    // Also when this is dropped: what is under way stops with it.
    let _stop = Stop(abort);
    let told = async { signal.wait_for(|signal| *signal != Signal::Go).await.map_or(Signal::Lost, |signal| *signal) };
    let backoff = &parts.queue.settings().backoff;
    tokio::select! {
        done = &mut work => match done {
            Ok(Ok(ended)) => (ended, Some(Outcome::Well)),
            Ok(Err(verdict)) => judged(parts, job, verdict),
            Err(_) => {
                let failure = Failure { code: "defect".to_owned(), error: "the job panicked".to_owned(), passing: true };
                (backoff.after(job.attempts, failure), Some(Outcome::Ill(None)))
            }
        },
        signal = told => match signal {
            Signal::Cancel => (Ended::Cancelled, None),
            // Whoever has the lease now ends the job; what this says is refused.
            Signal::Lost | Signal::Go => (Ended::Released { delay_ms: 0 }, None),
        },
        () = tokio::time::sleep(time) => {
            let error = format!("it was not done in {time:?}");
            let failure = Failure { code: "timeout".to_owned(), error, passing: true };
            (backoff.after(job.attempts, failure), Some(Outcome::Ill(None)))
        }
    }
}

struct Stop(tokio::task::AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn judged(parts: &Parts, job: &Job, verdict: Verdict) -> (Ended, Option<Outcome>) {
    match verdict {
        Verdict::Wait(time) => (Ended::Released { delay_ms: spread(time) }, None),
        Verdict::Failed(failure, to_blame) => {
            let outcome = if failure.passing { Outcome::Ill(to_blame.clone()) } else { Outcome::Well };
            // Where what it failed by is left alone from now on, or this was to see how it is, the try is not held against the job.
            if let Some(time) = to_blame.as_ref().and_then(|one| parts.board.open_after_failure(one)) {
                return (Ended::Released { delay_ms: spread(time) }, Some(outcome));
            }
            (parts.queue.settings().backoff.after(job.attempts, failure), Some(outcome))
        }
    }
}

/// Tells the queue, and tries again while the queue cannot be reached.
async fn tell(parts: &Parts, job: &Job, ended: Ended) {
    let mut pause = Duration::from_millis(100);
    for _ in 0..TELL_TRIES {
        match parts.queue.end(job, ended.clone()).await {
            Ok(_) => return,
            Err(crate::queue::Error::Unavailable(error)) => {
                tracing::warn!(job = %job.id, error, "the end of a job did not reach the queue");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(crate::queue::Error::Conflict) => {
                return tracing::info!(job = %job.id, "another worker has the job now");
            }
            Err(error) => return tracing::error!(job = %job.id, %error, "the queue refused the end of a job"),
        }
    }
}

/// What a job depends on.
fn uses(job: &Job) -> Vec<Dependency> {
    let mut uses = Vec::new();
    if !matches!(job.kind, Kind::Cleanup | Kind::Reprocess | Kind::Batch) {
        uses.push(Dependency::Store);
        if let Some(subject) = &job.subject {
            uses.push(Dependency::Source(subject.category.clone()));
        }
    }
    uses
}

fn spread(time: Duration) -> u64 {
    time.as_millis() as u64 + fastrand::u64(1..=SPREAD_MS)
}

const fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Completed { .. } => "completed",
        Ended::Next { .. } => "next",
        Ended::Retry(_) => "retry",
        Ended::Failed { .. } => "failed",
        Ended::Cancelled => "cancelled",
        Ended::Released { .. } => "released",
    }
}
