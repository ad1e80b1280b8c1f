//! What jobs do, a file a kind.

mod assemble;
mod cleanup;
mod delete;
mod inspect;
mod mezzanine;
mod partition;
mod prewarm;
mod purge;
mod reprocess;
mod tiles;
mod transform;
mod variants;

use std::sync::Arc;

use super::Parts;
use super::verdict::{Verdict, of_catalog};
use crate::base::Deadline;
use crate::queue::{Ended, Job, Subject, Task};

/// After which part of its time a try gives its place up that others can go on with.
const TURN: f64 = 0.5;

/// Which part of its time is for the work: what one piece takes too long for is noted before the try itself is over.
const WORK: f64 = 0.9;

/// When a try goes on that met a failure which may pass, after it had come further.
const PAUSE_MS: u64 = 1000;

/// One try of a job: how it goes on, or why it does not.
pub async fn perform(parts: Arc<Parts>, job: Job, deadline: Deadline) -> Result<Ended, Verdict> {
    match Task::of(&job).map_err(of_catalog)? {
        Task::Inspect { variants, prewarm } => inspect::perform(&parts, &job, variants, prewarm, deadline).await,
        Task::Mezzanine {} => mezzanine::perform(&parts, &job, deadline).await,
        Task::Prewarm { variants, popular } => prewarm::perform(&parts, &job, variants, popular, deadline).await,
        Task::Transform { variants } => transform::perform(&parts, &job, variants, deadline).await,
        Task::Delete {} => delete::perform(&parts, &job).await,
        Task::Purge {} => purge::perform(&parts, &job).await,
        Task::Reprocess { category, after } => reprocess::perform(&parts, &job, &category, after).await,
        Task::Partition { category, after, upto } => {
            partition::perform(&parts, &job, partition::Stretch { category, after, upto }, deadline).await
        }
        Task::Tiles { tile, format, level, from, count } => {
            tiles::perform(&parts, &job, tiles::Stretch { tile, format, level, from, count }, deadline).await
        }
        Task::Assemble { tile, format } => assemble::perform(&parts, &job, tile, &format).await,
        Task::Cleanup { what } => cleanup::perform(&parts, what).await,
    }
}

/// What a job is about, which its kind cannot do without.
fn subject(job: &Job) -> Result<&Subject, Verdict> {
    job.subject.as_ref().ok_or_else(|| Verdict::lasting("no-subject", "the job is about no asset"))
}

/// When a try gives its place up, and until when its work may take.
fn turn(deadline: Deadline) -> (Deadline, Deadline) {
    (Deadline::after(deadline.left().mul_f64(TURN)), Deadline::after(deadline.left().mul_f64(WORK)))
}

/// A job that is done, with nothing to show.
fn done() -> Ended {
    Ended::Completed { result: serde_json::json!({}), follow: Vec::new() }
}
