//! The relay between a real catalog and a real broker.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::broker::{self, Begun, Heard, Settings};
use crate::catalog::{self, Catalog, Clock, NewEvent};

const WITHIN: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(4);

struct Fleet {
    url: String,
    broker: Broker,
}

impl Fleet {
    async fn new() -> Self {
        let server = broker::server::shared();
        let settings = Settings { prefix: server.prefix(), ..Settings::new(server.url()) };
        let broker = Broker::connect(settings).await.unwrap();
        broker.wait(WITHIN).await.unwrap();
        Self { url: catalog::server::shared().database(), broker }
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(catalog::Settings::new(&self.url))
    }

    /// Counts as lost soon.
    fn log(&self) -> Log {
        let kept = Kept { max_age: Duration::from_secs(3600), bytes_max: 64 << 20 };
        Log::new(self.broker.clone(), LogSettings { lost_after: Duration::from_secs(2), ..settings(kept) })
    }

    fn relay(&self) -> (watch::Sender<bool>, JoinHandle<()>) {
        self.relay_of(self.catalog())
    }

    fn relay_of(&self, catalog: Catalog) -> (watch::Sender<bool>, JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(Relay::new(catalog, Arc::new(self.log())).keep(stopped)))
    }

    /// JetStream, and the stream of events as it is.
    async fn stream(&self) -> (jetstream::Context, jetstream::stream::Config) {
        let context = jetstream::new(async_nats::connect(broker::server::shared().url()).await.unwrap());
        let stream = context.get_stream(format!("{}_events", self.broker.settings().prefix)).await.unwrap();
        let config = stream.cached_info().config.clone();
        (context, config)
    }

    /// The numbers in the log so far, from its first message on, once so many are there.
    async fn numbers(&self, count: u64) -> Vec<i64> {
        let log = self.log();
        let all_there = async {
            while !log.end().await.is_ok_and(|end| end.sequence >= count) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WITHIN, all_there).await.expect("the events are relayed");
        self.messages().await.into_iter().map(|(_, event)| event.id).collect()
    }

    async fn messages(&self) -> Vec<(String, EventMessage)> {
        let log = self.log();
        // From before its first message: the place of one who follows a log while it is empty.
        let (mut following, _) = log.follow(Some(&log.beginning().await.unwrap()), SILENCE).await.unwrap();
        let mut all = Vec::new();
        while let Heard::Message(told) = following.next().await.unwrap() {
            all.push((told.subject, serde_json::from_slice(&told.payload).unwrap()));
        }
        all
    }
}

