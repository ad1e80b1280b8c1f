//! `prewarm`: variants before anybody asks.

use super::super::Parts;
use super::super::verdict::Verdict;
use super::variants;
use crate::base::Deadline;
use crate::queue::{Ended, Job};

/// Makes the variants of the category's list and of the upload's.
pub async fn perform(parts: &Parts, job: &Job, wanted: Vec<String>, deadline: Deadline) -> Result<Ended, Verdict> {
    variants::make(parts, job, wanted, deadline).await
}
