//! The one door from async to the CPU: admission by bytes and deadline, a pool of threads, cancellation.
//!
//! Enters: a [`Job`]: an [`Order`] for a variant (the bytes of an original or of one of its mezzanines, a plan, the category's
//! [`Look`]), or the [`Making`] of an original's mezzanines. Leaves: what came out of it.
//!
//! Always true: memory is charged before it is used, and waiting work holds none.

mod album;
pub mod animation;
pub mod budget;
pub mod family;
pub mod form;
pub mod mezzanine;
pub mod order;
pub mod pool;
mod siblings;
pub mod still;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use budget::{Budget, Charge};
pub use form::Form;
pub use mezzanine::Making;
pub use order::{Look, Order, Qualities, Rendered, Target};
pub use pool::{Pool, Urgency};
pub use siblings::Seat;

use bytes::Bytes;

use self::siblings::Siblings;
use crate::base::{AssetDigest, Stage, Stopped, Work};
use crate::{decode, encode, transform};

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
    /// The job panicked: a defect of ours.
    #[error("the work failed by a defect of the engine")]
    Panicked,
}

/// What can go wrong with a render.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Admission.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The original.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// The plan against this original.
    #[error(transparent)]
    Transform(#[from] transform::Error),
    /// The result.
    #[error(transparent)]
    Encode(#[from] encode::Error),
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        Self::Refused(stopped.into())
    }
}

/// Work on an encoded picture, for the pool.
pub trait Job: Send + 'static {
    /// What comes out.
    type Output: Send + 'static;
    /// An upper bound of the bytes that it holds at once beside its source, its output included.
    fn bytes_of_work(&self) -> Result<u64, Error>;
    /// The encoded picture.
    fn source(&self) -> &Bytes;
    /// Does it, on the caller's thread, after having waited so long for one.
    fn run(self, waited: Duration, work: &Work) -> Result<Self::Output, Error>;
}

/// The budget and the pool. One a process.
#[derive(Debug)]
pub struct Renderer {
    budget: Budget,
    pool: Arc<Pool>,
    siblings: Arc<Siblings>,
}

impl Renderer {
    /// Of a budget and a pool.
    pub fn new(budget: Budget, pool: Pool) -> Self {
        let pool = Arc::new(pool);
        let siblings = Siblings::new(pool.clone(), budget.clone());
        let held = Arc::downgrade(&siblings);
        budget.spare_by(move || {
            if let Some(siblings) = held.upgrade() {
                siblings.forget();
            }
        });
        Self { budget, siblings, pool }
    }

    /// A seat for who is on the way to a variant of an original; see [`Renderer::variant`].
    pub fn seat(&self, original: AssetDigest) -> Seat {
        self.siblings.seat(original)
    }

    /// Makes a variant, together with those of the same original that are wanted at the same time: they share a decode where their
    /// bytes stay what they are alone. `charge` covers at least [`Job::bytes_of_work`].
    pub async fn variant(
        &self,
        order: Order,
        charge: Charge,
        urgency: Urgency,
        work: &Work,
        seat: &Seat,
    ) -> Result<Rendered, Error> {
        seat.render(order, charge, urgency, work).await
    }

    /// The memory budget, which source bodies are charged to as well.
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Does the job. `charge` covers at least [`Job::bytes_of_work`]; it is given back when the work ends, also when the caller
    /// has left in between.
    pub async fn perform<J: Job>(
        &self,
        job: J,
        charge: Charge,
        urgency: Urgency,
        work: &Work,
    ) -> Result<J::Output, Error> {
        let queued = Instant::now();
        let (leave, span) = (work.clone().with(self.pool.spare(urgency)), tracing::Span::current());
        let outcome = self.pool.run(urgency, work, move || {
            let _span = span.entered();
            let result = job.run(queued.elapsed(), &leave);
            drop(charge);
            result
        });
        outcome.await?
    }

    /// Runs other work on the pool, for somebody who waits: header probes of large files, digests.
    pub async fn run<T, F>(&self, work: &Work, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Work) -> Result<T, Error> + Send + 'static,
    {
        let leave = work.clone();
        self.pool.run(Urgency::Live, work, move || job(&leave)).await?
    }
}

/// Times a stage.
pub(crate) fn timed<T>(stages: &mut crate::base::Stages, stage: Stage, job: impl FnOnce() -> T) -> T {
    let _span = tracing::info_span!("stage", otel.name = stage.name()).entered();
    let begun = Instant::now();
    let result = job();
    noted(stages, stage, begun.elapsed());
    result
}

/// Adds a stage's time.
pub(crate) fn noted(stages: &mut crate::base::Stages, stage: Stage, time: Duration) {
    stages.add(stage, time);
    metrics::histogram!("fovea_render_stage_seconds", "stage" => stage.name()).record(time);
}

/// A shared header, so that orders are cheap to make.
pub type SharedHeader = Arc<decode::Header>;
