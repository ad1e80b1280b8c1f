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

fn log(broker: &Broker, bytes_max: u64) -> Log {
    let (max_age, lost_after) = (Duration::from_secs(3600), Duration::from_secs(1));
    Log::new(broker.clone(), LogSettings { name: "words", subjects: "words.>", max_age, bytes_max, lost_after })
}

fn word(number: usize) -> Message {
    Message { subject: format!("words.w{number}"), id: format!("id{number}"), payload: format!("word {number}").into() }
}

fn words(numbers: std::ops::Range<usize>) -> Vec<Message> {
    numbers.map(word).collect()
}

const SILENCE: Duration = Duration::from_secs(4);

/// The numbers of the words that are heard until nothing more is.
async fn heard(following: &mut Following) -> Vec<usize> {
    let mut all = Vec::new();
    while let Heard::Message(told) = following.next().await.unwrap() {
        assert_eq!(told.payload, format!("word {}", &told.subject["words.w".len()..]));
        all.push(told.subject["words.w".len()..].parse().unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_keeps_its_order_whoever_appends_and_drops_what_comes_twice() {
    let broker = broker().await;
    let (one, other) = (log(&broker, 1 << 20), log(&broker, 1 << 20));
    assert_eq!(one.end().await.unwrap(), End::default());
    assert_eq!(one.append_after(0, words(0..100)).await.unwrap(), 100);
    assert_eq!(other.append_after(0, words(200..300)).await.unwrap(), 0, "somebody else was there before");
    assert_eq!(other.append_after(99, words(200..300)).await.unwrap(), 0);
    assert_eq!(other.end().await.unwrap(), End { sequence: 100, id: Some("id99".to_owned()) });
    one.append(word(99)).await.unwrap();
    assert_eq!(one.end().await.unwrap().sequence, 100, "it is there already");
    assert_eq!(
        other.append_after(98, words(98..101)).await.unwrap(),
        3,
        "who is behind, and appends the same, has appended it"
    );
    assert_eq!(one.end().await.unwrap(), End { sequence: 101, id: Some("id100".to_owned()) });
    assert_eq!(other.append_after(101, words(101..110)).await.unwrap(), 9);
    let (mut following, begun) = one.follow(None, SILENCE).await.unwrap();
    assert_eq!((begun, following.waiting()), (Begun::Whole, 0));
    other.append(word(110)).await.unwrap();
    assert_eq!(heard(&mut following).await, [110]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_hears_what_was_missed_or_that_it_is_gone() {
    let broker = broker().await;
    let log = log(&broker, 20_000);
    log.append_after(0, words(0..3)).await.unwrap();
    let (following, _) = log.follow(None, SILENCE).await.unwrap();
    let place = following.place().clone();
    drop(following);
    log.append_after(3, words(3..10)).await.unwrap();
    let (mut following, begun) = log.follow(Some(&place), SILENCE).await.unwrap();
    assert_eq!((begun, following.waiting()), (Begun::Whole, 7));
    assert!(log.goes_beyond(following.place()).await.unwrap());
    assert_eq!(heard(&mut following).await, [3, 4, 5, 6, 7, 8, 9]);
    assert!(!log.goes_beyond(following.place()).await.unwrap());
    log.append_after(10, words(10..1000)).await.unwrap();
    let (mut late, begun) = log.follow(Some(&place), SILENCE).await.unwrap();
    assert_eq!(begun, Begun::Broken);
    let rest = heard(&mut late).await;
    assert!(rest.len() < 900 && rest.ends_with(&[998, 999]), "{rest:?}");
    // A log of the same name that was made anew is another one, however long it is by now.
    log.renew().await.unwrap();
    assert!(log.goes_beyond(&place).await.unwrap(), "all of it");
    log.renew().await.unwrap();
    let anew = self::log(&broker, 1 << 20);
    anew.append_after(0, words(0..20)).await.unwrap();
    let (mut following, begun) = anew.follow(Some(&place), SILENCE).await.unwrap();
    assert_eq!((begun, heard(&mut following).await.len()), (Begun::Broken, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_loss_are_told() {
    let server = Nats::start("");
    let broker = on(&server).await;
    let log = log(&broker, 1 << 20);
    let silence = Duration::from_millis(900);
    let (mut following, _) = log.follow(None, silence).await.unwrap();
    assert_eq!(following.next().await.unwrap(), Heard::Nothing);
    server.pause();
    let silent = async { while following.next().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), silent).await.expect("a broker that stands still is noticed");
    server.resume();
    let place = following.place().clone();
    server.kill();
    broker.states().wait_for(|state| *state == State::Down).await.unwrap();
    assert!(log.follow(Some(&place), silence).await.is_err());
    server.start_again();
    broker.wait(Duration::from_secs(20)).await.unwrap();
    let appended = async {
        while log.append(word(0)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), appended).await.unwrap();
    let (mut following, begun) = log.follow(Some(&place), SILENCE).await.unwrap();
    assert_eq!((begun, heard(&mut following).await), (Begun::Whole, vec![0]), "the log was on the disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_for_long_is_lost_unless_the_whole_broker_fails() {
    let server = Nats::start("");
    let broker = on(&server).await;
    let log = log(&broker, 1 << 20);
    log.brings(SILENCE).await.unwrap();
    log.append(word(0)).await.unwrap();
    log.brings(SILENCE).await.unwrap();
    let fails_on = async || {
        assert!(!log.is_lost().await, "it fails since now");
        tokio::time::sleep(Duration::from_millis(1200)).await;
    };
    fails_on().await;
    assert!(log.is_lost().await);
    fails_on().await;
    log.is_well();
    fails_on().await;
    server.kill();
    broker.states().wait_for(|state| *state == State::Down).await.unwrap();
    assert!(!log.is_lost().await, "nothing is known of it");
    server.start_again();
    broker.wait(Duration::from_secs(20)).await.unwrap();
    fails_on().await;
    assert!(log.is_lost().await);
}

const LIFE: Duration = Duration::from_millis(1500);

fn leases(broker: &Broker, holder: &str) -> Leases {
    Leases::new(broker.clone(), "turns", holder.to_owned(), LIFE, Duration::from_secs(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_ones_until_it_is_given_back() {
    let broker = broker().await;
    let (one, other) = (leases(&broker, "one"), leases(&broker, "two"));
    let Claim::Mine(lease) = one.claim("a").await.unwrap() else { panic!("nobody holds it") };
    assert!(!lease.after_another);
    let Claim::Others(mut waiting) = other.claim("a").await.unwrap() else { panic!("it is held") };
    assert!(matches!(other.claim("b").await.unwrap(), Claim::Mine(_)), "another key");
    // It is prolonged for as long as it is held.
    assert!(matches!(waiting.wait(2 * LIFE).await.unwrap(), Waited::InVain));
    drop(lease);
    assert!(matches!(waiting.wait(Duration::from_secs(20)).await.unwrap(), Waited::GivenBack));
    let Claim::Mine(lease) = other.claim("a").await.unwrap() else { panic!("it was given back") };
    assert!(lease.after_another);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_one_who_died_is_the_next_ones() {
    let broker = broker().await;
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings = broker.settings().clone();
    let claim = dying.spawn(async move { leases(&connected(settings).await, "one").claim("a").await.unwrap() });
    let Claim::Mine(lease) = claim.await.unwrap() else { panic!("nobody holds it") };
    let Claim::Others(mut waiting) = leases(&broker, "two").claim("a").await.unwrap() else { panic!("it is held") };
    // Its tasks end with it, and nobody gives anything back.
    dying.shutdown_background();
    assert!(matches!(waiting.wait(Duration::from_secs(20)).await.unwrap(), Waited::Mine(_)));
    drop(lease);
}
