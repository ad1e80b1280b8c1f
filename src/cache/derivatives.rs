//! The derivative store: variants in a folder or S3, one object each, with everything an answer needs in its metadata.
//!
//! Writes go through a bounded queue to a few tasks. A full queue drops the write: the variant is made again one day.
//!
//! A write is conditional. Who finds that another machine was there first is told what that one wrote, and adopts it unless it
//! is not worth serving any more (made by an older engine, or before a purge); then, and where it is damaged, it is replaced.
//! So the bytes and validators behind a URL agree across machines, also where their processors round differently.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::entry::{Entry, Tags};
use super::purges::{PURGES_KEY, Purges};
use crate::base::{AssetDigest, Digest, ENGINE, VariantKey, digest::asset_prefix};
use crate::object::{self, ObjectStore, Put, PutOptions};

/// The most bytes that are read as one derivative.
const DERIVATIVE_BYTES_MAX: u64 = 256 << 20;

/// How long a read may take before the variant is made instead.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a store that failed is left alone.
const REST: Duration = Duration::from_secs(2);

/// Tasks that write.
const WRITERS: usize = 4;

/// The metadata name under which an alias' object says what it stands for.
const ALIAS: &str = "fovea-alias";
const ALIAS_ENGINE: &str = "fovea-engine";

/// The derivative store.
#[derive(Debug, Clone)]
pub struct Derivatives {
    store: Arc<dyn ObjectStore>,
    writes: mpsc::Sender<Write>,
    queued: Arc<Queued>,
    queue_bytes_max: usize,
    cache_control: Option<Arc<str>>,
    classes: Classes,
}

/// What waits to be written, in bytes and pieces.
#[derive(Debug, Default)]
struct Queued {
    bytes: AtomicUsize,
    writes: AtomicUsize,
    rest_until: Mutex<Option<Instant>>,
}

struct Write {
    key: VariantKey,
    body: Bytes,
    options: PutOptions,
    /// None: whatever is there is replaced.
    lost: Option<Lost>,
    /// Dropped when the write is over.
    held: Option<Held>,
}

/// What is held until a write is over, however it ends.
pub type Held = Box<dyn Any + Send>;

/// Asked about what another machine wrote first.
type Lost = Box<dyn FnOnce(Found) -> Verdict + Send>;

/// What becomes of an object that was there first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays, and who asked has taken it over.
    Adopted,
    /// Ours takes its place.
    Replace,
}

/// What the store holds under a key.
#[derive(Debug)]
pub enum Found {
    /// A variant.
    Entry(Box<Entry>),
    /// What an `auto` came to.
    Alias(Alias),
}

/// What an `auto` came to, by whom and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The variant.
    pub key: VariantKey,
    /// The engine's revision that chose it.
    pub engine: u32,
    /// When, in milliseconds since 1970.
    pub made_at_ms: u64,
}

impl Found {
    /// The engine's revision that it is from, and when it was made, in milliseconds since 1970.
    pub fn made_by(&self) -> (u32, u64) {
        match self {
            Self::Entry(entry) => (entry.engine, entry.made_at_ms),
            Self::Alias(alias) => (alias.engine, alias.made_at_ms),
        }
    }
}

/// The storage classes of what is written, where the store has such; none is the store's usual one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Classes {
    /// Of variants.
    pub derivatives: Option<String>,
    /// Of mezzanines; else as variants.
    pub mezzanines: Option<String>,
    /// Of variants that were asked for by a preset; else as variants.
    pub presets: BTreeMap<String, String>,
}

impl Derivatives {
    /// Over a store; starts the writers. At most `queue_max` writes wait, with at most `queue_bytes_max` bytes.
    pub fn start(
        store: Arc<dyn ObjectStore>,
        queue_max: usize,
        queue_bytes_max: usize,
        cache_control: Option<String>,
    ) -> Self {
        let (writes, queue) = mpsc::channel(queue_max.max(1));
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        let queued = Arc::new(Queued::default());
        for _ in 0..WRITERS {
            tokio::spawn(write_all(store.clone(), queue.clone(), queued.clone()));
        }
        let classes = Classes::default();
        Self { store, writes, queued, queue_bytes_max, cache_control: cache_control.map(Into::into), classes }
    }

    /// The same, with storage classes for what it writes from now on.
    pub fn with_classes(self, classes: Classes) -> Self {
        Self { classes, ..self }
    }

