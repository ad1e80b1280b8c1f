//! Who of many processes does what one must do at a time, and how far it came: a lease by name, and a place in the events.

use std::time::Duration;

use super::sql::values;
use super::{Catalog, Error};

impl Catalog {
    /// Takes a lease, or prolongs it. False where another holds it who prolonged it in time.
    pub async fn lead(&self, name: &str, holder: &str, lease: Duration) -> Result<bool, Error> {
        // Asked by a reader first: those who do not lead write nothing.
        let known = self.read_one("SELECT next_ms, holder FROM schedules WHERE name = $1", values![name]).await?;
        if let Some(row) = known {
            let mut at = row.cells();
            let (until_ms, by) = (at.int()?, at.text()?);
            if until_ms > self.now_ms() && by != holder {
                return Ok(false);
            }
        }
        self.take_turn(name, holder, lease, true).await
    }

    /// Gives a lease back, so that another need not wait for its end.
    pub async fn resign(&self, name: &str, holder: &str) -> Result<(), Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE schedules SET next_ms = 0 WHERE name = $1 AND holder = $2";
                tx.run(sql, values![name, holder]).await.map(drop)
            })
        })
        .await
    }

    /// Up to which event something has come; 0 where it has not begun.
    pub async fn reached(&self, name: &str) -> Result<i64, Error> {
        let row = self.read_one("SELECT value FROM marks WHERE name = $1", values![name]).await?;
        let Some(row) = row else { return Ok(0) };
        row.cells().text()?.parse().map_err(|_| Error::Corrupt(format!("the mark {name} is no number")))
    }

    /// Notes up to which event something has come. One that has come further stays.
    pub async fn reach(&self, name: &str, event: i64) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let (now, value) = (tx.now_ms(), event.to_string());
                tx.run(
                    "INSERT INTO marks (name, value, at_ms) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value, at_ms = excluded.at_ms
                     WHERE CAST(marks.value AS BIGINT) < CAST(excluded.value AS BIGINT)",
                    values![name, value, now],
                )
                .await
                .map(drop)
            })
        })
        .await
    }
}
