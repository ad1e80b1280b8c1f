//! The circuit breaker: a source that keeps failing is left alone for a while, then tried with care.
//!
//! Its states are [`Circuit`]'s.
//!
//! "There is no such original" is an answer like any other, so it is a success. A fetch counts when its body has been
//! read; one that nobody reads to its end counts neither way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::watched::{self, Watcher};
use super::{Backend, Context, Error, Fault, Original, OriginalMeta, meters};
pub use crate::base::CircuitState as State;
use crate::base::{Circuit, CircuitSettings, Deadline, Went};

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

/// A backend with a breaker before it.
#[derive(Clone, Debug)]
pub struct Breaker {
    backend: Arc<dyn Backend>,
    fair_time: Duration,
    circuit: Arc<Circuit>,
    category: Arc<str>,
}

impl Breaker {
    /// Around a backend; closed.
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, category: Arc<str>) -> Self {
        meters::breaker(&category, State::Closed);
        let Settings { failures, open_for, successes, fair_time } = settings;
        let circuit = Circuit::new(CircuitSettings { failures, open_for, successes, ask_again: fair_time });
        Self { backend, fair_time, circuit: Arc::new(circuit), category }
    }

    /// What it does now.
    pub fn state(&self) -> State {
        self.circuit.state(Instant::now().into_std())
    }

    /// As if so much time had passed since it opened.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        self.circuit.age(by);
    }

    /// Leave for one fetch, or after how long to ask again.
    fn admit(&self) -> Result<Leave, Fault> {
        let now = Instant::now();
        match self.circuit.admit(now.into_std()) {
            Err(retry_after) => Err(Fault::Own(Error::BreakerOpen { retry_after })),
            Ok((era, changed)) => {
                self.tell(changed);
                Ok(Leave { breaker: self.clone(), era, since: now, settled: false })
            }
        }
    }

    fn settle(&self, era: u64, went: Went) {
        self.tell(self.circuit.settle(era, went, Instant::now().into_std()));
    }

    fn tell(&self, changed: Option<State>) {
        let Some(state) = changed else { return };
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
                    leave.settle(Went::Well);
                    Ok(meta)
                }
                Err(fault) => Err(leave.failed(fault)),
            }
        })
    }
}

/// Leave for one fetch. Dropped unsettled, it says nothing.
struct Leave {
    breaker: Breaker,
    era: u64,
    since: Instant,
    settled: bool,
}

impl Leave {
    fn settle(mut self, how: Went) {
        self.settled = true;
        self.breaker.settle(self.era, how);
    }

    fn failed(self, fault: Fault) -> Fault {
        let how = match &fault {
            Fault::Answer(_) => Went::Well,
            Fault::Source(error) => self.blame(error),
            Fault::Own(_) => Went::Unknown,
        };
        self.settle(how);
        fault
    }

    /// Whether an error in mid-body or before is the source's fault.
    fn blame(&self, error: &Error) -> Went {
        match error {
            Error::Timeout if self.since.elapsed() < self.breaker.fair_time => Went::Unknown,
            Error::Timeout | Error::Unavailable(_) => Went::Ill,
            _ => Went::Well,
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.settle(self.era, Went::Unknown);
        }
    }
}

impl Watcher for Leave {
    fn ended(self, how: Result<(), &Error>) {
        let how = how.map_or_else(|error| self.blame(error), |()| Went::Well);
        self.settle(how);
    }
}
