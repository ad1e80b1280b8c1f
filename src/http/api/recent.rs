//! Answers about jobs and assets that were given a moment ago: in this process's memory, then in a bucket of the broker's that the
//! fleet shares, then the catalog.
//!
//! Each says up to which event it is true for certain; who has heard of a later one about the same thing takes no such answer. So
//! nothing has to be taken out of the bucket, and what a slow process puts there too late is harmless.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use metrics::counter;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use crate::base::Digest;
use crate::broker::{self, Broker, Bucket, BucketSettings, Heard, Log};
use crate::catalog::{self, Catalog, EventFilter};
use crate::events::{self, EventMessage, Relay};
use crate::telemetry::names;

/// Most answers that are kept, and most bytes of one.
const ANSWERS_MAX: usize = 10_000;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// For how long one is believed without a word of an event.
const BELIEVED: Duration = Duration::from_secs(30);
/// Things of which it is remembered when they last changed.
const CHANGES_MAX: usize = 100_000;
/// Events that are read at once.
const EVENTS: u32 = 1000;
/// How long the follower rests when the catalog or the broker fails.
const REST: Duration = Duration::from_secs(1);
/// Silence of the broker after which nothing that is kept is believed.
const SILENCE: Duration = Duration::from_millis(1500);
/// How long an event of the catalog may take to get here by the broker: longer than another process takes to relay in the place of one
/// that was killed. After that nothing that is kept is believed either.
const HEARD_WITHIN: Duration = Duration::from_secs(6);
/// How long the bucket may take: the catalog is asked instead.
const BUCKET_WITHIN: Duration = Duration::from_millis(250);
/// What the bucket may hold, and how much may be on its way there.
const BUCKET_BYTES_MAX: u64 = 64 << 20;
const WRITES_MAX: usize = 64;

/// What is asked for, and by whom where that makes a difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    text: String,
    /// What it is about, as events name it.
    about: String,
}

impl Question {
    /// How far a job is.
    pub fn job(id: &str) -> Self {
        Self { text: format!("job\0{id}"), about: about_job(id) }
    }

    /// All that is known of an asset, of which one owner sees less than another.
    pub fn asset(sees: Option<&str>, category: &str, id: &str, version: Option<&str>) -> Self {
        let [sees, version] = [sees, version].map(Option::unwrap_or_default);
        Self { text: format!("asset\0{sees}\0{category}\0{id}\0{version}"), about: about_asset(category, id) }
    }
}

fn about_job(id: &str) -> String {
    format!("job\0{id}")
}

fn about_asset(category: &str, id: &str) -> String {
    format!("asset\0{category}\0{id}")
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Whose the thing is.
    pub owner: String,
    /// The category that it is in.
    pub category: Option<String>,
    /// JSON.
    json: String,
}

impl Answer {
    /// About a thing of an owner.
    pub fn new(owner: &str, category: Option<&str>, said: &impl Serialize) -> Self {
        let json = serde_json::to_string(said).expect("texts and numbers are JSON");
        Self { owner: owner.to_owned(), category: category.map(str::to_owned), json }
    }
}

impl IntoResponse for &Answer {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(CONTENT_TYPE, json)], self.json.clone()).into_response()
    }
}

/// An answer as it lies in the bucket.
#[derive(Serialize, Deserialize)]
struct Shared {
    seen: i64,
    answer: Answer,
}

/// An answer as it is kept.
#[derive(Debug)]
struct Kept {
    answer: Arc<Answer>,
    /// Up to which event it is true for certain.
    seen: i64,
    since: Instant,
}

/// What was heard of events.
#[derive(Debug, Default)]
struct Memory {
    kept: HashMap<String, Kept>,
    /// The last event about a thing.
    changes: HashMap<String, (i64, Instant)>,
    /// From behind which event on every one was heard, and up to which; none while they cannot be followed.
    heard: Option<(i64, i64)>,
}

/// Why events cannot be followed by the broker.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("the broker does not tell of event {0}, which the catalog has")]
    Late(i64),
}

/// What the broker has told of the catalog's events.
struct Progress {
    known: i64,
    /// The first event that was missed, and since when.
    missed: Option<(i64, Instant)>,
}

impl Progress {
    /// Notes how far events have come in the catalog.
    fn check(&mut self, last: i64) -> Result<(), Lost> {
        match self.missed {
            Some((event, since)) if self.known < event => {
                if since.elapsed() > HEARD_WITHIN {
                    return Err(Lost::Late(event));
                }
            }
            _ => self.missed = (self.known < last).then(|| (last, Instant::now())),
        }
        Ok(())
    }
}

