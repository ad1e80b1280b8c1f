//! A transaction under way: statements in it, the events that it appends, and what is told once it is committed.
//!
//! Events and the lanes' places are written last, in one order: what many transactions touch is held for as short as can be.

use std::collections::BTreeMap;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;

use super::clock::Clock;
use super::sql::{Row, Statement, Value, values};
use super::{Error, NewEvent, postgres, sqlite};

/// Who is told of commits.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The last event that this process knows of.
    pub events: watch::Sender<i64>,
    /// Changes when a job may be claimed that could not be before.
    pub ready: watch::Sender<u64>,
    /// What time it is.
    pub clock: Clock,
}

/// What runs statements.
#[derive(Debug)]
pub enum Link {
    /// The one connection that writes, in a transaction while steps run.
    Sqlite(SqliteConnection),
    /// A transaction among others; taken back when it is dropped.
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// What a step adds to what is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    seq: Option<i64>,
    ready: bool,
}

/// A lane's owner: kind, priority, owner.
type Place = (&'static str, i64, String);

/// Events that are held back until the step's end; more are written before.
const EVENTS_MAX: usize = 256;

/// Events in one statement.
const EVENTS_AT_ONCE: usize = 8;

/// A transaction, in which steps run.
#[derive(Debug)]
pub struct Tx {
    link: Link,
    committed: Committed,
    now_ms: i64,
    mark: Mark,
    events: Vec<NewEvent>,
    places: BTreeMap<Place, i64>,
    raced: bool,
}

impl Tx {
    /// On a connection.
    pub fn new(link: Link, committed: Committed) -> Self {
        let now_ms = committed.clock.now_ms();
        let (events, places) = Default::default();
        Self { link, committed, now_ms, mark: Mark::default(), events, places, raced: false }
    }

    /// When the transaction began; all its rows say so.
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Whether others write at the same time.
    pub const fn among_others(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    /// What ends a statement whose rows are changed next: nobody else changes them until the commit.
    pub const fn for_update(&self) -> &'static str {
        if self.among_others() { " FOR UPDATE" } else { "" }
    }

    /// The same, for rows of which any will do: those that somebody else holds are passed over.
    pub const fn for_update_of_any(&self) -> &'static str {
        if self.among_others() { " FOR UPDATE SKIP LOCKED" } else { "" }
    }

    /// Waits until nobody else is at what this names, and keeps it until the commit. Where there is one writer, it is alone anyhow.
    pub async fn alone(&mut self, name: &str) -> Result<(), Error> {
        if !self.among_others() {
            return Ok(());
        }
        let digest = crate::base::Digest::of(name.as_bytes());
        let key = i64::from_be_bytes(digest.0[..8].try_into().expect("a digest has 32 bytes"));
        self.run("SELECT pg_advisory_xact_lock($1)", values![key]).await.map(drop)
    }

    /// Notes that somebody else was quicker: what the step answers does not count, and it is run again where that may help.
    pub fn lost_a_race(&mut self) {
        self.raced = self.among_others();
    }

    /// Whether somebody else was quicker.
    pub(super) const fn raced(&self) -> bool {
        self.raced
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn run(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<u64, Error> {
        match &mut self.link {
            Link::Sqlite(link) => sqlite::run(link, sql.into(), values).await,
            Link::Postgres(link) => {
                let touched = postgres::run(link, sql.into(), values).await;
                touched.map_err(|error| self.judged(error))
            }
        }
    }

    /// Runs a statement; answers its rows.
    pub async fn rows(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        match &mut self.link {
            Link::Sqlite(link) => sqlite::rows(link, sql.into(), values).await,
            Link::Postgres(link) => {
                let rows = postgres::rows(&mut **link, sql.into(), values).await;
                rows.map_err(|error| self.judged(error))
            }
        }
    }

    fn judged(&mut self, failed: postgres::Failed) -> Error {
        self.raced |= failed.passes;
        failed.error
    }

    /// Runs a statement that answers at most one row.
    pub async fn row(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Appends an event.
    pub async fn append(&mut self, event: NewEvent) -> Result<(), Error> {
        self.events.push(event);
        if self.events.len() < EVENTS_MAX { Ok(()) } else { self.flush_events().await }
    }

    /// Raises a lane's place at the step's end.
    pub fn raise(&mut self, kind: &'static str, rank: i64, owner: &str, place: i64) {
        let known = self.places.entry((kind, rank, owner.to_owned())).or_insert(place);
        *known = place.max(*known);
    }

    /// What a lane's place is raised to at the step's end.
    pub fn raised(&self, kind: &'static str, rank: i64, owner: &str) -> Option<i64> {
        self.places.get(&(kind, rank, owner.to_owned())).copied()
    }

    /// Notes that a job may be claimed now.
    pub fn wake(&mut self) {
        self.mark.ready = true;
    }

    pub(super) fn begin(&mut self) {
        self.now_ms = self.committed.clock.now_ms();
        self.mark = Mark::default();
        self.forget_held();
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn forget_since(&mut self, mark: Mark) {
        self.mark = mark;
        self.forget_held();
    }

    fn forget_held(&mut self) {
        self.events.clear();
        self.places.clear();
    }

    /// Writes what was held back.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.flush_events().await?;
        for ((kind, rank, owner), place) in std::mem::take(&mut self.places) {
            self.run(
                "INSERT INTO lanes (kind, priority, owner, place) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (kind, priority, owner) DO UPDATE SET place = excluded.place WHERE lanes.place < excluded.place",
                values![kind, rank, owner, place],
            )
            .await?;
        }
        Ok(())
    }

    async fn flush_events(&mut self) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        if self.among_others() {
            // Whoever reads on from a number must know that no smaller one is to come; see `postgres::Decided`.
            self.run(postgres::NUMBERING, Vec::new()).await?;
        }
        let at_ms = self.now_ms;
        let mut events = std::mem::take(&mut self.events).into_iter().peekable();
        while events.peek().is_some() {
            let (mut rows, mut given) = (Vec::new(), Vec::new());
            for event in events.by_ref().take(EVENTS_AT_ONCE) {
                let NewEvent { owner, kind, category, asset, version, job, data, trace } = event;
                let first = given.len() + 1;
                given.extend(values![owner, kind, category, asset, version, job, &data, trace, at_ms]);
                let names: Vec<String> = (first..=given.len()).map(|at| format!("${at}")).collect();
                rows.push(format!("({})", names.join(", ")));
            }
            let sql = format!(
                "INSERT INTO events (owner, kind, category, asset, version, job, data, trace, at_ms) VALUES {} RETURNING seq",
                rows.join(", ")
            );
            for row in self.rows(sql, given).await? {
                self.mark.seq = self.mark.seq.max(Some(row.cells().int()?));
            }
        }
        Ok(())
    }

    /// Tells of a commit.
    pub(super) fn settled(&mut self, committed: bool) {
        let mark = std::mem::take(&mut self.mark);
        if committed {
            self.committed.tell(mark);
        }
    }

    /// Commits a transaction among others, and tells of it.
    pub(super) async fn commit(self) -> Result<(), Error> {
        if let Link::Postgres(link) = self.link {
            link.commit().await?;
        }
        self.committed.tell(self.mark);
        Ok(())
    }

    /// Closes the one writer's connection.
    pub(super) async fn close(self) -> Result<(), Error> {
        match self.link {
            Link::Sqlite(link) => Ok(link.close().await?),
            Link::Postgres(link) => Ok(link.rollback().await?),
        }
    }
}

impl Committed {
    fn tell(&self, Mark { seq, ready }: Mark) {
        if let Some(seq) = seq {
            self.events.send_if_modified(|last| std::mem::replace(last, seq.max(*last)) < seq);
        }
        if ready {
            self.ready.send_modify(|times| *times = times.wrapping_add(1));
        }
    }
}
