//! Variants of one version, made by `serve` as a request would have them made, each noted as it comes; what an earlier try
//! made is not made again.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve};
use super::subject;
use crate::base::Deadline;
use crate::catalog::{Variant, VariantState};
use crate::plan::asset_path;
use crate::queue::{Ended, Failure, Job, Subject};
use crate::serve;

/// Most letters of an error that is kept with a variant.
const ERROR_LETTERS_MAX: usize = 300;

/// Most failures of which a job's own error says why; each variant's row says why it failed.
const REASONS_MAX: usize = 5;

/// Which variants.
pub struct Wanted {
    /// Those that somebody asked for.
    pub named: Vec<String>,
    /// Those that traffic asks for: one that cannot be made is no failure.
    pub popular: Vec<String>,
}

/// How one variant came out.
struct Made {
    variant: String,
    outcome: Result<serve::Prepared, serve::Error>,
}

/// Makes variants. Completed only when all are there; what can never be made fails the job once the others are done.
pub async fn make(parts: &Parts, job: &Job, wanted: Wanted, deadline: Deadline) -> Result<Ended, Verdict> {
    let subject = subject(job)?.clone();
    let version = match &subject.version {
        Some(version) => version.clone(),
        None => current(parts, &subject).await?,
    };
    let Wanted { named, popular } = wanted;
    let all = named.into_iter().chain(popular.iter().cloned());
    let mut left: Vec<String> = all.filter(|variant| !is_made(job, variant)).collect();
    left.reverse();
    let last_try = parts.queue.settings().backoff.pause(job.attempts, 0.5).is_none();
    let (mut passing, mut lasting): (Option<Verdict>, Vec<String>) = (None, Vec::new());
    let mut wait: Option<Duration> = None;
    let mut under_way = FuturesUnordered::new();
    let at_once = parts.settings.variants_at_once.max(1);
    loop {
        // Several at a time, when half of them are done: those that begin together are made of one decode.
        if under_way.len() <= at_once / 2 && wait.is_none() {
            let room = at_once - under_way.len();
            for variant in left.split_off(left.len().saturating_sub(room)).into_iter().rev() {
                let path = asset_path(&subject.category, &subject.asset, &version, &variant);
                under_way.push(async move { Made { outcome: parts.origin.ahead(&path, deadline).await, variant } });
            }
        }
        let Some(Made { variant, outcome }) = under_way.next().await else { break };
        let verdict = outcome.as_ref().err().map(|error| of_serve(error, &subject.category));
        let final_failure = match &verdict {
            Some(Verdict::Wait(time)) => {
                wait = Some(wait.map_or(*time, |known| known.max(*time)));
                continue;
            }
            Some(Verdict::Failed(Failure { passing: true, .. }, _)) if !last_try => {
                passing = verdict;
                continue;
            }
            Some(_) => true,
            None => false,
        };
        if final_failure && popular.contains(&variant) {
            continue;
        }
        if let (true, Err(error)) = (final_failure, &outcome) {
            lasting.push(format!("{variant} ({})", reason(error)));
        }
        let of = Of { owner: &job.owner, category: &subject.category, id: &subject.asset, version: &version };
        let row = row(parts, job, of, variant, outcome);
        parts.catalog.record_variants(&job.id, job.lease, vec![row]).await.map_err(of_catalog)?;
    }
    if let Some(time) = wait {
        return Err(Verdict::Wait(time));
    }
    if let Some(verdict) = passing {
        return Err(verdict);
    }
    if lasting.is_empty() {
        return Ok(Ended::Completed { result: json!({}), follow: Vec::new() });
    }
    let number = lasting.len();
    lasting.truncate(REASONS_MAX);
    let more = if number > REASONS_MAX { ", …" } else { "" };
    let error = format!("{number} of its variants could not be made: {}{more}", lasting.join(", "));
    Err(Verdict::lasting("variants-failed", error))
}

/// Whether an earlier try of the job made a variant.
fn is_made(job: &Job, variant: &str) -> bool {
    let made = job.result["variants"].as_array();
    made.is_some_and(|all| all.iter().any(|one| one["variant"] == variant && one["state"] == "ready"))
}

async fn current(parts: &Parts, subject: &Subject) -> Result<String, Verdict> {
    let found = parts.catalog.find_version(&subject.category, &subject.asset, None).await.map_err(of_catalog)?;
    found.map(|version| version.version).ok_or_else(|| Verdict::lasting("gone", "there is no such asset any more"))
}

fn reason(error: &serve::Error) -> String {
    error.to_string().chars().take(ERROR_LETTERS_MAX).collect()
}

/// What a variant is of.
pub struct Of<'a> {
    pub owner: &'a str,
    pub category: &'a str,
    pub id: &'a str,
    pub version: &'a str,
}

/// A variant's row: what came out, or why nothing did.
pub fn row(
    parts: &Parts,
    job: &Job,
    of: Of<'_>,
    variant: String,
    outcome: Result<serve::Prepared, serve::Error>,
) -> Variant {
    let url = asset_path(of.category, of.id, of.version, &variant);
    let (made, error) = match outcome {
        Ok(made) => (Some(made), None),
        Err(error) => (None, Some(reason(&error))),
    };
    let size = made.as_ref().and_then(|made| made.size);
    Variant {
        owner: of.owner.to_owned(),
        category: of.category.to_owned(),
        asset: of.id.to_owned(),
        version: of.version.to_owned(),
        variant,
        url,
        content_type: made.as_ref().map_or("", |made| made.content_type).to_owned(),
        bytes: made.as_ref().map_or(0, |made| made.bytes),
        width: size.map_or(0, |size| size.width),
        height: size.map_or(0, |size| size.height),
        ms: made.as_ref().map_or(0, |made| made.time.as_millis() as u64),
        state: if error.is_none() { VariantState::Ready } else { VariantState::Failed },
        error,
        attempts: job.attempts,
        job: job.id.clone(),
        made_ms: parts.catalog.now_ms(),
    }
}
