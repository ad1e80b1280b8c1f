//! What every queue must do, whatever it is made of. A backend makes a [`Bench`] by a function, and [`queue_suite!`] makes a test of
//! each behaviour. Nothing sleeps: the bench's clock is moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::catalog::{Catalog, JobFilter};

/// A queue under test, with the catalog that its jobs are read from, and a clock that can be moved.
pub(crate) struct Bench {
    pub queue: Arc<dyn Queue>,
    pub catalog: Catalog,
    pub advance: Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Another process on the same queue.
    pub other: Arc<dyn Queue>,
    pub _kept: Box<dyn std::any::Any + Send + Sync>,
}

/// A test a behaviour, for a function from settings to a [`Bench`].
macro_rules! queue_suite {
    ($make:path: $($name:ident),* $(,)?) => {
        $(#[tokio::test] async fn $name() { $crate::queue::suite::$name($make).await; })*
    };
    ($make:path) => {
        $crate::queue::suite::queue_suite!($make:
            jobs_go_to_one_worker_and_end, a_worker_that_is_lost_loses_its_jobs, a_heartbeat_keeps_a_lease,
            a_job_that_kills_its_workers_is_given_up, equal_names_are_one_job, what_is_asked_for_under_one_key_is_queued_once, failures_are_tried_again_then_dead,
            dead_letters_can_be_read_requeued_and_discarded, a_broken_image_is_dead_at_once,
            urgent_jobs_go_first_and_no_other_starves, owners_take_turns, kinds_are_bounded, what_is_released_is_not_counted,
            cancelled_jobs_stop, a_batch_ends_with_its_parts, a_batch_grows_by_what_its_parts_find, a_job_goes_on_as_its_next_step, above_its_bound_nothing_is_taken,
            a_cleared_queue_is_empty, many_workers_take_each_job_once,
        );
    };
}
pub(crate) use queue_suite;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn job(owner: &str, priority: Priority) -> NewJob {
    let subject = Subject { category: "shoes".to_owned(), asset: "red".to_owned(), version: None };
    Task::Transform { variants: vec!["w_1.jpg".to_owned()] }.job(owner, Some(subject), priority)
}

pub(crate) fn all(most: usize) -> Ask {
    Ask { worker: "w".to_owned(), most, kinds: Kind::ALL.iter().map(|kind| (*kind, most)).collect() }
}

impl Bench {
    pub async fn push(&self, jobs: Vec<NewJob>) -> Vec<String> {
        self.queue.push(jobs, None).await.unwrap().into_iter().map(|pushed| pushed.id).collect()
    }

    pub async fn claim(&self, most: usize) -> Vec<Job> {
        self.queue.claim(&all(most)).await.unwrap()
    }

    pub async fn complete(&self, job: &Job) {
        self.queue.end(job, Ended::Completed { result: json!({ "ok": true }), follow: Vec::new() }).await.unwrap();
    }

    pub async fn fail(&self, job: &Job, passing: bool) {
        let failure = Failure { code: "because".to_owned(), error: "as the test wants".to_owned(), passing };
        self.queue.end(job, self.queue.settings().backoff.after(job.attempts, failure)).await.unwrap();
    }

    pub async fn state(&self, id: &str) -> JobState {
        self.catalog.job(None, id).await.unwrap().state
    }
}

pub(crate) type Make = fn(Settings) -> BoxFuture<'static, Bench>;

pub(crate) async fn jobs_go_to_one_worker_and_end(make: Make) {
    let bench = make(Settings::default()).await;
    let ready = bench.queue.ready();
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    assert!(ready.has_changed().unwrap(), "a worker of this process is woken");
    let claimed = bench.claim(5).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].id.as_str(), claimed[0].attempts), (id.as_str(), 1));
    assert!(bench.other.claim(&all(5)).await.unwrap().is_empty());
    assert_eq!(bench.state(&id).await, JobState::Processing);
    bench.complete(&claimed[0]).await;
    let done = bench.catalog.job(None, &id).await.unwrap();
    assert_eq!((done.state, &done.result), (JobState::Completed, &json!({ "ok": true })));
    assert!(done.started_ms.is_some() && done.completed_ms.is_some());
    let twice = bench.queue.end(&claimed[0], Ended::Cancelled).await;
    assert!(matches!(twice, Err(Error::Conflict)), "a job ends once");
    assert_eq!(bench.queue.depth(None).await.unwrap().waiting(), 0);
}

