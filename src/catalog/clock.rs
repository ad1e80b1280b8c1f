//! What time it is: the machine's, or one that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What time it is, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    Machine,
    /// One that stands until it is moved.
    Still(Arc<AtomicI64>),
}

impl Clock {
    /// One that stands at a moment.
    pub fn still(at_ms: i64) -> Self {
        Self::Still(Arc::new(AtomicI64::new(at_ms)))
    }

    /// The time.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Machine => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
            Self::Still(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a clock that stands; the machine's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Self::Still(at) = self {
            at.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        }
    }
}