fn event(kind: &str, number: usize) -> NewEvent {
    NewEvent {
        owner: "ann".to_owned(),
        kind: kind.to_owned(),
        category: Some("shoes".to_owned()),
        asset: Some(format!("red{number}")),
        version: None,
        job: None,
        data: json!({ "number": number }),
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

async fn tell(catalog: &Catalog, count: usize) {
    for number in 0..count {
        catalog.tell(event("asset.accepted", number)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_into_the_log_in_order_and_as_others_read_them() {
    let fleet = Fleet::new().await;
    let catalog = fleet.catalog();
    tell(&catalog, 3).await;
    let (stop, relay) = fleet.relay();
    assert_eq!(fleet.numbers(3).await.len(), 3);
    catalog.tell(event("job.completed", 7)).await.unwrap();
    fleet.numbers(4).await;
    let messages = fleet.messages().await;
    let subjects: Vec<&str> = messages.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects[2..], ["events.asset.accepted", "events.job.completed"]);
    let last = &messages[3].1;
    assert_eq!((last.data["number"].as_i64(), last.asset.as_deref()), (Some(7), Some("red7")));
    assert_eq!(last.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(last.correlation_id, last.trace_id.clone().unwrap());
    // An event too large for a message is told without what it says.
    catalog.tell(NewEvent { data: json!("x".repeat(2 << 20)), ..event("job.failed", 8) }).await.unwrap();
    fleet.numbers(5).await;
    assert_eq!(fleet.messages().await[4].1.data, json!(null));
    stop.send_replace(true);
    tokio::time::timeout(WITHIN, relay).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_relay_is_killed_each_event_comes_once() {
    let fleet = Fleet::new().await;
    let catalog = fleet.catalog();
    let mut relays: Vec<_> = (0..3).map(|_| fleet.relay()).collect();
    let writing = async {
        for _ in 0..20 {
            tell(&catalog, 20).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let killing = async {
        for turn in 0..4 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let (stop, relay) = relays.remove(0);
            // One in two has no chance to give its lease back.
            if turn % 2 == 0 {
                relay.abort()
            } else {
                stop.send_replace(true);
            }
            relays.push(fleet.relay());
        }
    };
    tokio::join!(writing, killing);
    let numbers = fleet.numbers(400).await;
    assert!(numbers.is_sorted_by(|one, next| one < next) && numbers.len() == 400, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_new_begins_with_what_the_one_before_it_was_told_of_late() {
    let fleet = Fleet::new().await;
    let clock = Clock::still(1_800_000_000_000);
    let catalog = Catalog::new(catalog::Settings { clock: clock.clone(), ..catalog::Settings::new(&fleet.url) });
    tell(&catalog, 3).await;
    clock.advance(Duration::from_secs(601));
    tell(&catalog, 4).await;
    let first = catalog.last_event().await.unwrap() - 6;
    let relayed = async |mark: i64, count: u64| {
        catalog.reach("events relayed", mark).await.unwrap();
        catalog.resign("events relayed", "").await.unwrap();
        let fresh = Fleet { url: fleet.url.clone(), ..Fleet::new().await };
        let (stop, relay) = fresh.relay_of(catalog.clone());
        let numbers = fresh.numbers(count).await;
        stop.send_replace(true);
        relay.await.unwrap();
        numbers.into_iter().map(|number| number - first).collect::<Vec<_>>()
    };
    assert_eq!(relayed(0, 7).await, [0, 1, 2, 3, 4, 5, 6], "nothing was ever told");
    // The mark is at the end now, and does not go back.
    assert_eq!(relayed(first + 1, 4).await, [3, 4, 5, 6], "what was told of late, once more");
    clock.advance(Duration::from_secs(601));
    tell(&catalog, 2).await;
    assert_eq!(relayed(first + 1, 2).await, [7, 8], "what was told long ago is not told again");
}

/// The numbers that one who was away hears, from behind the last one that he has.
async fn heard_behind(fleet: &Fleet, place: &broker::Place, last: i64) -> (Begun, Vec<i64>) {
    let (mut following, begun) = fleet.log().follow(Some(place), SILENCE).await.unwrap();
    let mut numbers = Vec::new();
    while let Heard::Message(told) = following.next().await.unwrap() {
        numbers.push(serde_json::from_slice::<EventMessage>(&told.payload).unwrap().id);
    }
    numbers.retain(|number| *number > last);
    (begun, numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_takes_nothing_is_made_anew() {
    let fleet = Fleet::new().await;
    let catalog = fleet.catalog();
    let _relays = [fleet.relay(), fleet.relay()];
    tell(&catalog, 5).await;
    let numbers = fleet.numbers(5).await;
    let (following, _) = fleet.log().follow(None, SILENCE).await.unwrap();
    let place = following.place().clone();
    // Of these the one who was at that place has not heard.
    tell(&catalog, 3).await;
    fleet.numbers(8).await;
    let (context, config) = fleet.stream().await;
    context.update_stream(jetstream::stream::Config { sealed: true, ..config }).await.unwrap();
    tell(&catalog, 4).await;
    let numbers_anew = fleet.numbers(12).await;
    assert_eq!(
        (numbers_anew.len(), &numbers_anew[..5]),
        (12, &numbers[..]),
        "nothing is passed over, nothing comes twice"
    );
    let (begun, rest) = heard_behind(&fleet, &place, numbers[4]).await;
    assert_eq!((begun, rest.len()), (Begun::Broken, 7), "{rest:?}");
}

/// A stream that takes what is appended, and that nobody may follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_brings_nothing_is_made_anew() {
    let fleet = Fleet::new().await;
    let catalog = fleet.catalog();
    let _relay = fleet.relay();
    tell(&catalog, 5).await;
    let numbers = fleet.numbers(5).await;
    let (context, config) = fleet.stream().await;
    let name = config.name.clone();
    context.delete_stream(&name).await.unwrap();
    let alone = context.create_stream(jetstream::stream::Config { max_consumers: 1, ..config }).await.unwrap();
    let own = jetstream::consumer::pull::Config { durable_name: Some("other".to_owned()), ..Default::default() };
    alone.create_consumer(own).await.unwrap();
    tell(&catalog, 2).await;
    let anew = async {
        // For a moment there is none: the one before is deleted, and the next not made yet.
        while !context.get_stream(&name).await.is_ok_and(|stream| stream.cached_info().config.max_consumers != 1) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(WITHIN, anew).await.expect("it is made anew");
    assert_eq!(fleet.numbers(7).await[..5], numbers);
}
