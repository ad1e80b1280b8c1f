//! Jobs' messages: a work-queue stream with a subject a lane, `fovea.jobs.<priority>.<kind>`, from which a message goes when it is
//! acknowledged; a durable pull consumer a lane, which all workers share; and a stream of dead letters,
//! `fovea.dead.<priority>.<kind>`.
//!
//! What is delivered and not acknowledged, nor said to be under way, within the time for an acknowledgement is delivered again.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config as Pull};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::message::{Acker, PublishMessage};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;

use super::error::judged;
use super::streams::Ensured;
use super::{Broker, Error};

/// How jobs' messages are kept and delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobsSettings {
    /// How long a delivery may be silent.
    pub ack_wait: Duration,
    /// Deliveries of one message.
    pub deliveries_max: u32,
    /// For how long a message waits that nobody asks for.
    pub age_max: Duration,
    /// For how long dead letters are kept.
    pub dead_age_max: Duration,
    /// Bytes of dead letters; above them the oldest go.
    pub dead_bytes_max: u64,
}

/// A message of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobMessage {
    /// `<priority>.<kind>`.
    pub lane: String,
    /// What tells it from others: of equal ones within two minutes, one is kept.
    pub id: String,
    /// What it says.
    pub body: Bytes,
    /// Further headers; what cannot be in one is left out.
    pub headers: Vec<(&'static str, String)>,
}

/// A message that was delivered.
pub struct Delivery {
    /// What it says.
    pub body: Bytes,
    /// The how manyth delivery of it this is.
    pub times: u64,
    acker: Acker,
    broker: Broker,
}

/// Within so long equal messages are one.
const EQUAL_WITHIN: Duration = Duration::from_secs(120);

/// Most bytes of a message, and of a header's value.
const MESSAGE_BYTES_MAX: i32 = 256 << 10;
const HEADER_BYTES_MAX: usize = 1024;

/// Messages of a lane that are under way at once.
const UNDER_WAY_MAX: i64 = 20_000;

/// How long an answer to a fetch is waited for, beside the time that it may wait at the server.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Jobs' messages. Streams and consumers are made when they are first used.
#[derive(Debug)]
pub struct Jobs {
    broker: Broker,
    settings: JobsSettings,
    jobs: Ensured,
    dead: Ensured,
    lanes: Mutex<HashMap<String, Consumer<Pull>>>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Delivery").field("body", &self.body).field("times", &self.times).finish_non_exhaustive()
    }
}

impl Delivery {
    /// It was done with.
    pub async fn ack(&self) {
        self.answer(AckKind::Ack).await;
    }

    /// It is under way.
    pub async fn progress(&self) {
        self.answer(AckKind::Progress).await;
    }

    /// Somebody else may have it.
    pub async fn release(&self) {
        self.answer(AckKind::Nak(None)).await;
    }

    /// An answer that is lost is made good by the next delivery; while there is no connection none is kept for later.
    async fn answer(&self, kind: AckKind) {
        if self.broker.up().is_err() {
            return;
        }
        if let Err(error) = self.acker.ack_with(kind).await {
            tracing::debug!(error, "an answer to a delivery");
        }
    }
}

impl Jobs {
    /// The messages of a broker. Asks nobody.
    pub fn new(broker: Broker, settings: JobsSettings) -> Self {
        let jobs = Config {
            name: broker.name("jobs"),
            subjects: vec![broker.subject("jobs.>")],
            retention: RetentionPolicy::WorkQueue,
            max_age: settings.age_max,
            max_message_size: MESSAGE_BYTES_MAX,
            duplicate_window: EQUAL_WITHIN.min(settings.age_max),
            ..Config::default()
        };
        let dead = Config {
            name: broker.name("dead"),
            subjects: vec![broker.subject("dead.>")],
            max_age: settings.dead_age_max,
            max_bytes: settings.dead_bytes_max as i64,
            max_message_size: MESSAGE_BYTES_MAX,
            discard: DiscardPolicy::Old,
            duplicate_window: EQUAL_WITHIN.min(settings.dead_age_max),
            ..Config::default()
        };
        let (jobs, dead) = (Ensured::new(&broker, jobs), Ensured::new(&broker, dead));
        Self { broker, settings, jobs, dead, lanes: Mutex::default() }
    }

    /// The broker.
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Puts messages behind those of their lanes, in order; answers for each whether it is kept now.
    pub async fn publish(&self, messages: Vec<JobMessage>) -> Vec<Result<(), Error>> {
        self.send(&self.jobs, "jobs", messages).await
    }

    /// Tells of jobs that failed for good; answers for each whether it is kept now.
    pub async fn publish_dead(&self, messages: Vec<JobMessage>) -> Vec<Result<(), Error>> {
        self.send(&self.dead, "dead", messages).await
    }

