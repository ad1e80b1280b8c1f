//! Origins tell each other of purges: what one forgets, all forget within a second. By a log of the broker's where there is one, and by
//! the events of the catalog that they share: a purge counts as told when both have it. So either will do to hear of it, and the
//! catalog is read where there is no broker, or while it is silent; and now and then while it is heard, for what its log did not take.
//!
//! While an origin hears nothing it does not know what was purged, so it answers nothing from memory: the store, which each purge
//! reaches first, is asked instead. It reads what it missed before it trusts its memory again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Error, Origin, Purge, Purged};
use crate::broker::{self, Begun, Broker, Heard, Log, LogSettings, Message, Place};
use crate::catalog::{self, Catalog, EventFilter, NewEvent};

/// The kind of the events.
const KIND: &str = "purge.asked";

/// Whose the events are: no tenant's.
const OWNER: &str = "system";

/// Silence after which memory is not trusted.
const TRUSTED: Duration = Duration::from_millis(900);

/// Silence of the broker's after which the catalog is asked, so that there is time for it to answer before [`TRUSTED`] is over.
const SILENT: Duration = Duration::from_millis(600);

/// How often the catalog's events are read on while the broker is heard: so little is left to be read when it is silent, and a purge
/// that its log did not take is heard of all the same.
const READ_EVERY: Duration = Duration::from_secs(10);

/// For how long, and of how many purges, it is remembered that they were heeded: one told a second time is done a second time.
const HEEDED_FOR: Duration = Duration::from_secs(600);
const HEEDED_MAX: u64 = 20_000;

/// How often it is looked whether the log holds something that was not brought, and how long the answer is waited for.
const LOOK_BEYOND_EVERY: Duration = Duration::from_secs(1);
const LOOK_BEYOND_WITHIN: Duration = Duration::from_millis(200);

/// A log that takes no purge for so long, while the broker is well otherwise, is made anew.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// How long the broker may take to take a purge.
const APPEND_WITHIN: Duration = Duration::from_secs(5);

/// How often the catalog's events are read on, also when nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The pause before the broker's log is followed anew.
const FOLLOW_AGAIN: Duration = Duration::from_millis(100);

/// The name of the broker's log, and its one subject. It is apart from the log of events, so that many of these take no purge away
/// that somebody has not read, and a purge waits for no relay.
const LOG: &str = "purges";

/// An origin that was cut off for longer empties its memory.
const LOG_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The same after more bytes of purges, some hundred thousand.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// How long it may take to note in the catalog what the broker was told.
const NOTE_WITHIN: Duration = Duration::from_secs(2);

/// Events that are read at once.
const PAGE: u32 = 500;

/// Purges that wait to be repeated in the store. More of them, and no further events are read before some are done.
const AGAIN_MAX: usize = 1024;

/// Whether a purge that this process is told of takes objects out of the store too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// It is the fleet's: whoever was asked has done it. What this origin was about to write then may have landed behind the
    /// deletion, so that an asset's and a URL's are repeated here.
    Shared,
    /// It is this machine's.
    Own,
}

/// What is told of a purge.
#[derive(Serialize, Deserialize)]
struct Asked {
    purge: Purge,
    /// The origin that was asked.
    by: String,
    /// The same in the broker's log and in the catalog, so that it is heeded once.
    #[serde(default)]
    id: String,
}

/// The broker's log of purges.
#[derive(Debug)]
pub(super) struct PurgeLog {
    log: Log,
}

impl PurgeLog {
    /// Asks nobody.
    pub fn new(broker: &Broker) -> Self {
        let settings = LogSettings {
            name: LOG,
            subjects: LOG,
            max_age: LOG_AGE_MAX,
            bytes_max: LOG_BYTES_MAX,
            lost_after: LOST_AFTER,
        };
        Self { log: Log::new(broker.clone(), settings) }
    }

    async fn append(&self, message: Message) -> Result<(), String> {
        let told = tokio::time::timeout(APPEND_WITHIN, self.log.append(message)).await;
        let told = told.map_err(|_| "the broker did not answer in time".to_owned());
        let told = told.and_then(|told| told.map_err(|error| error.to_string()));
        if told.is_ok() {
            self.log.is_well();
        } else if self.log.is_lost().await {
            tracing::warn!("the log of purges takes none; it is made anew, and all memories are emptied");
            if !matches!(tokio::time::timeout(APPEND_WITHIN, self.log.renew()).await, Ok(Ok(()))) {
                tracing::warn!("the log of purges could not be made anew; that is tried again");
            }
        }
        told
    }
}