    /// What is stored under a key, unless a purge took it. A store that fails or is slow counts as empty, and is left alone
    /// for a moment, so that its outage costs requests nothing but the work of making their variants.
    pub async fn find(&self, key: &VariantKey, tags: &Tags, purges: &Purges) -> Option<Found> {
        if self.resting() {
            count_read("skipped");
            return None;
        }
        match tokio::time::timeout(READ_TIME_MAX, read(&*self.store, key)).await {
            Ok(Ok(found)) => {
                let found = found.filter(|found| purges.allow(tags, &key.asset, found.made_by().1));
                count_read(if found.is_some() { "hit" } else { "miss" });
                found
            }
            Ok(Err(error)) => self.rest(&error.to_string()),
            Err(_) => self.rest("it did not answer in time"),
        }
    }

    fn resting(&self) -> bool {
        self.queued.rest_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self, why: &str) -> Option<Found> {
        count_read("failed");
        tracing::warn!(why, "the derivative store could not be read; variants are made without it for {REST:?}");
        *self.queued.rest_until.lock() = Some(Instant::now() + REST);
        None
    }

    /// Writes an entry behind the answer. Never waits; answers whether the write was taken. `lost` is asked when something
    /// readable is there already.
    pub fn keep(
        &self,
        key: &VariantKey,
        entry: &Entry,
        tags: &Tags,
        lost: impl FnOnce(Found) -> Verdict + Send + 'static,
        held: Option<Held>,
    ) -> bool {
        let options = self.options(entry, tags);
        self.enqueue(Write { key: *key, body: entry.bytes.clone(), options, lost: Some(Box::new(lost)), held })
    }

    /// Writes a mezzanine behind the answer, as [`Derivatives::keep`] does.
    pub fn keep_mezzanine(
        &self,
        key: &VariantKey,
        entry: &Entry,
        tags: &Tags,
        lost: impl FnOnce(Found) -> Verdict + Send + 'static,
        held: Option<Held>,
    ) -> bool {
        let storage_class = self.classes.mezzanines.clone().or_else(|| self.classes.derivatives.clone());
        let options = PutOptions { storage_class, ..self.options(entry, tags) };
        self.enqueue(Write { key: *key, body: entry.bytes.clone(), options, lost: Some(Box::new(lost)), held })
    }

    fn options(&self, entry: &Entry, tags: &Tags) -> PutOptions {
        let preset = tags.preset.as_deref().and_then(|preset| self.classes.presets.get(preset));
        let storage_class = preset.or(self.classes.derivatives.as_ref()).cloned();
        PutOptions { storage_class, ..entry.options(tags, self.cache_control.as_deref()) }
    }

    /// Writes an entry behind the answer, over one that an earlier state of the original left.
    pub fn keep_newest(&self, key: &VariantKey, entry: &Entry, tags: &Tags) -> bool {
        let options = self.options(entry, tags);
        self.enqueue(Write { key: *key, body: entry.bytes.clone(), options, lost: None, held: None })
    }

    /// Writes behind the answer what an `auto` came to.
    pub fn keep_alias(
        &self,
        alias: &VariantKey,
        key: &VariantKey,
        made_at_ms: u64,
        lost: impl FnOnce(Found) -> Verdict + Send + 'static,
        held: Option<Held>,
    ) -> bool {
        let options = alias_options(key, made_at_ms);
        self.enqueue(Write { key: *alias, body: Bytes::new(), options, lost: Some(Box::new(lost)), held })
    }

    /// Writes an entry now; it, or what another machine wrote first, is in the store when this ends well.
    pub async fn put(
        &self,
        key: &VariantKey,
        entry: &Entry,
        tags: &Tags,
        lost: impl FnOnce(Found) -> Verdict + Send + 'static,
    ) -> Result<(), object::Error> {
        let options = self.options(entry, tags);
        let write = Write { key: *key, body: entry.bytes.clone(), options, lost: Some(Box::new(lost)), held: None };
        write_one(&*self.store, write).await.map(drop)
    }

    /// Writes now what an `auto` came to.
    pub async fn put_alias(
        &self,
        alias: &VariantKey,
        key: &VariantKey,
        made_at_ms: u64,
        lost: impl FnOnce(Found) -> Verdict + Send + 'static,
    ) -> Result<(), object::Error> {
        let options = alias_options(key, made_at_ms);
        let write = Write { key: *alias, body: Bytes::new(), options, lost: Some(Box::new(lost)), held: None };
        write_one(&*self.store, write).await.map(drop)
    }

