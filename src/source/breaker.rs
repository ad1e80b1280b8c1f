//! The circuit breaker: a source that keeps failing is left alone for a while, then tried with care.
//!
//! ```text
//! closed --failures in a row--> open --after a while--> half-open --successes--> closed
//!                                 ^------- a failure -------'
//! ```
//!
//! "There is no such original" is an answer like any other, so it is a success. A fetch counts when its body has been
//! read; one that nobody reads to its end counts neither way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::watched::{self, Watcher};
use super::{Backend, Context, Error, Fault, Original, OriginalMeta, meters};
use crate::base::Deadline;

/// When the breaker opens, and when it closes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open.
    pub open_for: Duration,
    /// Successes while half-open that close it; also how many fetches are let through at once then.
    pub successes: u32,
    /// A timeout counts against the source only when it had at least this long.
    pub fair_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30), successes: 2, fair_time: Duration::from_secs(1) }
    }
}

/// What the breaker does with the next fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Lets it through.
    Closed = 0,
    /// Lets a few through, to see.
    HalfOpen = 1,
    /// Refuses it.
    Open = 2,
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
    /// Counts changes of phase: what began in an earlier one says nothing in this one.
    era: u64,
}

/// A backend with a breaker before it.
#[derive(Clone, Debug)]
pub struct Breaker {
    backend: Arc<dyn Backend>,
    settings: Settings,
    inner: Arc<Mutex<Inner>>,
    category: Arc<str>,
}

impl Breaker {
    /// Around a backend; closed.
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, category: Arc<str>) -> Self {
        meters::breaker(&category, State::Closed);
        let inner = Inner { phase: Phase::Closed { failures: 0 }, era: 0 };
        Self { backend, settings, inner: Arc::new(Mutex::new(inner)), category }
    }

    /// What it does now.
    pub fn state(&self) -> State {
        match self.inner.lock().phase {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Open { until } if until <= Instant::now() => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        }
    }

    /// As if so much time had passed since it opened.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        if let Phase::Open { until } = &mut self.inner.lock().phase {
            *until -= by;
        }
    }

    /// Leave for one fetch, or after how long to ask again.
    fn admit(&self) -> Result<Leave, Fault> {
        let refuse = |retry_after| Err(Fault::Own(Error::BreakerOpen { retry_after }));
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if let Phase::Open { until } = inner.phase {
            if now < until {
                return refuse(until - now);
            }
            self.change(&mut inner, Phase::HalfOpen { successes: 0, under_way: 0 });
        }
        if let Phase::HalfOpen { successes, under_way } = &mut inner.phase {
            if *successes + *under_way >= self.settings.successes.max(1) {
                return refuse(self.settings.fair_time);
            }
            *under_way += 1;
        }
        Ok(Leave { breaker: self.clone(), era: inner.era, since: now, settled: false })
    }

    fn settle(&self, era: u64, how: How) {
        let mut inner = self.inner.lock();
        if inner.era != era {
            return;
        }
        let next = match (&mut inner.phase, how) {
            (Phase::Open { .. }, _) | (Phase::Closed { .. }, How::Unknown) => None,
            (Phase::Closed { failures }, How::Well) => {
                *failures = 0;
                None
            }
            (Phase::Closed { failures }, How::Ill) => {
                *failures += 1;
                (*failures >= self.settings.failures.max(1)).then(|| self.opened())
            }
            (Phase::HalfOpen { under_way, .. }, How::Unknown) => {
                *under_way -= 1;
                None
            }
            (Phase::HalfOpen { successes, under_way }, How::Well) => {
                *under_way -= 1;
                *successes += 1;
                (*successes >= self.settings.successes.max(1)).then_some(Phase::Closed { failures: 0 })
            }
            (Phase::HalfOpen { .. }, How::Ill) => Some(self.opened()),
        };
        if let Some(next) = next {
            self.change(&mut inner, next);
        }
    }

    fn opened(&self) -> Phase {
        Phase::Open { until: Instant::now() + self.settings.open_for }
    }

    fn change(&self, inner: &mut Inner, next: Phase) {
        let state = match next {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        };
        inner.phase = next;
        inner.era += 1;
        meters::breaker(&self.category, state);
        match state {
            State::Open => tracing::warn!(category = %self.category, "a source fails again and again; left alone"),
            State::Closed => tracing::info!(category = %self.category, "a source is well again"),
            State::HalfOpen => {}
        }
    }
}

impl Backend for Breaker {
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(async move {
            let leave = self.admit()?;
            match self.backend.open(id, context, deadline).await {
                Ok(original) => Ok(watched::watch(original, leave)),
                Err(fault) => Err(leave.failed(fault)),
            }
        })
    }

    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(async move {
            let leave = self.admit()?;
            match self.backend.stat(id, context, deadline).await {
                Ok(meta) => {
                    leave.settle(How::Well);
                    Ok(meta)
                }
                Err(fault) => Err(leave.failed(fault)),
            }
        })
    }
}

/// What a fetch says of the source.
#[derive(Clone, Copy)]
enum How {
    Well,
    Ill,
    Unknown,
}

/// Leave for one fetch. Dropped unsettled, it says nothing.
struct Leave {
    breaker: Breaker,
    era: u64,
    since: Instant,
    settled: bool,
}

impl Leave {
    fn settle(mut self, how: How) {
        self.settled = true;
        self.breaker.settle(self.era, how);
    }

    fn failed(self, fault: Fault) -> Fault {
        let how = match &fault {
            Fault::Answer(_) => How::Well,
            Fault::Source(error) => self.blame(error),
            Fault::Own(_) => How::Unknown,
        };
        self.settle(how);
        fault
    }

    /// Whether an error in mid-body or before is the source's fault.
    fn blame(&self, error: &Error) -> How {
        match error {
            Error::Timeout if self.since.elapsed() < self.breaker.settings.fair_time => How::Unknown,
            Error::Timeout | Error::Unavailable(_) => How::Ill,
            _ => How::Well,
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.settle(self.era, How::Unknown);
        }
    }
}

impl Watcher for Leave {
    fn ended(self, how: Result<(), &Error>) {
        let how = how.map_or_else(|error| self.blame(error), |()| How::Well);
        self.settle(how);
    }
}
