//! The layers around a source, with a backend that does what a script says. What must wait for long is gated instead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;

/// What the next try meets.
#[derive(Clone, Debug)]
enum Step {
    /// A body of two pieces.
    Well,
    /// An answer that is no original.
    Answer(Error),
    /// A failure.
    Fails,
    /// A body that breaks off.
    BreaksOff,
    /// No answer before the gate lets it through, then a body.
    Gated,
    /// A body whose second piece never comes.
    Hangs,
}

/// Does as the script says, and at its end what the last step was, for ever.
#[derive(Debug)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    tries: AtomicUsize,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
    gate: Semaphore,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        let steps = Mutex::new(steps.into_iter().collect());
        Arc::new(Self { steps, tries: 0.into(), at_once: 0.into(), at_once_max: 0.into(), gate: Semaphore::new(0) })
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::Relaxed)
    }

    fn step(&self) -> Step {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let mut steps = self.steps.lock();
        if steps.len() > 1 { steps.pop_front().unwrap() } else { steps[0].clone() }
    }

    async fn answer(&self) -> Result<Original, Fault> {
        let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.at_once_max.fetch_max(at_once, Ordering::Relaxed);
        let step = self.step();
        if matches!(step, Step::Gated) {
            self.gate.acquire().await.unwrap().forget();
        }
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let body: Vec<Result<Bytes, Error>> = match step {
            Step::Answer(error) => return Err(Fault::Answer(error)),
            Step::Fails => return Err(Fault::Source(Error::Unavailable("it is ill".into()))),
            Step::BreaksOff => vec![Ok("ab".into()), Err(Error::Unavailable("it broke off".into()))],
            Step::Hangs => vec![Ok("ab".into())],
            Step::Well | Step::Gated => vec![Ok("ab".into()), Ok("cd".into())],
        };
        let hangs = matches!(step, Step::Hangs);
        let body = stream::iter(body);
        let body = if hangs { body.chain(stream::pending()).boxed() } else { body.boxed() };
        let meta = OriginalMeta { size: Some(4), validator: "v".into(), modified: None };
        Ok(Original { meta, body })
    }
}

impl Backend for Script {
    fn open<'a>(&'a self, _: &'a str, _: &'a Context, _: Deadline) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(self.answer())
    }

    fn stat<'a>(&'a self, _: &'a str, _: &'a Context, _: Deadline) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(async { self.answer().await.map(|original| original.meta) })
    }
}

/// A source around a script; what is not said is as usual.
fn source(script: &Arc<Script>, change: impl FnOnce(&mut Settings)) -> Source {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::object::Fs::new(folder.path(), crate::object::Layout::Plain).unwrap();
    let mut settings = Settings { retry: fast(), ..Settings::new("test", Origin::Store(Arc::new(store))) };
    change(&mut settings);
    Source::around(Arc::clone(script) as Arc<dyn Backend>, settings)
}

fn once(settings: &mut Settings) {
    settings.retry.tries = 1;
}

