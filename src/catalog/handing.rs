//! Jobs and dead letters that a broker is to have: the catalog keeps statuses and order, the broker brings jobs to workers.
//!
//! A job that may be claimed is handed over under the number of its lease. Whatever frees it again raises that number: it is to be
//! handed over anew, and a message of before is stale. Of each lane a few are handed over at a time, in the order of their places;
//! the others wait here, so that an owner who comes later still has his turn. What is handed over and not noted as such, since the
//! process was killed in between, is handed over again.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::claims::{UNTIDY, Whose, first};
use super::sql::{Row, values};
use super::{Catalog, Claim, Error, Job, Kind, Lane, Letter, Priority, Tx};

/// A job that may be claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its id.
    pub id: String,
    /// Its lane.
    pub lane: Lane,
    /// The lease under which it may be claimed.
    pub lease: i64,
    /// Whether a broker has it.
    pub handed: bool,
    /// Where a broker lost it under this lease: when that was noted, in milliseconds since 1970.
    pub lost_ms: Option<i64>,
    /// W3C `traceparent` of who asked for it.
    pub trace: Option<String>,
    place: i64,
    queued_ms: i64,
}

/// Jobs that a broker has, at most so many are looked at in one go.
const HANDED_MAX: u32 = 10_000;

/// What stands at a job that no broker ever had; less is the negative time at which its message was found lost.
const NEVER: i64 = -1;

const COLUMNS: &str = "id, kind, priority, lease, handed, trace, place, queued_ms";

impl Waiting {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        let id = at.text()?;
        let lane = Lane { kind: at.word()?, priority: Priority::of_rank(at.int()?)? };
        let (lease, handed) = (at.int()?, at.int()?);
        Ok(Self {
            id,
            lane,
            lease,
            handed: handed == lease,
            lost_ms: (handed < NEVER).then_some(-handed),
            trace: at.text_or_none()?,
            place: at.int()?,
            queued_ms: at.int()?,
        })
    }
}

impl Lane {
    /// All lanes that jobs are claimed from.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Batch);
        kinds.flat_map(|kind| Priority::ALL.iter().map(|priority| Self { kind: *kind, priority: *priority }))
    }

    /// Those that may be claimed, the first ones; `more` is a further condition.
    fn head(self, columns: &str, more: &str, most: usize) -> String {
        let Self { kind, priority } = self;
        let rank = priority.rank();
        format!(
            "SELECT * FROM (SELECT {columns} FROM jobs WHERE ready = 1 AND kind = '{kind}' AND priority = {rank}{more}
             ORDER BY place, id LIMIT {most}) AS head"
        )
    }
}

impl Catalog {
    /// Ends leases that have run out and frees jobs that have become due, where there are any.
    pub async fn tidy(&self, deliveries_max: u32) -> Result<(), Error> {
        let row = self.read_one(format!("SELECT {UNTIDY}"), values![self.now_ms()]).await?.ok_or(Error::NotFound)?;
        if row.cells().int()? == 0 {
            return Ok(());
        }
        self.write(move |tx| Box::pin(tx.tidy(deliveries_max))).await
    }

    /// The jobs that a claim would take now, the most urgent first.
    pub async fn next_jobs(&self, claim: &Claim) -> Result<Vec<Waiting>, Error> {
        if claim.is_empty() {
            return Ok(Vec::new());
        }
        let heads: Vec<String> = claim.lanes().map(|lane| lane.head(COLUMNS, "", claim.most)).collect();
        let mut lanes: HashMap<Lane, VecDeque<Waiting>> = HashMap::new();
        for row in self.read(heads.join(" UNION ALL "), Vec::new()).await? {
            let job = Waiting::read(row)?;
            lanes.entry(job.lane).or_default().push_back(job);
        }
        for waiting in lanes.values_mut() {
            waiting.make_contiguous().sort_by(|one, other| (one.place, &one.id).cmp(&(other.place, &other.id)));
        }
        let mut left: HashMap<Kind, usize> = claim.kinds.iter().copied().collect();
        let mut next = Vec::with_capacity(claim.most);
        while next.len() < claim.most {
            let open = lanes.iter().filter(|(lane, _)| left.get(&lane.kind).is_some_and(|left| *left > 0));
            let heads = open.filter_map(|(lane, waiting)| {
                let head = waiting.front()?;
                Some((*lane, head.place, head.queued_ms))
            });
            let Some(lane) = first(heads, &claim.concede_ms) else { break };
            left.entry(lane.kind).and_modify(|left| *left -= 1);
            next.extend(lanes.get_mut(&lane).and_then(VecDeque::pop_front));
        }
        Ok(next)
    }

