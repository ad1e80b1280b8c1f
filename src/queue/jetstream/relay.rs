//! From the catalog to the broker: jobs that may be claimed, a window of each lane; and dead letters.
//!
//! Every process with a queue relays, at once after its own commits and now and then what others left. Two that relay the same are
//! one message by its id. One that is killed between the broker's taking a message and the catalog's noting so has it sent again:
//! the same message, or a stale one.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

use super::super::{Error, Letter};
use crate::broker::{JobMessage, Jobs, State, Wakes};
use crate::catalog::{Catalog, Lane, Waiting};
use crate::telemetry::names;

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// The job's id.
    pub job: String,
    /// The lease under which it may be claimed.
    pub lease: i64,
}

/// How often it is looked for what other processes left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is committed within so long is handed over together.
const ROUND_PAUSE: Duration = Duration::from_millis(3);

/// How often one process looks whether the broker still has what it was given.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How long what the broker seems to have lost is looked at once more.
const SWEEP_AGAIN: Duration = Duration::from_millis(250);

/// The schedule of that look.
const SWEEP: &str = "queue sweep";

/// The schedule of making the stream anew.
const RENEW: &str = "queue renewed";

/// Dead letters in one go.
const LETTERS_MAX: u32 = 100;

/// From the catalog to the broker.
#[derive(Debug)]
pub struct Relay {
    catalog: Catalog,
    /// The broker's side.
    pub jobs: Jobs,
    window: usize,
    /// Who this is, where processes take turns.
    holder: String,
    /// One at a time in a process: who comes second finds done what he wanted.
    busy: Mutex<()>,
    asked: Arc<Notify>,
    ready: watch::Sender<u64>,
}

/// A lane's name in subjects.
pub fn name(lane: Lane) -> String {
    format!("{}.{}", lane.priority, lane.kind)
}

impl Relay {
    /// A relay with a window of so many jobs a lane.
    pub fn new(catalog: Catalog, jobs: Jobs, window: usize) -> Self {
        let ready = watch::Sender::new(0);
        let holder = format!("relay-{}-{}", std::process::id(), fastrand::u32(..));
        Self { catalog, jobs, window: window.max(1), holder, busy: Mutex::default(), asked: Arc::default(), ready }
    }

    /// Changes when there may be jobs to claim, as far as this process is told.
    pub fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }

    /// There may be jobs to claim.
    pub fn woken(&self) {
        self.ready.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Asks for a round soon: there is room in a window.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Hands over jobs of these lanes, up to the window, or as many as are wanted where that is more, and tells all workers. Answers
    /// how many.
    pub async fn hand(&self, wanted: &BTreeMap<Lane, usize>) -> Result<usize, Error> {
        let _alone = self.busy.lock().await;
        let windows = wanted.iter().map(|(lane, wanted)| (*lane, self.window.max(*wanted))).collect();
        let waiting = self.catalog.to_hand(&windows).await?;
        if waiting.is_empty() {
            return Ok(0);
        }
        let kept = self.jobs.publish(waiting.iter().map(message).collect()).await;
        let mut handed = Vec::with_capacity(waiting.len());
        for (job, kept) in waiting.into_iter().zip(kept) {
            match kept {
                Ok(()) => handed.push((job.id, job.lease)),
                Err(error) => tracing::debug!(job = %job.id, %error, "a job was not handed over"),
            }
        }
        let count = handed.len();
        if count > 0 {
            metrics::counter!(names::QUEUE_HANDED).increment(count as u64);
            self.catalog.handed(handed).await?;
            self.woken();
            self.jobs.wake().await;
        }
        Ok(count)
    }

    /// Hands over dead letters.
    async fn bury(&self) -> Result<(), Error> {
        let letters = self.catalog.letters_to_hand(LETTERS_MAX).await?;
        if letters.is_empty() {
            return Ok(());
        }
        let kept = self.jobs.publish_dead(letters.iter().map(dead).collect()).await;
        for (letter, kept) in letters.iter().zip(kept) {
            match kept {
                Ok(()) => self.catalog.letter_handed(&letter.job.id, letter.dead_ms).await?,
                Err(error) => tracing::debug!(job = %letter.job.id, %error, "a dead letter was not handed over"),
            }
        }
        Ok(())
    }

    /// What is looked at now and then.
    async fn look(&self) -> Result<(), Error> {
        self.bury().await?;
        if self.catalog.due(SWEEP, SWEEP_EVERY, &self.holder).await? {
            self.sweep().await?;
        }
        Ok(())
    }

    /// Has jobs handed over again that the broker lost: those of lanes in which it has no message at all.
    async fn sweep(&self) -> Result<(), Error> {
        let (left, oldest_ms) = self.catalog.not_in_hand().await?;
        metrics::gauge!(names::QUEUE_OUTBOX_JOBS).set(left as f64);
        let age_ms = oldest_ms.map_or(0, |oldest| (self.catalog.now_ms() - oldest).max(0));
        metrics::gauge!(names::QUEUE_OUTBOX_SECONDS).set(age_ms as f64 / 1000.0);
        let suspects = self.missing(self.catalog.in_hand().await?).await;
        if suspects.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(SWEEP_AGAIN).await;
        let lost = self.missing(suspects).await;
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(jobs = lost.len(), "the broker lost jobs; they are handed over again");
        self.hand_again(lost).await
    }

    /// Notes that the broker has these no more, so that they are handed over again.
    async fn hand_again(&self, lost: Vec<Waiting>) -> Result<(), Error> {
        metrics::counter!(names::QUEUE_LOST).increment(lost.len() as u64);
        self.catalog.unhanded(lost.into_iter().map(|job| (job.id, job.lease)).collect()).await
    }

    /// Has the stream of jobs made anew and what lay in it handed over again; once in so long, whichever processes ask for it.
    ///
    /// What a broker has of jobs can all be told again by the catalog, so nothing of it is worth repairing.
    pub async fn renew(&self, why: &str, every: Duration) -> Result<(), Error> {
        if !self.catalog.due(RENEW, every, &self.holder).await? {
            return Ok(());
        }
        tracing::warn!(why, "the broker's stream of jobs is made anew");
        metrics::counter!(names::QUEUE_RENEWED).increment(1);
        if let Err(error) = self.jobs.renew().await {
            tracing::warn!(%error, "the stream of jobs could not be made anew; it is tried again");
            return Ok(());
        }
        self.hand_again(self.catalog.in_hand().await?).await?;
        self.ask();
        Ok(())
    }

    async fn missing(&self, jobs: Vec<Waiting>) -> Vec<Waiting> {
        let mut lanes: BTreeMap<Lane, Vec<Waiting>> = BTreeMap::new();
        for job in jobs {
            lanes.entry(job.lane).or_default().push(job);
        }
        let mut missing = Vec::new();
        for (lane, jobs) in lanes {
            if matches!(self.jobs.count(&name(lane)).await, Ok(0)) {
                missing.extend(jobs);
            }
        }
        missing
    }
}

