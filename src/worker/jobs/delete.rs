//! `delete`: an asset or a version goes, everywhere. A saga: what was made of it, then its originals, then its rows; each step can
//! be done again, so that a crash between two costs a repeat and no more. While the store is away it waits. One that fails for good before
//! an original is gone is taken back.

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve, of_store};
use super::purge::taken;
use super::{done, subject};
use crate::catalog::Version;
use crate::plan::asset_path;
use crate::queue::{Ended, Failure, Job};
use crate::serve::Purge;

/// Takes it away.
pub async fn perform(parts: &Parts, job: &Job) -> Result<Ended, Verdict> {
    let doomed = parts.catalog.doomed(job).await.map_err(of_catalog)?;
    let mut gone = 0;
    match take_away(parts, job, &doomed, &mut gone).await {
        Ok(()) => {
            parts.catalog.finish_delete(job).await.map_err(of_catalog)?;
            Ok(done())
        }
        Err(verdict) => {
            let verdict = verdict.patient();
            if gone == 0 && gives_up(parts, job, &verdict) {
                parts.catalog.undo_delete(job).await.map_err(of_catalog)?;
            }
            Err(verdict)
        }
    }
}

async fn take_away(parts: &Parts, job: &Job, doomed: &[Version], gone: &mut usize) -> Result<(), Verdict> {
    purge(parts, job).await?;
    let Some(originals) = &parts.originals else { return Ok(()) };
    for version in doomed {
        originals.delete(&version.store_key).await.map_err(|error| of_store(&error))?;
        *gone += 1;
    }
    // What was under way when the originals went may have been kept since.
    purge(parts, job).await
}

async fn purge(parts: &Parts, job: &Job) -> Result<(), Verdict> {
    let subject = subject(job)?;
    let (category, id) = (&subject.category, &subject.asset);
    let purges = match &subject.version {
        None => vec![Purge::Asset { category: category.clone(), id: id.clone() }],
        Some(version) => {
            let made = parts.catalog.variants(None, category, id, Some(version)).await.map_err(of_catalog)?;
            let last = made.into_iter().map(|variant| variant.variant).chain(["info.json".to_owned()]);
            last.map(|last| Purge::Url(asset_path(category, id, version, &last))).collect()
        }
    };
    for purge in purges {
        let purged = parts.origin.purge(&purge).await.map_err(|error| of_serve(&error, category))?;
        taken(&purged)?;
    }
    Ok(())
}

/// Whether the job will not be tried again after this.
fn gives_up(parts: &Parts, job: &Job, verdict: &Verdict) -> bool {
    let last_try = parts.queue.settings().backoff.pause(job.attempts, 0.5).is_none();
    match verdict {
        Verdict::Failed(Failure { passing, .. }, to_blame) => {
            !passing || (last_try && to_blame.as_ref().is_none_or(|one| parts.board.open_after_failure(one).is_none()))
        }
        Verdict::Wait(_) => false,
    }
}
