//! The relay between a real catalog and a real broker.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::broker::{self, Heard, Settings};
use crate::catalog::{self, Catalog, NewEvent};

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

    fn log(&self) -> Log {
        log(&self.broker, Kept { max_age: Duration::from_secs(3600), bytes_max: 64 << 20 })
    }

    fn relay(&self) -> (watch::Sender<bool>, JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(Relay::new(self.catalog(), Arc::new(self.log())).keep(stopped)))
    }

    /// The numbers in the log so far, from its first message on, once so many are there.
    async fn numbers(&self, count: u64) -> Vec<i64> {
        let log = self.log();
        let all_there = async {
            while log.end().await.unwrap().sequence < count {
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
    // A log that was lost is gone on with, not begun again.
    let last = *numbers.last().unwrap();
    for (_, relay) in &relays {
        relay.abort();
    }
    catalog.reach("events relayed", last).await.unwrap();
    catalog.reach("events relayed", last - 5).await.unwrap();
    let fresh = Fleet { url: fleet.url.clone(), ..Fleet::new().await };
    tell(&catalog, 2).await;
    let (_stop, _relay) = fresh.relay();
    let rest = fresh.numbers(2).await;
    assert!(rest.len() == 2 && rest[0] > last, "{rest:?}");
}
