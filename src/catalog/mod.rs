//! What is known of assets, versions, variants, jobs, events, galleries, uploads, keys and popularity: SQL, and nothing else that
//! knows `sqlx`. SQLite on a local disk, or PostgreSQL.
//!
//! Enters: facts. Leaves: rows, each with its owner; a read for one owner never answers another's.
//!
//! The files go from the engine up: `sqlite` (one writer, group commit) and `postgres` (pools, races), `engine` (one of them),
//! `migrations` (the tables in both dialects), `tx` (a transaction under way), `sql` (values and rows), and above them a file for each
//! thing that is kept, which names no engine.
//!
//! Always true: what is answered as written has reached the disk, and is in the append-only events from which an asset's
//! state can be rebuilt.

mod accept;
mod access;
mod assets;
mod batches;
mod claims;
mod clock;
mod confirmations;
mod delete;
mod engine;
mod error;
mod events;
mod galleries;
mod handing;
mod history;
mod id;
mod idempotency;
mod jobs;
mod keys;
mod letters;
mod migrations;
mod moving;
mod numbers;
mod popularity;
mod postgres;
mod records;
mod relay;
mod schedules;
#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code)]
pub(crate) mod server;
mod sql;
mod sqlite;
mod sweep;
#[cfg(test)]
mod tests;
mod transitions;
mod tx;
mod uploads;
mod vocabulary;

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, watch};

pub use accept::{Accept, Accepted};
pub use access::Access;
pub use assets::{Asset, AssetFilter, AssetState, Variant, VariantState, Version};
pub use claims::{Claim, Claimed, Hold, Lane};
pub use clock::Clock;
pub use error::Error;
pub use events::{Event, EventFilter, NewEvent};
pub use galleries::{Gallery, GalleryChange, Item};
pub use handing::Waiting;
pub use history::{History, rebuild};
pub use id::id;
pub use idempotency::{Idempotency, Once};
pub use jobs::{Job, JobFilter, NewJob, Pushed, Subject};
pub use keys::ApiKey;
pub use letters::Letter;
pub use moving::Moved;
pub use numbers::{Count, Depth, Statistics, Storage, Timing};
pub use popularity::{Popular, Shape};
pub use records::Inspected;
pub use sweep::Swept;
pub use transitions::{Ended, Retrying};
pub use uploads::{Upload, UploadState};
pub use vocabulary::{JobState, Kind, Priority};

use crate::base::url::without_password;
use engine::Engine;
use sql::{Row, Statement, Value};
use tx::{Committed, Tx};

/// How the catalog is opened.
#[derive(Clone)]
pub struct Settings {
    /// `sqlite:PATH`, `postgres://…`.
    pub url: String,
    /// Connections that read.
    pub readers: usize,
    /// Connections that write; SQLite has one.
    pub writers: usize,
    /// Writes in one transaction, when so many wait.
    pub group_max: usize,
    /// How long another process's write, or a free connection, is waited for.
    pub busy_timeout: Duration,
    /// How long a server may take over a statement.
    pub statement_timeout: Duration,
    /// What time it is, until a server says what its own time is.
    pub clock: Clock,
    /// Whether one is opened too that [`Catalog::move_to`] is filling: for that alone.
    pub half_filled: bool,
}

impl Settings {
    /// A database with everything else as usual.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers: 4,
            writers: 8,
            group_max: 128,
            busy_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            clock: Clock::default(),
            half_filled: false,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A server's URL may hold a password.
        out.debug_struct("Settings").field("url", &without_password(&self.url)).finish_non_exhaustive()
    }
}

/// Whether a URL names a catalog.
pub fn is_url(url: &str) -> bool {
    engine::Place::of(url).is_ok()
}

/// Whether a URL names a catalog that several machines may share.
pub fn is_server_url(url: &str) -> bool {
    matches!(engine::Place::of(url), Ok(engine::Place::Server(_)))
}

/// A part of a list, and where the next begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// The cursor of the next page; none where this was the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Of one row more than asked for, if there are so many.
    fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// The catalog. Clones are one catalog. Opens nothing until it is first asked.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    engine: OnceCell<Engine>,
    committed: Committed,
    following: std::sync::Once,
}

