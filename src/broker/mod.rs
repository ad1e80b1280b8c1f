//! The broker: NATS with JetStream, by which the processes of a cluster share a queue, events, leases and a cache. Nothing else
//! knows `async_nats`.
//!
//! Enters: settings; what is to be told. Leaves: streams and buckets, made or adjusted when they are first used.
//!
//! Always true: no process needs the broker in order to start. While it is away every call fails at once, or within its timeout,
//! and the connection is tried again for ever.

mod bucket;
mod connection;
mod error;
mod follow;
mod jobs;
mod lease;
mod log;
#[cfg(test)]
#[path = "../../tests/support/nats.rs"]
#[allow(dead_code)]
pub(crate) mod server;
mod settings;
mod streams;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, BucketSettings, Entry};
pub use connection::{Broker, State};
pub use error::Error;
pub use follow::{Begun, Following, Heard, Place, Told};
pub use jobs::{Delivery, JobMessage, Jobs, JobsSettings, Wakes};
pub use lease::{Claim, Lease, Leases, Waited, Waiting};
pub use log::{End, Log, LogSettings, Message};
pub use settings::{Settings, Tls, check_urls};
