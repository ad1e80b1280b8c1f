//! The queue that lives in the catalog: no broker, and accepting an upload and queueing its job are one transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Ask, Depth, Ended, Error, Hold, Job, Letter, NewJob, Once, Page, Pushed, Queue, Settings};
use crate::catalog::{Catalog, Claim};

/// The queue in the catalog.
#[derive(Debug)]
pub(super) struct Embedded {
    /// Where the jobs are.
    pub catalog: Catalog,
    /// How they are treated.
    pub settings: Settings,
}

/// The queue in a catalog. Asks nothing of it yet.
pub fn embedded(catalog: Catalog, settings: Settings) -> Arc<dyn Queue> {
    Arc::new(Embedded::new(catalog, settings))
}

impl Embedded {
    /// The queue in a catalog.
    pub const fn new(catalog: Catalog, settings: Settings) -> Self {
        Self { catalog, settings }
    }

    /// What a worker asks for, as the catalog is asked.
    pub fn claim_of(&self, ask: &Ask) -> Claim {
        Claim {
            worker: ask.worker.clone(),
            most: ask.most,
            kinds: ask.kinds.clone(),
            lease: self.settings.lease,
            concede_ms: self.settings.concede.map(|time| time.as_millis() as i64),
            deliveries_max: self.settings.deliveries_max,
        }
    }
}

impl Queue for Embedded {
    fn push<'a>(&'a self, jobs: Vec<NewJob>, queue_max: Option<u64>) -> BoxFuture<'a, Result<Vec<Pushed>, Error>> {
        Box::pin(self.catalog.push(jobs, queue_max))
    }

    fn push_once<'a>(
        &'a self,
        jobs: Vec<NewJob>,
        queue_max: Option<u64>,
        once: Once,
    ) -> BoxFuture<'a, Result<serde_json::Value, Error>> {
        Box::pin(self.catalog.push_once(jobs, queue_max, once))
    }

    fn claim<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        Box::pin(async move {
            Ok(self.catalog.claim(&self.claim_of(ask)).await?.into_iter().map(|claimed| claimed.job).collect())
        })
    }

    fn extend<'a>(&'a self, leases: Vec<(String, i64)>) -> BoxFuture<'a, Result<Vec<Hold>, Error>> {
        Box::pin(self.catalog.extend(leases, self.settings.lease))
    }

    fn end<'a>(&'a self, job: &'a Job, ended: Ended) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.catalog.end(&job.id, job.lease, ended))
    }

    fn cancel<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.catalog.cancel_job(owner, id))
    }

    fn retry<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.catalog.retry_job(owner, id))
    }

    fn letters<'a>(
        &'a self,
        owner: Option<&'a str>,
        categories: Option<&'a [String]>,
        cursor: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<Letter>, Error>> {
        Box::pin(self.catalog.letters(owner, categories, cursor, limit))
    }

    fn letter<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Letter, Error>> {
        Box::pin(self.catalog.letter(owner, id))
    }

    fn requeue<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(async move {
            // Only what is a dead letter: a job that was cancelled is tried again by `retry`.
            self.catalog.letter(owner, id).await?;
            self.catalog.retry_job(owner, id).await
        })
    }

    fn discard<'a>(&'a self, owner: Option<&'a str>, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.catalog.discard_letter(owner, id))
    }

    fn clear<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(self.catalog.clear_jobs(owner))
    }

    fn depth<'a>(&'a self, owner: Option<&'a str>) -> BoxFuture<'a, Result<Depth, Error>> {
        Box::pin(self.catalog.depth(owner))
    }

    fn ready(&self) -> watch::Receiver<u64> {
        self.catalog.ready()
    }

    fn next_due<'a>(&'a self) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async move {
            let due = self.catalog.next_due_ms().await?;
            Ok(due.map(|due| Duration::from_millis((due - self.catalog.now_ms()).max(0) as u64)))
        })
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::Bench;
    use super::*;
    use crate::catalog::{self, Clock};

    fn sqlite(settings: Settings) -> BoxFuture<'static, Bench> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        Box::pin(async move { bench(settings, &url, Box::new(folder)) })
    }

    fn postgres(settings: Settings) -> BoxFuture<'static, Bench> {
        Box::pin(async move { bench(settings, &catalog::server::shared().database(), Box::new(())) })
    }

    fn bench(settings: Settings, url: &str, kept: Box<dyn std::any::Any + Send + Sync>) -> Bench {
        let clock = Clock::still(1_800_000_000_000);
        let open = || Catalog::new(catalog::Settings { clock: clock.clone(), ..catalog::Settings::new(url) });
        let (catalog, other) = (open(), open());
        let moved = clock.clone();
        Bench {
            queue: embedded(catalog.clone(), settings.clone()),
            catalog,
            advance: Box::new(move |time| {
                moved.advance(time);
                Box::pin(async {})
            }),
            other: embedded(other, settings),
            _kept: kept,
        }
    }

    mod on_sqlite {
        use super::super::super::suite::queue_suite;
        queue_suite!(super::sqlite);
    }

    mod on_postgres {
        use super::super::super::suite::queue_suite;
        queue_suite!(super::postgres);
    }

    /// What a claim costs must not depend on how many jobs wait: the statements are planned without a scan, and the time of a
    /// claim among 20 000 jobs is near that among 200.
    #[tokio::test]
    async fn a_claim_costs_the_same_however_many_wait() {
        let time = async |jobs: usize| {
            let bench = sqlite(Settings::default()).await;
            let job = |at: usize| {
                let owner = format!("o{}", at % 50);
                super::super::Task::Purge {}.job(&owner, None, super::super::Priority::ALL[at % 4])
            };
            for start in (0..jobs).step_by(2000) {
                bench.queue.push((start..jobs.min(start + 2000)).map(job).collect(), None).await.unwrap();
            }
            let ask = Ask { worker: "w".to_owned(), most: 5, kinds: vec![(super::super::Kind::Purge, 5)] };
            let begun = std::time::Instant::now();
            for _ in 0..20 {
                assert_eq!(bench.queue.claim(&ask).await.unwrap().len(), 5);
            }
            begun.elapsed()
        };
        let (few, many) = (time(200).await, time(20_000).await);
        assert!(many < few * 4, "{few:?} among 200 jobs, {many:?} among 20000");
    }
}