/// Answers that were given a moment ago.
pub struct Recent {
    memory: Mutex<Memory>,
    bucket: Option<Arc<Bucket>>,
    log: Option<Log>,
    /// Told when somebody asks.
    asked: Notify,
    writes: Arc<Semaphore>,
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl Recent {
    /// Kept in memory, and where there is a broker, in a bucket of the fleet's. Asks nobody.
    pub fn new(fleet: Option<(&Broker, events::Kept)>) -> Self {
        let bucket = fleet.map(|(broker, _)| {
            let settings = BucketSettings {
                name: "answers",
                max_age: BELIEVED,
                value_bytes_max: 2 * ANSWER_BYTES_MAX,
                bytes_max: BUCKET_BYTES_MAX,
                timeout: BUCKET_WITHIN,
            };
            Arc::new(Bucket::new(broker.clone(), settings))
        });
        let log = fleet.map(|(broker, kept)| events::log(broker, kept));
        let writes = Arc::new(Semaphore::new(WRITES_MAX));
        Self { memory: Mutex::default(), bucket, log, asked: Notify::new(), writes }
    }

    /// The answer, if it was given of late and nothing happened since to what it is about.
    pub(super) async fn find(&self, question: &Question) -> Option<Arc<Answer>> {
        self.asked.notify_one();
        let found = self.memory.lock().find(question);
        count("memory", found.is_some());
        if found.is_some() {
            return found;
        }
        let bucket = self.bucket.as_ref()?;
        self.mark()?;
        let found = bucket.get(&key(question)).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "answers of others are not known; the catalog is asked");
            None
        });
        let found = found.and_then(|entry| serde_json::from_slice::<Shared>(&entry.value).ok());
        let found = found.and_then(|Shared { seen, answer }| {
            let answer = Arc::new(answer);
            self.memory.lock().keep(question, answer.clone(), seen).then_some(answer)
        });
        count("shared", found.is_some());
        found
    }

    /// Counts whether the catalog knew of what it was asked.
    pub(super) fn asked_catalog(&self, found: bool) {
        count("catalog", found);
    }

    /// Up to where events were heard: to be asked before the catalog is. None while nothing is kept.
    pub(super) fn mark(&self) -> Option<i64> {
        self.memory.lock().heard.map(|(_, last)| last)
    }

    /// Keeps what the catalog said after `mark`.
    pub(super) fn keep(&self, question: &Question, answer: Arc<Answer>, mark: Option<i64>) {
        let Some(seen) = mark else { return };
        let large = answer.json.len() > ANSWER_BYTES_MAX;
        if large || !self.memory.lock().keep(question, answer.clone(), seen) {
            return;
        }
        // Where many are on their way already, the others of the fleet ask the catalog themselves.
        let Some((bucket, permit)) = self.bucket.clone().zip(self.writes.clone().try_acquire_owned().ok()) else {
            return;
        };
        let key = key(question);
        tokio::spawn(async move {
            let _permit = permit;
            let shared = Shared { seen, answer: Arc::unwrap_or_clone(answer) };
            let value = serde_json::to_vec(&shared).expect("texts and numbers are JSON");
            if let Err(error) = bucket.put(&key, Bytes::from(value)).await {
                tracing::debug!(%error, "an answer is not shared");
            }
        });
    }

    /// Notes that this process has changed what a question is about, by an event that it may not have heard yet: whoever asks it
    /// next sees the change.
    pub(super) fn changed(&self, question: &Question, event: i64) {
        self.memory.lock().change(question.about.clone(), event);
    }

    /// Follows the events for ever, from the first question on: before, catalog and broker are left alone. Spawned once.
    pub async fn follow(self: Arc<Self>, catalog: Catalog) {
        self.asked.notified().await;
        loop {
            let why = match &self.log {
                Some(log) => self.by_broker(log, &catalog).await.err().map(|error| error.to_string()),
                None => self.by_catalog(&catalog).await.err().map(|error| error.to_string()),
            };
            *self.memory.lock() = Memory::default();
            tracing::debug!(why, "events cannot be followed; the catalog is asked");
            tokio::time::sleep(REST).await;
        }
    }

    async fn by_broker(&self, log: &Log, catalog: &Catalog) -> Result<Infallible, Lost> {
        let changes = catalog.follow();
        let (mut following, _) = log.follow(None, SILENCE).await?;
        // All that come after this one are heard, whatever was in the log before and whether it is still the same log.
        let first = catalog.last_event().await?;
        // What is appended between the two is heard again, which does no harm.
        let end = log.end().await?.id.as_deref().and_then(events::number).unwrap_or(0);
        let mut progress = Progress { known: end.max(Relay::reached(catalog).await?), missed: None };
        loop {
            if progress.known >= first {
                self.memory.lock().begin(progress.known);
            }
            if let Heard::Message(told) = following.next().await? {
                let told = serde_json::from_slice::<EventMessage>(&told.payload);
                let EventMessage { id, category, asset, job, .. } =
                    told.map_err(|error| broker::Error::Refused(format!("an event that cannot be read: {error}")))?;
                self.heard(id, category.zip(asset), job);
                progress.known = id.max(progress.known);
            }
            progress.check(*changes.borrow())?;
        }
    }

    async fn by_catalog(&self, catalog: &Catalog) -> Result<Infallible, catalog::Error> {
        let mut changes = catalog.follow();
        let mut after = catalog.last_event().await?;
        self.memory.lock().heard = Some((after, after));
        loop {
            changes.borrow_and_update();
            let events = catalog.events(after, &EventFilter::default(), EVENTS).await?;
            let whole = events.len() >= EVENTS as usize;
            for event in events {
                after = event.seq;
                self.heard(event.seq, event.category.zip(event.asset), event.job);
            }
            if !whole && changes.changed().await.is_err() {
                return Err(catalog::Error::Unavailable("it is closed".to_owned()));
            }
        }
    }

    fn heard(&self, event: i64, asset: Option<(String, String)>, job: Option<String>) {
        let mut memory = self.memory.lock();
        for about in
            asset.iter().map(|(category, id)| about_asset(category, id)).chain(job.iter().map(|id| about_job(id)))
        {
            memory.change(about, event);
        }
        if let Some((_, last)) = &mut memory.heard {
            *last = event.max(*last);
        }
    }
}

