//! How much waits, and how it went lately.

use std::time::Duration;

use super::sql::{Row, values};
use super::{Catalog, Error, JobState, Kind, Priority, Tx};

/// So many jobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Of this kind.
    pub kind: Kind,
    /// Of this priority.
    pub priority: Priority,
    /// In this state.
    pub state: JobState,
    /// So many.
    pub jobs: u64,
}

/// What there is of jobs now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Depth {
    /// How many, by kind, priority and state.
    pub counts: Vec<Count>,
    /// When the oldest was queued of those that may be claimed.
    pub oldest_ms: Option<i64>,
}

impl Depth {
    /// Jobs that wait, for a worker or for their next try.
    pub fn waiting(&self) -> u64 {
        self.in_states(&[JobState::Queued, JobState::Retrying])
    }

    /// Jobs that workers are at, batches left out.
    pub fn in_flight(&self) -> u64 {
        let at = |count: &&Count| count.state == JobState::Processing && count.kind != Kind::Batch;
        self.counts.iter().filter(at).map(|count| count.jobs).sum()
    }

    fn in_states(&self, states: &[JobState]) -> u64 {
        self.counts.iter().filter(|count| states.contains(&count.state)).map(|count| count.jobs).sum()
    }
}

/// Quantiles of a time, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timing {
    /// Half are quicker.
    pub p50_ms: u64,
    /// 95 of 100 are quicker.
    pub p95_ms: u64,
    /// 99 of 100 are quicker.
    pub p99_ms: u64,
}

/// How it went since a moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statistics {
    /// Jobs that were completed.
    pub completed: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// From being queued to a worker's taking it, by kind.
    pub wait: Vec<(Kind, Timing)>,
    /// From there to its end, by kind.
    pub run: Vec<(Kind, Timing)>,
    /// The same over all kinds, by stage: `wait` until a worker took it, `run` from there on, `total`; `inspect`, the look at each
    /// original, and `variant`, the making of each.
    pub stages: Vec<(&'static str, Timing)>,
    /// Bytes of originals that were accepted.
    pub bytes_in: u64,
    /// Bytes of variants that were made.
    pub bytes_out: u64,
    /// Variants that were made.
    pub variants: u64,
    /// What the variants' originals would have been, had they been sent in the variants' stead.
    pub bytes_of_originals: u64,
}

/// Jobs that quantiles are taken of, at most: the youngest.
const SAMPLE_MAX: u32 = 20_000;

/// When to try again while the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const WAITING: &str = "SELECT COALESCE(SUM(n), 0) FROM job_counts WHERE state IN ('queued', 'retrying')";

impl Catalog {
    /// What there is of jobs now. Costs the same however many there are.
    pub async fn depth(&self, owner: Option<&str>) -> Result<Depth, Error> {
        let rows = self
            .read(
                "SELECT kind, priority, state, SUM(n) FROM job_counts WHERE ($1 IS NULL OR owner = $1)
                 GROUP BY kind, priority, state ORDER BY kind, priority, state",
                values![owner],
            )
            .await?;
        let count = |row: Row| {
            let mut at = row.cells();
            let (kind, priority) = (at.word()?, Priority::of_rank(at.int()?)?);
            Ok(Count { kind, priority, state: at.word()?, jobs: at.unsigned()? })
        };
        let counts = rows.into_iter().map(count).collect::<Result<Vec<_>, Error>>()?;
        let sql = match owner {
            None => "SELECT MIN(queued_ms) FROM jobs WHERE ready = 1",
            Some(_) => {
                "SELECT MIN(queued_ms) FROM (SELECT queued_ms FROM jobs WHERE ready = 1 AND owner = $1 LIMIT 1000) AS first"
            }
        };
        let oldest = self.read_one(sql, if owner.is_some() { values![owner] } else { Vec::new() }).await?;
        let oldest_ms = oldest.map_or(Ok(None), |row| row.cells().int_or_none())?;
        Ok(Depth { counts, oldest_ms })
    }

