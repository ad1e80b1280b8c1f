//! Callers' keys for repeats: the same request again gets the same answer.

use serde_json::Value as Json;

use super::sql::{read_json, values};
use super::{Catalog, Error, Tx};

/// A caller's key for repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// The key, as the caller says it.
    pub key: String,
    /// What the request was, in short: another request under the same key is refused.
    pub fingerprint: String,
}

impl Catalog {
    /// What was answered under a key. With a fingerprint, another request's key is [`Error::KeyReused`].
    pub async fn idempotent(&self, owner: &str, key: &str, fingerprint: Option<&str>) -> Result<Option<Json>, Error> {
        let sql = "SELECT fingerprint, answer FROM idempotency WHERE owner = $1 AND key = $2";
        let Some(row) = self.read_one(sql, values![owner, key]).await? else { return Ok(None) };
        let mut at = row.cells();
        let (known, answer) = (at.text()?, at.text()?);
        if fingerprint.is_some_and(|fingerprint| fingerprint != known) {
            return Err(Error::KeyReused);
        }
        read_json(&answer).map(Some)
    }

    /// Keeps an answer under a key; one that is there stays.
    pub async fn keep_answer(&self, owner: &str, key: &Idempotency, answer: Json) -> Result<(), Error> {
        let (owner, key) = (owner.to_owned(), key.clone());
        self.write(move |tx| {
            Box::pin(async move {
                match tx.recall(&owner, &key).await? {
                    Some(_) => Ok(()),
                    None => tx.remember(&owner, &key, &answer).await,
                }
            })
        })
        .await
    }
}

impl Tx {
    /// What was answered under a key.
    pub async fn recall(&mut self, owner: &str, key: &Idempotency) -> Result<Option<Json>, Error> {
        let sql = "SELECT fingerprint, answer FROM idempotency WHERE owner = $1 AND key = $2";
        let Some(row) = self.row(sql, values![owner, &key.key]).await? else { return Ok(None) };
        let mut at = row.cells();
        if at.text()? != key.fingerprint {
            return Err(Error::KeyReused);
        }
        at.json().map(Some)
    }

    /// Keeps an answer under a key.
    pub async fn remember(&mut self, owner: &str, key: &Idempotency, answer: &Json) -> Result<(), Error> {
        let now = self.now_ms();
        self.run(
            "INSERT INTO idempotency (owner, key, fingerprint, answer, created_ms) VALUES ($1, $2, $3, $4, $5)",
            values![owner, &key.key, &key.fingerprint, answer, now],
        )
        .await
        .map(drop)
    }
}
