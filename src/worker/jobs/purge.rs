//! `purge`: what was made of an asset is forgotten; it is made again when asked for.

use std::time::Duration;

use super::super::Parts;
use super::super::verdict::{Verdict, of_serve};
use super::{done, subject};
use crate::queue::{Dependency, Ended, Job};
use crate::serve::{Purge, Purged};

/// When it is tried again to tell the other origins.
const TELL_AGAIN: Duration = Duration::from_secs(2);

/// Forgets it.
pub async fn perform(parts: &Parts, job: &Job) -> Result<Ended, Verdict> {
    let subject = subject(job)?;
    let purge = Purge::Asset { category: subject.category.clone(), id: subject.asset.clone() };
    let purged = parts.origin.purge(&purge).await.map_err(|error| of_serve(&error, &subject.category))?;
    taken(&purged).map_err(Verdict::patient)?;
    Ok(done())
}

/// Whether a purge is done with. What the other origins could not be told waits for the way to them, without a try being counted.
pub fn taken(purged: &Purged) -> Result<(), Verdict> {
    match purged {
        Purged { stored: false, .. } => {
            let what = "the derivative store did not take the purge";
            Err(Verdict::passing("store-unavailable", what, Some(Dependency::Store)))
        }
        Purged { told: false, .. } => Err(Verdict::Wait(TELL_AGAIN)),
        Purged { .. } => Ok(()),
    }
}
