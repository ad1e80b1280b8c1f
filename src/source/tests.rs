//! The layers around a source, on a paused clock and with a backend that does what a script says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
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
    /// No answer for so long, then a body.
    Slow(Duration),
    /// A body whose second piece takes so long.
    SlowBody(Duration),
}

/// Does as the script says, and at its end what the last step was, for ever.
#[derive(Debug)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    tries: AtomicUsize,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        let steps = Mutex::new(steps.into_iter().collect());
        Arc::new(Self { steps, tries: 0.into(), at_once: 0.into(), at_once_max: 0.into() })
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
        if let Step::Slow(time) = step {
            tokio::time::sleep(time).await;
        }
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let pause = if let Step::SlowBody(time) = step { time } else { Duration::ZERO };
        let body: Vec<Result<Bytes, Error>> = match step {
            Step::Answer(error) => return Err(Fault::Answer(error)),
            Step::Fails => return Err(Fault::Source(Error::Unavailable("it is ill".into()))),
            Step::BreaksOff => vec![Ok("ab".into()), Err(Error::Unavailable("it broke off".into()))],
            Step::Well | Step::Slow(_) | Step::SlowBody(_) => vec![Ok("ab".into()), Ok("cd".into())],
        };
        let body = stream::iter(body.into_iter().enumerate()).then(move |(at, part)| async move {
            tokio::time::sleep(pause * at as u32).await;
            part
        });
        let meta = OriginalMeta { size: Some(4), validator: "v".into(), modified: None };
        Ok(Original { meta, body: body.boxed() })
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
    let mut settings = Settings::new("test", Origin::Store(Arc::new(store)));
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn no_wait_goes_past_the_deadline() {
    for _ in 0..50 {
        let script = Script::new([Step::Fails]);
        let source = source(&script, |settings| settings.retry.base = Duration::from_secs(8));
        let since = Instant::now();
        assert!(matches!(read(&source, 3).await, Err(Error::Unavailable(_))));
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
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

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_after_five_failures_and_closes_after_two_successes() {
    let script = Script::new([Step::Fails]);
    let source = source(&script, once);
    for failure in 0..5 {
        assert_eq!(source.health().breaker, State::Closed, "{failure}");
        assert!(matches!(read(&source, 60).await, Err(Error::Unavailable(_))));
    }
    assert_eq!(source.health().breaker, State::Open);
    tokio::time::advance(Duration::from_secs(10)).await;
    match read(&source, 60).await {
        Err(Error::BreakerOpen { retry_after }) => assert_eq!(retry_after, Duration::from_secs(20)),
        other => panic!("{other:?}"),
    }
    assert_eq!(script.tries(), 5, "left alone");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(source.health().breaker, State::HalfOpen);
    assert!(matches!(read(&source, 60).await, Err(Error::Unavailable(_))));
    assert_eq!(source.health().breaker, State::Open, "one failure opens it again");
    tokio::time::advance(Duration::from_secs(30)).await;
    *script.steps.lock() = [Step::Well].into();
    assert!(read(&source, 60).await.is_ok());
    assert_eq!(source.health().breaker, State::HalfOpen, "one success does not suffice");
    assert!(read(&source, 60).await.is_ok());
    assert_eq!(source.health().breaker, State::Closed);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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
    tokio::time::advance(Duration::from_secs(30)).await;
    *script.steps.lock() = [Step::Well].into();
    for _ in 0..5 {
        drop(source.open("x", &Context::default(), later(60)).await.unwrap());
    }
    assert_eq!(source.health(), Health { breaker: State::HalfOpen, in_flight: 0 });
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_two_through_at_once() {
    let script = Script::new([Step::Fails]);
    let source = source(&script, once);
    for _ in 0..5 {
        let _ = read(&source, 60).await;
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    *script.steps.lock() = [Step::Slow(Duration::from_secs(5))].into();
    let results = futures_util::future::join_all((0..10).map(|_| read(&source, 60))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::BreakerOpen { .. }))).count(), 8);
    assert_eq!(source.health().breaker, State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_when_it_was_fair() {
    for (seconds, opens) in [(5, true), (0, false)] {
        let script = Script::new([Step::Slow(Duration::from_secs(100))]);
        let source = source(&script, once);
        for _ in 0..5 {
            let since = Instant::now();
            assert!(matches!(read(&source, seconds).await, Err(Error::Timeout)));
            assert!(since.elapsed() <= Duration::from_secs(seconds));
        }
        assert_eq!(source.health().breaker == State::Open, opens, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_at_the_deadline() {
    let script = Script::new([Step::SlowBody(Duration::from_secs(100))]);
    let source = source(&script, once);
    for _ in 0..5 {
        let since = Instant::now();
        assert!(matches!(read(&source, 5).await, Err(Error::Timeout)));
        assert!(since.elapsed() <= Duration::from_secs(5));
    }
    assert_eq!(source.health().breaker, State::Open);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_bound_are_under_way() {
    let script = Script::new([Step::Slow(Duration::from_secs(1))]);
    let bulkhead = bulkhead::Settings { concurrent_max: 4, waiting_max: 6, wait: Duration::from_millis(1500) };
    let source = source(&script, |settings| settings.bulkhead = bulkhead);
    let results = futures_util::future::join_all((0..20).map(|_| read(&source, 60))).await;
    // Four at once, four after a second; two of six waited in vain, ten found the queue full.
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 8);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Busy))).count(), 12);
    assert_eq!(script.at_once_max.load(Ordering::Relaxed), 4);
    assert_eq!(source.health(), Health { breaker: State::Closed, in_flight: 0 });
    let open = source.open("x", &Context::default(), later(60)).await.unwrap();
    assert_eq!(source.health().in_flight, 1, "an unread body holds its place");
    drop(open);
    assert_eq!(source.health().in_flight, 0);
}

#[tokio::test(start_paused = true)]
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
    let source = Source::new(Settings { retry: fast(), ..Settings::new("test", Origin::Store(Arc::new(store))) }).unwrap();
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
