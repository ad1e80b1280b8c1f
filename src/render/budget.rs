//! The memory budget: bytes are charged before they are used, and given back when the [`Charge`] drops.
//!
//! Waiting is first come, first served, with bounded overtaking: while the first in the queue does not fit, smaller ones
//! behind it may pass, at most [`OVERTAKES_MAX`] times.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Refused;
use crate::base::Deadline;

/// How often the first waiter may be passed before the queue stands still for it.
pub const OVERTAKES_MAX: u32 = 16;

/// A budget of bytes for work under way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: u64,
    waiters_max: usize,
    wait_max: Duration,
    state: Mutex<State>,
    spare: OnceLock<Spare>,
}

/// Gives back what is held for no work under way.
struct Spare(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spare")
    }
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    peak: u64,
    overtakes: u32,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    ready: oneshot::Sender<Charge>,
}

/// Bytes that are charged; dropping gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes_max`, for which at most `waiters_max` may wait, each at most `wait_max`.
    pub fn new(bytes_max: u64, waiters_max: usize, wait_max: Duration) -> Self {
        Self(Arc::new(Inner { bytes_max, waiters_max, wait_max, state: Mutex::default(), spare: OnceLock::new() }))
    }

    /// Names what gives back what is held for no work under way, once: called when somebody has to wait.
    pub fn spare_by(&self, give_back: impl Fn() + Send + Sync + 'static) {
        drop(self.0.spare.set(Spare(Box::new(give_back))));
    }

    /// Whether somebody waits.
    pub fn is_short(&self) -> bool {
        !self.0.state.lock().queue.is_empty()
    }

    /// The whole budget in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// Bytes charged now, the most that ever were, and how many wait.
    pub fn usage(&self) -> (u64, u64, usize) {
        let state = self.0.state.lock();
        (state.used, state.peak, state.queue.len())
    }

    /// Refuses what would never fit.
    pub fn check(&self, bytes: u64) -> Result<(), Refused> {
        let bytes_max = self.0.bytes_max;
        if bytes > bytes_max { Err(Refused::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Charges at once, or not at all: never passes somebody who waits beyond the bound on overtaking.
    pub fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let mut state = self.0.state.lock();
        if state.used + bytes > self.0.bytes_max {
            return None;
        }
        if !state.queue.is_empty() {
            if state.overtakes >= OVERTAKES_MAX {
                return None;
            }
            state.overtakes += 1;
        }
        state.take(bytes);
        Some(Charge { budget: self.clone(), bytes })
    }

    /// Charges, waiting for others to give back: at most until the deadline and the budget's own bound on waiting.
    pub async fn charge(&self, bytes: u64, deadline: Deadline) -> Result<Charge, Refused> {
        self.check(bytes)?;
        let waiting = {
            let mut state = self.0.state.lock();
            if state.queue.is_empty() && state.used + bytes <= self.0.bytes_max {
                state.take(bytes);
                return Ok(Charge { budget: self.clone(), bytes });
            }
            state.queue.retain(|waiter| !waiter.ready.is_closed());
            if state.queue.len() >= self.0.waiters_max {
                return Err(self.overloaded());
            }
            let (ready, waiting) = oneshot::channel();
            state.queue.push_back(Waiter { bytes, ready });
            waiting
        };
        if let Some(spare) = self.0.spare.get() {
            (spare.0)();
        }
        self.admit();
        match tokio::time::timeout(self.0.wait_max.min(deadline.left()), waiting).await {
            Ok(Ok(charge)) => Ok(charge),
            Ok(Err(_)) | Err(_) if deadline.passed() => Err(Refused::Deadline),
            Ok(Err(_)) | Err(_) => Err(self.overloaded()),
        }
    }

    fn overloaded(&self) -> Refused {
        Refused::Overloaded { retry_after: self.0.wait_max.clamp(Duration::from_secs(1), Duration::from_secs(10)) }
    }

    /// Hands what is free to those who wait. A charge whose receiver has left comes back by its drop, which would lock
    /// again, so the sends happen outside of the lock.
    fn admit(&self) {
        loop {
            let (waiter, charge) = {
                let mut state = self.0.state.lock();
                state.queue.retain(|waiter| !waiter.ready.is_closed());
                let free = self.0.bytes_max - state.used;
                let Some(at) = state.queue.iter().position(|waiter| waiter.bytes <= free) else { return };
                if at == 0 {
                    state.overtakes = 0;
                } else if state.overtakes >= OVERTAKES_MAX {
                    return;
                } else {
                    state.overtakes += 1;
                }
                let waiter = state.queue.remove(at).expect("the position was just found");
                state.take(waiter.bytes);
                let charge = Charge { budget: self.clone(), bytes: waiter.bytes };
                (waiter, charge)
            };
            drop(waiter.ready.send(charge));
        }
    }
}

impl State {
    fn take(&mut self, bytes: u64) {
        self.used += bytes;
        self.peak = self.peak.max(self.used);
    }
}

impl Charge {
    /// How many bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but so many bytes.
    pub fn shrink(&mut self, bytes: u64) {
        if bytes < self.bytes {
            drop(self.split(self.bytes - bytes));
        }
    }

    /// Parts so many of its bytes (at most all) off into a charge of their own.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.0.state.lock().used -= self.bytes;
            self.budget.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn charges_come_back_and_waiters_are_served_in_order() {
        let budget = Budget::new(100, 8, Duration::from_secs(1));
        let first = budget.charge(80, soon()).await.unwrap();
        assert!(budget.try_charge(30).is_none());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(90, soon()).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(budget.usage(), (80, 80, 1));
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert_eq!((second.bytes(), budget.usage().0), (90, 90));
        drop(second);
        assert_eq!(budget.usage().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_fits_is_refused_at_once_and_waiting_is_bounded() {
        let budget = Budget::new(100, 1, Duration::from_secs(1));
        assert!(matches!(budget.charge(101, soon()).await, Err(Refused::TooLarge { bytes: 101, bytes_max: 100 })));
        let _all = budget.charge(100, soon()).await.unwrap();
        let queued = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(1, soon()).await }
        });
        tokio::task::yield_now().await;
        assert!(matches!(budget.charge(1, soon()).await, Err(Refused::Overloaded { .. })), "the queue is full");
        assert!(matches!(queued.await.unwrap(), Err(Refused::Overloaded { .. })), "waiting ends after a second");
    }

    #[tokio::test(start_paused = true)]
    async fn overtaking_is_bounded() {
        let budget = Budget::new(100, 1000, Duration::from_secs(1));
        let held = budget.charge(60, soon()).await.unwrap();
        let large = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(100, soon()).await.map(|charge| charge.bytes()) }
        });
        tokio::task::yield_now().await;
        let passed = (0..100).filter(|_| budget.try_charge(10).is_some()).count();
        assert_eq!(passed as u32, OVERTAKES_MAX);
        drop(held);
        assert_eq!(large.await.unwrap().unwrap(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_left_holds_nothing() {
        let budget = Budget::new(100, 10, Duration::from_secs(1));
        let held = budget.charge(100, soon()).await.unwrap();
        let gone = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(100, soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        gone.abort();
        drop(gone.await);
        drop(held);
        assert_eq!(budget.charge(100, soon()).await.unwrap().bytes(), 100);
    }
}
