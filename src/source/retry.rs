//! Trying again: a failed try is repeated after 2ⁿ times a base, with full jitter, as long as the deadline leaves time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{Backend, Context, Fault, Original, OriginalMeta, meters};
use crate::base::Deadline;

/// How often, and how long between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Tries altogether, at least one.
    pub tries: u32,
    /// The first wait is between nothing and this, the next between nothing and twice this, and so on.
    pub base: Duration,
    /// No wait is longer.
    pub wait_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tries: 3, base: Duration::from_secs(1), wait_max: Duration::from_secs(10) }
    }
}

/// A backend that is asked again when it is not well.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Backend>,
    settings: Settings,
    category: Arc<str>,
}

impl Retry {
    /// Around a backend.
    pub fn new(inner: Arc<dyn Backend>, settings: Settings, category: Arc<str>) -> Self {
        Self { inner, settings, category }
    }

    async fn repeat<'a, T>(
        &'a self,
        deadline: Deadline,
        once: impl Fn() -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let end = Instant::now() + deadline.left();
        let mut tried = 0;
        loop {
            let result = once().await;
            tried += 1;
            if !matches!(result, Err(Fault::Source(_))) || tried >= self.settings.tries {
                return result;
            }
            let wait = wait(&self.settings, tried - 1, fastrand::f64());
            if Instant::now() + wait >= end {
                return result;
            }
            sleep(wait).await;
            meters::retry(&self.category);
        }
    }
}

impl Backend for Retry {
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(self.repeat(deadline, move || self.inner.open(id, context, deadline)))
    }

    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(self.repeat(deadline, move || self.inner.stat(id, context, deadline)))
    }
}

/// The wait before the n-th repetition, `jitter` from 0 to 1.
pub(super) fn wait(settings: &Settings, n: u32, jitter: f64) -> Duration {
    let whole = settings.base.saturating_mul(2_u32.saturating_pow(n)).min(settings.wait_max);
    whole.mul_f64(jitter)
}