    async fn send(&self, stream: &Ensured, first: &str, messages: Vec<JobMessage>) -> Vec<Result<(), Error>> {
        if let Err(error) = stream.on(&self.broker).await {
            return messages.iter().map(|_| Err(error.clone())).collect();
        }
        let mut under_way = Vec::with_capacity(messages.len());
        for message in messages {
            let subject = self.broker.subject(&format!("{first}.{}", message.lane));
            under_way.push(self.broker.context().send_publish(subject, written(message)).await);
        }
        let mut kept = Vec::with_capacity(under_way.len());
        for sent in under_way {
            kept.push(match sent {
                Ok(answer) => answer.await.map(drop).map_err(|error| judged(&error)),
                Err(error) => Err(judged(&error)),
            });
        }
        if kept.iter().any(Result::is_err) {
            stream.doubt();
        }
        kept
    }

    /// Messages of a lane, those that are there, at most so many; where there are none, the first is waited for.
    pub async fn fetch(&self, lane: &str, most: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let asked = self.fetched(lane, most, wait);
        let done = tokio::time::timeout(FETCH_TIMEOUT + wait, asked).await;
        let done = done.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".to_owned())));
        self.noted(lane, done)
    }

    async fn fetched(&self, lane: &str, most: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let (consumer, client) = (self.lane(lane).await?, self.broker.client());
        let inbox = client.new_inbox();
        let lost = |error: &(dyn std::error::Error + 'static)| judged(error);
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
        // Both together: there is an answer as soon as there is any message, with all that there are.
        let expires = Some(wait).filter(|wait| !wait.is_zero());
        let batch = BatchConfig { batch: most, no_wait: true, expires, ..BatchConfig::default() };
        consumer.request_batch(batch, inbox.into()).await.map_err(|error| lost(&error))?;
        let mut delivered = Vec::with_capacity(most);
        while delivered.len() < most {
            let Some(message) = answers.next().await else {
                return Err(Error::Unavailable("the connection was lost".to_owned()));
            };
            match message.status.map(|status| status.as_u16()) {
                None => delivered.extend(self.delivery(message)),
                // No messages; no more messages; too many under way.
                Some(404 | 408 | 409) => break,
                Some(100) => {}
                Some(other) => return Err(Error::Unavailable(format!("a fetch was answered {other}"))),
            }
        }
        Ok(delivered)
    }

    fn delivery(&self, message: async_nats::Message) -> Option<Delivery> {
        let message = jetstream::Message { message, context: self.broker.context().clone() };
        let times = message.info().ok()?.delivered.unsigned_abs();
        let (message, acker) = message.split();
        Some(Delivery { body: message.payload, times, acker, broker: self.broker.clone() })
    }

    /// Messages that lie in a lane, those under way included.
    pub async fn count(&self, lane: &str) -> Result<u64, Error> {
        let asked = async {
            let info = self.lane(lane).await?.get_info().await.map_err(|error| judged(&error))?;
            Ok(info.num_pending + info.num_ack_pending as u64)
        };
        self.noted(lane, asked.await)
    }

    /// Makes the stream of jobs anew, with nothing in it: what is under way is no more.
    pub async fn renew(&self) -> Result<(), Error> {
        self.lanes.lock().clear();
        self.jobs.renew(&self.broker).await
    }

    async fn lane(&self, lane: &str) -> Result<Consumer<Pull>, Error> {
        self.jobs.on(&self.broker).await?;
        let known = self.lanes.lock().get(lane).cloned();
        if let Some(consumer) = known {
            return Ok(consumer);
        }
        let config = Pull {
            durable_name: Some(lane.replace('.', "-")),
            filter_subject: self.broker.subject(&format!("jobs.{lane}")),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.settings.ack_wait,
            max_deliver: self.settings.deliveries_max.into(),
            max_ack_pending: UNDER_WAY_MAX,
            ..Pull::default()
        };
        let made = self.broker.context().create_consumer_on_stream(config, self.jobs.name()).await;
        let consumer = made.map_err(|error| judged(&error))?;
        self.lanes.lock().insert(lane.to_owned(), consumer.clone());
        Ok(consumer)
    }

    /// What failed may have lost its stream or consumer: both are looked for again.
    fn noted<T>(&self, lane: &str, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            self.jobs.doubt();
            self.lanes.lock().remove(lane);
        }
        done
    }

    /// Tells the workers of all processes that there are jobs.
    pub async fn wake(&self) {
        if self.broker.up().is_err() {
            return;
        }
        let sent = self.broker.client().publish(self.broker.subject("wake"), Bytes::new()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "the workers were not told");
        }
    }

    /// What tells of jobs, whoever says it; lives as long as the connection, and through its losses.
    pub async fn wakes(&self) -> Result<Wakes, Error> {
        let heard = self.broker.client().subscribe(self.broker.subject("wake")).await;
        heard.map(Wakes).map_err(|error| Error::Unavailable(error.to_string()))
    }
}

/// What tells of jobs.
#[derive(Debug)]
pub struct Wakes(async_nats::Subscriber);

impl Wakes {
    /// Waits for the next time, of which several may be one; false where none will come any more.
    pub async fn next(&mut self) -> bool {
        self.0.next().await.is_some()
    }
}

fn written(message: JobMessage) -> PublishMessage {
    let JobMessage { id, body, headers, .. } = message;
    let mut written = PublishMessage::build().payload(body).message_id(id);
    for (name, value) in headers {
        let line: String = value.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
        let end = line.floor_char_boundary(HEADER_BYTES_MAX);
        written = written.header(name, &line[..end]);
    }
    written
}
