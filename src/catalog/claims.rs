//! Which job is next: claims, leases, heartbeats.
//!
//! Jobs of one kind and priority are a lane, in it they stand by place: start-time fair queueing, so that an owner's hundred
//! thousand jobs let another owner's one pass. Between lanes the head goes first whose time in the queue, less what its priority
//! concedes to others, is longest: no lane starves. Every look is one seek in an index a lane, so a claim costs the same
//! however many jobs wait.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::json;

use super::jobs::COLUMNS;
use super::sql::{Row, values};
use super::{Catalog, Error, Job, Kind, Priority, Tx};

/// What a worker takes on.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// Who asks, for the job's status.
    pub worker: String,
    /// Jobs in all.
    pub most: usize,
    /// The kinds, and how many of each.
    pub kinds: Vec<(Kind, usize)>,
    /// How long the lease lasts without a heartbeat.
    pub lease: Duration,
    /// What each priority concedes to more urgent ones, in milliseconds: critical, high, normal, low.
    pub concede_ms: [i64; 4],
    /// Deliveries after which a job whose worker was lost is given up.
    pub deliveries_max: u32,
}

/// A job that was claimed.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The job, its lease included.
    pub job: Job,
}

/// What a heartbeat learns of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// It lasts on.
    Kept,
    /// It lasts on, but somebody asked to stop the job.
    Cancelling,
    /// It is somebody else's, or the job has ended: what comes out of it now counts no more.
    Lost,
}

/// Jobs that wait in one lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// Their kind.
    pub kind: Kind,
    /// Their priority.
    pub priority: Priority,
}

/// Leases that are looked at in one go when they have run out, and jobs that have become due.
const TIDY_MAX: u32 = 256;

/// Whether jobs have become due, or leases have run out, by $1.
pub(super) const UNTIDY: &str = "EXISTS (SELECT 1 FROM jobs WHERE ready = 2 AND due_ms <= $1)
     OR EXISTS (SELECT 1 FROM jobs WHERE state = 'processing' AND lease_until_ms < $1)";

/// How the jobs at a lane's head are looked at.
#[derive(Clone, Copy)]
enum Look {
    /// Somebody else may take one in between.
    Passing,
    /// Those that nobody else is at, and nobody else gets to.
    Keeping,
}

/// Whose a job is that is to be taken.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// Whoever is first; one that somebody else is at is passed over.
    Nobodys,
    /// Ours, who have the message of this lease: whoever changes it just now is waited for.
    Ours(i64),
}

/// A candidate: its id, its place in the lane, when it was queued.
type Candidate = (String, i64, i64);

impl Claim {
    /// Whether it asks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.most == 0 || self.kinds.iter().all(|(_, most)| *most == 0)
    }

    /// The lanes that it asks for.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> {
        let kinds = self.kinds.iter().filter(|(_, most)| *most > 0);
        kinds.flat_map(|(kind, _)| Priority::ALL.iter().map(|priority| Lane { kind: *kind, priority: *priority }))
    }
}

/// Of some lanes' heads, each with its place and when it was queued, the one that goes first.
pub(super) fn first(heads: impl Iterator<Item = (Lane, i64, i64)>, concede_ms: &[i64; 4]) -> Option<Lane> {
    let time = |(lane, place, queued_ms): (Lane, i64, i64)| {
        (queued_ms + concede_ms[lane.priority as usize], lane.priority, place, lane.kind)
    };
    heads.min_by_key(|head| time(*head)).map(|(lane, ..)| lane)
}

