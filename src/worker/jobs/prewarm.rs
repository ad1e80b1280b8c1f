//! `prewarm`: variants before anybody asks, those that somebody named for the asset, and those that traffic asks for.

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog};
use super::subject;
use super::variants::{self, Wanted};
use crate::base::Deadline;
use crate::plan::asset_path;
use crate::queue::{Ended, Job};

/// Makes the variants of the category's list and of the upload's, and what is popular.
pub async fn perform(
    parts: &Parts,
    job: &Job,
    named: Vec<String>,
    popular: Vec<String>,
    deadline: Deadline,
) -> Result<Ended, Verdict> {
    let ended = variants::make(parts, job, Wanted { named, popular }, deadline).await?;
    let subject = subject(job)?;
    let version = subject.version.as_deref().unwrap_or("v0");
    let path = asset_path(&subject.category, &subject.asset, version, "info.json");
    // What lies in the store is told for its sum alone; the job does not fail by it.
    match parts.origin.mezzanines_there(&path, deadline).await {
        Ok(there) => parts.catalog.record_mezzanines(job, there.bytes).await.map_err(of_catalog)?,
        Err(error) => tracing::debug!(%error, "which mezzanines are there could not be told"),
    }
    Ok(ended)
}
