//! Following a log: every message in order, none passed over, and a word from the broker while there is none. Whoever hears nothing
//! knows that nothing is known.
//!
//! An ordered consumer of the client's would begin anew by itself, and tell neither silence nor what was missed meanwhile; that is
//! what matters here.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::stream::Info;
use async_nats::{HeaderMap, StatusCode, Subscriber, header, jetstream};
use bytes::Bytes;
use futures_util::StreamExt;

use super::error::judged;
use super::{Broker, Error};

/// The least pause between two words of the broker.
const BEAT_MIN: Duration = Duration::from_millis(150);

/// How long a consumer outlives who follows.
const INACTIVE: Duration = Duration::from_secs(10);

/// A place in a log, by which it is followed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// When the log was made, in nanoseconds since 1970: one of the same name that was made later is another.
    log: i128,
    /// The message that was read last.
    sequence: u64,
}

impl Place {
    /// Before the first message of a log.
    pub(super) fn beginning(info: &Info) -> Self {
        Self { log: info.created.unix_timestamp_nanos(), sequence: 0 }
    }

    /// Before the last message of a log.
    pub(super) fn before_last(info: &Info) -> Self {
        Self { sequence: info.state.last_sequence.saturating_sub(1), ..Self::beginning(info) }
    }

    /// Whether nothing of the log is behind it.
    pub(super) fn is_at_end(&self, info: &Info) -> bool {
        self.log == info.created.unix_timestamp_nanos() && self.sequence >= info.state.last_sequence
    }
}

/// What was found when following began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// All that came behind the place will be heard.
    Whole,
    /// The log has dropped some of it, or is another one.
    Broken,
}

/// A word of the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A message.
    Message(Told),
    /// Nothing happened that was not heard.
    Nothing,
}

/// A message that was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its subject, after the prefix.
    pub subject: String,
    /// What it says.
    pub payload: Bytes,
    /// How many wait behind it.
    pub waiting: u64,
}

/// One who follows.
pub struct Following {
    context: jetstream::Context,
    messages: Subscriber,
    silence: Duration,
    prefix_bytes: usize,
    place: Place,
    waiting: u64,
    /// Messages that this consumer was sent.
    sent: u64,
}

impl Following {
    pub(super) async fn begin(
        broker: &Broker,
        info: &Info,
        after: Option<&Place>,
        silence: Duration,
    ) -> Result<(Self, Begun), Error> {
        let log = Place::beginning(info).log;
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let known = after.filter(|place| place.log == log && place.sequence <= last).map(|place| place.sequence);
        let begun = match known {
            Some(known) if known + 1 >= first => Begun::Whole,
            None if after.is_none() => Begun::Whole,
            _ => Begun::Broken,
        };
        let from = match after {
            None => last,
            Some(_) => known.unwrap_or(0).max(first.saturating_sub(1)),
        };
        let inbox = broker.client().new_inbox();
        let unavailable = |error: &(dyn std::error::Error + 'static)| Error::Unavailable(error.to_string());
        let messages = broker.client().subscribe(inbox.clone()).await.map_err(|error| unavailable(&error))?;
        let config = push::Config {
            deliver_subject: inbox,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from + 1 },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            idle_heartbeat: (silence / 3).max(BEAT_MIN),
            inactive_threshold: INACTIVE,
            num_replicas: 1,
            memory_storage: true,
            ..push::Config::default()
        };
        let context = broker.context();
        let made = context.create_consumer_on_stream(config, info.config.name.as_str()).await;
        let waiting = made.map_err(|error| judged(&error))?.cached_info().num_pending;
        let (context, prefix_bytes) = (context.clone(), broker.subject("").len());
        let place = Place { log, sequence: from };
        Ok((Self { context, messages, silence, prefix_bytes, place, waiting, sent: 0 }, begun))
    }

    /// What was read last; following begins again behind it.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// How many messages waited when following began.
    pub const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The next word.
    ///
    /// # Errors
    /// Nothing was heard for too long, or something was lost on the way: follow anew.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        let lost = |what: &str| Error::Unavailable(what.to_owned());
        let message = match tokio::time::timeout(self.silence, self.messages.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(lost("the subscription has ended")),
            Err(_) => return Err(lost("it is silent")),
        };
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            let sent = number(message.headers.as_ref(), header::NATS_LAST_CONSUMER);
            return if sent == Some(self.sent) { Ok(Heard::Nothing) } else { Err(lost("a message was lost")) };
        }
        if message.status.is_some() {
            return Err(lost("the consumer has ended"));
        }
        let message = jetstream::Message { message, context: self.context.clone() };
        let info = message.info().map_err(|error| lost(&error.to_string()))?;
        if info.consumer_sequence != self.sent + 1 {
            return Err(lost("a message was lost"));
        }
        self.sent += 1;
        self.place.sequence = info.stream_sequence;
        let subject = message.subject.as_str().get(self.prefix_bytes..).unwrap_or_default().to_owned();
        let told = Told { subject, waiting: info.pending, payload: message.message.payload };
        Ok(Heard::Message(told))
    }
}

fn number(headers: Option<&HeaderMap>, name: header::HeaderName) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}
