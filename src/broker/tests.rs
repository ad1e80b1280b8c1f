//! The broker as a real server is one.

use std::time::Duration;

use bytes::Bytes;

use super::server::{self, Nats};
use super::*;

/// A broker on the shared server, with names of its own.
async fn broker() -> Broker {
    on(server::shared()).await
}

async fn on(server: &Nats) -> Broker {
    connected(Settings { prefix: server.prefix(), ..Settings::new(server.url()) }).await
}

async fn connected(settings: Settings) -> Broker {
    let broker = Broker::connect(settings).await.unwrap();
    broker.wait(Duration::from_secs(20)).await.unwrap();
    broker
}

fn bucket(broker: &Broker) -> Bucket {
    let settings = BucketSettings {
        name: "things",
        max_age: Duration::from_secs(1),
        value_bytes_max: 1000,
        bytes_max: 1 << 20,
        timeout: Duration::from_secs(20),
    };
    Bucket::new(broker.clone(), settings)
}

const ONE: Bytes = Bytes::from_static(b"one");
const TWO: Bytes = Bytes::from_static(b"two");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_by_one_changed_by_who_knows_it_and_forgotten_in_time() {
    let broker = broker().await;
    let (bucket, other) = (bucket(&broker), bucket(&broker));
    assert_eq!(bucket.get("a").await.unwrap(), None);
    let first = bucket.create("a", ONE).await.unwrap().unwrap();
    assert_eq!(other.create("a", TWO).await.unwrap(), None);
    assert_eq!(other.get("a").await.unwrap(), Some(Entry { value: ONE, revision: first }));
    let second = other.update("a", TWO, first).await.unwrap().unwrap();
    assert_eq!(bucket.update("a", ONE, first).await.unwrap(), None);
    assert!(!bucket.delete("a", first).await.unwrap());
    assert!(bucket.delete("a", second).await.unwrap());
    assert_eq!(other.get("a").await.unwrap(), None);
    assert!(other.create("a", ONE).await.unwrap().is_some(), "what was deleted is made again");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(bucket.get("a").await.unwrap(), None, "nobody wrote it again");
    assert!(bucket.create("a", TWO).await.unwrap().is_some());
    bucket.put("a", ONE).await.unwrap();
    bucket.remove("a").await.unwrap();
    assert_eq!(bucket.get("a").await.unwrap(), None);
    let large = bucket.put("b", Bytes::from(vec![0; 4000])).await.unwrap_err();
    assert!(!large.passes(), "{large}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_fails_at_once_and_is_found_when_it_is_back() {
    let server = Nats::start("");
    let broker = on(&server).await;
    let bucket = bucket(&broker);
    bucket.put("a", ONE).await.unwrap();
    server.kill();
    let mut states = broker.states();
    states.wait_for(|state| *state == State::Down).await.unwrap();
    assert!(bucket.get("a").await.unwrap_err().passes());
    server.start_again();
    broker.wait(Duration::from_secs(20)).await.unwrap();
    // The bucket was in the server's memory.
    let made_anew = async {
        while bucket.create("a", TWO).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), made_anew).await.unwrap();
    assert_eq!(bucket.get("a").await.unwrap().unwrap().value, TWO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_never_there_is_no_error_at_the_start() {
    let broker = Broker::connect(Settings::new("nats://127.0.0.1:1")).await.unwrap();
    broker.states().wait_for(|state| *state == State::Down).await.unwrap();
    assert!(bucket(&broker).get("a").await.unwrap_err().passes());
    let missing = Settings { credentials: Some("/no/such.creds".into()), ..Settings::new("nats://127.0.0.1:1") };
    assert!(matches!(Broker::connect(missing).await, Err(Error::Settings(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_the_right_secret_is_let_in() {
    let guarded = Nats::start("authorization { user: ann, password: \"s3cr@t\" }");
    let inside = guarded.url().replace("//", "//ann:s3cr%40t@");
    let apart = Settings { user: Some(("ann".to_owned(), "s3cr@t".to_owned())), ..Settings::new(guarded.url()) };
    for settings in [Settings::new(inside), apart] {
        bucket(&connected(settings).await).put("a", ONE).await.unwrap();
    }
    let stranger = Broker::connect(Settings::new(guarded.url())).await.unwrap();
    stranger.states().wait_for(|state| *state == State::Down).await.unwrap();
    let guarded = Nats::start("authorization { token: t0ken }");
    connected(Settings::new(guarded.url().replace("//", "//t0ken@"))).await;
    connected(Settings { token: Some("t0ken".to_owned()), ..Settings::new(guarded.url()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_whom_our_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let server = Nats::start(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}"));
    let url = server.url().replace("nats://", "tls://");
    let trusting = Tls { required: true, ca_file: Some(certificate), certificate: None };
    bucket(&connected(Settings { tls: trusting, ..Settings::new(&url) }).await).put("a", ONE).await.unwrap();
    let strict = Broker::connect(Settings::new(url)).await.unwrap();
    strict.states().wait_for(|state| *state == State::Down).await.unwrap();
}
