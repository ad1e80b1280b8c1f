//! When a failed try is repeated, and when not.

use std::time::Duration;

use super::{Ended, Retrying};

/// When a failed try is repeated: once at once, which counts as no retry, then after 5, 10 and 20 s.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Retries after a pause; with none there is not even the one at once.
    pub retries_max: u32,
    /// The pause before each of them; beyond the last one it doubles.
    pub pauses: Vec<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { retries_max: 3, pauses: [5, 10, 20].map(Duration::from_secs).to_vec() }
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
        if tries == 0 || self.retries_max == 0 || tries - 1 > self.retries_max {
            return None;
        }
        let Some(at) = (tries as usize).checked_sub(2) else { return Some(Duration::ZERO) };
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
        let seconds = |backoff: &Backoff| {
            (0..8).map(|tries| backoff.pause(tries, 0.5).map(|pause| pause.as_secs())).collect::<Vec<_>>()
        };
        let usual = [None, Some(0), Some(5), Some(10), Some(20), None, None, None];
        assert_eq!(seconds(&Backoff::default()), usual);
        let backoff = Backoff { retries_max: 5, ..Backoff::default() };
        assert_eq!(seconds(&backoff), [None, Some(0), Some(5), Some(10), Some(20), Some(40), Some(80), None]);
        assert_eq!(seconds(&Backoff { retries_max: 0, ..Backoff::default() }), [None; 8]);
        let (least, most) = (backoff.pause(2, 0.0).unwrap(), backoff.pause(2, 1.0).unwrap());
        assert_eq!((least.as_millis(), most.as_millis()), (4000, 6000));
    }

    #[test]
    fn a_broken_image_is_not_tried_again() {
        let failure = |passing| Failure { code: "x".to_owned(), error: "y".to_owned(), passing };
        let backoff = Backoff::default();
        assert!(matches!(backoff.after(1, failure(true)), Ended::Retry(Retrying { delay_ms: 0, .. })));
        assert!(matches!(backoff.after(1, failure(false)), Ended::Failed { .. }));
        assert!(matches!(backoff.after(5, failure(true)), Ended::Failed { .. }));
    }
}
