//! Streams, made when they are first used, and adjusted to what is configured now.

use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind, DeleteStreamErrorKind};
use async_nats::jetstream::stream::Config;

use super::error::judged;
use super::{Broker, Error};

/// A stream that is known to be there, or is made.
#[derive(Debug)]
pub(super) struct Ensured {
    config: Config,
    done: AtomicBool,
}

impl Ensured {
    /// A stream as it is to be. Its replicas are those of the broker's settings.
    pub fn new(broker: &Broker, config: Config) -> Self {
        let config = Config { num_replicas: broker.settings().replicas, ..config };
        Self { config, done: AtomicBool::new(false) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Makes or adjusts it, unless this process has done so. Many may do so at once.
    pub async fn on(&self, broker: &Broker) -> Result<(), Error> {
        broker.up()?;
        if !self.done.load(Ordering::Acquire) {
            broker.ensure(&self.config).await?;
            self.done.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Has it looked for again: where a server lost its data, it is gone.
    pub fn doubt(&self) {
        self.done.store(false, Ordering::Release);
    }

    /// Makes it anew, without its messages.
    pub async fn renew(&self, broker: &Broker) -> Result<(), Error> {
        broker.up()?;
        let deleted = broker.context().delete_stream(self.name()).await;
        self.doubt();
        match deleted.map_err(|error| error.kind()) {
            Ok(_) => {}
            Err(DeleteStreamErrorKind::JetStream(said)) if said.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            Err(DeleteStreamErrorKind::JetStream(said)) => return Err(judged(&said)),
            Err(other) => return Err(Error::Unavailable(other.to_string())),
        }
        self.on(broker).await
    }
}

impl Broker {
    /// Makes a stream, or adjusts it where it is another. Leaves its messages alone.
    pub(super) async fn ensure(&self, config: &Config) -> Result<(), Error> {
        let adjusted = match self.context().update_stream(config).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let judge = |error: CreateStreamError| match error.kind() {
            CreateStreamErrorKind::JetStream(said) => judged(&said),
            _ => judged(&error),
        };
        if adjusted.kind() != CreateStreamErrorKind::NotFound {
            return Err(judge(adjusted));
        }
        // Two who make the same at once both succeed.
        self.context().create_stream(config.clone()).await.map(drop).map_err(judge)
    }
}
