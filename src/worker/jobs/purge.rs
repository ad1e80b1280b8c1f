//! `purge`: what was made of an asset is forgotten; it is made again when asked for.

use super::super::Parts;
use super::super::verdict::{Verdict, of_serve};
use super::{done, subject};
use crate::queue::{Dependency, Ended, Job};
use crate::serve::Purge;

/// Forgets it.
pub async fn perform(parts: &Parts, job: &Job) -> Result<Ended, Verdict> {
    let subject = subject(job)?;
    let purge = Purge::Asset { category: subject.category.clone(), id: subject.asset.clone() };
    let purged = parts.origin.purge(&purge).await.map_err(|error| of_serve(&error, &subject.category))?;
    if purged.stored {
        Ok(done())
    } else {
        let what = "the derivative store did not take the purge";
        Err(Verdict::passing("store-unavailable", what, Some(Dependency::Store)))
    }
}
