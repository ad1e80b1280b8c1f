//! What time it is: the machine's, the database's where several machines share one, or one that a test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Before a clock was told of another.
const UNTOLD: i64 = i64::MIN;

/// From when on time is counted.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What time it is, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's, until it is told what another says. From then on it is the other's, which the machine's jumps do not move: what
    /// it said at `BEGUN`.
    Machine(Arc<AtomicI64>),
    /// One that stands until it is moved.
    Still(Arc<AtomicI64>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::Machine(Arc::new(AtomicI64::new(UNTOLD)))
    }
}

impl Clock {
    /// One that stands at a moment.
    pub fn still(at_ms: i64) -> Self {
        Self::Still(Arc::new(AtomicI64::new(at_ms)))
    }

    /// The time.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Machine(told) => match told.load(Ordering::Relaxed) {
                UNTOLD => machine_ms(),
                told => told + since_begun(),
            },
            Self::Still(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Takes the time from another clock; one that a test moves does not. Answers by how much the machine's is ahead of it.
    pub fn tell(&self, now_ms: i64) -> i64 {
        if let Self::Machine(told) = self {
            told.store(now_ms - since_begun(), Ordering::Relaxed);
        }
        machine_ms() - now_ms
    }

    /// Whether it was told of another.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Machine(told) if told.load(Ordering::Relaxed) != UNTOLD)
    }

    /// Moves a clock that stands; the machine's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Self::Still(at) = self {
            at.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        }
    }
}

fn machine_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn since_begun() -> i64 {
    BEGUN.elapsed().as_millis() as i64
}