impl Memory {
    /// Notes that all events behind one are heard from now on, unless they are already.
    fn begin(&mut self, event: i64) {
        self.heard.get_or_insert((event, event));
    }

    fn find(&self, question: &Question) -> Option<Arc<Answer>> {
        let kept = self.kept.get(&question.text)?;
        (kept.since.elapsed() < BELIEVED && self.holds(question, kept.seen)).then(|| kept.answer.clone())
    }

    /// Whether nothing is known to have happened, since an event, to what is asked about.
    fn holds(&self, question: &Question, seen: i64) -> bool {
        let changed = self.changes.get(&question.about).map_or(i64::MIN, |(event, _)| *event);
        self.heard.is_some_and(|(first, _)| first <= seen && changed <= seen)
    }

    /// Keeps an answer that holds; says whether it does.
    fn keep(&mut self, question: &Question, answer: Arc<Answer>, seen: i64) -> bool {
        if !self.holds(question, seen) {
            return false;
        }
        if self.kept.len() >= ANSWERS_MAX {
            self.kept.retain(|_, kept| kept.since.elapsed() < BELIEVED);
            if self.kept.len() >= ANSWERS_MAX {
                self.kept.clear();
            }
        }
        self.kept.insert(question.text.clone(), Kept { answer, seen, since: Instant::now() });
        true
    }

    /// Notes that something happened to a thing.
    fn change(&mut self, about: String, event: i64) {
        if self.changes.len() >= CHANGES_MAX {
            // Whatever is older than these is not believed either, here or in the bucket.
            self.changes.retain(|_, (_, since)| since.elapsed() < 2 * BELIEVED);
            if self.changes.len() >= CHANGES_MAX {
                self.changes.clear();
                self.heard = Some((event, event));
            }
        }
        let known = self.changes.entry(about).or_insert((event, Instant::now()));
        *known = (event.max(known.0), Instant::now());
    }
}

fn key(question: &Question) -> String {
    Digest::of(question.text.as_bytes()).hex(64)
}

