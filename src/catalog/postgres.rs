//! PostgreSQL: a pool that writes, a pool that reads, and any number of other processes that do the same.
//!
//! A step is a transaction of its own, in READ COMMITTED: what it reads in order to change it is locked (`Tx::for_update`,
//! `Tx::alone`). One that loses a race (a deadlock, a row that somebody else was quicker to insert, a connection that broke before
//! the commit) is taken back and run again; so steps have no effect but on their transaction.

use std::str::FromStr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, PgTypeInfo,
};
use sqlx::{ConnectOptions, Connection, Encode, Postgres as Engine, Row as _, Type, TypeInfo, ValueRef};

use super::Error;
use super::migrations::{self, Dialect};
use super::sql::{Row, Statement, Value, safe};
use super::tx::{Committed, Link, Tx};

/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 256;

/// Runs of a step that loses races.
const RUNS_MAX: u32 = 8;

/// The pause after a lost race; it doubles, and varies by half.
const RACE_PAUSE: Duration = Duration::from_millis(2);

/// A connection that was idle for longer is asked whether it is still there.
const IDLE_TRUSTED: Duration = Duration::from_secs(2);

/// Taken, shared, by whoever draws numbers for events, until the numbers are committed or taken back.
pub const NUMBERING: &str = "SELECT pg_advisory_xact_lock_shared(70111101, 1)";

/// Who has drawn numbers and has not ended yet.
const NUMBERING_NOW: &str =
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND classid = 70111101 AND objid = 1
         AND objsubid = 2 AND mode = 'ShareLock' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The last number that was drawn.
const LAST_DRAWN: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq";

/// How long a reader of events waits for numbers under way; what they leave open, it reads the next time.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// How often it looks.
const DECIDED_LOOK: Duration = Duration::from_millis(2);

/// What time it is there.
const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// How long the answer may take if it is to count, and from which difference on it is worth a word.
const NOW_WITHIN: Duration = Duration::from_millis(500);
const NOW_APART_MS: i64 = 2000;

/// How to open the database.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    pub url: &'a str,
    /// Connections that read.
    pub readers: usize,
    /// Connections that write.
    pub writers: usize,
    /// How long a connection, or a row that somebody else holds, is waited for.
    pub busy_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
}

/// An opened database. Clones are one.
#[derive(Clone, Debug)]
pub struct Postgres {
    writers: PgPool,
    readers: PgPool,
    committed: Committed,
    decided: std::sync::Arc<Mutex<i64>>,
}

/// Why a statement failed, and whether the step may go better another time.
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Whether.
    pub passes: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, passes: false }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        let passes = match &error {
            // Serialisation failure, deadlock, a unique row that another transaction inserted first, a server that stops.
            sqlx::Error::Database(inner) => {
                matches!(inner.code().as_deref(), Some("40001" | "40P01" | "23505" | "57P01" | "57P02"))
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
            _ => false,
        };
        Self { error: error.into(), passes }
    }
}

impl Postgres {
    /// Connects, and brings the tables up to date.
    pub async fn open(settings: Settings<'_>, committed: Committed) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(settings.url)
            .map_err(|error| Error::Unavailable(format!("the URL of the catalog: {error}")))?
            .application_name("fovea")
            .statement_cache_capacity(STATEMENTS_MAX)
            .disable_statement_logging();
        let pool = |connections: usize| {
            let set = limits(&settings);
            PgPoolOptions::new()
                .max_connections(u32::try_from(connections.max(1)).unwrap_or(u32::MAX))
                .acquire_timeout(settings.busy_timeout)
                .test_before_acquire(false)
                .before_acquire(|link, idle| {
                    Box::pin(async move { Ok(idle.idle_for < IDLE_TRUSTED || link.ping().await.is_ok()) })
                })
                .after_connect(move |link, _| {
                    let set = set.clone();
                    Box::pin(async move { sqlx::raw_sql(safe(set.into())).execute(link).await.map(drop) })
                })
                .connect_lazy_with(options.clone())
        };
        let (writers, readers) = (pool(settings.writers), pool(settings.readers));
        migrate(&writers).await?;
        let this = Self { writers, readers, committed, decided: Default::default() };
        this.ask_time().await?;
        Ok(this)
    }