    /// The jobs to hand over next, so that a broker has so many of each lane, in the order in which they are to be claimed.
    pub async fn to_hand(&self, windows: &BTreeMap<Lane, usize>) -> Result<Vec<Waiting>, Error> {
        let lane = |(lane, window): (&Lane, &usize)| {
            let (kind, rank) = (lane.kind, lane.priority.rank());
            // Only as many as the window are ever handed over, so the count is short.
            let had = format!(
                "(SELECT COUNT(*) FROM jobs WHERE ready = 1 AND handed = lease AND kind = '{kind}' AND priority = {rank}) AS n"
            );
            lane.head(&format!("{had}, {COLUMNS}"), " AND handed <> lease", *window)
        };
        let heads: Vec<String> = windows.iter().map(lane).collect();
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let mut lanes: BTreeMap<Lane, (usize, Vec<Waiting>)> = BTreeMap::new();
        for row in self.read(heads.join(" UNION ALL "), Vec::new()).await? {
            let Row(mut cells) = row;
            let job = Waiting::read(Row(cells.split_off(1)))?;
            let had: usize = Row(cells).cells().unsigned()?;
            lanes.entry(job.lane).or_insert((had, Vec::new())).1.push(job);
        }
        let jobs = lanes.into_iter().flat_map(|(lane, (had, mut jobs))| {
            jobs.sort_by(|one, other| (one.place, &one.id).cmp(&(other.place, &other.id)));
            jobs.truncate(windows.get(&lane).map_or(0, |window| window.saturating_sub(had)));
            jobs
        });
        Ok(jobs.collect())
    }

    /// Notes that a broker has these jobs, each by its id and lease. One that was claimed in between stays as it is.
    pub async fn handed(&self, jobs: Vec<(String, i64)>) -> Result<(), Error> {
        self.write(move |tx| Box::pin(async move { tx.set_handed(&jobs, "handed <> lease", "lease").await })).await
    }

    /// Notes that a broker has these jobs no more, each by its id and lease: they are handed over again.
    pub async fn unhanded(&self, jobs: Vec<(String, i64)>) -> Result<(), Error> {
        let lost = (-self.now_ms()).min(NEVER - 1).to_string();
        self.write(move |tx| Box::pin(async move { tx.set_handed(&jobs, "handed = lease", &lost).await })).await
    }

    /// The jobs that wait for a worker in a broker.
    pub async fn in_hand(&self) -> Result<Vec<Waiting>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE ready = 1 AND handed = lease LIMIT {HANDED_MAX}");
        self.read(sql, Vec::new()).await?.into_iter().map(Waiting::read).collect()
    }

    /// Claims jobs that a broker brought, each by its id and lease. Answers for each the job, or nothing where the message is stale:
    /// somebody has it, or it has ended.
    pub async fn claim_handed(&self, claim: &Claim, jobs: Vec<(String, i64)>) -> Result<Vec<Option<Job>>, Error> {
        let claim = claim.clone();
        self.write(move |tx| {
            Box::pin(async move {
                // In one order, so that no two wait for each other.
                let mut order: Vec<usize> = (0..jobs.len()).collect();
                order.sort_by(|one, other| jobs[*one].cmp(&jobs[*other]));
                let mut claimed: Vec<Option<Job>> = jobs.iter().map(|_| None).collect();
                for at in order {
                    let (id, lease) = &jobs[at];
                    claimed[at] = tx.take(&claim, id, Whose::Ours(*lease)).await?.map(|taken| taken.job);
                }
                Ok(claimed)
            })
        })
        .await
    }

    /// Jobs that may be claimed and no broker has, how many and since when the oldest waits, in milliseconds since 1970.
    pub async fn not_in_hand(&self) -> Result<(u64, Option<i64>), Error> {
        let row = self
            .read_one(
                "SELECT (SELECT COALESCE(SUM(n), 0) FROM job_counts WHERE state = 'queued'),
                    (SELECT COUNT(*) FROM jobs WHERE ready = 1 AND handed = lease),
                    (SELECT COUNT(*) FROM jobs WHERE ready = 2 AND state = 'queued'),
                    (SELECT MIN(queued_ms) FROM jobs WHERE ready = 1 AND handed <> lease)",
                Vec::new(),
            )
            .await?;
        let mut at = row.ok_or(Error::NotFound)?.cells();
        let (queued, handed, later) = (at.int()?, at.int()?, at.int()?);
        Ok(((queued - handed - later).max(0) as u64, at.int_or_none()?))
    }

    /// Dead letters that a broker is to have, the oldest first.
    pub async fn letters_to_hand(&self, limit: u32) -> Result<Vec<Letter>, Error> {
        let sql = format!(
            "SELECT {} FROM dead_letters d JOIN jobs j ON j.id = d.job WHERE d.handed = 0 ORDER BY d.dead_ms LIMIT $1",
            super::letters::columns()
        );
        self.read(sql, values![limit]).await?.into_iter().map(Letter::read).collect()
    }

    /// Notes that a broker has a dead letter, as it was written at that time.
    pub async fn letter_handed(&self, job: &str, dead_ms: i64) -> Result<(), Error> {
        let job = job.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE dead_letters SET handed = 1 WHERE job = $1 AND dead_ms = $2";
                tx.run(sql, values![job, dead_ms]).await.map(drop)
            })
        })
        .await
    }
}

