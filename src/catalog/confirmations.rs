//! What is asked back before something is done that cannot be taken back: kept until it is said, whichever process hears it.

use std::time::Duration;

use super::sql::values;
use super::{Catalog, Error};

impl Catalog {
    /// Keeps what confirms something. What was kept before under the name counts no more.
    pub async fn ask_back(&self, name: &str, digest: &str) -> Result<(), Error> {
        let (name, digest) = (mark(name), digest.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                let sql = "INSERT INTO marks (name, value, at_ms) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value, at_ms = excluded.at_ms";
                tx.run(sql, values![name, digest, now]).await.map(drop)
            })
        })
        .await
    }

    /// Whether something is confirmed by what was kept last, no longer ago than `within`. Counts once.
    pub async fn confirm(&self, name: &str, digest: &str, within: Duration) -> Result<bool, Error> {
        let (name, digest) = (mark(name), digest.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let since = tx.now_ms() - within.as_millis() as i64;
                let sql = "DELETE FROM marks WHERE name = $1 AND value = $2 AND at_ms >= $3";
                Ok(tx.run(sql, values![name, digest, since]).await? > 0)
            })
        })
        .await
    }
}

fn mark(name: &str) -> String {
    format!("confirm {name}")
}
