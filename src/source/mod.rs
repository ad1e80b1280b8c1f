//! Where originals come from: a folder, a bucket, or another HTTP origin; with retries, a circuit breaker and a bound on
//! concurrency around each.
//!
//! Enters: an asset's id, checked by `plan`. Leaves: an [`Original`], opened but not yet read, so that the caller can charge
//! its bytes before reading them.
//!
//! A try goes through [`retry`] (which may try again), [`breaker`] (which may refuse) and [`bulkhead`] (which may let wait) to
//! a [`Backend`]; [`Source`] is all of them together, and what the other rooms know.
//!
//! Always true: no address is connected to that the category does not allow, whatever a redirect or a resolver says.

pub mod breaker;
pub mod bulkhead;
pub mod http;
mod meters;
pub mod retry;
mod stored;
#[cfg(test)]
mod tests;
mod timed;
mod watched;
mod whole;

pub use breaker::State;
pub use whole::{Health, Origin, Settings, Source};

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::base::Deadline;

/// What is known of an original before its body is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginalMeta {
    /// Bytes, where the source says so.
    pub size: Option<u64>,
    /// Changes when the original does: ETag, or size and modification time.
    pub validator: String,
    /// When it was last changed.
    pub modified: Option<SystemTime>,
}

impl OriginalMeta {
    /// Whether the validator stays the same for as long as the original does.
    pub fn lasting(&self) -> bool {
        lasts(&self.validator)
    }
}

/// How the validator of an original begins of which its source says nothing that could tell a change by: the moment stands in for
/// it, so that nothing stale is taken for fresh.
const MOMENT: &str = "at ";

/// Whether a validator stays the same for as long as the original does.
pub fn lasts(validator: &str) -> bool {
    !validator.starts_with(MOMENT)
}

/// An opened original.
pub struct Original {
    /// What is known of it.
    pub meta: OriginalMeta,
    /// Its bytes; read them with [`Original::bytes`]. It ends with [`Error::Timeout`] at the deadline that it was opened with.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

impl Original {
    /// Reads the body whole; more than `bytes_max` is [`Error::TooLarge`]. One that breaks off counts against the source.
    pub async fn bytes(mut self, bytes_max: u64) -> Result<Bytes, Error> {
        let said = self.meta.size;
        if said.is_some_and(|size| size > bytes_max) {
            return Err(Error::TooLarge { bytes_max });
        }
        // Most bodies come in one piece from a folder: that one is not copied.
        let Some(first) = self.body.next().await.transpose()? else { return Ok(Bytes::new()) };
        let mut total = first.len() as u64;
        if total > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
        let Some(mut part) = self.body.next().await.transpose()? else { return Ok(first) };
        let mut whole = Vec::with_capacity(said.unwrap_or(0).max(total + part.len() as u64) as usize);
        whole.extend_from_slice(&first);
        loop {
            total += part.len() as u64;
            if total > bytes_max {
                return Err(Error::TooLarge { bytes_max });
            }
            whole.extend_from_slice(&part);
            match self.body.next().await.transpose()? {
                Some(next) => part = next,
                None => return Ok(whole.into()),
            }
        }
    }
}

impl std::fmt::Debug for Original {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Original").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A place originals come from, or a layer around one: one try at a time.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Opens an original.
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>>;

    /// What is known of an original, without its body.
    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>>;
}

/// A failed try, by what it says of the source.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The source answered, and would answer the same again; it is well.
    Answer(Error),
    /// The source is not well: worth another try, and counted by the breaker.
    Source(Error),
    /// A bound of ours; it says nothing of the source.
    Own(Error),
}

impl Fault {
    /// The error, whoever's it is.
    pub fn into_error(self) -> Error {
        match self {
            Self::Answer(error) | Self::Source(error) | Self::Own(error) => error,
        }
    }
}

/// What goes along with a fetch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// W3C `traceparent` to pass on.
    pub traceparent: Option<String>,
    /// W3C `tracestate` to pass on.
    pub tracestate: Option<String>,
    /// The request's `CDN-Loop` values, to which ours is added.
    pub cdn_loop: Option<String>,
}

/// Why there is no original.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such original.
    #[error("there is no such original")]
    NotFound,
    /// The address, scheme, host or redirect is not allowed.
    #[error("the original's address is not allowed: {0}")]
    Forbidden(String),
    /// Larger than the limit.
    #[error("the original is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Our own name is already in `CDN-Loop`, or too many hops are.
    #[error("the request already passed through this origin")]
    Loop,
    /// The source did not answer in time.
    #[error("the source did not answer in time")]
    Timeout,
    /// The source failed, also after retries.
    #[error("the source failed: {0}")]
    Unavailable(String),
    /// The source failed so often that it is left alone for a while.
    #[error("the source is left alone for {retry_after:?} after repeated failures")]
    BreakerOpen {
        /// Until when.
        retry_after: Duration,
    },
    /// Too many fetches from this source are under way.
    #[error("too many fetches from this source are under way")]
    Busy,
}
