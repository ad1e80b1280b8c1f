//! The story of a request: memory, derivative store, or made now; and the union of the rooms' errors.
//!
//! Enters: a checked [`Request`](crate::plan::Request) and what the client said of itself. Leaves: an [`Answer`].
//!
//! Always true: identical misses that overlap are made once, and what nobody waits for is not made.

mod ahead;
mod catalogued;
mod error;
mod examine;
mod fetch;
mod fleet;
mod forms;
mod health;
mod info;
mod known;
mod lead;
mod make;
mod origin;
mod purge;
mod reduced;
mod wanted;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::cache::Entry;
pub use ahead::Prepared;
pub use error::Error;
pub use examine::Examined;
pub use fleet::Store;
pub use health::{Component, State};
pub use origin::{Category, Origin, Parts};
pub use purge::{Purge, Purged};

use crate::base::{Digest, Stages};
use crate::plan::Bucket;
use crate::source;

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

impl Default for Client {
    /// A client that said nothing.
    fn default() -> Self {
        let context = source::Context::default();
        Self { bucket: Bucket::Base, width: None, dpr: None, save_data: false, address: None, context }
    }
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
