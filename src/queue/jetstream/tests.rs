//! The suite over PostgreSQL and NATS, and what only a queue of two parts can get wrong.

use super::super::suite::{Bench, all, job, queue_suite};
use super::super::{JobState, Priority};
use super::*;
use crate::broker::server::{self, Nats};
use crate::broker::{JobMessage, Settings as BrokerSettings};
use crate::catalog::{self, Clock};

const SOON: Duration = Duration::from_secs(20);

async fn broker(server: &Nats, prefix: &str) -> Broker {
    let settings = BrokerSettings { prefix: prefix.to_owned(), ..BrokerSettings::new(server.url()) };
    let broker = Broker::connect(settings).await.unwrap();
    broker.wait(SOON).await.unwrap();
    broker
}

/// Two processes, and the relay of a third that hands over nothing by itself.
struct Both {
    bench: Bench,
    relay: Relay,
    prefix: String,
}

async fn both(server: &Nats, settings: Settings) -> Both {
    let (url, prefix) = (catalog::server::shared().database(), server.prefix());
    let clock = Clock::still(1_800_000_000_000);
    let open = || Catalog::new(catalog::Settings { clock: clock.clone(), ..catalog::Settings::new(&url) });
    let (catalog, other) = (open(), open());
    let moved = clock.clone();
    let queue = async |catalog: Catalog| {
        jetstream(catalog, broker(server, &prefix).await, settings.clone(), Handing::default())
    };
    let bench = Bench {
        queue: queue(catalog.clone()).await,
        catalog: catalog.clone(),
        advance: Box::new(move |time| {
            moved.advance(time);
            Box::pin(async {})
        }),
        other: queue(other).await,
        _kept: Box::new(()),
    };
    let settings = JobsSettings {
        ack_wait: settings.lease,
        deliveries_max: 20,
        age_max: AGE_MAX,
        dead_age_max: AGE_MAX,
        dead_bytes_max: 1 << 30,
    };
    let relay = Relay::new(catalog, Jobs::new(broker(server, &prefix).await, settings), 6);
    Both { bench, relay, prefix }
}

fn make(settings: Settings) -> BoxFuture<'static, Bench> {
    Box::pin(async move { both(server::shared(), settings).await.bench })
}

queue_suite!(make);

