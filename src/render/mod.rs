//! The one door from async to the CPU: admission by bytes and deadline, a pool of threads, cancellation.
//!
//! Always true: memory is charged before it is used, and waiting work holds none.

use std::time::Duration;

/// Why a render was not begun or not finished.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Larger than the whole budget: will never fit.
    #[error("the job needs {bytes} bytes of memory, more than the whole budget of {bytes_max}")]
    TooLarge {
        /// What it needs.
        bytes: u64,
        /// The budget.
        bytes_max: u64,
    },
    /// Too much is under way.
    #[error("too much work is under way")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The deadline passed.
    #[error("the work was not done in time")]
    Deadline,
    /// Nobody waits any more.
    #[error("nobody waits for this work any more")]
    Cancelled,
}
