//! Events for the rest of the fleet, and for other services: moved from the catalog into a log of the broker's, in the order of their
//! numbers.
//!
//! Enters: the catalog's events. Leaves: messages, a subject a kind (`fovea.events.asset.accepted`), each an [`EventMessage`].
//!
//! Always true: what the log holds is a prefix of the catalog's events, each once and in order, however many processes relay and
//! whichever of them is killed.

mod relay;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use crate::broker::{Broker, Log, LogSettings};

pub use relay::Relay;
pub use wire::{EventMessage, number};

/// How long the log keeps events.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// For how long.
    pub max_age: Duration,
    /// Most bytes.
    pub bytes_max: u64,
}

/// The log of events. Asks nobody.
pub fn log(broker: &Broker, kept: Kept) -> Log {
    let Kept { max_age, bytes_max } = kept;
    Log::new(broker.clone(), LogSettings { name: "events", subjects: "events.>", max_age, bytes_max })
}