impl Origin {
    /// Purges memory and store, here and in every origin of the fleet.
    pub async fn purge(&self, what: &Purge) -> Result<Purged, Error> {
        let purged = self.purge_here(what).await?;
        let asked = Asked { purge: what.clone(), by: self.name.clone(), id: catalog::id("purge", 0) };
        let shared = self.catalog.as_ref().filter(|catalog| catalog.is_shared());
        let told = match (&self.purge_log, shared) {
            (Some(log), shared) => {
                let payload = Bytes::from(serde_json::to_vec(&asked).expect("texts are JSON"));
                let message = Message { subject: LOG.to_owned(), id: asked.id.clone(), payload };
                let noted = async {
                    let Some(catalog) = shared else { return Ok(()) };
                    let noted = tokio::time::timeout(NOTE_WITHIN, catalog.tell(event(&asked))).await;
                    noted
                        .map_err(|_| "the catalog did not answer in time".to_owned())?
                        .map_err(|error| error.to_string())
                };
                let (told, noted) = tokio::join!(log.append(message), noted);
                told.and(noted)
            }
            (None, Some(catalog)) => catalog.tell(event(&asked)).await.map_err(|error| error.to_string()),
            (None, None) => return Ok(purged),
        };
        if let Err(error) = &told {
            tracing::error!(%error, "the other origins may not have been told of a purge; repeat it");
        }
        Ok(Purged { told: told.is_ok(), ..purged })
    }

    /// Forgets what other origins are told to forget, for as long as it runs. At once over where there is no fleet.
    pub async fn follow(self: Arc<Self>) {
        let (again, mut asked) = mpsc::channel(AGAIN_MAX);
        let repeat = async {
            while let Some(what) = asked.recv().await {
                if let Err(error) = self.purge_here(&what).await {
                    tracing::debug!(?what, %error, "a purge that does not concern this origin");
                }
            }
        };
        let catalog = self.catalog.clone().filter(Catalog::is_shared);
        // Whether the broker is heard.
        let (heard, hears) = watch::channel(false);
        let heeded = moka::sync::Cache::builder().max_capacity(HEEDED_MAX).time_to_live(HEEDED_FOR).build();
        let follower = Follower { origin: &self, again, heeded };
        match (&self.purge_log, &catalog) {
            (Some(log), Some(catalog)) => {
                tokio::join!(repeat, follower.by_broker(log, &heard, SILENT), follower.by_catalog(catalog, hears));
            }
            (Some(log), None) => {
                let alone = async {
                    let mut hears = hears;
                    while hears.changed().await.is_ok() {
                        if *hears.borrow_and_update() { self.trust() } else { self.distrust() }
                    }
                };
                tokio::join!(repeat, follower.by_broker(log, &heard, TRUSTED), alone);
            }
            (None, Some(catalog)) => {
                tokio::join!(repeat, follower.by_catalog(catalog, hears));
            }
            (None, None) => {}
        }
    }

    fn trust(&self) {
        if !self.informed.swap(true, Ordering::AcqRel) {
            tracing::info!("this origin is told of purges; its memory is trusted");
        }
    }

    fn distrust(&self) {
        if self.informed.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                "this origin is not told of purges; what is in memory is not trusted, and the store is asked"
            );
            self.turn();
        }
    }
}

fn event(asked: &Asked) -> NewEvent {
    let (category, asset) = match &asked.purge {
        Purge::Asset { category, id } => (Some(category.clone()), Some(id.clone())),
        Purge::Category(category) => (Some(category.clone()), None),
        Purge::Preset { category, .. } => (category.clone(), None),
        Purge::Url(_) => (None, None),
    };
    NewEvent {
        owner: OWNER.to_owned(),
        kind: KIND.to_owned(),
        category,
        asset,
        version: None,
        job: None,
        data: json!(asked),
        trace: None,
    }
}

/// One who listens.
struct Follower<'a> {
    origin: &'a Arc<Origin>,
    /// Purges that are to be repeated in the store.
    again: mpsc::Sender<Purge>,
    /// Ids of purges that were heeded: each is told by broker and catalog.
    heeded: moka::sync::Cache<String, ()>,
}

