//! Why an upload was not taken.

use std::time::Duration;

use crate::{catalog, decode, net, object};

/// Why an upload was not taken; nothing of it is left but what clean-up takes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The category is not configured, or takes no uploads.
    #[error("no category named {0:?} takes uploads")]
    NoCategory(String),
    /// No place for originals is configured.
    #[error("no place for originals is configured")]
    NoStore,
    /// The id, the file name or the key that they make cannot be kept.
    #[error("the asset's id is not possible: {0}")]
    Id(String),
    /// The body held nothing.
    #[error("the body is empty")]
    Empty,
    /// More bytes than the category takes.
    #[error("the original is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The body broke off.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// The body did not come in time.
    #[error("the body did not come in time")]
    Slow,
    /// The content is no picture that is read, or is beyond the limits.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// Too many bodies are being read.
    #[error("too many uploads are under way")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The spool's disk failed.
    #[error("the upload could not be kept while it came: {0}")]
    Spool(#[from] std::io::Error),
    /// The store.
    #[error("the store of originals: {0}")]
    Store(#[from] object::Error),
    /// The catalog, the queue's bound among it.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The URL to fetch from.
    #[error("the URL could not be fetched: {0}")]
    Fetch(#[from] net::Error),
    /// The URL to fetch from answered with something else than a picture.
    #[error("the URL answered with status {0}")]
    FetchStatus(u16),
    /// The store signs no requests for others.
    #[error("the store of originals signs no uploads; put the original through the API")]
    NoOffers,
    /// What was offered is not there yet.
    #[error("nothing was put at the signed URL yet")]
    NotPut,
    /// What was offered did not come in time.
    #[error("the upload was not completed in time, and what was put is gone; ask for another")]
    Expired,
}

impl Error {
    /// A word for the metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoCategory(_) | Self::NoStore => "category",
            Self::Id(_) => "id",
            Self::Empty => "empty",
            Self::TooLarge { .. } | Self::Decode(decode::Error::TooLarge(_)) => "too-large",
            Self::Broken(_) => "broke-off",
            Self::Slow => "slow",
            Self::Decode(decode::Error::Broken { .. }) => "broken",
            Self::Decode(_) => "unsupported",
            Self::Busy { .. } => "busy",
            Self::Spool(_) => "spool",
            Self::Store(_) => "store",
            Self::Catalog(catalog::Error::Full { .. }) => "full",
            Self::Catalog(_) => "catalog",
            Self::Fetch(_) | Self::FetchStatus(_) => "fetch",
            Self::NoOffers | Self::NotPut | Self::Expired => "not-put",
        }
    }
}
