//! The queue in NATS JetStream: the broker brings jobs to workers, the catalog says what each is and where it stands.
//!
//! A job is added to the catalog alone, in the transaction of whatever it comes from. The [`relay`] hands over the next few of each
//! lane as messages, which name a job and its lease. A claim asks the catalog which lanes are first, takes so many messages from
//! them, and claims in the catalog what they name: a message whose lease is not the job's any more is stale and is acknowledged. The
//! message of a job under way is said to be so by each heartbeat, and acknowledged once the catalog knows how the try ended.
//!
//! So whatever is delivered twice runs once, and whatever is lost on the way is still in the catalog. While the broker is away, or
//! does not deliver what it has, jobs are claimed in the catalog alone; their messages are stale when it is back.

mod relay;
mod stall;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::embedded::Embedded;
use super::{Ask, Depth, Ended, Error, Hold, Job, Letter, NewJob, Once, Page, Pushed, Queue, Settings};
use crate::broker::{Broker, Delivery, Jobs, JobsSettings};
use crate::catalog::{Catalog, Claim, Lane};
use crate::telemetry::names;
use relay::{Note, Relay, name};
use stall::Stalls;

/// How the queue uses the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handing {
    /// Jobs of a lane that the broker has for workers to take.
    pub window: usize,
    /// For how long it keeps dead letters.
    pub dead_age_max: Duration,
    /// Bytes of them; above these the oldest go.
    pub dead_bytes_max: u64,
}

impl Default for Handing {
    fn default() -> Self {
        Self { window: 6, dead_age_max: Duration::from_secs(30 * 86_400), dead_bytes_max: 1 << 30 }
    }
}

/// Messages that turn out stale are made good by further ones so often in one claim; where all were, the broker is full of them.
const ROUNDS: usize = 64;

/// How long a message is waited for that should be there.
const DELIVERED_WITHIN: Duration = Duration::from_millis(50);

/// The shortest time after which JetStream delivers again what is silent.
const ACK_WAIT_MIN: Duration = Duration::from_secs(1);

/// So many times the time for an acknowledgement a lane may bring nothing that is there: a message that was on its way to a worker
/// that was killed comes again after one.
const STALLED_AFTER: u32 = 2;

/// For how long a message waits in the broker that nobody asks for; then its job is handed over again.
const AGE_MAX: Duration = Duration::from_secs(86_400);

/// The message of a job that this process is at.
#[derive(Debug)]
struct Held {
    lease: i64,
    delivery: Arc<Delivery>,
    touched: Instant,
}

/// The queue in JetStream.
#[derive(Debug)]
struct JetStream {
    /// Statuses, lists and changes of jobs, which are the catalog's whoever hands them out.
    known: Embedded,
    relay: Arc<Relay>,
    held: Mutex<HashMap<String, Held>>,
    stalls: Stalls,
}

/// A message that came.
struct Fetched {
    lane: Lane,
    note: Note,
    delivery: Delivery,
}

/// The queue in a broker. Asks nothing of it yet. Needs a running runtime.
pub fn jetstream(catalog: Catalog, broker: Broker, settings: Settings, handing: Handing) -> Arc<dyn Queue> {
    let ack_wait = settings.lease.max(ACK_WAIT_MIN);
    let jobs = Jobs::new(
        broker,
        JobsSettings {
            ack_wait,
            // Deliveries that count are the catalog's; these bound what no worker ever claims.
            deliveries_max: settings.deliveries_max.saturating_mul(2).max(10),
            age_max: AGE_MAX,
            dead_age_max: handing.dead_age_max,
            dead_bytes_max: handing.dead_bytes_max,
        },
    );
    let relay = Arc::new(Relay::new(catalog.clone(), jobs, handing.window));
    relay::start(&relay);
    let stalls = Stalls::new(ack_wait * STALLED_AFTER);
    Arc::new(JetStream { known: Embedded::new(catalog, settings), relay, held: Mutex::default(), stalls })
}