fn count(tier: &'static str, found: bool) {
    let outcome = if found { "hit" } else { "miss" };
    counter!(names::JOB_CACHE, "tier" => tier, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Arc<Answer> {
        Arc::new(Answer::new("ann", None, &text))
    }

    fn memory(first: i64) -> Memory {
        Memory { heard: Some((first, first)), ..Memory::default() }
    }

    #[test]
    fn an_answer_holds_until_something_happens_to_what_it_is_about() {
        let mut memory = memory(10);
        let (job, asset) = (Question::job("j"), Question::asset(None, "shoes", "red", None));
        assert!(memory.keep(&job, answer("one"), 10) && memory.keep(&asset, answer("two"), 10));
        memory.change(about_job("other"), 11);
        assert_eq!(memory.find(&job), Some(answer("one")));
        memory.change(about_asset("shoes", "red"), 12);
        assert_eq!((memory.find(&job), memory.find(&asset)), (Some(answer("one")), None));
        // Of another process, which had not heard of the event yet when it asked the catalog.
        assert!(!memory.keep(&asset, answer("two"), 11));
        assert!(memory.keep(&asset, answer("three"), 12));
        assert_eq!(memory.find(&asset), Some(answer("three")));
    }

    #[test]
    fn what_is_from_before_this_process_listened_is_not_believed() {
        let mut memory = memory(10);
        assert!(!memory.keep(&Question::job("j"), answer("one"), 9));
        assert!(!Memory::default().keep(&Question::job("j"), answer("one"), 20), "nobody listens");
        for event in 0..CHANGES_MAX as i64 + 1 {
            memory.change(about_job(&event.to_string()), 11 + event);
        }
        assert!(memory.changes.len() < CHANGES_MAX);
        assert!(!memory.keep(&Question::job("j"), answer("one"), 11), "what happened to it may be forgotten");
    }

    #[test]
    fn one_owner_is_not_answered_with_what_another_sees() {
        let asked = |sees| Question::asset(sees, "shoes", "red", None);
        assert_ne!(asked(Some("ann")), asked(None));
        assert_ne!(asked(None), Question::asset(None, "shoes", "red", Some("h1")));
        assert_eq!(asked(Some("ann")).about, asked(None).about);
    }

    #[test]
    fn an_event_that_the_broker_does_not_tell_of_is_missed_in_time() {
        let mut progress = Progress { known: 5, missed: None };
        progress.check(7).unwrap();
        let Some((event, since)) = &mut progress.missed else { panic!("it knows that it misses one") };
        *since = since.checked_sub(2 * HEARD_WITHIN).unwrap();
        assert_eq!(*event, 7);
        assert!(matches!(progress.check(9), Err(Lost::Late(7))));
        progress.known = 8;
        progress.check(9).unwrap();
        assert_eq!(progress.missed.map(|(event, _)| event), Some(9), "another one, since now");
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(40), "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The log of events takes nothing any more, and is made anew.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_that_is_kept_is_believed_while_events_do_not_come_and_all_is_well_after() {
        let (server, url) = (broker::server::shared(), catalog::server::shared().database());
        let settings = broker::Settings { prefix: server.prefix(), ..broker::Settings::new(server.url()) };
        let broker = Broker::connect(settings).await.unwrap();
        broker.wait(Duration::from_secs(20)).await.unwrap();
        let catalog = Catalog::new(catalog::Settings::new(&url));
        let kept = events::Kept { max_age: Duration::from_secs(3600), bytes_max: 64 << 20 };
        let lost_after = 2 * HEARD_WITHIN;
        let log = broker::LogSettings {
            name: "events",
            subjects: "events.>",
            lost_after,
            max_age: kept.max_age,
            bytes_max: kept.bytes_max,
        };
        let relay = Relay::new(catalog.clone(), Arc::new(Log::new(broker.clone(), log)));
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(relay.keep(stopped));
        let recent = Arc::new(Recent::new(Some((&broker, kept))));
        tokio::spawn(recent.clone().follow(catalog.clone()));
        let happens = async |job: &str| {
            let event = catalog::NewEvent {
                owner: "ann".to_owned(),
                kind: "job.completed".to_owned(),
                category: None,
                asset: None,
                version: None,
                job: Some(job.to_owned()),
                data: serde_json::Value::Null,
                trace: None,
            };
            catalog.tell(event).await.unwrap();
            catalog.last_event().await.unwrap()
        };
        let first = happens("other").await;
        let question = Question::job("j");
        recent.find(&question).await;
        until("it is heard", || recent.mark() >= Some(first)).await;
        let keep = || {
            recent.keep(&question, answer("one"), recent.mark());
            recent.memory.lock().find(&question).is_some()
        };
        assert!(keep());
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let stream = context.get_stream(format!("{}_events", broker.settings().prefix)).await.unwrap();
        let config = stream.cached_info().config.clone();
        context.update_stream(async_nats::jetstream::stream::Config { sealed: true, ..config }).await.unwrap();
        let second = happens("j").await;
        assert!(keep(), "nobody has told it");
        until("it is missed", || recent.mark().is_none() && !keep()).await;
        assert!(recent.find(&question).await.is_none(), "nor what others may have put into the bucket");
        until("the log is made anew", || recent.mark() >= Some(second)).await;
        assert!(keep());
        happens("j").await;
        until("it is told again", || recent.memory.lock().find(&question).is_none() && recent.mark().is_some()).await;
    }
}