fn later(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

async fn read(source: &Source, seconds: u64) -> Result<Bytes, Error> {
    source.open("x", &Context::default(), later(seconds)).await?.bytes(100).await
}

async fn fetch(source: &Source, seconds: u64) -> Result<Bytes, Error> {
    let admit = |_: OriginalMeta| async { Ok::<(), Error>(()) };
    source.fetch("x", &Context::default(), later(seconds), admit).await.map(|(_, bytes, ())| bytes)
}

#[tokio::test]
async fn an_ill_source_is_tried_again_and_an_answer_is_not() {
    let table: [(&[Step], usize, bool); 6] = [
        (&[Step::Well], 1, true),
        (&[Step::Fails, Step::Well], 2, true),
        (&[Step::Fails, Step::Fails, Step::Well], 3, true),
        (&[Step::Fails], 3, false),
        (&[Step::Answer(Error::NotFound)], 1, false),
        (&[Step::Answer(Error::Loop)], 1, false),
    ];
    for (steps, tries, well) in table {
        let script = Script::new(steps.iter().cloned());
        let source = source(&script, |_| {});
        assert_eq!(read(&source, 60).await.is_ok(), well, "{steps:?}");
        assert_eq!(script.tries(), tries, "{steps:?}");
        assert_eq!(source.stat("x", &Context::default(), later(60)).await.is_ok(), well, "{steps:?}");
    }
}

#[tokio::test]
async fn no_wait_goes_past_the_deadline() {
    for _ in 0..50 {
        let script = Script::new([Step::Fails]);
        let long = Duration::from_secs(100_000);
        let source =
            source(&script, |settings| settings.retry = retry::Settings { tries: 3, base: long, wait_max: long });
        let since = Instant::now();
        assert!(matches!(read(&source, 30).await, Err(Error::Unavailable(_))));
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    }
}

#[test]
fn waits_double_up_to_their_bound_and_jitter_is_full() {
    let settings = retry::Settings::default();
    let seconds = |n, jitter| retry::wait(&settings, n, jitter).as_secs_f64();
    let table =
        [(0, 1.0, 1.0), (1, 1.0, 2.0), (2, 1.0, 4.0), (2, 0.5, 2.0), (3, 0.0, 0.0), (4, 1.0, 10.0), (99, 1.0, 10.0)];
    for (n, jitter, wanted) in table {
        assert_eq!(seconds(n, jitter), wanted, "{n} {jitter}");
    }
}

#[tokio::test]
async fn the_breaker_opens_after_five_failures_and_closes_after_two_successes() {
    let script = Script::new([Step::Fails]);
    let source = source(&script, once);
    for failure in 0..5 {
        assert_eq!(source.health().breaker, State::Closed, "{failure}");
        assert!(matches!(read(&source, 60).await, Err(Error::Unavailable(_))));
    }
    assert_eq!(source.health().breaker, State::Open);
    source.breaker.age(Duration::from_secs(10));
    match read(&source, 60).await {
        Err(Error::BreakerOpen { retry_after }) => {
            assert!((10..=20).contains(&retry_after.as_secs()), "{retry_after:?}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(script.tries(), 5, "left alone");
    source.breaker.age(Duration::from_secs(20));
    assert_eq!(source.health().breaker, State::HalfOpen);
    assert!(matches!(read(&source, 60).await, Err(Error::Unavailable(_))));
    assert_eq!(source.health().breaker, State::Open, "one failure opens it again");
    source.breaker.age(Duration::from_secs(30));
    *script.steps.lock() = [Step::Well].into();
    assert!(read(&source, 60).await.is_ok());
    assert_eq!(source.health().breaker, State::HalfOpen, "one success does not suffice");
    assert!(read(&source, 60).await.is_ok());
    assert_eq!(source.health().breaker, State::Closed);
}

#[tokio::test]
async fn only_failures_in_a_row_count_and_not_found_is_none() {
    let four_fail = [Step::Fails, Step::Fails, Step::Fails, Step::Fails];
    for between in [Step::Well, Step::Answer(Error::NotFound)] {
        let script = Script::new(four_fail.iter().cloned().chain([between]).chain(four_fail.iter().cloned()));
        let source = source(&script, once);
        for _ in 0..9 {
            let _ = read(&source, 60).await;
        }
        assert_eq!(source.health().breaker, State::Closed);
        let _ = read(&source, 60).await;
        assert_eq!(source.health().breaker, State::Open);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_counts_and_is_fetched_again() {
    let script = Script::new([Step::BreaksOff, Step::BreaksOff, Step::Well]);
    let whole = source(&script, |_| {});
    assert_eq!(fetch(&whole, 60).await.unwrap(), "abcd");
    assert_eq!(script.tries(), 3);
    let script = Script::new([Step::BreaksOff]);
    let source = source(&script, once);
    for _ in 0..5 {
        assert!(matches!(read(&source, 60).await, Err(Error::Unavailable(_))));
    }
    assert_eq!(source.health().breaker, State::Open);
}

#[tokio::test]
async fn what_nobody_reads_counts_neither_way() {
    let script = Script::new([Step::Fails, Step::Fails, Step::Fails, Step::Fails, Step::Well, Step::Fails]);
    let source = source(&script, once);
    for _ in 0..4 {
        let _ = read(&source, 60).await;
    }
    drop(source.open("x", &Context::default(), later(60)).await.unwrap());
    let _ = read(&source, 60).await;
    assert_eq!(source.health().breaker, State::Open, "the dropped one did not count as a success");
    // In half-open it gives its place back.
    source.breaker.age(Duration::from_secs(30));
    *script.steps.lock() = [Step::Well].into();
    for _ in 0..5 {
        drop(source.open("x", &Context::default(), later(60)).await.unwrap());
    }
    assert_eq!(source.health(), Health { breaker: State::HalfOpen, in_flight: 0 });
}

/// Lets the others run until this holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// Reads of the same source, begun together, and how many of them have ended.
fn begin(source: &Source, count: usize) -> (Arc<AtomicUsize>, Vec<tokio::task::JoinHandle<Result<Bytes, Error>>>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let reads = (0..count).map(|_| {
        let (source, ended) = (source.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let result = read(&source, 60).await;
            ended.fetch_add(1, Ordering::Relaxed);
            result
        })
    });
    let reads = reads.collect();
    (ended, reads)
}

#[tokio::test]
async fn half_open_lets_two_through_at_once() {
    let script = Script::new([Step::Fails]);
    let source = source(&script, once);
    for _ in 0..5 {
        let _ = read(&source, 60).await;
    }
    source.breaker.age(Duration::from_secs(30));
    *script.steps.lock() = [Step::Gated].into();
    let (ended, reads) = begin(&source, 10);
    until("eight are refused", || ended.load(Ordering::Relaxed) == 8).await;
    script.gate.add_permits(10);
    let results = futures_util::future::join_all(reads).await;
    let refused = results.iter().filter(|result| matches!(result, Ok(Err(Error::BreakerOpen { .. })))).count();
    assert_eq!((refused, results.iter().filter(|result| matches!(result, Ok(Ok(_)))).count()), (8, 2));
    assert_eq!(source.health().breaker, State::Closed);
}

#[tokio::test]
async fn a_timeout_counts_when_it_was_fair() {
    for (step, fair_ms, opens) in [(Step::Gated, 1, true), (Step::Hangs, 1, true), (Step::Gated, 60_000, false)] {
        let script = Script::new([step]);
        let source = source(&script, |settings| {
            once(settings);
            settings.breaker.fair_time = Duration::from_millis(fair_ms);
        });
        for _ in 0..5 {
            let deadline = Deadline::after(Duration::from_millis(20));
            let read = match source.open("x", &Context::default(), deadline).await {
                Ok(original) => original.bytes(100).await,
                Err(error) => Err(error),
            };
            assert!(matches!(read, Err(Error::Timeout)), "{read:?}");
        }
        assert_eq!(source.health().breaker == State::Open, opens, "{fair_ms} ms");
        assert_eq!(source.health().in_flight, 0);
    }
}

#[tokio::test]
async fn no_more_than_the_bound_are_under_way() {
    let script = Script::new([Step::Gated]);
    let bulkhead = bulkhead::Settings { concurrent_max: 4, waiting_max: 6, wait: Duration::from_secs(60) };
    let source = source(&script, |settings| settings.bulkhead = bulkhead);
    let (ended, reads) = begin(&source, 20);
    until("ten find the queue full", || ended.load(Ordering::Relaxed) == 10).await;
    assert_eq!((script.tries(), source.health().in_flight), (4, 4));
    script.gate.add_permits(20);
    let results = futures_util::future::join_all(reads).await;
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(Ok(_)))).count(), 10);
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(Err(Error::Busy)))).count(), 10);
    assert_eq!(script.at_once_max.load(Ordering::Relaxed), 4);
    assert_eq!(source.health(), Health { breaker: State::Closed, in_flight: 0 });
}

