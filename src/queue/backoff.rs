//! When a failed try is repeated, and when not.

use std::time::Duration;

use super::{Ended, Retrying};

/// When a failed try is repeated: at once, then after 5, 10 and 20 s, and so many times at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Retries after the first try.
    pub retries_max: u32,
    /// The pause before each retry; beyond the last one it doubles.
    pub pauses: Vec<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { retries_max: 3, pauses: [0, 5, 10, 20].map(Duration::from_secs).to_vec() }
    }
}

/// Pauses never grow beyond this.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How much longer or shorter a pause may be, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

/// Why a try failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// As a stable word.
    pub code: String,
    /// In plain words.
    pub error: String,
    /// Whether another try may go better. A broken image stays broken.
    pub passing: bool,
}

impl Backoff {
    /// The pause after so many failed tries; none when it was the last one. `chance` is from 0 to 1.
    pub fn pause(&self, tries: u32, chance: f64) -> Option<Duration> {
        if tries == 0 || tries > self.retries_max {
            return None;
        }
        let at = tries as usize - 1;
        let pause = match self.pauses.get(at) {
            Some(pause) => *pause,
            None => {
                let last = self.pauses.last().copied().unwrap_or(Duration::from_secs(1));
                last * 2_u32.saturating_pow((at + 1 - self.pauses.len()) as u32).min(1 << 10)
            }
        };
        Some(pause.min(PAUSE_MAX).mul_f64(1.0 + JITTER * (2.0 * chance - 1.0)))
    }

    /// What becomes of a job whose try failed: another one, or a dead letter.
    pub fn after(&self, tries: u32, failure: Failure) -> Ended {
        let Failure { code, error, passing } = failure;
        match self.pause(tries, fastrand::f64()).filter(|_| passing) {
            Some(pause) => Ended::Retry(Retrying { code, error, delay_ms: pause.as_millis() as u64 }),
            None => Ended::Failed { code, error, result: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_as_told() {
        let backoff = Backoff { retries_max: 6, ..Backoff::default() };
        let seconds = |tries| backoff.pause(tries, 0.5).map(|pause| pause.as_secs());
        assert_eq!(
            (0..8).map(seconds).collect::<Vec<_>>(),
            [None, Some(0), Some(5), Some(10), Some(20), Some(40), Some(80), None]
        );
        let (least, most) = (backoff.pause(2, 0.0).unwrap(), backoff.pause(2, 1.0).unwrap());
        assert_eq!((least.as_millis(), most.as_millis()), (4000, 6000));
    }

    #[test]
    fn a_broken_image_is_not_tried_again() {
        let failure = |passing| Failure { code: "x".to_owned(), error: "y".to_owned(), passing };
        let backoff = Backoff::default();
        assert!(matches!(backoff.after(1, failure(true)), Ended::Retry(Retrying { delay_ms: 0, .. })));
        assert!(matches!(backoff.after(1, failure(false)), Ended::Failed { .. }));
        assert!(matches!(backoff.after(4, failure(true)), Ended::Failed { .. }));
    }
}