    /// Whether another job may wait.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub async fn room(&self, queue_max: u64) -> Result<(), Error> {
        let row = self.read_one(WAITING, Vec::new()).await?.ok_or(Error::NotFound)?;
        room(row.cells().unsigned()?, queue_max, 1)
    }

    /// How it went since a moment.
    pub async fn statistics(&self, owner: Option<&str>, since_ms: i64) -> Result<Statistics, Error> {
        let mut statistics = Statistics::default();
        let sql = "SELECT kind, state, COALESCE(started_ms, completed_ms) - queued_ms, completed_ms - COALESCE(started_ms, completed_ms)
             FROM jobs WHERE completed_ms IS NOT NULL AND completed_ms >= $1 AND kind <> 'batch' AND ($2 IS NULL OR owner = $2)
             ORDER BY completed_ms DESC LIMIT $3";
        let mut times: std::collections::BTreeMap<Kind, (Vec<u64>, Vec<u64>)> = Default::default();
        for row in self.read(sql, values![since_ms, owner, SAMPLE_MAX]).await? {
            let mut at = row.cells();
            let (kind, state) = (at.word::<Kind>()?, at.word::<JobState>()?);
            match state {
                JobState::Completed => statistics.completed += 1,
                JobState::Failed => statistics.failed += 1,
                _ => statistics.cancelled += 1,
            }
            let (wait, run) = times.entry(kind).or_default();
            wait.push(at.int()?.max(0) as u64);
            run.push(at.int()?.max(0) as u64);
        }
        let of_all =
            |stage: fn(&(Vec<u64>, Vec<u64>)) -> Vec<u64>| times.values().flat_map(stage).collect::<Vec<u64>>();
        let waits = of_all(|(wait, _)| wait.clone());
        let runs = of_all(|(_, run)| run.clone());
        let totals = waits.iter().zip(&runs).map(|(wait, run)| wait + run).collect();
        let mut variants = Vec::new();
        let sql = "SELECT ms FROM variants WHERE state = 'ready' AND made_ms >= $1 AND ($2 IS NULL OR owner = $2)
             ORDER BY made_ms DESC LIMIT $3";
        for row in self.read(sql, values![since_ms, owner, SAMPLE_MAX]).await? {
            variants.push(row.cells().unsigned()?);
        }
        let mut looks = Vec::new();
        let sql = "SELECT inspect_ms FROM versions WHERE inspect_ms IS NOT NULL AND uploaded_ms >= $1 AND ($2 IS NULL OR owner = $2)
             ORDER BY uploaded_ms DESC LIMIT $3";
        for row in self.read(sql, values![since_ms, owner, SAMPLE_MAX]).await? {
            looks.push(row.cells().unsigned()?);
        }
        let stages = [("wait", waits), ("run", runs), ("total", totals), ("inspect", looks), ("variant", variants)];
        statistics.stages = stages.into_iter().map(|(stage, ms)| (stage, timing(ms))).collect();
        for (kind, (wait, run)) in times {
            statistics.wait.push((kind, timing(wait)));
            statistics.run.push((kind, timing(run)));
        }
        let accepted =
            "SELECT COALESCE(SUM(bytes), 0) FROM versions WHERE uploaded_ms >= $1 AND ($2 IS NULL OR owner = $2)";
        let row = self.read_one(accepted, values![since_ms, owner]).await?.ok_or(Error::NotFound)?;
        statistics.bytes_in = row.cells().unsigned()?;
        let made = "SELECT COUNT(*), COALESCE(SUM(m.bytes), 0), COALESCE(SUM(v.bytes), 0) FROM variants m
             JOIN versions v ON v.category = m.category AND v.asset = m.asset AND v.version = m.version
             WHERE m.state = 'ready' AND m.made_ms >= $1 AND ($2 IS NULL OR m.owner = $2)";
        let mut at = self.read_one(made, values![since_ms, owner]).await?.ok_or(Error::NotFound)?.cells();
        (statistics.variants, statistics.bytes_out) = (at.unsigned()?, at.unsigned()?);
        statistics.bytes_of_originals = at.unsigned()?;
        Ok(statistics)
    }
}

/// Bytes that the catalog knows of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Storage {
    /// Of originals.
    pub originals: u64,
    /// Of their reduced forms, as far as jobs made them.
    pub mezzanines: u64,
    /// Of variants that were made ahead.
    pub variants: u64,
}

impl Catalog {
    /// How many jobs were completed, and how many failed, since a moment; batches left out.
    pub async fn ended_since(&self, owner: Option<&str>, since_ms: i64) -> Result<(u64, u64), Error> {
        let sql = "SELECT COALESCE(SUM(CASE WHEN state = 'completed' THEN 1 ELSE 0 END), 0),
                 COALESCE(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0)
             FROM jobs WHERE completed_ms IS NOT NULL AND completed_ms >= $1 AND kind <> 'batch' AND ($2 IS NULL OR owner = $2)";
        let mut at = self.read_one(sql, values![since_ms, owner]).await?.ok_or(Error::NotFound)?.cells();
        Ok((at.unsigned()?, at.unsigned()?))
    }

    /// Bytes of all originals, their reduced forms, and all variants that jobs made. Costs the more the more there are.
    pub async fn storage(&self) -> Result<Storage, Error> {
        let sql =
            "SELECT o.originals, o.mezzanines, v.variants
             FROM (SELECT COALESCE(SUM(bytes), 0) AS originals, COALESCE(SUM(mezzanine_bytes), 0) AS mezzanines FROM versions) o,
                 (SELECT COALESCE(SUM(bytes), 0) AS variants FROM variants) v";
        let mut at = self.read_one(sql, Vec::new()).await?.ok_or(Error::NotFound)?.cells();
        Ok(Storage { originals: at.unsigned()?, mezzanines: at.unsigned()?, variants: at.unsigned()? })
    }
}

impl Tx {
    /// Whether so many more jobs may wait.
    pub async fn room(&mut self, queue_max: u64, more: u64) -> Result<(), Error> {
        let row = self.row(WAITING, Vec::new()).await?.ok_or(Error::NotFound)?;
        room(row.cells().unsigned()?, queue_max, more)
    }
}

fn room(waiting: u64, queue_max: u64, more: u64) -> Result<(), Error> {
    if waiting + more > queue_max { Err(Error::Full { retry_after: RETRY_AFTER }) } else { Ok(()) }
}

fn timing(mut ms: Vec<u64>) -> Timing {
    ms.sort_unstable();
    let at = |share: f64| ms.get(((ms.len() as f64 * share) as usize).min(ms.len().saturating_sub(1))).copied();
    let at = |share: f64| at(share).unwrap_or(0);
    Timing { p50_ms: at(0.50), p95_ms: at(0.95), p99_ms: at(0.99) }
}
