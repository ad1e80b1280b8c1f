//! What runs now and then: one process of many runs it, whichever asks first.

use std::time::Duration;

use super::sql::values;
use super::{Catalog, Error};

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
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                let touched = tx
                    .run(
                        "INSERT INTO schedules (name, next_ms, holder) VALUES ($1, $2, $3)
                         ON CONFLICT (name) DO UPDATE SET next_ms = excluded.next_ms, holder = excluded.holder
                         WHERE schedules.next_ms <= $4",
                        values![name, now + every.as_millis() as i64, holder, now],
                    )
                    .await?;
                Ok(touched > 0)
            })
        })
        .await
    }
}