pub(crate) async fn a_worker_that_is_lost_loses_its_jobs(make: Make) {
    let bench = make(Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    let lost = bench.claim(1).await.remove(0);
    (bench.advance)(bench.queue.settings().lease + Duration::from_secs(1)).await;
    let found = bench.other.claim(&all(1)).await.unwrap().remove(0);
    assert_eq!((found.id.as_str(), found.attempts, found.deliveries), (id.as_str(), 1, 2));
    let late = bench.queue.end(&lost, Ended::Completed { result: json!({}), follow: Vec::new() }).await;
    assert!(matches!(late, Err(Error::Conflict)), "what a lost worker says counts no more");
    assert_eq!(bench.queue.extend(vec![(lost.id.clone(), lost.lease)]).await.unwrap(), [Hold::Lost]);
    bench.complete(&found).await;
    assert_eq!(bench.state(&id).await, JobState::Completed);
}

pub(crate) async fn a_heartbeat_keeps_a_lease(make: Make) {
    let bench = make(Settings::default()).await;
    bench.push(vec![job("ann", Priority::Normal)]).await;
    let held = bench.claim(1).await.remove(0);
    for _ in 0..5 {
        (bench.advance)(bench.queue.settings().lease / 2).await;
        assert_eq!(bench.queue.extend(vec![(held.id.clone(), held.lease)]).await.unwrap(), [Hold::Kept]);
        assert!(bench.other.claim(&all(1)).await.unwrap().is_empty());
    }
    bench.complete(&held).await;
}

pub(crate) async fn a_job_that_kills_its_workers_is_given_up(make: Make) {
    let bench = make(Settings { deliveries_max: 3, ..Settings::default() }).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    for delivery in 1..=3 {
        assert_eq!(bench.claim(1).await.remove(0).deliveries, delivery);
        (bench.advance)(MINUTE).await;
    }
    assert!(bench.claim(1).await.is_empty());
    let letter = bench.queue.letter(None, &id).await.unwrap();
    assert_eq!((letter.reason.as_str(), letter.job.state), ("worker-lost", JobState::Failed));
}

pub(crate) async fn equal_names_are_one_job(make: Make) {
    let bench = make(Settings::default()).await;
    let named = |owner: &str| NewJob { dedupe: Some("same".to_owned()), ..job(owner, Priority::Normal) };
    let first = bench.queue.push(vec![named("ann"), named("ann")], None).await.unwrap();
    assert_eq!((first[0].existed, first[1].existed, &first[0].id), (false, true, &first[1].id));
    assert!(!bench.queue.push(vec![named("bob")], None).await.unwrap()[0].existed, "a name is its owner's");
    let claimed = bench.claim(5).await;
    assert_eq!(claimed.len(), 2);
    assert!(bench.queue.push(vec![named("ann")], None).await.unwrap()[0].existed, "also while it is worked on");
    for job in &claimed {
        bench.complete(job).await;
    }
    assert!(!bench.queue.push(vec![named("ann")], None).await.unwrap()[0].existed, "what has ended is no hindrance");
}

pub(crate) async fn what_is_asked_for_under_one_key_is_queued_once(make: Make) {
    let bench = make(Settings::default()).await;
    let once = |fingerprint: &str| Once {
        owner: "ann".to_owned(),
        key: Idempotency { key: "k".to_owned(), fingerprint: fingerprint.to_owned() },
        answer: json!({ "urls": {} }),
    };
    let one = || vec![job("ann", Priority::Normal)];
    let asked = |queue: &Arc<dyn Queue>, most, once| {
        let queue = queue.clone();
        async move { queue.push_once(one(), Some(most), once).await }
    };
    assert!(matches!(asked(&bench.queue, 0, once("f")).await, Err(Error::Full { .. })));
    // Two processes at the same moment.
    let (here, there) = tokio::join!(asked(&bench.queue, 9, once("f")), asked(&bench.other, 9, once("f")));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((&here, &here["urls"]), (&there, &json!({})));
    assert_eq!(asked(&bench.other, 0, once("f")).await.unwrap(), here, "also where no room is left");
    assert!(matches!(asked(&bench.queue, 9, once("g")).await, Err(Error::KeyReused)));
    let ids: Vec<_> = bench.claim(5).await.into_iter().map(|job| json!(job.id)).collect();
    assert_eq!(ids, [here["job_id"].clone()]);
}

pub(crate) async fn failures_are_tried_again_then_dead(make: Make) {
    let bench = make(Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    // At once, then after 5, 10 and 20 s, each a fifth more or less.
    for (attempt, pause) in [(1, 0), (2, 5), (3, 10), (4, 20)] {
        let claimed = bench.claim(1).await.remove(0);
        assert_eq!(claimed.attempts, attempt);
        bench.fail(&claimed, true).await;
        if pause > 0 {
            assert_eq!(bench.state(&id).await, JobState::Retrying);
            (bench.advance)(Duration::from_secs(pause).mul_f64(0.75)).await;
            assert!(bench.claim(1).await.is_empty(), "not before {pause} s");
            (bench.advance)(Duration::from_secs(pause).mul_f64(0.5)).await;
        }
    }
    let last = bench.claim(1).await.remove(0);
    bench.fail(&last, true).await;
    assert_eq!(bench.state(&id).await, JobState::Failed);
    (bench.advance)(60 * MINUTE).await;
    assert!(bench.claim(1).await.is_empty());
    assert_eq!(bench.queue.letters(None, None, None, 10).await.unwrap().items.len(), 1);
}

pub(crate) async fn a_broken_image_is_dead_at_once(make: Make) {
    let bench = make(Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    let claimed = bench.claim(1).await.remove(0);
    bench.fail(&claimed, false).await;
    let failed = bench.catalog.job(None, &id).await.unwrap();
    assert_eq!((failed.state, failed.attempts, failed.code.as_deref()), (JobState::Failed, 1, Some("because")));
}

pub(crate) async fn dead_letters_can_be_read_requeued_and_discarded(make: Make) {
    let bench = make(Settings::default()).await;
    let ids = bench.push((0..3).map(|_| job("ann", Priority::Normal)).collect()).await;
    for claimed in bench.claim(3).await {
        bench.fail(&claimed, false).await;
    }
    let page = bench.queue.letters(Some("ann"), None, None, 2).await.unwrap();
    let rest = bench.queue.letters(Some("ann"), None, page.next.as_deref(), 2).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (2, 1));
    for (category, seen) in [("shoes", 2), ("hats", 0)] {
        let within = [category.to_owned()];
        let page = bench.queue.letters(Some("ann"), Some(&within), None, 2).await.unwrap();
        assert_eq!((page.items.len(), page.next.is_some()), (seen, seen > 0), "{category}");
    }
    assert!(bench.queue.letters(Some("bob"), None, None, 2).await.unwrap().items.is_empty());
    assert!(matches!(bench.queue.requeue(Some("bob"), &ids[0]).await, Err(Error::NotFound)));
    assert!(matches!(bench.queue.discard(Some("bob"), &ids[0]).await, Err(Error::NotFound)));
    let letter = bench.queue.letter(Some("ann"), &ids[0]).await.unwrap();
    assert_eq!((letter.job.error.as_deref(), letter.reason.as_str()), (Some("as the test wants"), "because"));
    let again = bench.queue.requeue(Some("ann"), &ids[0]).await.unwrap();
    assert_eq!((again.state, again.attempts), (JobState::Queued, 0));
    assert!(matches!(bench.queue.letter(None, &ids[0]).await, Err(Error::NotFound)));
    bench.queue.discard(Some("ann"), &ids[1]).await.unwrap();
    assert!(matches!(bench.queue.requeue(None, &ids[1]).await, Err(Error::NotFound)));
    let claimed = bench.claim(5).await;
    assert_eq!((claimed.len(), &claimed[0].id), (1, &ids[0]));
}

pub(crate) async fn urgent_jobs_go_first_and_no_other_starves(make: Make) {
    let bench = make(Settings::default()).await;
    for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical] {
        bench.push(vec![job("ann", priority)]).await;
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let claimed = bench.claim(1).await.remove(0);
        order.push(claimed.priority);
        bench.complete(&claimed).await;
    }
    assert_eq!(order, [Priority::Critical, Priority::High, Priority::Normal, Priority::Low]);
    // Under an endless stream of critical jobs a low one is done all the same, once it has waited ten minutes longer.
    bench.push(vec![job("ann", Priority::Low)]).await;
    let mut waited = Duration::ZERO;
    loop {
        bench.push(vec![job("bob", Priority::Critical)]).await;
        let claimed = bench.claim(1).await.remove(0);
        bench.complete(&claimed).await;
        if claimed.priority == Priority::Low {
            break;
        }
        (bench.advance)(MINUTE).await;
        waited += MINUTE;
        assert!(waited < 12 * MINUTE, "it starves");
    }
    assert!(waited >= 9 * MINUTE, "it went too early, after {waited:?}");
}

pub(crate) async fn owners_take_turns(make: Make) {
    let bench = make(Settings::default()).await;
    bench.push((0..50).map(|_| job("many", Priority::Normal)).collect()).await;
    // Ten are done before another owner comes.
    for claimed in bench.claim(10).await {
        bench.complete(&claimed).await;
    }
    bench.push((0..5).map(|_| job("few", Priority::Normal)).collect()).await;
    let mut order = Vec::new();
    for _ in 0..12 {
        let claimed = bench.claim(1).await.remove(0);
        bench.complete(&claimed).await;
        order.push(claimed.owner);
    }
    assert_eq!(order.iter().filter(|owner| *owner == "few").count(), 5, "{order:?}");
    assert!(order.iter().take(4).any(|owner| owner == "many"), "{order:?}");
}

pub(crate) async fn kinds_are_bounded(make: Make) {
    let bench = make(Settings::default()).await;
    bench.push((0..5).map(|_| job("ann", Priority::Critical)).collect()).await;
    bench.push(vec![Task::Purge {}.job("ann", None, Priority::Low)]).await;
    let ask = Ask { worker: "w".to_owned(), most: 4, kinds: vec![(Kind::Transform, 2), (Kind::Purge, 1)] };
    let claimed = bench.queue.claim(&ask).await.unwrap();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for job in &claimed {
        *kinds.entry(job.kind).or_default() += 1;
    }
    assert_eq!(kinds, BTreeMap::from([(Kind::Transform, 2), (Kind::Purge, 1)]));
}

pub(crate) async fn what_is_released_is_not_counted(make: Make) {
    let bench = make(Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    for _ in 0..20 {
        let claimed = bench.claim(1).await.remove(0);
        assert_eq!((claimed.attempts, claimed.deliveries), (1, 1));
        bench.queue.end(&claimed, Ended::Released { delay_ms: 30_000 }).await.unwrap();
        assert!(bench.claim(1).await.is_empty());
        assert_eq!(bench.queue.next_due().await.unwrap(), Some(Duration::from_secs(30)));
        (bench.advance)(Duration::from_secs(31)).await;
    }
    assert_eq!(bench.state(&id).await, JobState::Queued);
}

pub(crate) async fn cancelled_jobs_stop(make: Make) {
    let bench = make(Settings::default()).await;
    let ids = bench.push((0..2).map(|_| job("ann", Priority::Normal)).collect()).await;
    let held = bench.claim(1).await.remove(0);
    let waiting = ids.iter().find(|id| **id != held.id).unwrap();
    assert!(matches!(bench.queue.cancel(Some("bob"), waiting).await, Err(Error::NotFound)));
    assert_eq!(bench.queue.cancel(Some("ann"), waiting).await.unwrap().state, JobState::Cancelled);
    assert!(bench.claim(1).await.is_empty());
    assert_eq!(bench.queue.cancel(None, &held.id).await.unwrap().state, JobState::Processing);
    assert_eq!(bench.queue.extend(vec![(held.id.clone(), held.lease)]).await.unwrap(), [Hold::Cancelling]);
    bench.queue.end(&held, Ended::Cancelled).await.unwrap();
    assert!(matches!(bench.queue.cancel(None, &held.id).await, Err(Error::State(_))));
    assert_eq!(bench.queue.retry(None, &held.id).await.unwrap().state, JobState::Queued);
    assert_eq!(bench.claim(1).await.remove(0).id, held.id);
}

pub(crate) async fn a_batch_grows_by_what_its_parts_find(make: Make) {
    let bench = make(Settings::default()).await;
    let jobs = || {
        let mut jobs = batch("ann", vec![job("ann", Priority::Low)]);
        jobs[0].dedupe = Some("one at a time".to_owned());
        jobs
    };
    let ids = bench.push(jobs()).await;
    let again = bench.queue.push(jobs(), None).await.unwrap();
    assert_eq!(
        (again.len(), &again[0].id, again[0].existed),
        (1, &ids[0], true),
        "no parts are added to one that is there"
    );
    let whole = async || bench.catalog.job(None, &ids[0]).await.unwrap();
    let first = bench.claim(5).await.remove(0);
    let found = || NewJob { parent: Some(ids[0].clone()), ..job("ann", Priority::Low) };
    bench.queue.end(&first, Ended::Completed { result: json!({}), follow: vec![found(), found()] }).await.unwrap();
    assert_eq!((whole().await.state, whole().await.done, whole().await.total), (JobState::Processing, 1, 3));
    let parts = bench.claim(5).await;
    assert_eq!(parts.len(), 2);
    for part in &parts {
        bench.complete(part).await;
    }
    assert_eq!((whole().await.state, whole().await.done, whole().await.total), (JobState::Completed, 3, 3));
    // What is taken back while a part of it is at work finds nothing more.
    let ids = bench.push(jobs()).await;
    let first = bench.claim(5).await.remove(0);
    bench.queue.cancel(None, &ids[0]).await.unwrap();
    let found = NewJob { parent: Some(ids[0].clone()), ..job("ann", Priority::Low) };
    bench.queue.end(&first, Ended::Completed { result: json!({}), follow: vec![found] }).await.unwrap();
    assert_eq!(bench.state(&ids[0]).await, JobState::Cancelled);
    assert!(bench.claim(5).await.is_empty());
}

pub(crate) async fn a_batch_ends_with_its_parts(make: Make) {
    let bench = make(Settings::default()).await;
    let ids = bench.push(batch("ann", (0..3).map(|_| job("ann", Priority::Normal)).collect())).await;
    let whole = async || bench.catalog.job(None, &ids[0]).await.unwrap();
    assert_eq!((whole().await.kind, whole().await.state, whole().await.total), (Kind::Batch, JobState::Processing, 3));
    let parts = bench.claim(5).await;
    assert_eq!(parts.len(), 3, "the batch itself is nobody's work");
    assert_eq!(whole().await.started_ms, None);
    bench.complete(&parts[0]).await;
    bench.complete(&parts[1]).await;
    assert_eq!((whole().await.done, whole().await.state), (2, JobState::Processing));
    let begun = parts.iter().filter_map(|part| part.started_ms).min();
    assert!(begun.is_some() && whole().await.started_ms == begun, "with the first of its parts");
    bench.fail(&parts[2], false).await;
    let failed = whole().await;
    assert_eq!((failed.state, failed.done, failed.failed), (JobState::Failed, 2, 1));
    bench.queue.retry(None, &ids[0]).await.unwrap();
    assert_eq!(whole().await.state, JobState::Processing);
    bench.complete(&bench.claim(5).await.remove(0)).await;
    assert_eq!((whole().await.state, whole().await.done, whole().await.failed), (JobState::Completed, 3, 0));
    let filter = JobFilter { parent: Some(ids[0].clone()), ..JobFilter::default() };
    assert_eq!(bench.catalog.jobs(None, &filter, None, 10).await.unwrap().items.len(), 3);
    // One that is taken back takes its parts along.
    let ids = bench.push(batch("ann", (0..2).map(|_| job("ann", Priority::Normal)).collect())).await;
    bench.queue.cancel(None, &ids[0]).await.unwrap();
    for id in &ids {
        assert_eq!(bench.state(id).await, JobState::Cancelled);
    }
}

pub(crate) async fn a_job_goes_on_as_its_next_step(make: Make) {
    let bench = make(Settings::default()).await;
    let inspect = Task::Inspect { variants: vec!["w_1.jpg".to_owned()], prewarm: false };
    let id = bench.push(vec![inspect.job("ann", None, Priority::High)]).await.remove(0);
    let first = bench.claim(1).await.remove(0);
    assert_eq!(Task::of(&first).unwrap().kind(), Kind::Inspect);
    let prewarm = Task::Prewarm { variants: vec!["w_1.jpg".to_owned()], popular: Vec::new() };
    let next = Ended::Next { kind: Kind::Prewarm, payload: prewarm.payload(), result: json!({ "a": 1 }), total: 1 };
    bench.queue.end(&first, next).await.unwrap();
    let second = bench.claim(1).await.remove(0);
    assert_eq!((&second.id, second.kind, second.attempts, second.total), (&id, Kind::Prewarm, 1, 1));
    assert_eq!(Task::of(&second).unwrap(), prewarm);
    bench.complete(&second).await;
    let done = bench.catalog.job(None, &id).await.unwrap();
    assert_eq!(done.result, json!({ "a": 1, "ok": true }), "what came out earlier stays");
}

pub(crate) async fn above_its_bound_nothing_is_taken(make: Make) {
    let bench = make(Settings::default()).await;
    let three = || (0..3).map(|_| job("ann", Priority::Normal)).collect::<Vec<_>>();
    bench.queue.push(three(), Some(5)).await.unwrap();
    assert!(matches!(bench.queue.push(three(), Some(5)).await, Err(Error::Full { .. })));
    assert_eq!(bench.queue.depth(None).await.unwrap().waiting(), 3, "none of them");
    bench.queue.push(vec![job("ann", Priority::Low), job("bob", Priority::Low)], Some(5)).await.unwrap();
    let depth = bench.queue.depth(Some("bob")).await.unwrap();
    assert_eq!(depth.waiting(), 1);
    bench.claim(2).await;
    assert_eq!(bench.queue.depth(None).await.unwrap().in_flight(), 2);
    bench.queue.push(vec![job("ann", Priority::Low)], Some(5)).await.unwrap();
}

pub(crate) async fn a_cleared_queue_is_empty(make: Make) {
    let bench = make(Settings::default()).await;
    bench.push((0..7).map(|_| job("ann", Priority::Normal)).collect()).await;
    bench.push(vec![job("bob", Priority::Normal)]).await;
    let held = bench.claim(1).await.remove(0);
    assert_eq!(bench.queue.clear(Some("ann")).await.unwrap(), 6);
    assert_eq!(bench.queue.clear(None).await.unwrap(), 1);
    assert!(bench.claim(5).await.is_empty());
    bench.complete(&held).await;
}

pub(crate) async fn many_workers_take_each_job_once(make: Make) {
    let bench = Arc::new(make(Settings::default()).await);
    let ids = bench.push((0..60).map(|at| job(&format!("o{}", at % 7), Priority::Normal)).collect()).await;
    let workers = (0..8).map(|worker| {
        let bench = bench.clone();
        tokio::spawn(async move {
            let queue = if worker % 2 == 0 { bench.queue.clone() } else { bench.other.clone() };
            let mut taken = Vec::new();
            loop {
                let claimed = queue.claim(&all(3)).await.unwrap();
                if claimed.is_empty() {
                    return taken;
                }
                for job in claimed {
                    queue.end(&job, Ended::Completed { result: json!({}), follow: Vec::new() }).await.unwrap();
                    taken.push(job.id);
                }
            }
        })
    });
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await.unwrap());
    }
    taken.sort();
    assert_eq!(taken, ids, "each once");
}
