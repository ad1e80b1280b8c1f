//! The story of a request: memory, derivative store, or made now; and the union of the rooms' errors.
//!
//! Enters: a checked [`plan::Request`] and what the client said of itself. Leaves: an [`Answer`].
//!
//! Always true: identical misses that overlap are made once, and what nobody waits for is not made.

mod awaited;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::base::{Digest, Format, Size, Stages};
use crate::plan::{self, Bucket};
use crate::{decode, encode, render, source, transform};

pub use awaited::{Component, Origin, Purge, Purged, State};

/// What the client said of itself, as far as the category looks at it.
#[derive(Clone, PartialEq, Debug)]
pub struct Client {
    /// What it can show, from `Accept`.
    pub bucket: Bucket,
    /// `Sec-CH-Width` or `Width`, in physical pixels, where the category takes hints.
    pub width: Option<u32>,
    /// `Sec-CH-DPR` or `DPR` in hundredths, where the category takes hints.
    pub dpr: Option<u16>,
    /// `Save-Data: on`, where the category takes hints.
    pub save_data: bool,
    /// Its address, for the rate limit on misses.
    pub address: Option<IpAddr>,
    /// What is passed on to the source.
    pub context: source::Context,
}

/// How a category's answers are to be sent; `http` makes headers of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// max-age of versioned URLs.
    pub max_age: Duration,
    /// max-age of `v0`.
    pub latest_max_age: Duration,
    /// max-age of URLs with a preset, since presets can change.
    pub preset_max_age: Duration,
    /// `stale-while-revalidate`, where set.
    pub stale_while_revalidate: Option<Duration>,
    /// Whether client hints and `Save-Data` are looked at.
    pub client_hints: bool,
    /// Origins for CORS: none, `*`, or a list.
    pub cors: Vec<String>,
    /// Whether several formats can be an answer to `auto`, so that `Accept` is looked at.
    pub negotiates: bool,
}

/// Bytes that can be sent, with everything that headers need.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The body.
    pub bytes: Bytes,
    /// Media type.
    pub content_type: &'static str,
    /// The strong validator, quoted: BLAKE3 of the bytes.
    pub etag: String,
    /// When it was made, or the original was last changed; whole seconds.
    pub modified: SystemTime,
    /// The picture's size; none for JSON.
    pub size: Option<Size>,
    /// The format; none for JSON.
    pub format: Option<Format>,
    /// The encoder's quality, where it has one.
    pub quality: Option<u8>,
    /// Whether the original was broken and this is what could be saved of it.
    pub damaged: bool,
    /// The engine's revision that made it.
    pub engine: u32,
}

/// Where an answer came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// The memory cache.
    Memory,
    /// The derivative store.
    Store,
    /// Made for this request.
    Miss,
    /// Made for another request that was under way.
    Collapsed,
    /// The source itself (originals).
    Source,
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What to send.
    pub entry: Arc<Entry>,
    /// Where it came from.
    pub phase: Phase,
    /// Where the time went.
    pub stages: Stages,
    /// The variant's key, for logs.
    pub key: Digest,
}

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
    /// A defect of ours: a task that panicked.
    #[error("an internal error: {0}")]
    Internal(Arc<str>),
}
