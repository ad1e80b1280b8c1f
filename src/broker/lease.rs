//! Leases: a key is one process's for as long as it says so. Whoever waits for it is told when it is given back, and finds it free when
//! its holder has died.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Broker, Bucket, BucketSettings, Error};

/// How often those who wait look whether a holder has died, and holders say that they have not.
const LOOKS: u32 = 3;

/// Most bytes of all leases together: a hundred thousand or so.
const BYTES_MAX: u64 = 32 << 20;

/// Leases of one kind.
#[derive(Clone, Debug)]
pub struct Leases {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    broker: Broker,
    bucket: Bucket,
    kind: &'static str,
    holder: Bytes,
    life: Duration,
    /// Those that are held, and those that are being given back.
    tasks: TaskTracker,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Claim {
    /// It is ours.
    Mine(Lease),
    /// It is another's, who can be waited for.
    Others(Waiting),
}

/// A lease, prolonged until it is dropped, and given back then. Needs a running runtime.
#[derive(Debug)]
pub struct Lease {
    /// Whether somebody gave it back a moment ago.
    pub after_another: bool,
    _held: oneshot::Sender<()>,
}

/// Waits for a lease that is another's.
#[derive(Debug)]
pub struct Waiting {
    leases: Leases,
    key: String,
    told: Subscriber,
}

/// What ended a wait.
#[derive(Debug)]
pub enum Waited {
    /// It was given back; what it was for may be done.
    GivenBack,
    /// Its holder died, and it is ours.
    Mine(Lease),
    /// Time is up.
    InVain,
}

impl Leases {
    /// Leases of a kind, each of which runs out after `life` (at least a second) without a word of its holder. Asks nobody.
    ///
    /// `timeout` bounds each question.
    pub fn new(broker: Broker, kind: &'static str, holder: String, life: Duration, timeout: Duration) -> Self {
        let settings =
            BucketSettings { name: kind, max_age: life, value_bytes_max: holder.len(), bytes_max: BYTES_MAX, timeout };
        let bucket = Bucket::new(broker.clone(), settings);
        Self { inner: Arc::new(Inner { broker, bucket, kind, holder: holder.into(), life, tasks: TaskTracker::new() }) }
    }

    /// Takes a key's lease, or says that it is another's.
    pub async fn claim(&self, key: &str) -> Result<Claim, Error> {
        if let Some(lease) = self.take(key).await? {
            return Ok(Claim::Mine(lease));
        }
        // It may have been given back before anybody listened.
        let told = self.inner.broker.client().subscribe(self.subject(key)).await;
        let told = told.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(match self.take(key).await? {
            Some(lease) => Claim::Mine(Lease { after_another: true, ..lease }),
            None => Claim::Others(Waiting { leases: self.clone(), key: key.to_owned(), told }),
        })
    }

    async fn take(&self, key: &str) -> Result<Option<Lease>, Error> {
        let taken = self.inner.bucket.take(key, self.inner.holder.clone()).await?;
        Ok(taken.map(|(revision, after_another)| {
            let (held, dropped) = oneshot::channel();
            self.inner.tasks.spawn(self.clone().hold(key.to_owned(), revision, dropped));
            Lease { after_another, _held: held }
        }))
    }

    /// Prolongs a lease until its handle is dropped, then gives it back.
    async fn hold(self, key: String, mut revision: u64, mut dropped: oneshot::Receiver<()>) {
        let Inner { broker, bucket, holder, life, .. } = &*self.inner;
        while tokio::time::timeout(*life / LOOKS, &mut dropped).await.is_err() {
            match bucket.update(&key, holder.clone(), revision).await {
                Ok(Some(prolonged)) => revision = prolonged,
                Ok(None) => return tracing::debug!(key, "a lease ran out before it was prolonged"),
                Err(error) => tracing::debug!(key, %error, "a lease could not be prolonged"),
            }
        }
        let given_back = bucket.delete(&key, revision).await;
        let told = broker.client().publish(self.subject(&key), Bytes::new()).await;
        if given_back.is_err() || told.is_err() {
            tracing::debug!(key, "a lease runs out by itself");
        }
    }

    /// Waits until all that were dropped are given back, at most so long.
    pub async fn settle(&self, time: Duration) {
        self.inner.tasks.close();
        if tokio::time::timeout(time, self.inner.tasks.wait()).await.is_ok() {
            drop(self.inner.broker.flush().await);
        }
    }

    fn subject(&self, key: &str) -> String {
        self.inner.broker.subject(&format!("{}.{key}", self.inner.kind))
    }
}

impl Waiting {
    /// Waits at most so long.
    pub async fn wait(&mut self, time: Duration) -> Result<Waited, Error> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::InVain);
            }
            match tokio::time::timeout(left.min(self.leases.inner.life / LOOKS), self.told.next()).await {
                Ok(Some(_)) => return Ok(Waited::GivenBack),
                Ok(None) => return Err(Error::Unavailable("the subscription has ended".to_owned())),
                Err(_) => {
                    if let Some(lease) = self.leases.take(&self.key).await? {
                        return Ok(Waited::Mine(Lease { after_another: true, ..lease }));
                    }
                }
            }
        }
    }
}
