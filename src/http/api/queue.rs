//! The queue as a whole: how deep, how fast, what died in it; and clearing it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Asked, Caller, Place, Told, bad_query};
use super::wire::{JobView, Paged, ProblemDocument};
use crate::auth::{Principal, Role};
use crate::catalog::{self, Count, Letter, Timing};
use crate::http::problem::{Problem, Refusal};
use crate::serve::Origin;

/// For how long a confirmation holds.
const CONFIRMED: Duration = Duration::from_secs(60);
/// What is confirmed.
const CLEAR: &str = "queue:clear";
/// The longest window of statistics: seconds.
const WINDOW_S_MAX: u64 = 90 * 86_400;

/// How many jobs are in a state.
#[derive(Serialize, ToSchema)]
pub struct DepthRow {
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// What kind of work.
    pub kind: String,
    /// `queued`, `processing` or `retrying`.
    pub status: String,
    /// How many.
    pub jobs: u64,
}

/// The queue.
#[derive(Serialize, ToSchema)]
pub struct QueueView {
    /// Jobs that wait, all together.
    pub waiting: u64,
    /// Jobs that are worked on.
    pub in_flight: u64,
    /// Most that may wait; above it nothing is accepted.
    pub waiting_max: u64,
    /// How long the oldest has waited, milliseconds.
    pub oldest_ms: Option<i64>,
    /// By priority, kind and state.
    pub depth: Vec<DepthRow>,
    /// Jobs that ended in the last minute, by all workers.
    pub per_minute: u64,
    /// The completed among them, 0 to 1; none where none ended.
    pub success_share: Option<f64>,
    /// Circuit breakers of this process's workers: what each is around, and whether it is `closed`, `half-open` or `open`.
    #[schema(value_type = Vec<Object>)]
    pub breakers: serde_json::Value,
    /// How this process's workers fare; to the server's own admins.
    #[schema(value_type = Object)]
    pub workers: serde_json::Value,
}

/// How deep the queue is, and how its workers fare.
#[utoipa::path(get, path = "/v1/queue", tag = "queue", responses((status = 200, body = QueueView)))]
pub async fn depth(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<QueueView>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let depth = api.catalog.depth(principal.sees()).await?;
    let row = |count: &Count| DepthRow {
        priority: count.priority.to_string(),
        kind: count.kind.to_string(),
        status: count.state.to_string(),
        jobs: count.jobs,
    };
    let rows = depth.counts.iter().filter(|count| count.jobs > 0 && !count.state.ended()).map(row).collect();
    let minute_ago = api.catalog.now_ms() - 60_000;
    let (completed, failed) = api.catalog.ended_since(principal.sees(), minute_ago).await?;
    let ended = completed + failed;
    let mut snapshot = api.board.snapshot();
    if let Some(all) = snapshot["breakers"].as_array_mut() {
        with_sources(all, &api.origin);
    }
    let mut breakers = snapshot["breakers"].clone();
    if let Some(all) = breakers.as_array_mut() {
        let category = |one: &serde_json::Value| one["name"].as_str()?.strip_prefix("source:").map(str::to_owned);
        all.retain(|one| category(one).is_none_or(|category| principal.may_in(&category)));
    }
    // How the workers fare is the server's own matter.
    let workers = if principal.is_root() { snapshot } else { serde_json::Value::Null };
    Ok(Json(QueueView {
        waiting: depth.waiting(),
        in_flight: depth.in_flight(),
        waiting_max: api.settings.queue_max,
        oldest_ms: depth.oldest_ms.map(|since_ms| api.catalog.now_ms().saturating_sub(since_ms)),
        depth: rows,
        per_minute: ended,
        success_share: (ended > 0).then(|| completed as f64 / ended as f64),
        breakers,
        workers,
    }))
}

/// Adds the sources' own breakers, which jobs wait for as well: the worse of the two is told.
fn with_sources(breakers: &mut Vec<serde_json::Value>, origin: &Origin) {
    for (name, state) in origin.open_breakers() {
        match breakers.iter_mut().find(|one| one["name"] == *name) {
            Some(one) if one["state"] == "open" => {}
            Some(one) => one["state"] = state.into(),
            None => breakers.push(json!({ "name": name, "state": state })),
        }
    }
}

