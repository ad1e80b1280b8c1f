//! Deadlines and cancellation, asked between steps of any long work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Idle;

/// A moment after which the answer is of no use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The moment.
    pub const fn at(self) -> Instant {
        self.0
    }

    /// What is left, zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}

/// Why work ended before its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stopped {
    /// The time for it ran out.
    #[error("the deadline passed before the work was done")]
    Deadline,
    /// Nobody waits for it any more.
    #[error("nobody waits for this work any more")]
    Cancelled,
}

/// A piece of work's leave to go on: its deadline, and whether somebody still waits. Clones share the cancellation.
#[derive(Clone, Debug)]
pub struct Work {
    deadline: Deadline,
    cancelled: Arc<AtomicBool>,
    /// Where it is done for several: whom for.
    shared: Option<Arc<[Self]>>,
    idle: Option<Arc<dyn Idle>>,
}

impl Work {
    /// Leave until the deadline.
    pub fn until(deadline: Deadline) -> Self {
        Self { deadline, cancelled: Arc::default(), shared: None, idle: None }
    }

    /// Leave for as long as any of several have it. Of none there is none.
    pub fn shared(all: Vec<Self>) -> Self {
        let last = all.iter().map(|work| work.deadline).max();
        let idle = all.iter().find_map(|work| work.idle.clone());
        Self { shared: Some(all.into()), idle, ..Self::until(last.unwrap_or(Deadline(Instant::now()))) }
    }

    /// The same leave, with threads that may take part.
    pub fn with(self, idle: Arc<dyn Idle>) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// Threads that may take part in it, if there are any.
    pub const fn idle(&self) -> Option<&Arc<dyn Idle>> {
        self.idle.as_ref()
    }

    /// Takes the leave back; the next [`Work::check`] fails.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The deadline.
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Asked between steps: whether to go on. Costs tens of nanoseconds.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(Stopped::Cancelled)
        } else if self.deadline.passed() {
            Err(Stopped::Deadline)
        } else if self.shared.as_ref().is_some_and(|all| all.iter().all(|work| work.check().is_err())) {
            Err(Stopped::Cancelled)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_for_several_goes_on_for_the_last_of_them() {
        let now = Instant::now();
        let [first, second] = [10, 20].map(|seconds| Work::until(Deadline(now + Duration::from_secs(seconds))));
        let both = Work::shared(vec![first.clone(), second.clone()]);
        assert_eq!((both.deadline(), both.check()), (second.deadline(), Ok(())));
        first.cancel();
        assert_eq!(both.check(), Ok(()));
        second.cancel();
        assert_eq!(both.check(), Err(Stopped::Cancelled));
    }
}