impl JetStream {
    async fn claim(&self, ask: &Ask) -> Result<Vec<Job>, Error> {
        if self.relay.jobs.broker().up().is_err() || self.stalls.of_late() {
            return self.known.claim(ask).await;
        }
        let mut claim = self.known.claim_of(ask);
        self.catalog().tidy(claim.deliveries_max).await?;
        let mut claimed = Vec::new();
        for round in 1..=ROUNDS {
            let (taken, stale) = match self.claim_once(&claim).await {
                // What was claimed before is ours.
                Err(_) if !claimed.is_empty() => break,
                once => once?,
            };
            claim.most -= taken.len().min(claim.most);
            for job in &taken {
                let left = claim.kinds.iter_mut().filter(|(kind, _)| *kind == job.kind);
                left.for_each(|(_, left)| *left = left.saturating_sub(1));
            }
            claimed.extend(taken);
            if stale == 0 || claim.most == 0 {
                break;
            }
            if round == ROUNDS && claimed.is_empty() {
                self.relay.renew("it is full of what is done with", self.stalls.after()).await?;
            }
        }
        if !claimed.is_empty() {
            self.relay.ask();
        }
        Ok(claimed)
    }

    /// Answers what was claimed, and how many messages were stale.
    async fn claim_once(&self, claim: &Claim) -> Result<(Vec<Job>, usize), Error> {
        let next = self.catalog().next_jobs(claim).await?;
        let mut lanes: BTreeMap<Lane, usize> = BTreeMap::new();
        for job in &next {
            *lanes.entry(job.lane).or_default() += 1;
        }
        if next.iter().any(|job| !job.handed) {
            self.relay.hand(&lanes).await?;
        }
        let mut delivered = self.fetch_all(&lanes, Duration::ZERO).await;
        if delivered.is_empty() && !lanes.is_empty() {
            // Handed over just now; or others were quicker, and another is handed over in a moment.
            delivered = self.fetch_all(&lanes, DELIVERED_WITHIN).await;
        }
        let brought: BTreeSet<Lane> = delivered.iter().map(|fetched| fetched.lane).collect();
        if self.stalls.note(&next, &brought) {
            self.relay.renew("it does not bring the jobs that it has", self.stalls.after()).await?;
        }
        if delivered.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let notes = delivered.iter().map(|Fetched { note, .. }| (note.job.clone(), note.lease)).collect();
        let claimed = match self.catalog().claim_handed(claim, notes).await {
            Ok(claimed) => claimed,
            Err(error) => {
                join_all(delivered.iter().map(|fetched| fetched.delivery.release())).await;
                return Err(error);
            }
        };
        let mut jobs = Vec::with_capacity(claimed.len());
        let mut stale = 0;
        for (Fetched { delivery, .. }, job) in delivered.into_iter().zip(claimed) {
            match job {
                Some(job) => {
                    self.hold(&job, delivery);
                    jobs.push(job);
                }
                None => {
                    delivery.ack().await;
                    stale += 1;
                }
            }
        }
        metrics::counter!(names::QUEUE_STALE).increment(stale as u64);
        Ok((jobs, stale))
    }

    async fn fetch_all(&self, lanes: &BTreeMap<Lane, usize>, wait: Duration) -> Vec<Fetched> {
        let fetches = lanes.iter().map(|(lane, most)| self.fetch(*lane, *most, wait));
        join_all(fetches).await.into_iter().flatten().collect()
    }