/// How it went over a window.
#[derive(Serialize, ToSchema)]
pub struct StatisticsView {
    /// The window, seconds.
    pub window_s: u64,
    /// Jobs that were completed.
    pub completed: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// The completed among those that ended well or badly, 0 to 1; 1 where none ended.
    pub success: f64,
    /// Jobs that ended, a second.
    pub per_second: f64,
    /// From being queued to the start, by kind of work.
    pub wait: BTreeMap<String, TimingView>,
    /// From the start to the end, by kind of work.
    pub run: BTreeMap<String, TimingView>,
    /// Over all kinds, by stage: `wait` in the queue, `run` by workers, `total`; `inspect`, the look at each original, and `variant`,
    /// the making of each.
    pub stages: BTreeMap<String, TimingView>,
    /// Variants that were made.
    pub variants: u64,
    /// Bytes of originals that were taken.
    pub bytes_in: u64,
    /// Bytes of variants that were made.
    pub bytes_out: u64,
    /// Bytes that the variants are smaller than their originals, had those been sent in their stead.
    pub bytes_saved: u64,
}

/// Quantiles, milliseconds.
#[derive(Serialize, ToSchema)]
pub struct TimingView {
    /// Half are quicker.
    pub p50_ms: u64,
    /// 95 of 100 are quicker.
    pub p95_ms: u64,
    /// 99 of 100 are quicker.
    pub p99_ms: u64,
}

/// Throughput, success, times by stage and bytes saved, over a window.
#[utoipa::path(
    get, path = "/v1/statistics", tag = "queue",
    params(("window" = Option<String>, Query, description = "such as 15m, 1h (the default), 24h, 7d")),
    responses((status = 200, body = StatisticsView), (status = 400, body = ProblemDocument))
)]
pub async fn statistics(
    State(api): State<Arc<Api>>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<StatisticsView>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let window_s = window(asked.text("window").unwrap_or("1h"))?;
    let since_ms = api.catalog.now_ms() - (window_s * 1000) as i64;
    let found = api.catalog.statistics(principal.sees(), since_ms).await?;
    let ended = found.completed + found.failed;
    Ok(Json(StatisticsView {
        window_s,
        completed: found.completed,
        failed: found.failed,
        cancelled: found.cancelled,
        success: if ended == 0 { 1.0 } else { found.completed as f64 / ended as f64 },
        per_second: ended as f64 / window_s as f64,
        stages: timings(found.stages),
        wait: timings(found.wait),
        run: timings(found.run),
        variants: found.variants,
        bytes_in: found.bytes_in,
        bytes_out: found.bytes_out,
        bytes_saved: found.bytes_of_originals.saturating_sub(found.bytes_out),
    }))
}

fn timings(of: Vec<(impl ToString, Timing)>) -> BTreeMap<String, TimingView> {
    let view = |Timing { p50_ms, p95_ms, p99_ms }| TimingView { p50_ms, p95_ms, p99_ms };
    of.into_iter().map(|(name, timing)| (name.to_string(), view(timing))).collect()
}

/// The seconds of `90s`, `15m`, `24h`, `7d`, or of a number.
fn window(text: &str) -> Result<u64, Problem> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    seconds
        .filter(|seconds| (1..=WINDOW_S_MAX).contains(seconds))
        .ok_or_else(|| bad_query("a window is such as 15m, 24h or 7d, at most 90d"))
}

/// A job that nobody tries any more.
#[derive(Serialize, ToSchema)]
pub struct LetterView {
    /// The job.
    pub job_id: String,
    /// What kind of work.
    pub kind: String,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// `category/id` of its asset.
    pub asset: Option<String>,
    /// The asset's version.
    pub version: Option<String>,
    /// What it was to do.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// Why it was given up.
    pub reason: String,
    /// The last error.
    pub error: Option<String>,
    /// Its stable name.
    pub code: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when, unix milliseconds.
    pub dead_ms: i64,
}

impl From<Letter> for LetterView {
    fn from(Letter { job, reason, dead_ms }: Letter) -> Self {
        Self {
            kind: job.kind.to_string(),
            priority: job.priority.to_string(),
            asset: job.subject.as_ref().map(|subject| format!("{}/{}", subject.category, subject.asset)),
            version: job.subject.and_then(|subject| subject.version),
            payload: job.payload,
            reason,
            error: job.error,
            code: job.code,
            attempts: job.attempts,
            dead_ms,
            job_id: job.id,
        }
    }
}