impl Catalog {
    /// Claims jobs: the next ones, at most as many as asked for.
    pub async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let claim = claim.clone();
        if claim.is_empty() || !self.may_claim(&claim).await? {
            return Ok(Vec::new());
        }
        self.write(move |tx| Box::pin(async move { tx.claim(&claim).await })).await
    }

    /// Whether a claim would find anything to do; asked by a reader, so that idle workers write nothing.
    async fn may_claim(&self, claim: &Claim) -> Result<bool, Error> {
        let sql = format!("SELECT {UNTIDY} OR EXISTS ({})", heads(claim));
        let row = self.read_one(sql, values![self.now_ms()]).await?.ok_or(Error::NotFound)?;
        Ok(row.cells().int()? != 0)
    }

    /// Prolongs leases. Answers for each what became of it.
    pub async fn extend(&self, leases: Vec<(String, i64)>, lease: Duration) -> Result<Vec<Hold>, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let until = tx.now_ms() + lease.as_millis() as i64;
                let mut holds = Vec::with_capacity(leases.len());
                for (id, number) in leases {
                    let row = tx
                        .row(
                            "UPDATE jobs SET lease_until_ms = $3 WHERE id = $1 AND lease = $2 AND state = 'processing'
                             RETURNING cancelling",
                            values![id, number, until],
                        )
                        .await?;
                    holds.push(match row.map(|row| row.cells().int()).transpose()? {
                        None => Hold::Lost,
                        Some(0) => Hold::Kept,
                        Some(_) => Hold::Cancelling,
                    });
                }
                Ok(holds)
            })
        })
        .await
    }

    /// When the next job becomes due that waits for its time.
    pub async fn next_due_ms(&self) -> Result<Option<i64>, Error> {
        let row = self.read_one("SELECT MIN(due_ms) FROM jobs WHERE ready = 2", Vec::new()).await?;
        row.map_or(Ok(None), |row| row.cells().int_or_none())
    }
}

/// The head of each lane that is asked for: id, kind, priority.
fn heads(claim: &Claim) -> String {
    let head = |lane: Lane| {
        let (kind, rank) = (lane.kind, lane.priority.rank());
        format!(
            "SELECT * FROM (SELECT kind, priority FROM jobs WHERE ready = 1 AND kind = '{kind}' AND priority = {rank}
             ORDER BY place, id LIMIT 1) AS head"
        )
    };
    claim.lanes().map(head).collect::<Vec<_>>().join(" UNION ALL ")
}

impl Tx {
    async fn claim(&mut self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.tidy(claim.deliveries_max).await?;
        let mut claimed = Vec::new();
        if self.claim_from(claim, Look::Passing, &mut claimed).await? > 0 {
            // Others claim at the same time and were quicker; once more, among what nobody else is at.
            self.claim_from(claim, Look::Keeping, &mut claimed).await?;
        }
        Ok(claimed)
    }

    /// Claims from the lanes, as many as are still wanted. Answers how many others were quicker to take.
    async fn claim_from(&mut self, claim: &Claim, look: Look, claimed: &mut Vec<Claimed>) -> Result<usize, Error> {
        let mut lanes: HashMap<Lane, VecDeque<Candidate>> = HashMap::new();
        for row in self.rows(heads(claim), Vec::new()).await? {
            let mut at = row.cells();
            let lane = Lane { kind: at.word()?, priority: Priority::of_rank(at.int()?)? };
            let waiting = self.waiting(lane, claim.most - claimed.len(), look).await?;
            lanes.insert(lane, waiting);
        }
        let mut left: HashMap<Kind, usize> = claim.kinds.iter().copied().collect();
        for Claimed { job } in &*claimed {
            left.entry(job.kind).and_modify(|left| *left = left.saturating_sub(1));
        }
        let mut missed = 0;
        while claimed.len() < claim.most {
            let heads = lanes.iter().filter(|(lane, _)| left.get(&lane.kind).is_some_and(|left| *left > 0));
            let heads = heads.filter_map(|(lane, waiting)| {
                let (_, place, queued_ms) = waiting.front()?;
                Some((*lane, *place, *queued_ms))
            });
            let Some(lane) = first(heads, &claim.concede_ms) else { break };
            let next = lanes.get_mut(&lane).and_then(VecDeque::pop_front);
            let Some((id, ..)) = next else { break };
            match self.take(claim, &id, Whose::Nobodys).await? {
                Some(one) => {
                    claimed.push(one);
                    left.entry(lane.kind).and_modify(|left| *left -= 1);
                }
                None => missed += 1,
            }
        }
        Ok(missed)
    }

