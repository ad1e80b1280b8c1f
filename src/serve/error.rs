//! Why there is no answer.

use std::sync::Arc;
use std::time::Duration;

use crate::{catalog, decode, encode, plan, render, source, transform};

/// Why there is no answer; the union of the rooms' errors. Clones are cheap: a flight's failure goes to all who wait.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The URL names a category that is not configured.
    #[error("no category named {0:?} is configured")]
    NoCategory(String),
    /// The URL.
    #[error(transparent)]
    Plan(Arc<plan::Error>),
    /// The version is not the asset's.
    #[error("the asset has no such version")]
    NoVersion,
    /// The source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The catalog of uploaded originals.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The original's bytes.
    #[error(transparent)]
    Decode(Arc<decode::Error>),
    /// The plan does not fit this picture.
    #[error(transparent)]
    Transform(Arc<transform::Error>),
    /// The encoder.
    #[error(transparent)]
    Encode(Arc<encode::Error>),
    /// Memory, threads or time.
    #[error(transparent)]
    Render(#[from] render::Refused),
    /// Too many misses from this client.
    #[error("too many new variants asked for from this address")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The derivative store did not take what was made ahead of time. What a request waits for is answered all the same.
    #[error("the derivative store failed: {0}")]
    Store(Arc<str>),
    /// A defect of ours: a task that panicked.
    #[error("an internal error: {0}")]
    Internal(Arc<str>),
}

impl From<plan::Error> for Error {
    fn from(error: plan::Error) -> Self {
        Self::Plan(Arc::new(error))
    }
}

impl From<decode::Error> for Error {
    fn from(error: decode::Error) -> Self {
        match error {
            decode::Error::Stopped(stopped) => Self::Render(stopped.into()),
            other => Self::Decode(Arc::new(other)),
        }
    }
}

impl From<transform::Error> for Error {
    fn from(error: transform::Error) -> Self {
        match error {
            transform::Error::Stopped(stopped) => Self::Render(stopped.into()),
            other => Self::Transform(Arc::new(other)),
        }
    }
}

impl From<encode::Error> for Error {
    fn from(error: encode::Error) -> Self {
        match error {
            encode::Error::Stopped(stopped) => Self::Render(stopped.into()),
            other => Self::Encode(Arc::new(other)),
        }
    }
}

impl From<render::Error> for Error {
    fn from(error: render::Error) -> Self {
        match error {
            render::Error::Refused(error) => Self::Render(error),
            render::Error::Decode(error) => error.into(),
            render::Error::Transform(error) => error.into(),
            render::Error::Encode(error) => error.into(),
        }
    }
}

impl Error {
    /// For how long the failure is worth remembering: what the original or the URL is to blame for, briefly; what may pass any
    /// moment, hardly or not at all.
    pub(super) fn remembered(&self, negative: Duration) -> Option<Duration> {
        const MOMENT: Duration = Duration::from_secs(1);
        match self {
            Self::NoVersion | Self::Decode(_) | Self::Transform(_) => Some(negative),
            Self::Source(source::Error::NotFound | source::Error::TooLarge { .. } | source::Error::Forbidden(_)) => {
                Some(negative)
            }
            Self::Render(render::Refused::TooLarge { .. }) => Some(negative),
            Self::Source(source::Error::Timeout | source::Error::Unavailable(_)) => Some(negative.min(MOMENT)),
            Self::NoCategory(_)
            | Self::Plan(_)
            | Self::Source(source::Error::Loop | source::Error::BreakerOpen { .. } | source::Error::Busy)
            | Self::Catalog(_)
            | Self::Encode(_)
            | Self::Render(_)
            | Self::RateLimited { .. }
            | Self::Store(_)
            | Self::Internal(_) => None,
        }
    }
}
