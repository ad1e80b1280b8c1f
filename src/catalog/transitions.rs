//! How a job goes on and ends: completed, to its next step, to its next try, given up, cancelled, asked for again. Whoever claims
//! jobs, and however a queue hands them out, their states change here alone.

use serde_json::{Value as Json, json};

use super::sql::values;
use super::{Catalog, Error, Job, JobState, Kind, NewJob, Tx};

/// How a try of a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Ended {
    /// The job is done.
    Completed {
        /// What came out.
        result: Json,
        /// Jobs that follow from it.
        follow: Vec<NewJob>,
    },
    /// The job goes on under the same id.
    Next {
        /// As what.
        kind: Kind,
        /// What that kind needs to know.
        payload: Json,
        /// What came out so far.
        result: Json,
        /// Steps of its progress.
        total: u32,
    },
    /// The try failed, and the next one is after a while.
    Retry(Retrying),
    /// The job will not come to anything.
    Failed {
        /// As a stable word.
        code: String,
        /// In plain words.
        error: String,
        /// What came out all the same.
        result: Option<Json>,
    },
    /// The job was stopped, as somebody asked.
    Cancelled,
    /// The try was not begun or not the job's own failure: it waits again, and nothing is counted.
    Released {
        /// How long it waits at least.
        delay_ms: u64,
    },
}

/// A try that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retrying {
    /// As a stable word.
    pub code: String,
    /// In plain words.
    pub error: String,
    /// How long until the next try.
    pub delay_ms: u64,
}

impl Catalog {
    /// Ends a try. Only the holder of the job's current lease may: [`Error::Conflict`] else.
    pub async fn end(&self, id: &str, lease: i64, ended: Ended) -> Result<Job, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let job = tx.leased(&id, lease).await?;
                tx.end(job, ended).await?;
                tx.job(None, &id).await
            })
        })
        .await
    }

    /// Takes a job back. One that a worker is at is stopped by its next heartbeat; a batch takes its parts along.
    ///
    /// # Errors
    /// [`Error::State`] when it has ended.
    pub async fn cancel_job(&self, owner: Option<&str>, id: &str) -> Result<Job, Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let job = tx.job(owner.as_deref(), &id).await?;
                if job.state.ended() {
                    return Err(Error::State(format!("the job is {} already", job.state)));
                }
                if job.kind == Kind::Batch {
                    let parts = tx.rows("SELECT id FROM jobs WHERE parent = $1", values![&job.id]).await?;
                    for part in parts {
                        let part = tx.job(None, &part.cells().text()?).await?;
                        if !part.state.ended() {
                            tx.cancel(part).await?;
                        }
                    }
                    // With its last part the batch itself may have ended.
                    let job = tx.job(None, &id).await?;
                    if !job.state.ended() && job.total == 0 {
                        tx.cancelled(job).await?;
                    }
                } else {
                    tx.cancel(job).await?;
                }
                tx.job(None, &id).await
            })
        })
        .await
    }

    /// Queues a job again that failed or was cancelled; of a batch its parts that did.
    ///
    /// # Errors
    /// [`Error::State`] when it has not ended, or is completed.
    pub async fn retry_job(&self, owner: Option<&str>, id: &str) -> Result<Job, Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let job = tx.job(owner.as_deref(), &id).await?;
                tx.retry(job).await?;
                tx.job(None, &id).await
            })
        })
        .await
    }

    /// Takes back all jobs that wait. Answers how many.
    pub async fn clear_jobs(&self, owner: Option<&str>) -> Result<u64, Error> {
        let mut cleared = 0;
        loop {
            let sql =
                "SELECT id FROM jobs WHERE state IN ('queued', 'retrying') AND ($1 IS NULL OR owner = $1) LIMIT 500";
            let waiting = self.read(sql, values![owner]).await?;
            if waiting.is_empty() {
                return Ok(cleared);
            }
            let ids = waiting.into_iter().map(|row| row.cells().text()).collect::<Result<Vec<_>, _>>()?;
            cleared += self
                .write(move |tx| {
                    Box::pin(async move {
                        let mut taken = 0;
                        for id in ids {
                            let job = tx.job(None, &id).await?;
                            if matches!(job.state, JobState::Queued | JobState::Retrying) {
                                tx.cancelled(job).await?;
                                taken += 1;
                            }
                        }
                        Ok(taken)
                    })
                })
                .await?;
        }
    }
}

