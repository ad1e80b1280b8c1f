//! Jobs: looked at, listed, cancelled, tried again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;

use super::Api;
use super::extract::{Asked, Caller, Place};
use super::recent::{Answer, Question};
use super::wire::{JobView, Paged, ProblemDocument};
use crate::auth::{Principal, Role};
use crate::catalog::{self, Job, JobFilter, Version};
use crate::http::problem::Problem;

/// A job: how far it is, and what came of it.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobView), (status = 404, body = ProblemDocument))
)]
pub async fn get(State(api): State<Arc<Api>>, caller: Caller, Place(id): Place<String>) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let question = Question::job(&id);
    if let Some(answer) = api.recent.find(&question).await {
        return if seen(principal, &answer) {
            Ok(answer.into_response())
        } else {
            Err(catalog::Error::NotFound.into())
        };
    }
    let mark = api.recent.mark();
    let job = api.catalog.job(principal.sees(), &id).await;
    api.recent.asked_catalog(job.is_ok());
    let view = whole(&api, job?).await?;
    let category = view.asset.as_deref().and_then(|asset| asset.split('/').next());
    let answer = Arc::new(Answer::new(&view.owner, category, &view));
    if !seen(principal, &answer) {
        return Err(catalog::Error::NotFound.into());
    }
    api.recent.keep(&question, answer.clone(), mark);
    Ok(answer.into_response())
}

/// Whether somebody sees what an answer is about.
fn seen(principal: &Principal, answer: &Answer) -> bool {
    principal.sees().is_none_or(|sees| sees == answer.owner)
        && answer.category.as_deref().is_none_or(|category| principal.may_in(category))
}

/// A job with what is known of its original.
async fn whole(api: &Api, job: Job) -> Result<JobView, Problem> {
    let version = version(api, &job).await?;
    Ok(JobView::of(api, job, version.as_ref()))
}

async fn version(api: &Api, job: &Job) -> Result<Option<Version>, Problem> {
    let Some(subject) = &job.subject else { return Ok(None) };
    Ok(api.catalog.find_version(&subject.category, &subject.asset, subject.version.as_deref()).await?)
}

/// List jobs, the newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs",
    params(
        ("status" = Option<String>, Query, description = "queued, processing, completed, failed, retrying or cancelled"),
        ("kind" = Option<String>, Query, description = "inspect, prewarm, transform, delete, batch, …"),
        ("asset" = Option<String>, Query, description = "category/id"),
        ("category" = Option<String>, Query),
        ("parent" = Option<String>, Query, description = "the parts of one job"),
        ("cursor" = Option<String>, Query, description = "the last page's `next`"),
        ("limit" = Option<u32>, Query, description = "items of a page, 1 to 500"),
    ),
    responses((status = 200, body = Paged<JobView>), (status = 400, body = ProblemDocument))
)]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, asked: Asked) -> Result<Json<Paged<JobView>>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let asset = asked.asset()?;
    let category = asset.as_ref().map(|(category, _)| category.clone());
    let filter = JobFilter {
        state: asked.read(if asked.text("state").is_some() { "state" } else { "status" })?,
        kind: asked.read("kind")?,
        category: category.or_else(|| asked.text("category").map(str::to_owned)),
        asset: asset.map(|(_, id)| id),
        parent: asked.text("parent").map(str::to_owned),
        within: principal.within(),
    };
    let page = api.catalog.jobs(principal.sees(), &filter, asked.cursor(), asked.limit()?).await?;
    // Without what is known of each original: that is asked of one job.
    let items = page.items.into_iter().map(|job| JobView::of(&api, job, None)).collect();
    Ok(Json(Paged { items, next: page.next }))
}

/// Cancel a job. What it made stays.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 200, body = JobView), (status = 404, body = ProblemDocument),
        (status = 409, description = "it has ended", body = ProblemDocument),
    )
)]
pub async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<Json<JobView>, Problem> {
    change(&api, &caller, &id, |sees| api.queue.cancel(sees, &id)).await
}

/// Try a job again that failed or was cancelled.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 200, body = JobView), (status = 404, body = ProblemDocument),
        (status = 409, description = "it has not ended, or it is completed", body = ProblemDocument),
    )
)]
pub async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<Json<JobView>, Problem> {
    change(&api, &caller, &id, |sees| api.queue.retry(sees, &id)).await
}

/// Changes a job as an uploader may, in the categories that the key is for.
async fn change<'a>(
    api: &Api,
    caller: &'a Caller,
    id: &str,
    change: impl FnOnce(Option<&'a str>) -> BoxFuture<'a, Result<Job, catalog::Error>>,
) -> Result<Json<JobView>, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let job = api.catalog.job(principal.sees(), id).await?;
    if !job.subject.is_none_or(|subject| principal.may_in(&subject.category)) {
        return Err(catalog::Error::NotFound.into());
    }
    let job = change(principal.sees()).await?;
    api.recent.changed(&Question::job(id), api.catalog.last_known_event());
    Ok(Json(whole(api, job).await?))
}
