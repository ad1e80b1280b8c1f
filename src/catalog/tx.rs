//! A transaction under way: statements in it, the events that it appends, and what is told once it is committed.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;

use super::clock::Clock;
use super::sql::{Row, Value, values};
use super::sqlite::{self, Statement};
use super::{Error, NewEvent};

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

/// What a step adds to what is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    seq: Option<i64>,
    ready: bool,
}

/// The writer's connection, in a transaction while steps run.
#[derive(Debug)]
pub struct Tx {
    link: SqliteConnection,
    committed: Committed,
    now_ms: i64,
    mark: Mark,
}

impl Tx {
    /// Of the writer's connection.
    pub fn new(link: SqliteConnection, committed: Committed) -> Self {
        Self { link, committed, now_ms: 0, mark: Mark::default() }
    }

    /// When the transaction began; all its rows say so.
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn run(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<u64, Error> {
        sqlite::run(&mut self.link, sql.into(), values).await
    }

    /// Runs a statement; answers its rows.
    pub async fn rows(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        sqlite::rows(&mut self.link, sql.into(), values).await
    }

    /// Runs a statement that answers at most one row.
    pub async fn row(&mut self, sql: impl Into<Statement>, values: Vec<Value>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Appends an event; answers its number.
    pub async fn append(&mut self, event: NewEvent) -> Result<i64, Error> {
        let at_ms = self.now_ms;
        let NewEvent { owner, kind, category, asset, version, job, data, trace } = event;
        let row = self
            .row(
                "INSERT INTO events (owner, kind, category, asset, version, job, data, trace, at_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING seq",
                values![owner, kind, category, asset, version, job, &data, trace, at_ms],
            )
            .await?;
        let seq = row.ok_or(Error::NotFound)?.cells().int()?;
        self.mark.seq = Some(seq);
        Ok(seq)
    }

    /// Notes that a job may be claimed now.
    pub fn wake(&mut self) {
        self.mark.ready = true;
    }

    pub(super) fn begin(&mut self) {
        self.now_ms = self.committed.clock.now_ms();
        self.mark = Mark::default();
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn forget_since(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Tells of a commit.
    pub(super) fn settled(&mut self, committed: bool) {
        let Mark { seq, ready } = std::mem::take(&mut self.mark);
        if !committed {
            return;
        }
        if let Some(seq) = seq {
            self.committed.events.send_if_modified(|last| std::mem::replace(last, seq.max(*last)) < seq);
        }
        if ready {
            self.committed.ready.send_modify(|times| *times = times.wrapping_add(1));
        }
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        Ok(self.link.close().await?)
    }
}
