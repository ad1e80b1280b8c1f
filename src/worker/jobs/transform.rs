//! `transform`: variants that somebody asked for, of an asset that is there.

use super::super::Parts;
use super::super::verdict::Verdict;
use super::variants::{self, Wanted};
use crate::base::Deadline;
use crate::queue::{Ended, Job};

/// Makes the variants.
pub async fn perform(parts: &Parts, job: &Job, wanted: Vec<String>, deadline: Deadline) -> Result<Ended, Verdict> {
    if wanted.is_empty() {
        return Err(Verdict::lasting("no-variants", "the job names no variants"));
    }
    variants::make(parts, job, Wanted { named: wanted, popular: Vec::new() }, deadline).await
}
