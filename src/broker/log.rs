//! Logs: streams of messages in order, kept by age and size, that anybody may follow from any place.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info};
use bytes::Bytes;
use parking_lot::Mutex;

use super::error::judged;
use super::follow::{Begun, Following, Heard, Place};
use super::streams::Ensured;
use super::{Broker, Error};

/// What a log is like.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The stream's name, after the prefix.
    pub name: &'static str,
    /// Its subjects, after the prefix: `events.>`.
    pub subjects: &'static str,
    /// For how long messages are kept.
    pub max_age: Duration,
    /// Most bytes of all together; above them the oldest go.
    pub bytes_max: u64,
    /// For how long it may fail, while the broker is well otherwise, before it counts as lost.
    pub lost_after: Duration,
}

/// A message that is to be appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its subject, after the prefix: `events.asset.accepted`.
    pub subject: String,
    /// Its id: of two with one id that come within two minutes, the second is dropped.
    pub id: String,
    /// What it says.
    pub payload: Bytes,
}

/// The end of a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// How many messages were ever appended.
    pub sequence: u64,
    /// The last one's id, where it is still kept.
    pub id: Option<String>,
}

/// A log. Made when it is first used.
#[derive(Debug)]
pub struct Log {
    broker: Broker,
    stream: Ensured,
    lost_after: Duration,
    /// Since when it fails while the broker is well otherwise.
    failing: Mutex<Option<Instant>>,
}

impl Log {
    /// A log of the broker. Asks nobody.
    pub fn new(broker: Broker, settings: LogSettings) -> Self {
        let stream = Ensured::new(
            &broker,
            Config {
                name: broker.name(settings.name),
                subjects: vec![broker.subject(settings.subjects)],
                max_age: settings.max_age,
                max_bytes: settings.bytes_max as i64,
                discard: DiscardPolicy::Old,
                allow_direct: true,
                ..Config::default()
            },
        );
        Self { broker, stream, lost_after: settings.lost_after, failing: Mutex::default() }
    }

    /// Appends a message; done when the broker has it.
    pub async fn append(&self, message: Message) -> Result<(), Error> {
        self.stream.on(&self.broker).await?;
        let Message { subject, id, payload } = message;
        let message = PublishMessage::build().message_id(id).payload(payload);
        let acknowledged =
            async { self.broker.context().send_publish(self.broker.subject(&subject), message).await?.await.map(drop) };
        acknowledged.await.map_err(|error| self.failed(&error))
    }

    /// Appends messages one behind the other, the first behind the `after`th message of the log. Where somebody else appended, or
    /// one did not arrive, none that would come behind it is appended. Answers how many are there.
    pub async fn append_after(&self, after: u64, messages: Vec<Message>) -> Result<usize, Error> {
        self.stream.on(&self.broker).await?;
        let mut sent = Vec::with_capacity(messages.len());
        let mut before: Option<String> = None;
        for (expected, Message { subject, id, payload }) in (after..).zip(messages) {
            let mut message = PublishMessage::build().message_id(&id).expected_last_sequence(expected).payload(payload);
            // The place alone would let one in behind what somebody else put into the places before.
            if let Some(before) = before.replace(id) {
                message = message.expected_last_message_id(before);
            }
            let message = self.broker.context().send_publish(self.broker.subject(&subject), message).await;
            sent.push(message.map_err(|error| self.failed(&error))?);
        }
        let mut appended = 0;
        for message in sent {
            use PublishErrorKind::{WrongLastMessageId, WrongLastSequence};
            match message.await {
                Ok(_) => appended += 1,
                Err(error) if matches!(error.kind(), WrongLastSequence | WrongLastMessageId) => break,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(appended)
    }

    /// Where the log ends.
    pub async fn end(&self) -> Result<End, Error> {
        let info = self.info().await?;
        let sequence = info.state.last_sequence;
        if info.state.messages == 0 {
            return Ok(End { sequence, id: None });
        }
        let stream = self.broker.context().get_stream_no_info(self.stream.name()).await;
        let stream = stream.map_err(|error| judged(&error))?;
        let last = stream.get_raw_message(sequence).await.map_err(|error| self.failed(&error))?;
        let id = last.headers.get(async_nats::header::NATS_MESSAGE_ID).map(|id| id.as_str().to_owned());
        Ok(End { sequence, id })
    }

    /// Whether there are messages behind a place. One of another log of the same name has all of this one's behind it.
    pub async fn goes_beyond(&self, place: &Place) -> Result<bool, Error> {
        let info = self.info().await?;
        Ok(!place.is_at_end(&info))
    }

    /// Has it bring its last message, if it holds one.
    ///
    /// # Errors
    /// It brings none within so long, or nobody may follow it.
    pub async fn brings(&self, within: Duration) -> Result<(), Error> {
        let info = self.info().await?;
        if info.state.messages == 0 {
            return Ok(());
        }
        let before = Place::before_last(&info);
        let (mut following, _) = Following::begin(&self.broker, &info, Some(&before), within).await?;
        match following.next().await? {
            Heard::Message(_) => Ok(()),
            Heard::Nothing => Err(Error::Unavailable("it does not bring what is in the log".to_owned())),
        }
    }

    /// Notes that all is well with it.
    pub fn is_well(&self) {
        *self.failing.lock() = None;
    }

    /// Notes that it fails. Whether it is to be made anew: a server that was killed may come back with a stream that takes or brings
    /// nothing any more. What the whole broker cannot do says nothing of this log.
    pub async fn is_lost(&self) -> bool {
        if !self.broker.answers().await {
            self.is_well();
            return false;
        }
        let mut failing = self.failing.lock();
        let lost = failing.get_or_insert_with(Instant::now).elapsed() > self.lost_after;
        if lost {
            *failing = None;
        }
        lost
    }

    /// Makes the log anew, without what is in it.
    pub async fn renew(&self) -> Result<(), Error> {
        self.stream.renew(&self.broker).await
    }

    /// The place before the log's first message.
    pub async fn beginning(&self) -> Result<Place, Error> {
        Ok(Place::beginning(&self.info().await?))
    }

    /// Follows the log from behind a place on, or from now on where there is none.
    ///
    /// `silence` bounds how long nothing at all may be heard, at least half a second: while nothing happens the broker says so
    /// three times in it.
    pub async fn follow(&self, after: Option<&Place>, silence: Duration) -> Result<(Following, Begun), Error> {
        let info = self.info().await?;
        let begun = Following::begin(&self.broker, &info, after, silence).await;
        if begun.is_err() {
            self.stream.doubt();
        }
        begun
    }

    async fn info(&self) -> Result<Info, Error> {
        self.stream.on(&self.broker).await?;
        let stream = self.broker.context().get_stream(self.stream.name()).await;
        stream.map(|stream| stream.cached_info().clone()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        self.stream.doubt();
        judged(error)
    }
}
