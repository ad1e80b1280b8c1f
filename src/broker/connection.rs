//! The connection: made in the background, made anew for ever, its state told.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, Event};
use futures_util::TryStreamExt;
use tokio::sync::watch;

use super::{Error, Settings};
use crate::base::url::without_password;

/// The longest pause between two tries to connect.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How often a silent server is asked whether it is there; the second time without an answer, the connection counts as lost.
const PING_EVERY: Duration = Duration::from_secs(3);

/// How the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not made yet, and no try has failed.
    Connecting,
    /// There.
    Up,
    /// Lost, or never made; it is tried again.
    Down,
}

/// The broker. Clones are one connection.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    client: Client,
    context: jetstream::Context,
    state: watch::Receiver<State>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { settings, state, .. } = &*self.inner;
        out.debug_struct("Broker").field("settings", settings).field("state", &*state.borrow()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Begins to connect, and does not wait for it. Needs a running runtime.
    ///
    /// # Errors
    /// [`Error::Settings`] alone: a broker that is away is no error.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let (addresses, options) = settings.options().await?;
        let (told, state) = watch::channel(State::Connecting);
        let shown = without_password(&settings.urls);
        let options = options
            .name(format!("fovea {}", env!("CARGO_PKG_VERSION")))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .ping_interval(PING_EVERY)
            .event_callback(move |event| {
                heard(&told, &shown, &event);
                std::future::ready(())
            });
        let client = options.connect(addresses).await.map_err(|error| Error::Settings(error.to_string()))?;
        let context = ContextBuilder::new()
            .timeout(settings.request_timeout)
            .ack_timeout(settings.request_timeout)
            .build(client.clone());
        Ok(Self { inner: Arc::new(Inner { settings, client, context, state }) })
    }

    /// How the connection is.
    pub fn state(&self) -> State {
        *self.inner.state.borrow()
    }

    /// The same, to be told when it changes.
    pub fn states(&self) -> watch::Receiver<State> {
        self.inner.state.clone()
    }

    /// Fails at once where there is no connection: what is sent then would lie in memory until there is one.
    pub fn up(&self) -> Result<(), Error> {
        match self.state() {
            State::Up => Ok(()),
            State::Connecting | State::Down => Err(Error::Unavailable("there is no connection".to_owned())),
        }
    }

    /// Waits for the connection, at most so long.
    pub async fn wait(&self, time: Duration) -> Result<(), Error> {
        let mut states = self.states();
        let up = tokio::time::timeout(time, states.wait_for(|state| *state == State::Up)).await;
        if matches!(up, Ok(Ok(_))) { Ok(()) } else { self.up() }
    }

    /// Sends what was published before and is not yet on its way.
    pub async fn flush(&self) -> Result<(), Error> {
        self.up()?;
        let flushed = tokio::time::timeout(self.inner.settings.request_timeout, self.inner.client.flush()).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::Unavailable("no answer in time".to_owned())),
        }
    }

    /// Whether JetStream answers, whatever may be with one stream of it.
    pub(super) async fn answers(&self) -> bool {
        self.up().is_ok() && self.context().stream_names().try_next().await.is_ok()
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// A stream's or a bucket's name: `fovea_events`.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{}_{what}", self.inner.settings.prefix)
    }

    /// A subject: `fovea.events.asset.accepted`.
    pub(super) fn subject(&self, what: &str) -> String {
        format!("{}.{what}", self.inner.settings.prefix)
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// JetStream on it.
    pub(super) fn context(&self) -> &jetstream::Context {
        &self.inner.context
    }
}

/// The pause before a try: none, then from 50 ms on twice as long each time, a fifth more or less.
fn pause(tries: usize) -> Duration {
    let Some(doublings) = tries.checked_sub(2) else { return Duration::ZERO };
    let pause = Duration::from_millis(50) * (1 << doublings.min(6));
    pause.min(PAUSE_MAX).mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Notes an event of the connection; says what is new, once.
fn heard(state: &watch::Sender<State>, shown: &str, event: &Event) {
    let turned = |to: State| state.send_if_modified(|now| std::mem::replace(now, to) != to);
    match event {
        Event::Connected => {
            if turned(State::Up) {
                tracing::info!(broker = shown, "connected to the broker");
            }
        }
        Event::Disconnected | Event::Closed => {
            if turned(State::Down) {
                tracing::warn!(broker = shown, "the connection to the broker is lost; it is tried again");
            }
        }
        // A try that failed; while there is a connection, something else.
        Event::ClientError(error) => {
            if *state.borrow() == State::Up || !turned(State::Down) {
                tracing::debug!(broker = shown, %error, "the broker's client");
            } else {
                tracing::warn!(broker = shown, %error, "the broker cannot be reached; it is tried again");
            }
        }
        Event::ServerError(error) => tracing::warn!(broker = shown, %error, "the broker says"),
        Event::SlowConsumer(_) => tracing::warn!(broker = shown, "messages of the broker were dropped unread"),
        Event::LameDuckMode | Event::Draining => tracing::debug!(broker = shown, %event, "the broker's connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        assert_eq!((pause(0), pause(1)), (Duration::ZERO, Duration::ZERO));
        assert!(pause(2) < Duration::from_millis(61) && pause(2) > Duration::from_millis(39));
        assert!((3..200).all(|tries| pause(tries) <= PAUSE_MAX.mul_f64(1.2)));
    }
}
