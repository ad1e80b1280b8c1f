//! Batches over jobs that are there already: originals that came in one request have a job each, and one that tells of all.

use serde_json::json;

use super::sql::values;
use super::{Catalog, Error, Job, JobState, Kind, NewJob, Priority, Tx};

impl Catalog {
    /// Makes jobs the parts of a new batch, which ends with the last of them; those that have ended count from the beginning.
    /// Answers the batch: of jobs that are parts of one already, that one. A part of another batch stays there.
    ///
    /// # Errors
    /// [`Error::NotFound`] where none of the jobs is there.
    pub async fn gather(&self, owner: &str, jobs: Vec<String>, trace: Option<String>) -> Result<String, Error> {
        let owner = owner.to_owned();
        self.write(move |tx| Box::pin(async move { tx.gather(&owner, &jobs, trace).await })).await
    }
}

impl Tx {
    async fn gather(&mut self, owner: &str, jobs: &[String], trace: Option<String>) -> Result<String, Error> {
        let mut parts: Vec<Job> = Vec::with_capacity(jobs.len());
        for id in jobs {
            match self.job(Some(owner), id).await {
                Ok(job) if parts.iter().all(|part| part.id != job.id) => parts.push(job),
                // The same content twice, or a job of long ago that clean-up took.
                Ok(_) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let taken = parts.iter().find_map(|part| part.parent.clone());
        let free: Vec<&Job> = parts.iter().filter(|part| part.parent.is_none()).collect();
        if free.is_empty() {
            return taken.ok_or(Error::NotFound);
        }
        let priority = free.iter().map(|part| part.priority).min().unwrap_or(Priority::Normal);
        let batch = NewJob {
            total: free.len() as u32,
            trace,
            ..NewJob::new(owner, Kind::Batch, priority, None, json!({ "kind": "batch" }))
        };
        let batch = self.push(batch).await?.id;
        for part in &free {
            let sql = "UPDATE jobs SET parent = $2, revision = revision + 1 WHERE id = $1";
            self.run(sql, values![&part.id, &batch]).await?;
        }
        let done = free.iter().filter(|part| part.state == JobState::Completed).count();
        let failed = free.iter().filter(|part| part.state.ended()).count() - done;
        self.parts_ended(&batch, done as i64, failed as i64).await?;
        Ok(batch)
    }
}