    /// Takes the time from the server, whose clock is the one that all share.
    pub async fn ask_time(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let answer = self.read(NOW.into(), Vec::new()).await?;
        let (took, clock) = (asked.elapsed(), &self.committed.clock);
        let now_ms = answer.into_iter().next().ok_or(Error::NotFound)?.cells().int()?;
        // What takes long tells little; but for the first time it tells something.
        let first = !clock.is_told();
        if first || took < NOW_WITHIN {
            let ahead_ms = clock.tell(now_ms + took.as_millis() as i64 / 2);
            if first && ahead_ms.abs() > NOW_APART_MS {
                tracing::warn!(ahead_ms, "this machine's clock is not the catalog's, which counts between processes");
            }
        }
        Ok(())
    }

    /// Runs a step in a transaction; answers after its commit. A step that began is run to its end, also when the caller leaves.
    pub async fn write<T, F>(&self, step: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Clone + Send + 'static,
    {
        let this = self.clone();
        let writing = tokio::spawn(async move {
            let mut pause = RACE_PAUSE;
            for _ in 1..RUNS_MAX {
                match this.run(step.clone()).await {
                    Err(Failed { passes: true, .. }) => {}
                    Err(failed) => return Err(failed.error),
                    Ok(value) => return Ok(value),
                }
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                pause *= 2;
            }
            this.run(step).await.map_err(|failed| failed.error)
        });
        writing.await.unwrap_or_else(|_| Err(Error::Corrupt("a step of the catalog panicked".to_owned())))
    }

    async fn run<T, F>(&self, step: F) -> Result<T, Failed>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send,
    {
        // What fails here has changed nothing.
        let begun = self.writers.begin().await?;
        let mut tx = Tx::new(Link::Postgres(begun), self.committed.clone());
        let outcome = match step(&mut tx).await {
            Ok(value) => tx.flush().await.map(|()| value),
            Err(error) => Err(error),
        };
        match outcome {
            // Whether a commit whose answer is lost took place nobody knows, so it is not run again.
            Ok(value) if !tx.raced() => Ok(tx.commit().await.map(|()| value)?),
            Ok(_) => Err(Failed { error: Error::Conflict, passes: true }),
            Err(error) => Err(Failed { error, passes: tx.raced() }),
        }
    }

    /// Runs a statement that reads.
    pub async fn read(&self, sql: Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        match rows(&self.readers, sql.clone(), values.clone()).await {
            // The connection broke; another may be well.
            Err(Failed { passes: true, .. }) => rows(&self.readers, sql, values).await.map_err(|failed| failed.error),
            outcome => outcome.map_err(|failed| failed.error),
        }
    }

    /// The number up to which all events are there that ever will be. Numbers are drawn before they are committed, in any
    /// order, and some are never used: a reader that went on from a larger one would miss what comes after it. So whoever draws holds
    /// a shared lock until the end; once those are gone that held it when the last number was read, that number is decided.
    pub async fn decided(&self) -> Result<i64, Error> {
        let last = self.read(LAST_DRAWN.into(), Vec::new()).await?;
        let last = last.into_iter().next().ok_or(Error::NotFound)?.cells().int()?;
        let mut at_it = self.numbering().await?;
        let until = tokio::time::Instant::now() + DECIDED_WITHIN;
        while !at_it.is_empty() {
            if tokio::time::Instant::now() > until {
                return Ok(*self.decided.lock());
            }
            tokio::time::sleep(DECIDED_LOOK).await;
            let still = self.numbering().await?;
            at_it.retain(|one| still.contains(one));
        }
        let mut decided = self.decided.lock();
        *decided = last.max(*decided);
        Ok(last)
    }

    async fn numbering(&self) -> Result<Vec<String>, Error> {
        self.read(NUMBERING_NOW.into(), Vec::new()).await?.into_iter().map(|row| row.cells().text()).collect()
    }
}

/// What a connection is told at its start, so that nothing waits for ever, here or there.
fn limits(settings: &Settings<'_>) -> String {
    let ms = |time: Duration| time.as_millis().max(1);
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; SET idle_in_transaction_session_timeout = {idle};
         SET TIME ZONE 'UTC'",
        statement = ms(settings.statement_timeout),
        lock = ms(settings.busy_timeout),
        idle = ms(settings.statement_timeout),
    )
}

/// Brings the tables up to date. Another process that does the same at the same time is waited for.
async fn migrate(pool: &PgPool) -> Result<(), Error> {
    let mut link = pool.acquire().await?;
    // A step over a large table may take its time.
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *link).await?;
    let done = migrations::of(Dialect::Postgres).run_direct(None, &mut *link, false).await;
    // Its limits are no longer those of the others.
    link.close().await?;
    done.map_err(|error| Error::Unavailable(format!("its tables cannot be brought up to date: {error}")))
}

