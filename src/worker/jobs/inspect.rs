//! `inspect`: an upload is looked at whole, and then goes on to its variants.

use std::time::Instant;

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve};
use super::subject;
use crate::base::Deadline;
use crate::catalog::Inspected;
use crate::plan::asset_path;
use crate::queue::{Ended, Job, Kind, NewJob, Priority, Subject, Task};
use crate::{popularity, serve};

/// Most shapes that are looked at for a new asset.
const SHAPES_MAX: u32 = 200;

/// Looks at an original. One that cannot be decoded is noted as broken, and its job fails at once.
pub async fn perform(
    parts: &Parts,
    job: &Job,
    variants: Vec<String>,
    prewarm: bool,
    deadline: Deadline,
) -> Result<Ended, Verdict> {
    let subject = subject(job)?;
    let version = subject.version.as_deref().unwrap_or("v0");
    let path = asset_path(&subject.category, &subject.asset, version, "info.json");
    let begun = Instant::now();
    let examined = match parts.origin.examine(&path, deadline).await {
        Ok(examined) => examined,
        Err(error) => {
            let verdict = of_serve(&error, &subject.category);
            if broken(&error) {
                parts.catalog.record_inspected(job, Err(error.to_string())).await.map_err(of_catalog)?;
            }
            return Err(verdict);
        }
    };
    let facts = examined.facts;
    let side = |name: &str| facts[name].as_u64().unwrap_or(0) as u32;
    let found = Inspected {
        width: side("width"),
        height: side("height"),
        profile: facts["icc_profile"].as_str().map(str::to_owned),
        facts: facts.clone(),
        ms: begun.elapsed().as_millis() as u64,
    };
    parts.catalog.record_inspected(job, Ok(found)).await.map_err(of_catalog)?;
    let mut wanted = variants;
    let usual = parts.settings.prewarm.get(&subject.category).filter(|_| prewarm);
    for variant in usual.into_iter().flatten() {
        if !wanted.contains(variant) {
            wanted.push(variant.clone());
        }
    }
    let popular = if prewarm { popular(parts, &job.owner, subject, version, &wanted).await } else { Vec::new() };
    let result = json!({ "metadata": facts });
    if wanted.is_empty() && popular.is_empty() {
        let follow = mezzanines(parts, job, subject, side("width")).into_iter().collect();
        return Ok(Ended::Completed { result, follow });
    }
    let total = (wanted.len() + popular.len()) as u32;
    let payload = Task::Prewarm { variants: wanted, popular }.payload();
    Ok(Ended::Next { kind: Kind::Prewarm, payload, result, total })
}

/// Where no variant is wanted yet, nothing makes the mezzanines on its way: a job of their own, for originals wide enough.
fn mezzanines(parts: &Parts, job: &Job, subject: &Subject, width: u32) -> Option<NewJob> {
    let category = parts.origin.categories().find(|category| *category.name == *subject.category)?;
    let least = *category.look.mezzanines.widths().first()?;
    let next = Task::Mezzanine {}.job(&job.owner, Some(subject.clone()), Priority::Low);
    (width > least).then(|| NewJob { trace: job.trace.clone(), ..next })
}

/// What traffic asks for of the owner's assets in the category, beside what is made anyway, as far down as its settings say. An upload does not fail by
/// what nobody named for it.
async fn popular(parts: &Parts, owner: &str, subject: &Subject, version: &str, named: &[String]) -> Vec<String> {
    let Some(coverage) = parts.settings.coverage.get(&subject.category) else { return Vec::new() };
    let half_life = parts.settings.half_life;
    let list = match parts.catalog.popularity(Some(owner), &subject.category, half_life, SHAPES_MAX).await {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(%error, "what is popular could not be read");
            return Vec::new();
        }
    };
    let urls = parts.origin.urls();
    // A preset may be gone since.
    let is_possible =
        |shape: &String| urls.read_trusted(&asset_path(&subject.category, &subject.asset, version, shape)).is_ok();
    popularity::choose(&list, named, *coverage).into_iter().filter(is_possible).collect()
}

/// Whether it is the original that is to blame, and for ever.
fn broken(error: &serve::Error) -> bool {
    matches!(error, serve::Error::Decode(inner) if !matches!(**inner, crate::decode::Error::Stopped(_)))
        || matches!(error, serve::Error::Render(crate::render::Refused::TooLarge { .. }))
}
