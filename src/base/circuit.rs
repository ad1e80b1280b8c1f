//! The circuit breaker's states, whatever it protects: what keeps failing is left alone for a while, then tried with care.
//!
//! ```text
//! closed --failures in a row--> open --after a while--> half-open --successes--> closed
//!                                 ^------- a failure -------'
//! ```

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When a circuit opens, and when it closes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CircuitSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open.
    pub open_for: Duration,
    /// Successes while half-open that close it; also how many are let through at once then.
    pub successes: u32,
    /// When to ask again while others try with care.
    pub ask_again: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        let open_for = Duration::from_secs(30);
        Self { failures: 5, open_for, successes: 2, ask_again: Duration::from_secs(1) }
    }
}

/// What a circuit does with the next one who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CircuitState {
    /// Lets it through.
    Closed = 0,
    /// Lets a few through, to see.
    HalfOpen = 1,
    /// Refuses it.
    Open = 2,
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Went {
    /// Well.
    Well,
    /// Ill, by the fault of what is protected.
    Ill,
    /// It says nothing.
    Unknown,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    HalfOpen { successes: u32, under_way: u32 },
    Open { until: Instant },
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    era: u64,
}

/// A circuit. The caller says what time it is.
#[derive(Debug)]
pub struct Circuit {
    settings: CircuitSettings,
    inner: Mutex<Inner>,
}

impl Circuit {
    /// A closed one.
    pub const fn new(settings: CircuitSettings) -> Self {
        Self { settings, inner: Mutex::new(Inner { phase: Phase::Closed { failures: 0 }, era: 0 }) }
    }

    /// What it does now.
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.inner.lock().phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            Phase::Open { until } if until <= now => CircuitState::HalfOpen,
            Phase::Open { .. } => CircuitState::Open,
        }
    }

    /// How long until somebody may try again; none where it may be tried now.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.inner.lock().phase {
            Phase::Open { until } if now < until => Some(until - now),
            Phase::Open { .. } | Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// How long nobody may try after one more failure; none where it would stay closed.
    pub fn open_after_failure(&self, now: Instant) -> Option<Duration> {
        match self.inner.lock().phase {
            Phase::Open { until } if now < until => Some(until - now),
            Phase::Closed { failures } if failures + 1 < self.settings.failures.max(1) => None,
            Phase::Open { .. } | Phase::Closed { .. } | Phase::HalfOpen { .. } => Some(self.settings.open_for),
        }
    }

    /// As if so much time had passed since it opened.
    pub fn age(&self, by: Duration) {
        if let Phase::Open { until } = &mut self.inner.lock().phase {
            *until -= by;
        }
    }

    /// Leave to try, as the era to settle it in, and the state where that changes by it; or after how long to ask again.
    pub fn admit(&self, now: Instant) -> Result<(u64, Option<CircuitState>), Duration> {
        let mut inner = self.inner.lock();
        let mut changed = None;
        if let Phase::Open { until } = inner.phase {
            if now < until {
                return Err(until - now);
            }
            changed = Some(inner.change(Phase::HalfOpen { successes: 0, under_way: 0 }));
        }
        if let Phase::HalfOpen { successes, under_way } = &mut inner.phase {
            if *successes + *under_way >= self.settings.successes.max(1) {
                return Err(self.settings.ask_again);
            }
            *under_way += 1;
        }
        Ok((inner.era, changed))
    }

    /// Says how it went; answers the state where that changes by it. What began in an earlier era says nothing in this one.
    pub fn settle(&self, era: u64, went: Went, now: Instant) -> Option<CircuitState> {
        let mut inner = self.inner.lock();
        if inner.era != era {
            return None;
        }
        let opened = || Phase::Open { until: now + self.settings.open_for };
        let next = match (&mut inner.phase, went) {
            (Phase::Open { .. }, _) | (Phase::Closed { .. }, Went::Unknown) => None,
            (Phase::Closed { failures }, Went::Well) => {
                *failures = 0;
                None
            }
            (Phase::Closed { failures }, Went::Ill) => {
                *failures += 1;
                (*failures >= self.settings.failures.max(1)).then(opened)
            }
            (Phase::HalfOpen { under_way, .. }, Went::Unknown) => {
                *under_way -= 1;
                None
            }
            (Phase::HalfOpen { successes, under_way }, Went::Well) => {
                *under_way -= 1;
                *successes += 1;
                (*successes >= self.settings.successes.max(1)).then_some(Phase::Closed { failures: 0 })
            }
            (Phase::HalfOpen { .. }, Went::Ill) => Some(opened()),
        };
        next.map(|next| inner.change(next))
    }
}

impl Inner {
    fn change(&mut self, next: Phase) -> CircuitState {
        let state = match next {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            Phase::Open { .. } => CircuitState::Open,
        };
        self.phase = next;
        self.era += 1;
        state
    }
}