    /// A lane's messages; none where the broker does not answer: its jobs wait.
    async fn fetch(&self, lane: Lane, most: usize, wait: Duration) -> Vec<Fetched> {
        let delivered = self.relay.jobs.fetch(&name(lane), most, wait).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "jobs could not be fetched");
            Vec::new()
        });
        let mut read = Vec::with_capacity(delivered.len());
        for delivery in delivered {
            if delivery.times > 1 {
                metrics::counter!(names::QUEUE_REDELIVERED).increment(1);
            }
            match serde_json::from_slice(&delivery.body) {
                Ok(note) => read.push(Fetched { lane, note, delivery }),
                Err(error) => {
                    tracing::error!(%error, "a message of another program lies among the jobs; it is taken away");
                    delivery.ack().await;
                }
            }
        }
        read
    }

    fn hold(&self, job: &Job, delivery: Delivery) {
        let (now, old) = (Instant::now(), self.known.settings.lease * 2);
        let mut held = self.held.lock();
        // One whose end could not be told to the catalog: its lease has run out.
        held.retain(|_, held| now - held.touched <= old);
        held.insert(job.id.clone(), Held { lease: job.lease, delivery: Arc::new(delivery), touched: now });
    }

    /// A job's message, if it is this lease's: it goes on.
    fn touch(&self, id: &str, lease: i64) -> Option<Arc<Delivery>> {
        let mut held = self.held.lock();
        let held = held.get_mut(id).filter(|held| held.lease == lease)?;
        held.touched = Instant::now();
        Some(held.delivery.clone())
    }

    /// Lets go of a job's message, if it is this lease's: it is done with.
    async fn let_go(&self, id: &str, lease: i64) {
        let gone = {
            let mut held = self.held.lock();
            let ours = held.get(id).is_some_and(|held| held.lease == lease);
            if ours { held.remove(id) } else { None }
        };
        if let Some(held) = gone {
            held.delivery.ack().await;
        }
    }

    fn catalog(&self) -> &Catalog {
        &self.known.catalog
    }
}

impl Queue for JetStream {
    fn push<'a>(&'a self, jobs: Vec<NewJob>, queue_max: Option<u64>) -> BoxFuture<'a, Result<Vec<Pushed>, Error>> {
        Box::pin(async move {
            let pushed = self.known.push(jobs, queue_max).await?;
            self.relay.woken();
            Ok(pushed)
        })
    }

    fn push_once<'a>(
        &'a self,
        jobs: Vec<NewJob>,
        queue_max: Option<u64>,
        once: Once,
    ) -> BoxFuture<'a, Result<serde_json::Value, Error>> {
        Box::pin(async move {
            let answer = self.known.push_once(jobs, queue_max, once).await?;
            self.relay.woken();
            Ok(answer)
        })
    }

    fn claim<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        Box::pin(self.claim(ask))
    }

    fn extend<'a>(&'a self, leases: Vec<(String, i64)>) -> BoxFuture<'a, Result<Vec<Hold>, Error>> {
        Box::pin(async move {
            let holds = self.known.extend(leases.clone()).await?;
            for ((id, lease), hold) in leases.iter().zip(&holds) {
                if *hold == Hold::Lost {
                    // The job is somebody else's under another lease, or has ended: this message is stale.
                    self.let_go(id, *lease).await;
                } else if let Some(delivery) = self.touch(id, *lease) {
                    delivery.progress().await;
                }
            }
            Ok(holds)
        })
    }

    fn end<'a>(&'a self, job: &'a Job, ended: Ended) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(async move {
            let told = self.known.end(job, ended).await;
            if matches!(told, Ok(_) | Err(Error::Conflict | Error::NotFound)) {
                self.let_go(&job.id, job.lease).await;
            }
            told
        })
    }

    fn cancel<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        self.known.cancel(owner, id)
    }

    fn retry<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        self.known.retry(owner, id)
    }

    fn letters<'a>(
        &'a self,
        owner: Option<&'a str>,
        categories: Option<&'a [String]>,
        cursor: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<Letter>, Error>> {
        self.known.letters(owner, categories, cursor, limit)
    }

    fn letter<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Letter, Error>> {
        self.known.letter(owner, id)
    }

    fn requeue<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        self.known.requeue(owner, id)
    }

    fn discard<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.known.discard(owner, id)
    }

    fn clear<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<u64, Error>> {
        self.known.clear(owner)
    }

    fn depth<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<Depth, Error>> {
        self.known.depth(owner)
    }

    fn ready(&self) -> watch::Receiver<u64> {
        self.relay.ready()
    }

    fn next_due<'a>(&'a self) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        self.known.next_due()
    }

    fn settings(&self) -> &Settings {
        &self.known.settings
    }
}