/// Claims again and again until there is a job.
async fn claim_one(bench: &Bench) -> Job {
    let begun = Instant::now();
    loop {
        if let Some(job) = bench.queue.claim(&all(1)).await.unwrap().pop() {
            return job;
        }
        assert!(begun.elapsed() < SOON, "no job comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_delivered_twice_runs_once() {
    let Both { bench, relay, .. } = both(server::shared(), Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    // As a relay that was killed before it could note what it handed over: the same message again; and, long after, under an id
    // that JetStream no longer knows.
    let note = Note { job: id.clone(), lease: 0 };
    let message = |id: &str| JobMessage {
        lane: "normal.transform".to_owned(),
        id: id.to_owned(),
        body: serde_json::to_vec(&note).unwrap().into(),
        headers: Vec::new(),
    };
    let sent = relay.jobs.publish(vec![message(&format!("{id}:0")), message("late"), message("later")]).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let held = claim_one(&bench).await;
    assert_eq!((&held.id, held.deliveries), (&id, 1));
    // Another job makes workers look into that lane, where the repeats lie.
    let other = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    let next = claim_one(&bench).await;
    assert_eq!(next.id, other);
    bench.complete(&held).await;
    bench.complete(&next).await;
    until("what is done with leaves the stream", async || relay.jobs.count("normal.transform").await.unwrap() == 0)
        .await;
    assert_eq!((bench.state(&id).await, bench.state(&other).await), (JobState::Completed, JobState::Completed));
}

#[tokio::test]
async fn a_job_runs_when_another_process_pushed_it() {
    let Both { bench, .. } = both(server::shared(), Settings::default()).await;
    let mut ready = bench.other.ready();
    bench.claim(1).await;
    ready.borrow_and_update();
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    tokio::time::timeout(SOON, ready.changed()).await.expect("the other process is told").unwrap();
    until("the other process has it", async || {
        bench.other.claim(&all(1)).await.unwrap().first().is_some_and(|job| job.id == id)
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_is_told_once_with_its_reason() {
    let Both { bench, prefix, .. } = both(server::shared(), Settings::default()).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    let held = claim_one(&bench).await;
    bench.fail(&held, false).await;
    until("the letter is handed over", async || bench.catalog.letters_to_hand(9).await.unwrap().is_empty()).await;
    let mut stream = stream(server::shared(), &format!("{prefix}_dead")).await;
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    let letter = stream.get_last_raw_message_by_subject(&format!("{prefix}.dead.normal.transform")).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&letter.payload).unwrap();
    assert_eq!((body["job"].as_str(), body["deliveries"].as_u64()), (Some(&*id), Some(1)));
    let header = |name: &str| letter.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("Fovea-Reason").as_deref(), Some("because"));
    assert_eq!(header("Fovea-Error").as_deref(), Some("as the test wants"));
}

async fn stream(server: &Nats, name: &str) -> async_nats::jetstream::stream::Stream {
    let client = async_nats::connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client).get_stream(name).await.unwrap()
}

#[tokio::test]
async fn what_the_broker_lost_is_handed_over_again() {
    let Both { bench, relay, prefix } = both(server::shared(), Settings::default()).await;
    let ids = bench.push((0..9).map(|_| job("ann", Priority::Normal)).collect()).await;
    until("a window is handed over", async || bench.catalog.in_hand().await.unwrap().len() == 6).await;
    let client = async_nats::connect(server::shared().url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream(format!("{prefix}_jobs")).await.unwrap();
    let mut done = Vec::new();
    until("all are done", async || {
        // The look is by the clock, which stands still else.
        (bench.advance)(Duration::from_millis(500)).await;
        for job in bench.claim(3).await {
            bench.complete(&job).await;
            done.push(job.id);
        }
        done.len() == ids.len()
    })
    .await;
    done.sort();
    assert_eq!(done, ids, "each once");
    until("what is done with leaves the stream", async || matches!(relay.jobs.count("normal.transform").await, Ok(0)))
        .await;
}

#[tokio::test]
async fn a_lane_that_the_broker_does_not_deliver_is_made_anew() {
    let settings = Settings { lease: Duration::from_secs(1), ..Settings::default() };
    let Both { bench, relay, prefix } = both(server::shared(), settings).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    until("it is handed over", async || bench.catalog.in_hand().await.unwrap().len() == 1).await;
    let made = async || {
        let found = stream(server::shared(), &format!("{prefix}_jobs")).await;
        found.cached_info().created
    };
    let before = made().await;
    // The message is in the stream and comes to nobody: a stranger has it and keeps saying that it is under way.
    let taken = relay.jobs.fetch("normal.transform", 1, SOON).await.unwrap().pop().unwrap();
    let keeping = tokio::spawn(async move {
        loop {
            taken.progress().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let held = claim_one(&bench).await;
    assert_eq!((&held.id, held.deliveries), (&id, 1));
    assert!(!keeping.is_finished());
    assert_ne!(made().await, before);
    bench.complete(&held).await;
    keeping.abort();
}

#[tokio::test]
async fn while_the_broker_is_away_jobs_run_all_the_same() {
    let server = Nats::start("");
    let Both { bench, .. } = both(&server, Settings::default()).await;
    let mut ids = bench.push((0..8).map(|_| job("ann", Priority::Normal)).collect()).await;
    let held = claim_one(&bench).await;
    server.kill();
    ids.extend(bench.push((0..8).map(|_| job("bob", Priority::High)).collect()).await);
    let kept = bench.queue.extend(vec![(held.id.clone(), held.lease)]).await.unwrap();
    assert_eq!(kept, [Hold::Kept], "leases are the catalog's");
    bench.complete(&held).await;
    let mut done = vec![held.id];
    until("half of them are done", async || {
        for job in bench.claim(1).await {
            bench.complete(&job).await;
            done.push(job.id);
        }
        done.len() >= 8
    })
    .await;
    server.start_again();
    until("all are done", async || {
        for job in bench.claim(3).await {
            bench.complete(&job).await;
            done.push(job.id);
        }
        done.len() >= ids.len()
    })
    .await;
    done.sort();
    assert_eq!(done, ids, "each once, also those that the broker had before it was killed");
}

#[tokio::test]
async fn a_stream_full_of_what_is_done_with_is_made_anew() {
    let Both { bench, relay, .. } = both(server::shared(), Settings::default()).await;
    let note = serde_json::to_vec(&Note { job: "job_none".to_owned(), lease: 0 }).unwrap();
    let message = |number: usize| JobMessage {
        lane: "normal.transform".to_owned(),
        id: number.to_string(),
        body: note.clone().into(),
        headers: Vec::new(),
    };
    let sent = relay.jobs.publish((0..500).map(message).collect()).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    let held = claim_one(&bench).await;
    assert_eq!(held.id, id);
    assert!(relay.jobs.count("normal.transform").await.unwrap() < 10);
    bench.complete(&held).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_between_the_message_and_the_claim_loses_nothing() {
    let settings = Settings { lease: Duration::from_secs(1), ..Settings::default() };
    let Both { bench, relay, .. } = both(server::shared(), settings).await;
    let id = bench.push(vec![job("ann", Priority::Normal)]).await.remove(0);
    until("it is handed over", async || bench.catalog.in_hand().await.unwrap().len() == 1).await;
    let taken = relay.jobs.fetch("normal.transform", 1, SOON).await.unwrap();
    assert_eq!(taken.len(), 1);
    drop(taken);
    let held = claim_one(&bench).await;
    assert_eq!((&held.id, held.deliveries, held.attempts), (&id, 1, 1));
    bench.complete(&held).await;
}
