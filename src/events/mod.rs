//! Events for the rest of the fleet, and for other services: moved from the catalog into a log of the broker's, in the order of their
//! numbers.
//!
//! Enters: the catalog's events. Leaves: messages, a subject a kind (`fovea.events.asset.accepted`), each an [`EventMessage`].
//!
//! Always true: what the log holds is a stretch of the catalog's events without a gap, each once and in order, however many processes
//! relay and whichever of them is killed. A log that was lost is made anew, and begins with events that the lost one had too.

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

/// A log that takes or brings nothing for so long, while the broker is well otherwise, is made anew.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// The log of events. Asks nobody.
pub fn log(broker: &Broker, kept: Kept) -> Log {
    Log::new(broker.clone(), settings(kept))
}

fn settings(Kept { max_age, bytes_max }: Kept) -> LogSettings {
    LogSettings { name: "events", subjects: "events.>", max_age, bytes_max, lost_after: LOST_AFTER }
}