/// List dead letters: jobs that failed for good.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "queue",
    params(("cursor" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Paged<LetterView>))
)]
pub async fn letters(
    State(api): State<Arc<Api>>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<Paged<LetterView>>, Problem> {
    let principal = caller.at_least(Role::Operator)?;
    let (owner, categories) = (principal.sees(), principal.categories.as_deref());
    let page = api.queue.letters(owner, categories, asked.cursor(), asked.limit()?).await?;
    Ok(Json(Paged { items: page.items.into_iter().map(LetterView::from).collect(), next: page.next }))
}

/// One dead letter.
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "queue", params(("id" = String, Path, description = "the job's id")),
    responses((status = 200, body = LetterView), (status = 404, body = ProblemDocument))
)]
pub async fn letter(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<Json<LetterView>, Problem> {
    let principal = caller.at_least(Role::Operator)?;
    Ok(Json(seen(&api, principal, &id).await?.into()))
}

/// A letter that somebody sees.
async fn seen(api: &Api, principal: &Principal, id: &str) -> Result<Letter, Problem> {
    let letter = api.queue.letter(principal.sees(), id).await?;
    let is_seen = letter.job.subject.as_ref().is_none_or(|subject| principal.may_in(&subject.category));
    if is_seen { Ok(letter) } else { Err(catalog::Error::NotFound.into()) }
}

/// Put a dead letter back into the queue.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/requeue", tag = "queue", params(("id" = String, Path, description = "the job's id")),
    responses((status = 200, body = JobView), (status = 404, body = ProblemDocument))
)]
pub async fn requeue(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<Json<JobView>, Problem> {
    let principal = caller.at_least(Role::Operator)?;
    seen(&api, principal, &id).await?;
    let job = api.queue.requeue(principal.sees(), &id).await?;
    Ok(Json(JobView::of(&api, job, None)))
}

/// Throw a dead letter away.
#[utoipa::path(
    delete, path = "/v1/dead-letters/{id}", tag = "queue", params(("id" = String, Path, description = "the job's id")),
    responses((status = 204), (status = 404, body = ProblemDocument))
)]
pub async fn discard(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    let principal = caller.at_least(Role::Operator)?;
    seen(&api, principal, &id).await?;
    api.queue.discard(principal.sees(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether it is meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// The token of the first answer.
    confirmation: Option<String>,
}

/// A queue that was cleared.
#[derive(Serialize, ToSchema)]
pub struct Cleared {
    /// Jobs that were cancelled.
    pub cancelled: u64,
}

/// What is asked back before the queue is cleared: a problem document with what solves it.
#[derive(Serialize, ToSchema)]
pub struct Confirm {
    /// `urn:fovea:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What kind of problem it is, for people.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// Send it along, within a minute; it counts once, and one that was asked for later takes its place.
    pub confirmation: String,
    /// For how long it holds, seconds.
    pub expires_s: u64,
    /// A stable name, for programs.
    pub code: &'static str,
    /// What to do.
    pub detail: &'static str,
}

/// Cancel all that waits. Asks back first: the answer to a request without a confirmation holds one, for a minute.
#[utoipa::path(
    post, path = "/v1/queue:clear", tag = "queue", request_body = Clear,
    responses(
        (status = 200, description = "what waited is cancelled", body = Cleared),
        (status = 428, description = "is it meant? repeat it with this confirmation", body = Confirm),
        (status = 403, body = ProblemDocument),
    )
)]
pub async fn clear(State(api): State<Arc<Api>>, caller: Caller, Told(told): Told<Clear>) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Admin)?;
    if principal.categories.is_some() {
        let detail = "this cancels the jobs of all categories, and the key is not for all of them";
        return Err(Problem::from(Refusal::Forbidden).with_detail(detail));
    }
    let Some(given) = told.confirmation else {
        let status = StatusCode::PRECONDITION_REQUIRED;
        let confirm = Confirm {
            kind: "urn:fovea:problem:confirmation-needed",
            title: "A confirmation is needed",
            status: status.as_u16(),
            confirmation: api.keys.ask_back(principal, CLEAR).await.map_err(|error| Problem::from(&error))?,
            expires_s: CONFIRMED.as_secs(),
            code: "confirmation-needed",
            detail: "this cancels all that waits; repeat the request with this confirmation in its body",
        };
        return Ok((status, [(CONTENT_TYPE, "application/problem+json")], Json(confirm)).into_response());
    };
    let confirmed = api.keys.confirmed(principal, CLEAR, &given, CONFIRMED).await;
    if !confirmed.map_err(|error| Problem::from(&error))? {
        let detail = "the confirmation is wrong, too old or used: ask anew";
        return Err(Problem::from(Refusal::Forbidden).with_detail(detail));
    }
    let cancelled = api.queue.clear(principal.sees()).await?;
    tracing::warn!(key = &*principal.key, cancelled, "the queue was cleared");
    Ok(Json(Cleared { cancelled }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read() {
        for (text, wanted) in [
            ("90", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("0", None),
            ("1w", None),
            ("91d", None),
            ("", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(window(text).ok(), wanted, "{text}");
        }
    }
}