    async fn waiting(&mut self, lane: Lane, most: usize, look: Look) -> Result<VecDeque<Candidate>, Error> {
        let lock = match look {
            Look::Passing => "",
            Look::Keeping => self.for_update_of_any(),
        };
        let sql = format!(
            "SELECT id, place, queued_ms FROM jobs WHERE ready = 1 AND kind = $1 AND priority = $2
             ORDER BY place, id LIMIT $3{lock}"
        );
        let rows = self.rows(sql, values![lane.kind, lane.priority.rank(), most]).await?;
        let read = |row: Row| {
            let mut at = row.cells();
            Ok((at.text()?, at.int()?, at.int()?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Takes a job that may be claimed.
    pub(super) async fn take(&mut self, claim: &Claim, id: &str, whose: Whose) -> Result<Option<Claimed>, Error> {
        let (now, lock) = (self.now_ms(), self.for_update_of_any());
        let until = now + claim.lease.as_millis() as i64;
        let mut given = values![id, &claim.worker, until, now];
        let condition = match whose {
            Whose::Nobodys => format!("id = (SELECT id FROM jobs WHERE id = $1 AND ready = 1{lock})"),
            Whose::Ours(lease) => {
                given.push(lease.into());
                "id = $1 AND ready = 1 AND lease = $5".to_owned()
            }
        };
        let sql = format!(
            "UPDATE jobs SET state = 'processing', ready = 0, worker = $2, lease = lease + 1, lease_until_ms = $3,
                 attempts = attempts + 1, deliveries = deliveries + 1, started_ms = COALESCE(started_ms, $4),
                 revision = revision + 1
             WHERE {condition} RETURNING {COLUMNS}, place"
        );
        let Some(row) = self.row(sql, given).await? else { return Ok(None) };
        let Row(mut cells) = row;
        let place = Row(cells.split_off(cells.len() - 1)).cells().int()?;
        let job = Job::read(Row(cells))?;
        // What comes to this lane from now on stands behind what was claimed from it.
        self.raise(job.kind.word(), job.priority.rank(), "", place);
        let data = json!({ "kind": job.kind, "attempt": job.attempts, "worker": claim.worker });
        self.append(job.event("job.started", data)).await?;
        Ok(Some(Claimed { job }))
    }

    /// Leases that have run out end, and jobs whose time has come may be claimed.
    pub(super) async fn tidy(&mut self, deliveries_max: u32) -> Result<(), Error> {
        self.lose_leases(deliveries_max).await?;
        self.promote_due().await
    }

    /// Jobs whose time has come may be claimed.
    async fn promote_due(&mut self) -> Result<(), Error> {
        let (now, lock) = (self.now_ms(), self.for_update_of_any());
        let sql = format!(
            "UPDATE jobs SET ready = 1, state = 'queued', revision = revision + 1
             WHERE id IN (SELECT id FROM jobs WHERE ready = 2 AND due_ms <= $1 ORDER BY due_ms LIMIT $2{lock})"
        );
        self.run(sql, values![now, TIDY_MAX]).await.map(drop)
    }

    /// Jobs whose worker was lost go back, or are given up after too many deliveries.
    async fn lose_leases(&mut self, deliveries_max: u32) -> Result<(), Error> {
        let lock = self.for_update_of_any();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE state = 'processing' AND lease_until_ms < $1
             ORDER BY lease_until_ms LIMIT $2{lock}"
        );
        let now = self.now_ms();
        let lost = self.rows(sql, values![now, TIDY_MAX]).await?;
        for job in lost.into_iter().map(Job::read).collect::<Result<Vec<_>, _>>()? {
            if job.cancelling {
                self.cancelled(job).await?;
            } else if job.deliveries >= deliveries_max {
                let error = format!("its worker was lost {} times", job.deliveries);
                self.failed(job, "worker-lost", &error).await?;
            } else {
                // The try was not the job's failure, so it does not count.
                self.put_back(&job, 0, 1).await?;
            }
        }
        Ok(())
    }

    /// A job waits again, without a try counted; `deliveries` of it still count.
    pub async fn put_back(&mut self, job: &Job, delay_ms: i64, deliveries: i64) -> Result<(), Error> {
        let due = self.now_ms() + delay_ms;
        self.run(
            "UPDATE jobs SET state = 'queued', ready = $2, lease = lease + 1, lease_until_ms = NULL, due_ms = $3,
                 attempts = attempts - 1, deliveries = deliveries - 1 + $4, revision = revision + 1
             WHERE id = $1",
            values![&job.id, if delay_ms > 0 { 2_i64 } else { 1 }, due, deliveries],
        )
        .await?;
        self.wake();
        Ok(())
    }
}
