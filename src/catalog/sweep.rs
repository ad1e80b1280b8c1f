//! What is past its time is taken out of the tables, a bounded number of rows at a time.

use super::sql::values;
use super::{Catalog, Error, Version};

/// The counts of connections, most of which are gone, in one slot. A row that somebody counts in is left for the next time.
const MERGE_COUNTS: &str = "WITH gone AS (
        DELETE FROM job_counts WHERE (owner, kind, priority, state, slot) IN
            (SELECT owner, kind, priority, state, slot FROM job_counts WHERE slot <> 0 LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING owner, kind, priority, state, n)
    INSERT INTO job_counts (owner, kind, priority, state, slot, n)
        SELECT owner, kind, priority, state, 0, SUM(n) FROM gone GROUP BY owner, kind, priority, state
        ON CONFLICT (owner, kind, priority, state, slot) DO UPDATE SET n = job_counts.n + excluded.n";

/// Rows that one sweep removes at most; the next one goes on.
const SWEEP_MAX: u32 = 2_000;

impl Catalog {
    /// Removes jobs that ended before a moment, with their dead letters; those of batches that go on stay. Answers how many.
    pub async fn sweep_jobs(&self, before_ms: i64) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let old = "SELECT id FROM jobs WHERE completed_ms IS NOT NULL AND completed_ms < $1
                     AND (parent IS NULL OR parent NOT IN (SELECT id FROM jobs WHERE kind = 'batch' AND completed_ms IS NULL))
                     ORDER BY completed_ms LIMIT $2";
                tx.run(format!("DELETE FROM dead_letters WHERE job IN ({old})"), values![before_ms, SWEEP_MAX]).await?;
                tx.run(format!("DELETE FROM jobs WHERE id IN ({old})"), values![before_ms, SWEEP_MAX]).await
            })
        })
        .await
    }

    /// Removes events from before a moment, of those that follow a number: of what the history of an asset that is there is rebuilt
    /// from all stay. Looks at a bounded number of them.
    pub async fn sweep_events(&self, before_ms: i64, after: i64) -> Result<Swept, Error> {
        let page = "SELECT COUNT(*), COALESCE(MAX(seq), 0), COALESCE(MAX(at_ms), 0) FROM
             (SELECT seq, at_ms FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) AS page";
        let mut at = self.read_one(page, values![after, SWEEP_MAX]).await?.ok_or(Error::NotFound)?.cells();
        let (looked, last, youngest) = (at.int()?, at.int()?, at.int()?);
        if looked == 0 {
            return Ok(Swept { removed: 0, next: None });
        }
        let removed = self
            .write(move |tx| {
                Box::pin(async move {
                    let sql = "DELETE FROM events WHERE seq > $1 AND seq <= $2 AND at_ms < $3
                         AND (SUBSTR(kind, 1, 4) = 'job.' OR asset IS NULL OR NOT EXISTS
                             (SELECT 1 FROM assets WHERE assets.category = events.category AND assets.id = events.asset))";
                    tx.run(sql, values![after, last, before_ms]).await
                })
            })
            .await?;
        Ok(Swept { removed, next: Some(last).filter(|_| youngest < before_ms) })
    }

    /// Removes answers kept for repeats, promised uploads that ended, and counts of access, from before a moment. Answers how many
    /// rows.
    pub async fn sweep_rest(&self, before_ms: i64) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let answers = "DELETE FROM idempotency WHERE created_ms < $1";
                let uploads = "DELETE FROM uploads WHERE created_ms < $1 AND state <> 'open'";
                let access = "DELETE FROM access WHERE day < $1";
                if tx.among_others() {
                    tx.run(MERGE_COUNTS, values![SWEEP_MAX]).await?;
                }
                let mut removed = tx.run(answers, values![before_ms]).await?;
                removed += tx.run(uploads, values![before_ms]).await?;
                Ok(removed + tx.run(access, values![before_ms / DAY_MS]).await?)
            })
        })
        .await
    }

    /// Versions of a category that were accepted before a moment and are not their asset's current one; or, with `whole`, any.
    pub async fn versions_before(&self, category: &str, before_ms: i64, whole: bool) -> Result<Vec<Version>, Error> {
        let columns = "v.owner, v.category, v.asset, v.version, v.number, v.blake3, v.filename, v.content_type, v.format,
             v.bytes, v.width, v.height, v.profile, v.store_key, v.origin, v.state, v.error, v.facts, v.job, v.uploaded_ms,
             v.inspect_ms, v.mezzanine_bytes";
        let sql = format!(
            "SELECT {columns} FROM versions v JOIN assets a ON a.category = v.category AND a.id = v.asset
             WHERE v.category = $1 AND v.uploaded_ms < $2 AND v.state <> 'deleting' AND a.state <> 'deleting'
                 AND ($3 = 1 OR a.version <> v.version) ORDER BY v.uploaded_ms LIMIT $4"
        );
        let rows = self.read(sql, values![category, before_ms, whole, SWEEP_MAX]).await?;
        rows.into_iter().map(Version::read).collect()
    }

    /// Whether an original's key in the store belongs to a version or to an upload under way.
    pub async fn knows_key(&self, store_key: &str) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM versions WHERE store_key = $1)
             OR EXISTS (SELECT 1 FROM uploads WHERE store_key = $1 AND state = 'open')";
        let row = self.read_one(sql, values![store_key]).await?.ok_or(Error::NotFound)?;
        Ok(row.cells().int()? != 0)
    }
}

/// What a sweep over events came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swept {
    /// So many went.
    pub removed: u64,
    /// After which number the next one looks; none where all that is old was looked at.
    pub next: Option<i64>,
}

/// A day.
pub(super) const DAY_MS: i64 = 86_400_000;
