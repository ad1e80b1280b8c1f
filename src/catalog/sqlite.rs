//! SQLite: one connection that writes, a few that read, in write-ahead-log mode on a local disk.
//!
//! Writes are steps that wait for the writer; those that wait together are one transaction (group commit), each behind a savepoint
//! of its own, so that one that fails takes nothing back but itself. A step is answered after the commit, which has reached
//! the disk by then (`synchronous = FULL`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row as _, TypeInfo, ValueRef};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::Error;
use super::migrations::{self, Dialect};
use super::sql::{Row, Statement, Value, safe};
use super::tx::{Committed, Link, Tx};

/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 256;

/// How often, while there are writes, the log's pages are moved into the database beside the writer.
const SHORTEN_EVERY: Duration = Duration::from_secs(1);

/// A log of more pages (64 MiB) the writer itself shortens, so that it is bounded also where writes come faster than they are moved.
const LOG_PAGES_MAX: &str = "16384";

/// Steps that may wait for the writer; further callers wait to hand theirs in.
const STEPS_MAX: usize = 4096;

/// How to open the database.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// The file.
    pub path: &'a Path,
    /// Connections that read.
    pub readers: usize,
    /// Steps in one transaction.
    pub group_max: usize,
    /// How long another process's write is waited for.
    pub busy_timeout: Duration,
}

/// Work inside of a transaction.
pub type Step<T> = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send>;

/// An opened database.
#[derive(Debug)]
pub struct Sqlite {
    steps: mpsc::Sender<Box<dyn Waiting>>,
    readers: Readers,
}

impl Sqlite {
    /// Opens the database, and brings its tables up to date.
    pub async fn open(settings: Settings<'_>, committed: Committed) -> Result<Self, Error> {
        if let Some(folder) = settings.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = tokio::fs::create_dir_all(folder).await;
            made.map_err(|error| Error::Unavailable(format!("the folder {}: {error}", folder.display())))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(settings.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(settings.busy_timeout)
            .foreign_keys(false)
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", "-16384")
            .pragma("journal_size_limit", "67108864")
            .pragma("wal_autocheckpoint", LOG_PAGES_MAX)
            .statement_cache_capacity(STATEMENTS_MAX)
            .disable_statement_logging();
        let mut writer = options.connect().await?;
        migrate(&mut writer).await?;
        let (steps, waiting) = mpsc::channel(STEPS_MAX);
        let (written, writes) = watch::channel(());
        tokio::spawn(write(Tx::new(Link::Sqlite(writer), committed), waiting, settings.group_max.max(1), written));
        tokio::spawn(shorten_log(options.clone().create_if_missing(false), writes));
        // Not read-only by flag: a read-only connection could not make the log's index after a crash.
        let options = options.create_if_missing(false).pragma("query_only", "ON");
        Ok(Self { steps, readers: Readers::new(options, settings.readers.max(1)) })
    }

    /// Runs a step in a transaction; answers after its commit.
    pub async fn write<T: Send + 'static>(&self, step: Step<T>) -> Result<T, Error> {
        let (reply, outcome) = oneshot::channel();
        let waiting = Box::new(Stepping { step: Some(step), outcome: None, reply });
        let closed = || Error::Unavailable("it has been closed".to_owned());
        self.steps.send(waiting).await.map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs a statement that reads.
    pub async fn read(&self, sql: Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let mut connection = self.readers.take().await?;
        let rows = rows(connection.link.as_mut().expect("it was taken whole"), sql, values).await?;
        connection.well = true;
        Ok(rows)
    }
}

/// Runs a statement; answers how many rows it touched.
pub async fn run(link: &mut SqliteConnection, sql: Statement, values: Vec<Value>) -> Result<u64, Error> {
    Ok(sqlx::query_with(safe(sql), arguments(values)?).execute(link).await?.rows_affected())
}

/// Runs a statement; answers its rows.
pub async fn rows(link: &mut SqliteConnection, sql: Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_with(safe(sql), arguments(values)?).fetch_all(link).await?;
    rows.iter().map(row).collect()
}

fn arguments(values: Vec<Value>) -> Result<SqliteArguments, Error> {
    use sqlx::Arguments;
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Null => arguments.add(Option::<i64>::None),
            Value::Int(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
        };
        added.map_err(|error| Error::Corrupt(error.to_string()))?;
    }
    Ok(arguments)
}

fn row(row: &SqliteRow) -> Result<Row, Error> {
    let cell = |at: usize| -> Result<Value, Error> {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info();
        Ok(match kind.name() {
            "INTEGER" | "BOOLEAN" => Value::Int(row.try_get_unchecked(at)?),
            "REAL" => Value::Real(row.try_get_unchecked(at)?),
            _ => Value::Text(row.try_get_unchecked(at)?),
        })
    };
    (0..row.len()).map(cell).collect::<Result<_, _>>().map(Row)
}

/// Brings the tables up to date. Another process that does the same at the same time is waited for.
async fn migrate(link: &mut SqliteConnection) -> Result<(), Error> {
    let migrator = migrations::of(Dialect::Sqlite);
    let mut transaction = link.begin_with("BEGIN IMMEDIATE").await?;
    let done = migrator.run_direct(None, &mut *transaction, false).await;
    done.map_err(|error| Error::Unavailable(format!("its tables cannot be brought up to date: {error}")))?;
    Ok(transaction.commit().await?)
}

