//! `prewarm`: variants before anybody asks, those that somebody named for the asset, and those that traffic asks for.

use super::super::Parts;
use super::super::verdict::Verdict;
use super::variants::{self, Wanted};
use crate::base::Deadline;
use crate::queue::{Ended, Job};

/// Makes the variants of the category's list and of the upload's, and what is popular.
pub async fn perform(
    parts: &Parts,
    job: &Job,
    named: Vec<String>,
    popular: Vec<String>,
    deadline: Deadline,
) -> Result<Ended, Verdict> {
    variants::make(parts, job, Wanted { named, popular }, deadline).await
}