    /// Whether there is an object under a key.
    pub async fn has(&self, key: &VariantKey) -> Result<bool, object::Error> {
        match self.store.head(&key.path()).await {
            Ok(_) => Ok(true),
            Err(object::Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn enqueue(&self, write: Write) -> bool {
        let bytes = write.body.len();
        let before = self.queued.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queued.writes.fetch_add(1, Ordering::Relaxed);
        let taken = before + bytes <= self.queue_bytes_max && self.writes.try_send(write).is_ok();
        if !taken {
            self.queued.done(bytes);
            metrics::counter!("fovea_store_writes_total", "outcome" => "dropped").increment(1);
        }
        taken
    }

    /// Bytes and writes that wait.
    pub fn backlog(&self) -> (usize, usize) {
        (self.queued.bytes.load(Ordering::Relaxed), self.queued.writes.load(Ordering::Relaxed))
    }

    /// Waits until nothing waits to be written, at most so long.
    pub async fn drain(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while self.backlog().1 > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Deletes everything of an asset; answers how many objects.
    pub async fn purge_asset(&self, asset: &AssetDigest) -> Result<u64, object::Error> {
        self.store.delete_prefix(&asset_prefix(asset)).await
    }

    /// Deletes one variant or alias; answers whether it was there. (It is deleted either way: it may be written meanwhile.)
    pub async fn delete(&self, key: &VariantKey) -> Result<bool, object::Error> {
        let key = key.path();
        let found = self.store.head(&key).await;
        self.store.delete(&key).await?;
        Ok(found.is_ok())
    }

    /// Reads the moments of earlier purges.
    pub async fn load_purges(&self, purges: &Purges) -> Result<(), object::Error> {
        let reading = match self.store.open(PURGES_KEY).await {
            Err(object::Error::NotFound) => return Ok(()),
            other => other?,
        };
        let json = reading.bytes(4 << 20).await?;
        purges.load(&json).map_err(|error| object::Error::Unavailable(format!("{PURGES_KEY} is broken: {error}")))
    }

    /// Writes the moments of purges.
    pub async fn save_purges(&self, purges: &Purges) -> Result<(), object::Error> {
        let options = PutOptions { content_type: Some("application/json".to_owned()), ..PutOptions::default() };
        self.store.put(PURGES_KEY, purges.save().into(), &options).await.map(drop)
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), object::Error> {
        self.store.ping().await
    }
}

fn alias_options(key: &VariantKey, made_at_ms: u64) -> PutOptions {
    let mut options = PutOptions::default();
    options.user.insert(ALIAS.to_owned(), key.digest.hex(64));
    options.user.insert(ALIAS_ENGINE.to_owned(), ENGINE.to_string());
    options.user.insert("fovea-made-at-ms".to_owned(), made_at_ms.to_string());
    options
}

/// What a store holds under a key; none where that is nothing that we wrote, or damaged.
async fn read(store: &dyn ObjectStore, key: &VariantKey) -> Result<Option<Found>, object::Error> {
    let reading = match store.open(&key.path()).await {
        Ok(reading) => reading,
        Err(object::Error::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = reading.meta.clone();
    let bytes = reading.bytes(DERIVATIVE_BYTES_MAX).await?;
    let Some(digest) = meta.user.get(ALIAS) else {
        return Ok(Entry::from_object(&meta, bytes).map(|entry| Found::Entry(entry.into())));
    };
    let number = |name: &str| meta.user.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (engine, made_at_ms) = (number(ALIAS_ENGINE) as u32, number("fovea-made-at-ms"));
    let chosen = Digest::from_hex(digest).map(|digest| VariantKey { asset: key.asset, digest });
    Ok(chosen.map(|key| Found::Alias(Alias { key, engine, made_at_ms })))
}

fn count_read(outcome: &'static str) {
    metrics::counter!("fovea_store_reads_total", "outcome" => outcome).increment(1);
}

impl Queued {
    fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.writes.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn write_all(
    store: Arc<dyn ObjectStore>,
    queue: Arc<tokio::sync::Mutex<mpsc::Receiver<Write>>>,
    queued: Arc<Queued>,
) {
    loop {
        let Some(write) = queue.lock().await.recv().await else { return };
        let bytes = write.body.len();
        let outcome = match write_one(&*store, write).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%error, "a derivative was not stored; it will be made again when asked for");
                "failed"
            }
        };
        metrics::counter!("fovea_store_writes_total", "outcome" => outcome).increment(1);
        queued.done(bytes);
    }
}

/// Writes unless something worth keeping is there; says what came of it.
async fn write_one(store: &dyn ObjectStore, write: Write) -> Result<&'static str, object::Error> {
    let Write { key, body, mut options, lost, held: _held } = write;
    let path = key.path();
    let Some(lost) = lost else {
        return store.put(&path, body, &options).await.map(|_| "written");
    };
    options.if_absent = true;
    if store.put(&path, body.clone(), &options).await? == Put::Written {
        return Ok("written");
    }
    if let Some(found) = read(store, &key).await?
        && lost(found) == Verdict::Adopted
    {
        return Ok("adopted");
    }
    options.if_absent = false;
    store.put(&path, body, &options).await.map(|_| "replaced")
}