impl Tx {
    /// The job, while the lease with this number holds: [`Error::Conflict`] else.
    pub(super) async fn leased(&mut self, id: &str, lease: i64) -> Result<Job, Error> {
        let job = self.job(None, id).await?;
        let holds = job.lease == lease && job.state == JobState::Processing;
        if holds { Ok(job) } else { Err(Error::Conflict) }
    }

    async fn end(&mut self, job: Job, ended: Ended) -> Result<(), Error> {
        match ended {
            Ended::Completed { follow, .. } if job.cancelling && !follow.is_empty() => self.cancelled(job).await,
            Ended::Completed { result, follow } => {
                // First what follows, so that a batch with this as its last part does not end before them.
                self.push_all(follow).await?;
                self.completed(job, result).await
            }
            Ended::Next { kind, payload, result, total } => self.next(job, kind, payload, result, total).await,
            Ended::Retry(retrying) => self.retrying(job, retrying).await,
            Ended::Failed { code, error, result } => {
                let mut job = job;
                if let Some(result) = result {
                    merge(&mut job.result, result);
                }
                self.failed(job, &code, &error).await
            }
            Ended::Cancelled => self.cancelled(job).await,
            Ended::Released { .. } if job.cancelling => self.cancelled(job).await,
            Ended::Released { delay_ms } => self.put_back(&job, delay_ms as i64, 0).await,
        }
    }

    async fn completed(&mut self, mut job: Job, result: Json) -> Result<(), Error> {
        merge(&mut job.result, result);
        job.done = job.total.max(job.done);
        (job.error, job.code) = (None, None);
        self.ended(job, JobState::Completed).await
    }

    async fn next(&mut self, mut job: Job, kind: Kind, payload: Json, result: Json, total: u32) -> Result<(), Error> {
        if job.cancelling {
            return self.cancelled(job).await;
        }
        merge(&mut job.result, result);
        let (now, place) = (self.now_ms(), self.place(kind, job.priority, &job.owner).await?);
        self.run(
            "UPDATE jobs SET kind = $2, payload = $3, result = $4, total = $5, done = 0, failed = 0, state = 'queued',
                 ready = 1, place = $6, attempts = 0, deliveries = 0, lease = lease + 1, lease_until_ms = NULL,
                 due_ms = $7, error = NULL, code = NULL, revision = revision + 1
             WHERE id = $1",
            values![&job.id, kind, &payload, &job.result, total, place, now],
        )
        .await?;
        self.wake();
        self.append(job.event("job.progress", json!({ "kind": kind, "done": 0, "total": total }))).await
    }

    async fn retrying(&mut self, job: Job, retrying: Retrying) -> Result<(), Error> {
        if job.cancelling {
            return self.cancelled(job).await;
        }
        let Retrying { code, error, delay_ms } = retrying;
        let due = self.now_ms() + delay_ms as i64;
        let (state, ready) = if delay_ms > 0 { (JobState::Retrying, 2_i64) } else { (JobState::Queued, 1) };
        self.run(
            "UPDATE jobs SET state = $2, ready = $3, lease = lease + 1, lease_until_ms = NULL, due_ms = $4, error = $5,
                 code = $6, revision = revision + 1 WHERE id = $1",
            values![&job.id, state, ready, due, &error, &code],
        )
        .await?;
        self.wake();
        let data = json!({ "attempt": job.attempts, "code": code, "error": error, "due_ms": due });
        self.append(job.event("job.retrying", data)).await
    }

    /// The job has failed for good: it is a dead letter.
    pub(super) async fn failed(&mut self, mut job: Job, code: &str, error: &str) -> Result<(), Error> {
        (job.error, job.code) = (Some(error.to_owned()), Some(code.to_owned()));
        let now = self.now_ms();
        self.run(
            "INSERT INTO dead_letters (job, owner, reason, dead_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (job) DO UPDATE SET reason = excluded.reason, dead_ms = excluded.dead_ms, handed = 0",
            values![&job.id, &job.owner, code, now],
        )
        .await?;
        self.ended(job, JobState::Failed).await
    }

    async fn cancel(&mut self, job: Job) -> Result<(), Error> {
        if job.state == JobState::Processing {
            let sql = "UPDATE jobs SET cancelling = 1, revision = revision + 1 WHERE id = $1";
            return self.run(sql, values![&job.id]).await.map(drop);
        }
        self.cancelled(job).await
    }

    pub(super) async fn cancelled(&mut self, job: Job) -> Result<(), Error> {
        self.ended(job, JobState::Cancelled).await
    }

