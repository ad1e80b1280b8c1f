//! A category's source: its backend with all layers around it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::breaker::{Breaker, State};
use super::bulkhead::Bulkhead;
use super::http::Http;
use super::retry::Retry;
use super::stored::Stored;
use super::timed::Timed;
use super::{Backend, Context, Error, Fault, Original, OriginalMeta, breaker, bulkhead, http, meters, retry};
use crate::base::{Deadline, Limits};
use crate::object::ObjectStore;

/// Where a category's originals are and how they are fetched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The category's name, for metrics and logs.
    pub category: String,
    /// Where they are.
    pub origin: Origin,
    /// The largest original.
    pub bytes_max: u64,
    /// Trying again.
    pub retry: retry::Settings,
    /// Leaving alone.
    pub breaker: breaker::Settings,
    /// How many at once.
    pub bulkhead: bulkhead::Settings,
}

impl Settings {
    /// A source with everything else as usual.
    pub fn new(category: impl Into<String>, origin: Origin) -> Self {
        Self {
            category: category.into(),
            origin,
            bytes_max: Limits::default().source_bytes_max,
            retry: retry::Settings::default(),
            breaker: breaker::Settings::default(),
            bulkhead: bulkhead::Settings::default(),
        }
    }
}

/// Where originals are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In a folder or a bucket; one whose own tries are 1, since the source has its own.
    Store(Arc<dyn ObjectStore>),
    /// On another HTTP origin. Its `bytes_max` is replaced by the source's.
    Http(Box<http::Settings>),
}

/// How a source is, for health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// What the breaker does.
    pub breaker: State,
    /// Fetches under way.
    pub in_flight: usize,
}

/// A category's source.
#[derive(Clone, Debug)]
pub struct Source {
    whole: Arc<Retry>,
    pub(super) breaker: Breaker,
    bulkhead: Bulkhead,
    category: Arc<str>,
    bytes_max: u64,
    retry: retry::Settings,
}

impl Source {
    /// A source; nothing is fetched yet. Fails where the settings cannot work.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let backend: Arc<dyn Backend> = match settings.origin.clone() {
            Origin::Store(store) => Arc::new(Stored(store)),
            Origin::Http(http) => Arc::new(Http::new(http::Settings { bytes_max: settings.bytes_max, ..*http })?),
        };
        Ok(Self::around(backend, settings))
    }

    /// The layers around a backend; the settings' own origin is not looked at.
    pub(super) fn around(backend: Arc<dyn Backend>, settings: Settings) -> Self {
        let category: Arc<str> = settings.category.into();
        let timed = Arc::new(Timed(backend));
        let bulkhead = Bulkhead::new(timed, settings.bulkhead, Arc::clone(&category));
        let breaker = Breaker::new(Arc::new(bulkhead.clone()), settings.breaker, Arc::clone(&category));
        let whole = Arc::new(Retry::new(Arc::new(breaker.clone()), settings.retry.clone(), Arc::clone(&category)));
        Self { whole, breaker, bulkhead, category, bytes_max: settings.bytes_max, retry: settings.retry }
    }

    /// The category whose source it is.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// How it is.
    pub fn health(&self) -> Health {
        Health { breaker: self.breaker.state(), in_flight: self.bulkhead.in_flight() }
    }

    /// The largest original that it gives.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Opens an original, with retries; its body is still to be read, until the same deadline.
    pub async fn open(&self, id: &str, context: &Context, deadline: Deadline) -> Result<Original, Error> {
        let since = Instant::now();
        let mut opened = self.whole.open(id, context, deadline).await;
        if let Ok(original) = &opened
            && original.meta.size.is_some_and(|size| size > self.bytes_max)
        {
            opened = Err(Fault::Answer(Error::TooLarge { bytes_max: self.bytes_max }));
        }
        meters::opened(&self.category, &opened, since.elapsed());
        opened.map_err(Fault::into_error)
    }

    /// What is known of an original, with retries, without its body.
    pub async fn stat(&self, id: &str, context: &Context, deadline: Deadline) -> Result<OriginalMeta, Error> {
        let since = Instant::now();
        let known = self.whole.stat(id, context, deadline).await;
        meters::opened(&self.category, &known, since.elapsed());
        known.map_err(Fault::into_error)
    }

    /// Opens an original, has its bytes admitted, and reads them; a body that breaks off is fetched again, once the source
    /// answers. `admit` is told what is known before the body is read (charge [`Source::bytes_max`] where the size is not
    /// known) and gives what holds the charge, which comes back with the bytes; it is asked anew for each try.
    pub async fn fetch<P, E: From<Error>, F: Future<Output = Result<P, E>>>(
        &self,
        id: &str,
        context: &Context,
        deadline: Deadline,
        admit: impl Fn(OriginalMeta) -> F,
    ) -> Result<(OriginalMeta, Bytes, P), E> {
        let end = Instant::now() + deadline.left();
        let mut tried = 0;
        loop {
            let original = self.open(id, context, deadline).await?;
            let meta = original.meta.clone();
            let charge = admit(meta.clone()).await?;
            tried += 1;
            let error = match original.bytes(self.bytes_max).await {
                Ok(bytes) => {
                    meters::read(&self.category, bytes.len());
                    return Ok((meta, bytes, charge));
                }
                Err(error) => error,
            };
            drop(charge);
            let wait = retry::wait(&self.retry, tried - 1, fastrand::f64());
            let again = matches!(error, Error::Unavailable(_) | Error::Timeout);
            if !again || tried >= self.retry.tries || Instant::now() + wait >= end {
                return Err(error.into());
            }
            tokio::time::sleep(wait).await;
            meters::retry(&self.category);
        }
    }
}