/// How often events of other processes are looked for while somebody follows.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// How often a server is asked what time it is.
const TIME_EVERY: Duration = Duration::from_secs(10);

impl Catalog {
    /// A catalog that is not opened yet.
    pub fn new(settings: Settings) -> Self {
        let clock = settings.clock.clone();
        let committed = Committed { events: watch::Sender::new(0), ready: watch::Sender::new(0), clock };
        let (engine, following) = (OnceCell::new(), std::sync::Once::new());
        Self { inner: Arc::new(Inner { settings, engine, committed, following }) }
    }

    /// Opens it now and brings its tables up to date; else the first question does. After a failure the next question tries
    /// again.
    pub async fn open(&self) -> Result<(), Error> {
        self.engine().await.map(drop)
    }

    /// A cheap question whether it answers at all, for health.
    pub async fn ping(&self) -> Result<(), Error> {
        self.read("SELECT 1", Vec::new()).await.map(drop)
    }

    /// Whether other machines may share it.
    pub fn is_shared(&self) -> bool {
        is_server_url(&self.inner.settings.url)
    }

    /// What time it is, in milliseconds since 1970: the server's time where there is one, the same for all that share it.
    pub fn now_ms(&self) -> i64 {
        self.inner.committed.clock.now_ms()
    }

    /// The number of the last event that this process knows of. Changes on each commit of this process with an event, and soon
    /// after those of others.
    pub fn follow(&self) -> watch::Receiver<i64> {
        let inner = Arc::downgrade(&self.inner);
        // One look-out a process, which ends with the catalog; where there is no runtime, only own commits are told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.inner.following.call_once(|| {
                runtime.spawn(async move {
                    while let Some(inner) = inner.upgrade() {
                        let catalog = Self { inner };
                        if let Ok(last) = catalog.last_event().await {
                            catalog
                                .inner
                                .committed
                                .events
                                .send_if_modified(|known| std::mem::replace(known, last.max(*known)) < last);
                        }
                        drop(catalog);
                        tokio::time::sleep(FOLLOW_EVERY).await;
                    }
                });
            });
        }
        self.inner.committed.events.subscribe()
    }

    /// The number of the last event that this process has committed, or knows of otherwise.
    pub fn last_known_event(&self) -> i64 {
        *self.inner.committed.events.borrow()
    }

    /// Changes when a job may be claimed that could not be before, by a commit of this process.
    pub fn ready(&self) -> watch::Receiver<u64> {
        self.inner.committed.ready.subscribe()
    }

    async fn engine(&self) -> Result<&Engine, Error> {
        let Inner { engine, settings, committed, .. } = &*self.inner;
        let open = async || {
            let engine = Engine::open(settings, committed.clone()).await?;
            if matches!(engine, Engine::Postgres(_)) {
                if !settings.half_filled && moving::is_half_filled(&engine).await? {
                    return Err(Error::Unavailable(
                        "it is being filled: `fovea migrate --from … --to …` must end first".to_owned(),
                    ));
                }
                tokio::spawn(keep_time(Arc::downgrade(&self.inner)));
            }
            Ok(engine)
        };
        engine.get_or_try_init(open).await
    }

    /// Runs a step in a transaction, perhaps together with others; answers after its commit. The step may be run more than once,
    /// and counts once.
    async fn write<T, F>(&self, step: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Clone + Send + 'static,
    {
        self.engine().await?.write(step).await
    }

    /// Runs a statement that reads.
    async fn read(&self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.engine().await?.read(sql.into(), values).await
    }

    /// Runs a statement that reads at most one row.
    async fn read_one(&self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Option<Row>, Error> {
        Ok(self.read(sql, values).await?.into_iter().next())
    }
}

/// Has the clock go with the server's, for as long as there is a catalog.
async fn keep_time(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(TIME_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Some(engine) = inner.engine.get()
            && let Err(error) = engine.ask_time().await
        {
            tracing::debug!(%error, "the catalog's time is not known anew");
        }
    }
}