/// Relays in the background for as long as there is a queue.
pub fn start(relay: &Arc<Relay>) {
    let told =
        Told { committed: relay.catalog.ready(), broker: relay.jobs.broker().states(), asked: relay.asked.clone() };
    tokio::spawn(keep(Arc::downgrade(relay), told));
    tokio::spawn(listen(Arc::downgrade(relay)));
}

/// What tells a relay that there may be something to do.
struct Told {
    committed: watch::Receiver<u64>,
    broker: watch::Receiver<State>,
    asked: Arc<Notify>,
}

async fn keep(relay: Weak<Relay>, mut told: Told) {
    let mut looked: Option<Instant> = None;
    loop {
        let Some(this) = relay.upgrade() else { return };
        told.committed.borrow_and_update();
        told.broker.borrow_and_update();
        if this.jobs.broker().up().is_ok() {
            let all = Lane::all().map(|lane| (lane, 0)).collect();
            if let Err(error) = this.hand(&all).await {
                tracing::debug!(%error, "jobs were not handed over");
            }
            if looked.is_none_or(|at| at.elapsed() > LOOK_EVERY / 2) {
                looked = Some(Instant::now());
                if let Err(error) = this.look().await {
                    tracing::debug!(%error, "dead letters, or what the broker has, could not be looked at");
                }
            }
        }
        drop(this);
        tokio::time::sleep(ROUND_PAUSE).await;
        tokio::select! {
            changed = told.committed.changed() => if changed.is_err() { return },
            changed = told.broker.changed() => if changed.is_err() { return },
            () = told.asked.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
        }
    }
}

/// Hears of other processes' jobs.
async fn listen(relay: Weak<Relay>) {
    let mut wakes: Option<Wakes> = None;
    while let Some(this) = relay.upgrade() {
        match &mut wakes {
            None => match this.jobs.wakes().await {
                Ok(heard) => wakes = Some(heard),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            },
            Some(heard) => match tokio::time::timeout(LOOK_EVERY, heard.next()).await {
                Ok(true) => this.woken(),
                Ok(false) => wakes = None,
                Err(_) => {}
            },
        }
    }
}

fn message(job: &Waiting) -> JobMessage {
    let note = Note { job: job.id.clone(), lease: job.lease };
    JobMessage {
        lane: name(job.lane),
        // Under another id than the one that was lost, which JetStream would take for the same for two minutes.
        id: job
            .lost_ms
            .map_or_else(|| format!("{}:{}", job.id, job.lease), |lost| format!("{}:{}:{lost}", job.id, job.lease)),
        body: serde_json::to_vec(&note).expect("a note is plain data").into(),
        headers: job.trace.clone().map(|trace| ("traceparent", trace)).into_iter().collect(),
    }
}

fn dead(letter: &Letter) -> JobMessage {
    let job = &letter.job;
    let subject = job.subject.as_ref();
    let body = json!({
        "job": job.id, "owner": job.owner, "kind": job.kind, "priority": job.priority,
        "category": subject.map(|subject| &subject.category),
        "asset": subject.map(|subject| &subject.asset),
        "version": subject.and_then(|subject| subject.version.as_ref()),
        "payload": job.payload, "attempts": job.attempts, "deliveries": job.deliveries,
        "reason": letter.reason, "error": job.error, "dead_ms": letter.dead_ms,
    });
    let mut headers = vec![("Fovea-Reason", letter.reason.clone())];
    headers.extend(job.error.clone().map(|error| ("Fovea-Error", error)));
    headers.extend(job.trace.clone().map(|trace| ("traceparent", trace)));
    JobMessage {
        lane: name(Lane { kind: job.kind, priority: job.priority }),
        id: format!("{}:{}", job.id, letter.dead_ms),
        body: Bytes::from(body.to_string()),
        headers,
    }
}