impl Follower<'_> {
    /// Follows the broker's log, and says whether it is heard.
    async fn by_broker(&self, log: &PurgeLog, heard: &watch::Sender<bool>, silence: Duration) {
        let (mut place, mut refused) = (None, String::new());
        loop {
            match self.hear(log, &mut place, heard, silence).await {
                Ok(never) => match never {},
                Err(error) if error.passes() => tracing::debug!(%error, "the log of purges is followed anew"),
                // Said once: it is tried again all the time.
                Err(error) => {
                    let why = error.to_string();
                    if refused != why {
                        tracing::error!(why, "the log of purges cannot be followed");
                        refused = why;
                    }
                }
            }
            heard.send_replace(false);
            tokio::time::sleep(FOLLOW_AGAIN).await;
        }
    }

    /// Follows the log until it is silent, or something was lost.
    async fn hear(
        &self,
        log: &PurgeLog,
        place: &mut Option<Place>,
        heard: &watch::Sender<bool>,
        silence: Duration,
    ) -> Result<Infallible, broker::Error> {
        let (mut following, begun) = log.log.follow(place.as_ref(), silence).await?;
        if place.is_none() || begun == Begun::Broken {
            // What was purged before, nobody tells any more.
            self.origin.forget_all().await;
        }
        *place = Some(following.place().clone());
        let mut current = following.waiting() == 0;
        let (mut looked, mut behind) = (Instant::now(), None);
        loop {
            if looked.elapsed() > LOOK_BEYOND_EVERY {
                // A server that was killed may come back with a log that it does not bring, and say that nothing is new.
                looked = Instant::now();
                let beyond = tokio::time::timeout(LOOK_BEYOND_WITHIN, log.log.goes_beyond(following.place())).await;
                let beyond = matches!(beyond, Ok(Ok(true))).then(|| following.place().clone());
                if beyond.is_some() && beyond == behind {
                    return Err(broker::Error::Unavailable("it does not bring what is in the log".to_owned()));
                }
                behind = beyond;
            }
            if current {
                heard.send_if_modified(|heard| !std::mem::replace(heard, true));
            }
            current = match following.next().await? {
                Heard::Nothing => true,
                Heard::Message(told) => {
                    match serde_json::from_slice(&told.payload) {
                        Ok(asked) => self.told(asked).await,
                        Err(error) => tracing::error!(%error, "a purge that this version does not understand"),
                    }
                    *place = Some(following.place().clone());
                    told.waiting == 0
                }
            };
        }
    }

    /// Reads the catalog's events while the broker is not heard, and decides whether memory is trusted.
    async fn by_catalog(&self, catalog: &Catalog, mut by_broker: watch::Receiver<bool>) {
        let mut changes = catalog.follow();
        let (mut after, mut heard) = (None, Instant::now());
        loop {
            if after.is_none()
                && let Ok(Ok(last)) = tokio::time::timeout(TRUSTED, catalog.last_event()).await
            {
                // What was purged before, nobody tells any more.
                self.origin.forget_all().await;
                after = Some(last);
            }
            if *by_broker.borrow_and_update() {
                self.origin.trust();
                tokio::select! {
                    _ = by_broker.changed() => {}
                    () = self.read_on(catalog, &mut after) => {}
                }
                heard = Instant::now().checked_sub(SILENT).unwrap_or(heard);
                continue;
            }
            // While memory is trusted, for no longer than it may be.
            let trusting = self.origin.informed.load(Ordering::Acquire);
            let until = if trusting { heard + TRUSTED } else { Instant::now() + TRUSTED };
            let read = tokio::select! {
                biased;
                _ = by_broker.changed() => continue,
                read = tokio::time::timeout_at(until, self.catch_up(catalog, &mut after)) => read,
            };
            if matches!(read, Ok(Ok(()))) {
                heard = Instant::now();
                self.origin.trust();
            } else if heard.elapsed() >= TRUSTED {
                self.origin.distrust();
            }
            tokio::select! {
                _ = by_broker.changed() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Reads the catalog's events now and then, for as long as it is awaited.
    async fn read_on(&self, catalog: &Catalog, after: &mut Option<i64>) {
        loop {
            let read = match *after {
                Some(_) => self.catch_up(catalog, after).await,
                None => catalog.last_event().await.map(|last| *after = Some(last)),
            };
            if let Err(error) = read {
                tracing::debug!(%error, "the catalog does not tell of purges for now");
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    }

    async fn catch_up(&self, catalog: &Catalog, after: &mut Option<i64>) -> Result<(), catalog::Error> {
        let mut from = after.ok_or(catalog::Error::NotFound)?;
        let filter = EventFilter { kind_prefix: Some(KIND.to_owned()), ..EventFilter::default() };
        loop {
            let last = catalog.last_event().await?;
            let events = catalog.events(from, &filter, PAGE).await?;
            let more = events.len() == PAGE as usize;
            for event in &events {
                match serde_json::from_value(event.data.clone()) {
                    Ok(asked) => self.told(asked).await,
                    Err(_) => tracing::error!(seq = event.seq, "a purge that this version does not understand"),
                }
            }
            // Up to what was there before the question, or to what was answered: nothing in between is of the kind.
            from = events.last().map_or(from, |event| event.seq).max(if more { from } else { last });
            *after = Some(from);
            if !more {
                return Ok(());
            }
        }
    }

    async fn told(&self, Asked { purge: what, by, id }: Asked) {
        let origin = self.origin;
        if by == origin.name || (!id.is_empty() && self.heeded.contains_key(&id)) {
            return;
        }
        let done = match origin.store {
            Store::Own => origin.purge_here(&what).await.map(drop),
            Store::Shared => origin.forget(&what),
        };
        if let Err(error) = done {
            // A category that is configured at others.
            tracing::debug!(?what, %error, "a purge that does not concern this origin");
        } else if origin.store == Store::Shared && matches!(what, Purge::Asset { .. } | Purge::Url(_)) {
            // Nobody receives any more only where the origin is at its end.
            drop(self.again.send(what).await);
        }
        self.heeded.insert(id, ());
    }
}
