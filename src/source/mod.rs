//! Where originals come from: a folder, a bucket, or another HTTP origin; with retries, a circuit breaker and a bound on
//! concurrency around each.
//!
//! Enters: an asset's id, checked by `plan`. Leaves: an [`Original`], opened but not yet read, so that the caller can charge
//! its bytes before reading them.
//!
//! Always true: no address is connected to that the category does not allow, whatever a redirect or a resolver says.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;

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

/// An opened original.
pub struct Original {
    /// What is known of it.
    pub meta: OriginalMeta,
    /// Its bytes; read them with [`Original::bytes`].
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

/// What goes along with a fetch.
#[derive(Clone, PartialEq, Debug, Default)]
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