/// A step that waits for the writer, whatever it answers.
trait Waiting: Send {
    /// Runs it; what it answers is kept until the commit.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), ()>>;
    /// Answers the caller: what the step came to, or why the commit did not.
    fn settle(self: Box<Self>, commit: Result<(), Error>);
}

struct Stepping<T> {
    step: Option<Step<T>>,
    outcome: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send> Waiting for Stepping<T> {
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), ()>> {
        Box::pin(async move {
            let Some(step) = self.step.take() else { return Err(()) };
            let outcome = std::panic::AssertUnwindSafe(step(tx)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err(Error::Corrupt("a step of the catalog panicked".to_owned())));
            let outcome = match outcome {
                Ok(value) => tx.flush().await.map(|()| value),
                Err(error) => Err(error),
            };
            let well = outcome.as_ref().map(|_| ()).map_err(|_| ());
            self.outcome = Some(outcome);
            well
        })
    }

    fn settle(self: Box<Self>, commit: Result<(), Error>) {
        let outcome = match (self.outcome, commit) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Unavailable("it was not run".to_owned())),
        };
        // The caller may have left.
        drop(self.reply.send(outcome));
    }
}

/// The writer: as long as somebody may write, a group of steps at a time.
async fn write(
    mut tx: Tx,
    mut waiting: mpsc::Receiver<Box<dyn Waiting>>,
    group_max: usize,
    written: watch::Sender<()>,
) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, group_max).await > 0 {
        let commit = write_group(&mut tx, &mut group).await;
        tx.settled(commit.is_ok());
        for step in group.drain(..) {
            step.settle(commit.clone());
        }
        written.send_replace(());
    }
    if let Err(error) = tx.close().await {
        tracing::warn!(%error, "the catalog was not closed in order");
    }
}

/// Moves the log's pages into the database while the writer goes on: a commit that did so itself would wait for twice as many
/// writes to reach the disk, and those behind it with it.
async fn shorten_log(options: SqliteConnectOptions, mut writes: watch::Receiver<()>) {
    let mut link = None;
    while writes.changed().await.is_ok() {
        tokio::time::sleep(SHORTEN_EVERY).await;
        writes.mark_unchanged();
        let shortened = async {
            let mut open = match link.take() {
                Some(open) => open,
                None => options.connect().await?,
            };
            // Others' readers may need the rest for a while; it stays for the next time.
            run(&mut open, "PRAGMA wal_checkpoint(PASSIVE)".into(), Vec::new()).await?;
            Ok::<_, Error>(open)
        };
        match shortened.await {
            Ok(open) => link = Some(open),
            Err(error) => tracing::debug!(%error, "the catalog's log could not be shortened yet"),
        }
    }
}

async fn write_group(tx: &mut Tx, group: &mut [Box<dyn Waiting>]) -> Result<(), Error> {
    tx.begin();
    tx.run("BEGIN IMMEDIATE", Vec::new()).await?;
    let alone = group.len() == 1;
    for step in group.iter_mut() {
        if !alone {
            tx.run("SAVEPOINT step", Vec::new()).await.or(Err(lost()))?;
        }
        let mark = tx.mark();
        let well = step.run(tx).await.is_ok();
        if !well {
            tx.forget_since(mark);
        }
        let undone = match (alone, well) {
            (true, true) => Ok(0),
            (true, false) => return tx.run("ROLLBACK", Vec::new()).await.map(drop),
            (false, true) => tx.run("RELEASE step", Vec::new()).await,
            (false, false) => match tx.run("ROLLBACK TO step", Vec::new()).await {
                Ok(_) => tx.run("RELEASE step", Vec::new()).await,
                Err(error) => Err(error),
            },
        };
        // A full disk or the like takes the whole transaction back, and the savepoint with it.
        if let Err(error) = undone {
            drop(tx.run("ROLLBACK", Vec::new()).await);
            return Err(error);
        }
    }
    let commit = tx.run("COMMIT", Vec::new()).await;
    if commit.is_err() {
        drop(tx.run("ROLLBACK", Vec::new()).await);
    }
    commit.map(drop)
}

fn lost() -> Error {
    Error::Unavailable("its transaction was taken back".to_owned())
}

/// Connections that read, made when they are first needed. No timers: a caller's deadline is its own.
#[derive(Debug)]
struct Readers {
    options: SqliteConnectOptions,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    fn new(options: SqliteConnectOptions, most: usize) -> Self {
        Self { options, idle: Arc::default(), permits: Arc::new(Semaphore::new(most)) }
    }

    async fn take(&self) -> Result<Reader<'_>, Error> {
        let permit = self.permits.acquire().await.map_err(|_| Error::Unavailable("it has been closed".to_owned()))?;
        let idle = self.idle.lock().pop();
        let link = match idle {
            Some(link) => link,
            None => self.options.connect().await?,
        };
        Ok(Reader { link: Some(link), well: false, idle: &self.idle, _permit: permit })
    }
}

/// A connection that reads; it goes back when the read went well, and is closed when it did not or was left.
struct Reader<'a> {
    link: Option<SqliteConnection>,
    well: bool,
    idle: &'a Mutex<Vec<SqliteConnection>>,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take().filter(|_| self.well) {
            self.idle.lock().push(link);
        }
    }
}