    async fn ended(&mut self, job: Job, state: JobState) -> Result<(), Error> {
        let now = self.now_ms();
        self.run(
            "UPDATE jobs SET state = $2, ready = 0, lease = lease + 1, lease_until_ms = NULL, cancelling = 0, dedupe = NULL,
                 done = $3, failed = $4, result = $5, error = $6, code = $7, completed_ms = $8, revision = revision + 1
             WHERE id = $1",
            values![
                &job.id,
                state,
                job.done,
                job.failed,
                &job.result,
                job.error.as_deref(),
                job.code.as_deref(),
                now,
            ],
        )
        .await?;
        let data = json!({ "kind": job.kind, "done": job.done, "failed": job.failed, "total": job.total,
            "code": job.code, "error": job.error });
        self.append(job.event(&format!("job.{state}"), data)).await?;
        match &job.parent {
            Some(parent) => self.part_ended(parent, state).await,
            None => Ok(()),
        }
    }

    /// A part of a batch has ended.
    async fn part_ended(&mut self, parent: &str, state: JobState) -> Result<(), Error> {
        let well = i64::from(state == JobState::Completed);
        self.parts_ended(parent, well, 1 - well).await
    }

    /// So many parts of a batch have ended; with its last one the batch has too.
    pub(super) async fn parts_ended(&mut self, parent: &str, done: i64, failed: i64) -> Result<(), Error> {
        self.run(
            // A batch was begun when the first of its parts was.
            "UPDATE jobs SET done = done + $2, failed = failed + $3, revision = revision + 1, started_ms =
                 COALESCE(started_ms, (SELECT MIN(part.started_ms) FROM jobs part WHERE part.parent = $1)) WHERE id = $1",
            values![parent, done, failed],
        )
        .await?;
        let Ok(mut batch) = self.job(None, parent).await else { return Ok(()) };
        if batch.state.ended() || batch.done + batch.failed < batch.total {
            let data = json!({ "done": batch.done, "failed": batch.failed, "total": batch.total });
            return self.append(batch.event("job.progress", data)).await;
        }
        let state = if batch.failed == 0 {
            JobState::Completed
        } else {
            let cancelled = "SELECT COUNT(*) FROM jobs WHERE parent = $1 AND state = 'cancelled'";
            let row = self.row(cancelled, values![parent]).await?.ok_or(Error::NotFound)?;
            if row.cells().int()? == i64::from(batch.failed) { JobState::Cancelled } else { JobState::Failed }
        };
        if state == JobState::Failed {
            batch.code = Some("parts-failed".to_owned());
            batch.error = Some(format!("{} of {} parts failed", batch.failed, batch.total));
        }
        Box::pin(self.ended(batch, state)).await
    }

    /// Queues a job again that has ended without success.
    pub(super) async fn retry(&mut self, job: Job) -> Result<(), Error> {
        if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
            return Err(Error::State(format!(
                "the job is {}; only one that failed or was cancelled is tried again",
                job.state
            )));
        }
        if job.kind == Kind::Batch {
            let sql = "SELECT id FROM jobs WHERE parent = $1 AND state IN ('failed', 'cancelled')";
            for part in self.rows(sql, values![&job.id]).await? {
                let part = self.job(None, &part.cells().text()?).await?;
                Box::pin(self.retry(part)).await?;
            }
            return Ok(());
        }
        let (now, place) = (self.now_ms(), self.place(job.kind, job.priority, &job.owner).await?);
        self.run(
            "UPDATE jobs SET state = 'queued', ready = 1, place = $2, attempts = 0, deliveries = 0, due_ms = $3,
                 completed_ms = NULL, error = NULL, code = NULL, done = 0, failed = 0, revision = revision + 1
             WHERE id = $1",
            values![&job.id, place, now],
        )
        .await?;
        self.run("DELETE FROM dead_letters WHERE job = $1", values![&job.id]).await?;
        if let Some(parent) = &job.parent {
            self.run(
                "UPDATE jobs SET failed = failed - 1, state = 'processing', completed_ms = NULL, error = NULL, code = NULL,
                     revision = revision + 1 WHERE id = $1",
                values![parent],
            )
            .await?;
        }
        self.wake();
        self.append(job.event("job.requeued", json!({ "kind": job.kind }))).await
    }
}

/// Lays what came out over what came out before: one level deep, the newer wins.
pub(super) fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => into.extend(from),
        (into, from @ Json::Object(_)) => *into = from,
        _ => {}
    }
}
