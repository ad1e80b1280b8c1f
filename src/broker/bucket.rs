//! Buckets: keys with values that live for a time, on which processes agree by revisions.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use bytes::Bytes;
use parking_lot::Mutex;

use super::error::judged;
use super::streams::Ensured;
use super::{Broker, Error};

/// What the headers of a write may take beside its value.
const HEADERS_BYTES_MAX: i32 = 1024;

/// How long a bucket that failed is left alone: who asks meanwhile goes on without it at once.
const REST: Duration = Duration::from_secs(2);

/// What a bucket is like. What lies in it is in the servers' memory: it is gone when all of them end.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// Its name, after the prefix.
    pub name: &'static str,
    /// For how long a value is kept that nobody writes again.
    pub max_age: Duration,
    /// Most bytes of a value.
    pub value_bytes_max: usize,
    /// Most bytes of all together; above them the oldest go.
    pub bytes_max: u64,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What was written.
    pub value: Bytes,
    /// Which write of the bucket it was.
    pub revision: u64,
}

/// A bucket. Made when it is first used.
#[derive(Debug)]
pub struct Bucket {
    broker: Broker,
    settings: BucketSettings,
    stream: Ensured,
    store: Mutex<Option<Store>>,
    rest_until: Mutex<Option<Instant>>,
}

impl Bucket {
    /// A bucket of the broker. Asks nobody.
    pub fn new(broker: Broker, settings: BucketSettings) -> Self {
        let name = broker.name(settings.name);
        let stream = Ensured::new(
            &broker,
            Config {
                name: format!("KV_{name}"),
                subjects: vec![format!("$KV.{name}.>")],
                max_messages_per_subject: 1,
                max_age: settings.max_age,
                max_bytes: settings.bytes_max as i64,
                max_message_size: settings.value_bytes_max as i32 + HEADERS_BYTES_MAX,
                storage: StorageType::Memory,
                discard: DiscardPolicy::Old,
                allow_rollup: true,
                allow_direct: true,
                deny_delete: true,
                ..Config::default()
            },
        );
        Self { broker, settings, stream, store: Mutex::default(), rest_until: Mutex::default() }
    }

    /// A key's value.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let asked = async {
            let store = self.store().await?;
            let found = store.entry(key).await.map_err(|error| judged(&error))?;
            let found = found.filter(|entry| entry.operation == Operation::Put);
            Ok(found.map(|entry| Entry { value: entry.value, revision: entry.revision }))
        };
        self.within(asked).await
    }

    /// Writes a value, whatever was there.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, Error> {
        self.within(async { self.store().await?.put(key, value).await.map_err(|error| judged(&error)) }).await
    }

    /// Writes a value where none is; answers its revision, or none where there is one.
    pub async fn create(&self, key: &str, value: Bytes) -> Result<Option<u64>, Error> {
        let asked = async {
            match self.store().await?.create(key, value).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(judged(&error)),
            }
        };
        self.within(asked).await
    }

    /// Writes a value where none is; answers its revision, and whether one was deleted there of late. None where there is one.
    pub(super) async fn take(&self, key: &str, value: Bytes) -> Result<Option<(u64, bool)>, Error> {
        if let Some(revision) = self.update(key, value.clone(), 0).await? {
            return Ok(Some((revision, false)));
        }
        let asked = async { self.store().await?.entry(key).await.map_err(|error| judged(&error)) };
        let deleted = match self.within(asked).await? {
            Some(entry) if entry.operation == Operation::Put => return Ok(None),
            Some(entry) => entry.revision,
            None => 0,
        };
        Ok(self.update(key, value, deleted).await?.map(|revision| (revision, true)))
    }

    /// Writes over a revision; answers the new one, or none where it is another by now.
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<Option<u64>, Error> {
        let asked = async {
            match self.store().await?.update(key, value, revision).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
                Err(error) => Err(judged(&error)),
            }
        };
        self.within(asked).await
    }

    /// Takes a revision away; false where it is another by now.
    pub async fn delete(&self, key: &str, revision: u64) -> Result<bool, Error> {
        let asked = async {
            match self.store().await?.delete_expect_revision(key, Some(revision)).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
                Err(error) => Err(judged(&error)),
            }
        };
        self.within(asked).await
    }

    /// Takes a key away, whatever it holds.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        self.within(async { self.store().await?.delete(key).await.map_err(|error| judged(&error)) }).await
    }

    async fn store(&self) -> Result<Store, Error> {
        self.stream.on(&self.broker).await?;
        let known = self.store.lock().clone();
        if let Some(store) = known {
            return Ok(store);
        }
        let name = self.broker.name(self.settings.name);
        let store = self.broker.context().get_key_value(name).await.map_err(|error| judged(&error))?;
        Ok(self.store.lock().insert(store).clone())
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.rest_until.lock().is_some_and(|until| Instant::now() < until) {
            return Err(Error::Unavailable("it failed a moment ago".to_owned()));
        }
        let done = tokio::time::timeout(self.settings.timeout, asked).await;
        let done = done.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".to_owned())));
        if let Err(error) = &done {
            self.stream.doubt();
            *self.store.lock() = None;
            // Where there is no connection, asking costs nothing.
            let rests = error.passes() && self.broker.up().is_ok();
            *self.rest_until.lock() = rests.then(|| Instant::now() + REST);
        }
        done
    }
}
