//! What runs now and then: one process of many runs it, whichever asks first.

use std::time::Duration;

use super::sql::values;
use super::{Catalog, Error, NewJob};

impl Catalog {
    /// Whether something that is due so often is due, and the caller's to do. The first question ever is answered with yes.
    pub async fn due(&self, name: &str, every: Duration, holder: &str) -> Result<bool, Error> {
        // Asked by a reader first: most of the time nothing is due, and nothing is written.
        let known = self.read_one("SELECT next_ms FROM schedules WHERE name = $1", values![name]).await?;
        if let Some(row) = known
            && row.cells().int()? > self.now_ms()
        {
            return Ok(false);
        }
        self.take_turn(name, holder, every, false).await
    }

    /// Has a name be a holder's for so long, unless it is somebody's still; `again`: unless it is somebody else's.
    pub(super) async fn take_turn(&self, name: &str, holder: &str, time: Duration, again: bool) -> Result<bool, Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                let ours = if again { " OR schedules.holder = excluded.holder" } else { "" };
                let sql = format!(
                    "INSERT INTO schedules (name, next_ms, holder) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE SET next_ms = excluded.next_ms, holder = excluded.holder
                     WHERE schedules.next_ms <= $4{ours}"
                );
                let touched = tx.run(sql, values![name, now + time.as_millis() as i64, holder, now]).await?;
                Ok(touched > 0)
            })
        })
        .await
    }

    /// Notes what something is that changes outside of the catalog; where it was something else before, jobs are queued, once,
    /// whichever process notes it first. Answers whether they were.
    pub async fn mark(&self, name: &str, value: &str, jobs: Vec<NewJob>) -> Result<bool, Error> {
        let sql = "SELECT value FROM marks WHERE name = $1";
        if let Some(row) = self.read_one(sql, values![name]).await?
            && row.cells().text()? == value
        {
            return Ok(false);
        }
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone(&format!("mark {name}")).await?;
                let before = match tx.row(sql, values![&name]).await? {
                    Some(row) => Some(row.cells().text()?),
                    None => None,
                };
                if before.as_ref() == Some(&value) {
                    return Ok(false);
                }
                let now = tx.now_ms();
                tx.run(
                    "INSERT INTO marks (name, value, at_ms) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value, at_ms = excluded.at_ms",
                    values![&name, &value, now],
                )
                .await?;
                if before.is_some() {
                    tx.push_all(jobs).await?;
                }
                Ok(before.is_some())
            })
        })
        .await
    }
}