#[tokio::test]
async fn an_unread_body_holds_its_place_and_waiting_ends() {
    let script = Script::new([Step::Well]);
    let bulkhead = bulkhead::Settings { concurrent_max: 1, waiting_max: 6, wait: Duration::from_millis(20) };
    let source = source(&script, |settings| settings.bulkhead = bulkhead);
    let open = source.open("x", &Context::default(), later(60)).await.unwrap();
    assert_eq!(source.health().in_flight, 1);
    assert!(matches!(read(&source, 60).await, Err(Error::Busy)));
    drop(open);
    assert_eq!(source.health().in_flight, 0);
    assert!(read(&source, 60).await.is_ok());
}

#[tokio::test]
async fn what_is_charged_is_asked_before_the_body_and_given_back_on_failure() {
    let script = Script::new([Step::BreaksOff, Step::Well]);
    let source = source(&script, |_| {});
    let charged = Arc::new(());
    let held = &charged;
    let admit = |meta: OriginalMeta| async move {
        assert_eq!((meta.size, Arc::strong_count(held)), (Some(4), 1));
        Ok::<_, Error>(Arc::clone(held))
    };
    let (meta, bytes, charge) = source.fetch("x", &Context::default(), later(60), admit).await.unwrap();
    assert_eq!((meta.validator.as_str(), &bytes[..], Arc::strong_count(&charged)), ("v", &b"abcd"[..], 2));
    drop(charge);
    let refuse = |_: OriginalMeta| async { Err::<(), _>(Error::Busy) };
    let refused = source.fetch("x", &Context::default(), later(60), refuse).await;
    assert!(matches!(refused, Err(Error::Busy)));
    assert_eq!(source.health().in_flight, 0);
}

#[tokio::test]
async fn an_original_above_the_limit_is_refused_before_it_is_read() {
    let script = Script::new([Step::Well]);
    let source = source(&script, |settings| settings.bytes_max = 3);
    let opened = source.open("x", &Context::default(), later(60)).await;
    assert!(matches!(opened, Err(Error::TooLarge { bytes_max: 3 })));
}

#[tokio::test]
async fn a_folder_is_a_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), b"abc").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let store = crate::object::Fs::new(folder.path(), crate::object::Layout::Plain).unwrap();
    let source =
        Source::new(Settings { retry: fast(), ..Settings::new("test", Origin::Store(Arc::new(store))) }).unwrap();
    assert_eq!(fetch(&source, 60).await.unwrap(), "abc");
    let meta = source.stat("x", &Context::default(), later(60)).await.unwrap();
    assert_eq!(meta.size, Some(3));
    for (id, wanted) in [("y", "NotFound"), ("../x", "NotFound"), ("a/../x", "NotFound"), ("link", "Unavailable")] {
        let error = source.open(id, &Context::default(), later(60)).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{id}: {error:?}");
    }
}

fn fast() -> retry::Settings {
    retry::Settings { base: Duration::from_millis(1), ..retry::Settings::default() }
}