/// Runs a statement; answers how many rows it touched.
pub async fn run(link: &mut PgConnection, sql: Statement, values: Vec<Value>) -> Result<u64, Failed> {
    let given = arguments(&sql, values)?;
    Ok(sqlx::query_with(safe(sql), given).execute(link).await?.rows_affected())
}

/// Runs a statement; answers its rows.
pub async fn rows<'e>(
    link: impl sqlx::Executor<'e, Database = Engine>,
    sql: Statement,
    values: Vec<Value>,
) -> Result<Vec<Row>, Failed> {
    let given = arguments(&sql, values)?;
    let rows = sqlx::query_with(safe(sql), given).fetch_all(link).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

fn arguments(sql: &str, values: Vec<Value>) -> Result<PgArguments, Error> {
    use sqlx::Arguments;
    let mut arguments = PgArguments::default();
    for (at, value) in values.into_iter().enumerate() {
        let added = match value {
            // Of `$2 IS NULL OR owner = $2` the server looks no further than the first to tell the type. They are all texts.
            Value::Null if sql.contains(&format!("${} IS NULL", at + 1)) => arguments.add(Option::<String>::None),
            Value::Null => arguments.add(Nothing),
            Value::Int(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
        };
        added.map_err(|error| Error::Corrupt(error.to_string()))?;
    }
    Ok(arguments)
}

/// NULL, of the type that the statement makes of it.
struct Nothing;

impl Type<Engine> for Nothing {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Engine> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn row(row: &PgRow) -> Result<Row, Error> {
    let cell = |at: usize| -> Result<Value, Error> {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info().into_owned();
        Ok(match kind.name() {
            "INT8" => Value::Int(row.try_get_unchecked(at)?),
            "INT4" => Value::Int(row.try_get_unchecked::<i32, _>(at)?.into()),
            "BOOL" => Value::Int(row.try_get_unchecked::<bool, _>(at)?.into()),
            "FLOAT8" => Value::Real(row.try_get_unchecked(at)?),
            "NUMERIC" => Value::Int(whole(raw.as_bytes().map_err(corrupt)?)?),
            "TEXT" | "VARCHAR" => Value::Text(row.try_get_unchecked(at)?),
            other => return Err(Error::Corrupt(format!("{other} is read nowhere"))),
        })
    };
    (0..row.len()).map(cell).collect::<Result<_, _>>().map(Row)
}

fn corrupt(error: BoxDynError) -> Error {
    Error::Corrupt(error.to_string())
}

/// A whole NUMERIC, which is what a sum of BIGINTs is: groups of four decimal digits after the number of groups, the first
/// group's power of 10 000, sign and scale, 16 bits each (`numeric_send` in the server's `numeric.c`).
fn whole(bytes: &[u8]) -> Result<i64, Error> {
    const NEGATIVE: u16 = 0x4000;
    let short = |at: usize| bytes.get(at * 2..at * 2 + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let read = || {
        let (groups, power, sign) = (short(0)?, i32::from(short(1)? as i16), short(2)?);
        let mut value = 0_i64;
        for at in 0..=power.max(-1) {
            let group = if at < i32::from(groups) { short(4 + at as usize)? } else { 0 };
            value = value.checked_mul(10_000)?.checked_add(group.into())?;
        }
        let fraction = i32::from(groups) > power + 1 && groups > 0;
        (!fraction && sign <= NEGATIVE).then_some(if sign == NEGATIVE { -value } else { value })
    };
    read().ok_or_else(|| Error::Corrupt("a sum is no whole number of 64 bits".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read() {
        let numeric = |groups: &[u16], power: i16, sign: u16| {
            let mut bytes = Vec::new();
            for short in [groups.len() as u16, power as u16, sign, 0].iter().chain(groups) {
                bytes.extend(short.to_be_bytes());
            }
            whole(&bytes).ok()
        };
        assert_eq!(numeric(&[], 0, 0), Some(0));
        assert_eq!(numeric(&[7], 0, 0), Some(7));
        assert_eq!(numeric(&[1, 2345], 1, 0x4000), Some(-12_345));
        assert_eq!(numeric(&[3], 2, 0), Some(300_000_000));
        assert_eq!(numeric(&[5000], -1, 0), None, "a fraction");
        assert_eq!(numeric(&[1], 0, 0xC000), None, "not a number");
        assert_eq!(numeric(&[1], 9, 0), None, "too large");
    }
}