impl Tx {
    async fn set_handed(&mut self, jobs: &[(String, i64)], unless: &str, to: &str) -> Result<(), Error> {
        let lock = self.for_update_of_any();
        let sql = format!(
            "UPDATE jobs SET handed = {to} WHERE id = (SELECT id FROM jobs WHERE id = $1 AND ready = 1 AND lease = $2
             AND {unless}{lock})"
        );
        for (id, lease) in jobs {
            self.run(sql.clone(), values![id, *lease]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::catalog::{Ended, NewJob, Settings, server};

    const LANE: Lane = Lane { kind: Kind::Purge, priority: Priority::Normal };

    fn claim() -> Claim {
        Claim {
            worker: "w".to_owned(),
            most: 10,
            kinds: vec![(Kind::Purge, 10)],
            lease: Duration::from_secs(15),
            concede_ms: [0; 4],
            deliveries_max: 10,
        }
    }

    async fn check(catalog: Catalog) {
        let job = || NewJob::new("ann", Kind::Purge, Priority::Normal, None, json!({}));
        let ids = catalog.push((0..9).map(|_| job()).collect(), None).await.unwrap();
        let windows = BTreeMap::from([(LANE, 4)]);
        let names = |jobs: &[Waiting]| jobs.iter().map(|job| (job.id.clone(), job.lease)).collect::<Vec<_>>();
        let mut handed = catalog.to_hand(&windows).await.unwrap();
        assert_eq!(handed.len(), 4, "a window of them");
        assert!(handed.iter().zip(&ids).all(|(job, pushed)| job.id == pushed.id && !job.handed), "in their order");
        catalog.handed(names(&handed)).await.unwrap();
        assert!(catalog.to_hand(&windows).await.unwrap().is_empty());
        assert_eq!(catalog.not_in_hand().await.unwrap().0, 5);
        assert_eq!(catalog.next_jobs(&claim()).await.unwrap().iter().filter(|job| job.handed).count(), 4);
        // The message counts once, and only under its lease.
        let twice = vec![(ids[0].id.clone(), 0), (ids[0].id.clone(), 0), (ids[1].id.clone(), 7)];
        let claimed = catalog.claim_handed(&claim(), twice).await.unwrap();
        assert_eq!(claimed.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
        // One that is given back is to be handed over again, under its next lease.
        let job = claimed[0].clone().unwrap();
        catalog.end(&job.id, job.lease, Ended::Released { delay_ms: 0 }).await.unwrap();
        handed = catalog.to_hand(&windows).await.unwrap();
        assert_eq!(names(&handed), [(ids[0].id.clone(), 2)]);
        assert_eq!(catalog.in_hand().await.unwrap().len(), 3);
        // What was lost is handed over again under the same.
        catalog.unhanded(vec![(ids[1].id.clone(), 0), (ids[2].id.clone(), 9)]).await.unwrap();
        handed = catalog.to_hand(&windows).await.unwrap();
        assert_eq!(names(&handed), [(ids[0].id.clone(), 2), (ids[1].id.clone(), 0)]);
        assert_eq!(handed.iter().map(|job| job.lost_ms.is_some()).collect::<Vec<_>>(), [false, true]);
    }

    #[tokio::test]
    async fn a_window_is_handed_over_and_each_message_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        check(Catalog::new(Settings::new(file))).await;
        check(Catalog::new(Settings::new(server::shared().database()))).await;
    }

    #[tokio::test]
    async fn dead_letters_are_handed_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        let catalog = Catalog::new(Settings::new(file));
        let id =
            catalog.push(vec![NewJob::new("ann", Kind::Purge, Priority::Low, None, json!({}))], None).await.unwrap();
        for times in 1..=2 {
            let claimed = catalog.claim(&claim()).await.unwrap().remove(0).job;
            let failed = Ended::Failed { code: "because".to_owned(), error: "so".to_owned(), result: None };
            catalog.end(&claimed.id, claimed.lease, failed).await.unwrap();
            let letter = catalog.letters_to_hand(10).await.unwrap().remove(0);
            assert_eq!((letter.reason.as_str(), &letter.job.id), ("because", &id[0].id), "{times}");
            catalog.letter_handed(&letter.job.id, letter.dead_ms).await.unwrap();
            assert!(catalog.letters_to_hand(10).await.unwrap().is_empty());
            catalog.retry_job(None, &id[0].id).await.unwrap();
        }
    }
}
