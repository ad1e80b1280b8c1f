//! Callers' keys for repeats: the same request again gets the same answer.

use serde_json::{Value as Json, json};

use super::sql::{read_json, values};
use super::{Catalog, Error, NewJob, Tx};

/// A caller's key for repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// The key, as the caller says it.
    pub key: String,
    /// What the request was, in short: another request under the same key is refused.
    pub fingerprint: String,
}

/// A request for jobs that is done once, however often it comes.
#[derive(Clone, PartialEq, Debug)]
pub struct Once {
    /// Whose key it is.
    pub owner: String,
    /// The key.
    pub key: Idempotency,
    /// An object: what is answered beside `job_id`, the id of the first job.
    pub answer: Json,
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

    /// Adds jobs as [`Catalog::push`] does, and keeps the answer under the key, in one transaction; under a key that is known nothing
    /// is added, and what was answered is answered again.
    ///
    /// # Errors
    /// [`Error::Full`] where more than `queue_max` would wait; [`Error::KeyReused`].
    pub async fn push_once(&self, jobs: Vec<NewJob>, queue_max: Option<u64>, once: Once) -> Result<Json, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Once { owner, key, mut answer } = once;
                if let Some(answer) = tx.recall(&owner, &key).await? {
                    return Ok(answer);
                }
                if let Some(most) = queue_max {
                    tx.room(most, jobs.len() as u64).await?;
                }
                let first = tx.push_all(jobs).await?.into_iter().next().ok_or(Error::NotFound)?;
                answer["job_id"] = json!(first.id);
                tx.remember(&owner, &key, &answer).await?;
                Ok(answer)
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
