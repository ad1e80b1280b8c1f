//! `partition`: one stretch of a category, asset by asset, each asset's variants as one family. How far it came is noted with each asset:
//! a try that is cut short, or gives its place up because its time is nearly over, is gone on with, by whichever worker is free.

use std::time::Duration;

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve};
use super::reprocess::ready;
use super::{PAUSE_MS, turn, variants};
use crate::base::Deadline;
use crate::catalog::{Asset, VariantState};
use crate::plan::asset_path;
use crate::queue::{Ended, Failure, Job};

/// Assets that are read at once.
const PAGE: u32 = 50;

/// Which assets.
pub struct Stretch {
    pub category: String,
    pub after: Option<String>,
    pub upto: String,
}

/// Makes the variants of the stretch that are left.
pub async fn perform(parts: &Parts, job: &Job, stretch: Stretch, deadline: Deadline) -> Result<Ended, Verdict> {
    let (turn, deadline) = turn(deadline);
    let last_try = parts.queue.settings().backoff.pause(job.attempts, 0.5).is_none();
    let ready = ready(&stretch.category);
    let mut failed = job.failed;
    let mut further = false;
    let mut after = job.result["at"].as_str().map(str::to_owned).or(stretch.after);
    loop {
        let page = parts.catalog.assets(parts.seen_by(job), &ready, after.as_deref(), PAGE);
        let page = page.await.map_err(of_catalog)?;
        for asset in page.items {
            if asset.id > stretch.upto {
                return Ok(ended(failed));
            }
            let at = format!("{}/{}", asset.category, asset.id);
            let well = match make(parts, job, &asset, last_try && !further, deadline).await {
                Ok(rows) => {
                    let well = rows.iter().all(|row| row.state == VariantState::Ready);
                    parts.catalog.record_step(job, rows, well, &at).await.map_err(of_catalog)?;
                    well
                }
                Err(Verdict::Failed(Failure { passing: true, .. }, _)) if further => {
                    return Ok(Ended::Released { delay_ms: PAUSE_MS });
                }
                Err(verdict) => return Err(verdict),
            };
            failed += u32::from(!well);
            further = true;
            if turn.passed() {
                return Ok(Ended::Released { delay_ms: 0 });
            }
        }
        match page.next {
            None => return Ok(ended(failed)),
            next => after = next,
        }
    }
}

/// All was looked at. Asked for again, it begins at its beginning.
fn ended(failed: u32) -> Ended {
    let result = json!({ "at": null });
    if failed == 0 {
        return Ended::Completed { result, follow: Vec::new() };
    }
    let error =
        format!("variants of {failed} of its assets could not be made; their assets' lists of variants say why");
    Ended::Failed { code: "assets-failed".to_owned(), error, result: Some(result) }
}

/// Makes what was made of an asset. What fails for good is a row that says so; so is what may pass, where this is the last try.
async fn make(
    parts: &Parts,
    job: &Job,
    asset: &Asset,
    last_try: bool,
    deadline: Deadline,
) -> Result<Vec<crate::catalog::Variant>, Verdict> {
    let (category, id, version) = (&asset.category, &asset.id, &asset.version);
    let known = parts.catalog.variants(None, category, id, Some(version)).await.map_err(of_catalog)?;
    // What could not be made before is no loss of this change's; what this job could not make it tries again.
    let known = known.into_iter().filter(|variant| variant.state == VariantState::Ready || variant.job == job.id);
    let names: Vec<String> = known.map(|variant| variant.variant).collect();
    let paths: Vec<String> = names.iter().map(|name| asset_path(category, id, version, name)).collect();
    let outcomes = parts.origin.family(&paths, deadline).await;
    let (mut rows, mut wait): (_, Option<Duration>) = (Vec::with_capacity(names.len()), None);
    for (name, outcome) in names.into_iter().zip(outcomes) {
        match outcome.as_ref().err().map(|error| of_serve(error, category)) {
            Some(Verdict::Wait(time)) => wait = Some(wait.map_or(time, |known| known.max(time))),
            Some(verdict @ Verdict::Failed(Failure { passing: true, .. }, _)) if !last_try => return Err(verdict),
            _ => rows.push(variants::row(
                parts,
                job,
                variants::Of { owner: &asset.owner, category, id, version },
                name,
                outcome,
            )),
        }
    }
    match wait {
        Some(time) => Err(Verdict::Wait(time)),
        None => Ok(rows),
    }
}
