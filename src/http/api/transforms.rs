//! Variants of assets that are there, on demand: any, or by the shortcuts `resize` and `crop`; of one asset or of many.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Api;
use super::begun::Begun;
use super::extract::{Caller, Told, idempotency_key};
use super::wire::{Named, ProblemDocument};
use crate::auth::{Principal, Role};
use crate::base::{Digest, Size};
use crate::catalog;
use crate::http::client;
use crate::http::problem::{Problem, Refusal};
use crate::plan::Pyramid;
use crate::queue::{self, Idempotency, NewJob, Once, Priority, Subject, Task};

/// Most assets of one request.
const ASSETS_MAX: usize = 1000;

/// Tiles of one part of a pyramid, at least.
const TILES: u64 = 64;

/// Parts of a pyramid, at most; with more tiles, parts are larger.
const TILE_PARTS_MAX: u64 = 2000;

/// Which variants to make of what.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJobs {
    /// One asset.
    asset: Option<Named>,
    /// Several: one job with a part for each. Where `asset` is said too, it is one of them.
    #[serde(default)]
    assets: Vec<Named>,
    /// Variants, as in a URL: `w_400,h_300,fit_cover.webp`.
    variants: Vec<String>,
    /// `critical`, `high`, `normal` or `low`.
    priority: Option<String>,
}

impl NewJobs {
    fn of_one(asset: Named, variant: String, priority: Option<String>) -> Self {
        Self { asset: Some(asset), assets: Vec::new(), variants: vec![variant], priority }
    }
}

/// Have variants made of an asset, or of many.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", request_body = NewJobs,
    params(("Idempotency-Key" = Option<String>, Header, description = "a repetition with the same key is answered as the first")),
    responses(
        (status = 202, description = "they are being made", body = Begun),
        (status = 404, description = "an asset is not there", body = ProblemDocument),
        (status = 429, description = "the queue is full; nothing was taken", body = ProblemDocument),
    )
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Told(told): Told<NewJobs>,
) -> Result<Response, Problem> {
    begin(&api, caller.at_least(Role::Uploader)?, &headers, told).await
}

/// How to resize.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The asset.
    asset: Named,
    /// Pixels; one of the two suffices.
    width: Option<u32>,
    /// Pixels.
    height: Option<u32>,
    /// `contain`, `cover`, `fill`, `pad` or `crop`.
    fit: Option<String>,
    /// `jpg`, `png`, `webp`, `avif`, `gif` or `auto`.
    format: Option<String>,
    /// 1 to 100.
    quality: Option<u8>,
    /// `critical`, `high`, `normal` or `low`.
    priority: Option<String>,
}

/// Have an asset resized.
#[utoipa::path(
    post, path = "/v1/resize", tag = "jobs", request_body = Resize,
    responses((status = 202, description = "it is being made", body = Begun), (status = 400, body = ProblemDocument))
)]
pub async fn resize(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Told(told): Told<Resize>,
) -> Result<Response, Problem> {
    if told.width.is_none() && told.height.is_none() {
        return Err(Problem::from(Refusal::BadBody).with_detail("say width, height or both, in pixels"));
    }
    let mut options = Options::default();
    options.add("w", told.width).add("h", told.height).add("fit", told.fit).add("q", told.quality);
    let jobs = NewJobs::of_one(told.asset, options.variant(told.format), told.priority);
    begin(&api, caller.at_least(Role::Uploader)?, &headers, jobs).await
}

/// What to cut out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The asset.
    asset: Named,
    /// From the left, in the upright original's pixels.
    x: u32,
    /// From the top.
    y: u32,
    /// Of the region.
    width: u32,
    /// Of the region.
    height: u32,
    /// `jpg`, `png`, `webp`, `avif`, `gif` or `auto`.
    format: Option<String>,
    /// 1 to 100.
    quality: Option<u8>,
    /// `critical`, `high`, `normal` or `low`.
    priority: Option<String>,
}

/// Have a region cut out of an asset.
#[utoipa::path(
    post, path = "/v1/crop", tag = "jobs", request_body = Cut,
    responses((status = 202, description = "it is being made", body = Begun), (status = 400, body = ProblemDocument))
)]
pub async fn crop(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Told(told): Told<Cut>,
) -> Result<Response, Problem> {
    let region = format!("{}:{}:{}:{}", told.x, told.y, told.width, told.height);
    let mut options = Options::default();
    options.add("crop", Some(region)).add("q", told.quality);
    let jobs = NewJobs::of_one(told.asset, options.variant(told.format), told.priority);
    begin(&api, caller.at_least(Role::Uploader)?, &headers, jobs).await
}

/// Options on their way to a variant's text.
#[derive(Default)]
struct Options(String);

impl Options {
    fn add(&mut self, name: &str, value: Option<impl std::fmt::Display>) -> &mut Self {
        if let Some(value) = value {
            let comma = if self.0.is_empty() { "" } else { "," };
            let _ = write!(self.0, "{comma}{name}_{value}");
        }
        self
    }

    fn variant(self, format: Option<String>) -> String {
        format!("{}.{}", self.0, format.as_deref().unwrap_or("auto"))
    }
}

/// Checks every asset, and then begins all the work or none of it.
async fn begin(api: &Api, principal: &Principal, headers: &HeaderMap, told: NewJobs) -> Result<Response, Problem> {
    let idempotency = idempotency_key(headers)?.map(|key| Idempotency {
        key: key.to_owned(),
        fingerprint: Digest::of(&serde_json::to_vec(&told).unwrap_or_default()).hex(32),
    });
    if let Some(Idempotency { key, fingerprint }) = &idempotency
        && let Some(answer) = api.catalog.idempotent(&principal.owner, key, Some(fingerprint)).await?
    {
        return Ok(repeated(answer));
    }
    let many = !told.assets.is_empty();
    let assets: Vec<Named> = told.asset.into_iter().chain(told.assets).collect();
    if assets.is_empty() || assets.len() > ASSETS_MAX || told.variants.is_empty() {
        let detail = format!("name 1 to {ASSETS_MAX} assets and at least one variant");
        return Err(Problem::from(Refusal::BadBody).with_detail(detail));
    }
    let priority = told
        .priority
        .map(|name| name.parse())
        .transpose()
        .map_err(|_| Problem::from(Refusal::BadBody).with_detail("a priority is critical, high, normal or low"))?;
    let trace = client::trace(headers).map(|trace| trace.to_string());
    let (mut urls, mut jobs) = (BTreeMap::new(), Vec::new());
    for named in assets {
        let (category, id, version) = named.parts()?;
        let part = Part { category, id, version, priority, batch: many, trace: trace.clone() };
        let (job, made) = part.job(api, principal, &told.variants).await?;
        jobs.push(job);
        urls.extend(made);
    }
    let jobs = if many { queue::batch(&principal.owner, jobs) } else { jobs };
    let queue_max = Some(api.settings.queue_max);
    if let Some(key) = idempotency {
        let once = Once { owner: principal.owner.to_string(), key, answer: json!({ "urls": urls }) };
        return Ok(repeated(api.queue.push_once(jobs, queue_max, once).await?));
    }
    let pushed = api.queue.push(jobs, queue_max).await?;
    let job_id = pushed.into_iter().next().map(|pushed| pushed.id).ok_or(catalog::Error::NotFound)?;
    Ok(Begun::new(job_id, urls).into_response())
}

/// What was answered to the first of several equal requests.
fn repeated(answer: serde_json::Value) -> Response {
    let urls = answer["urls"].as_object().into_iter().flatten();
    let urls = urls.map(|(name, url)| (name.clone(), url.as_str().unwrap_or_default().to_owned()));
    Begun::new(answer["job_id"].as_str().unwrap_or_default().to_owned(), urls.collect()).into_response()
}

/// What to make anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reprocess {
    /// The category.
    category: String,
}

/// Have the variants that were made of a category's assets made anew, as after a change of its presets: what has not changed is
/// found, not made.
#[utoipa::path(
    post, path = "/v1/reprocess", tag = "jobs", request_body = Reprocess,
    responses((status = 202, description = "a batch, of which each part makes a stretch of the category", body = Begun), (status = 404, body = ProblemDocument))
)]
pub async fn reprocess(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Told(told): Told<Reprocess>,
) -> Result<Response, Problem> {
    let principal = caller.at_least_in(Role::Operator, &told.category)?;
    if !api.ingest.takes(&told.category) {
        return Err(Problem::from(&crate::ingest::Error::NoCategory(told.category)));
    }
    let owner = principal.sees().unwrap_or(queue::SYSTEM);
    let trace = client::trace(&headers).map(|trace| trace.to_string());
    let jobs = queue::reprocess(owner, &told.category, trace);
    let pushed = api.queue.push(jobs, Some(api.settings.queue_max)).await?;
    let job_id = pushed.into_iter().next().map(|pushed| pushed.id).ok_or(catalog::Error::NotFound)?;
    Ok(Begun::new(job_id, BTreeMap::new()).into_response())
}

/// A picture to cut into tiles.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPyramid {
    /// The asset.
    asset: Named,
    /// A tile's side: 128 to 4096 pixels; 512 unless it is said.
    tile: Option<u32>,
    /// `jpg`, `png`, `webp` or `avif`; `webp` unless it is said.
    format: Option<String>,
}

/// Have a picture made in tiles at every power of two, for viewers of large pictures. The batch tells where each tile is when all are
/// there (`result.pyramid`); each is a variant like others.
#[utoipa::path(
    post, path = "/v1/pyramids", tag = "jobs", request_body = NewPyramid,
    responses(
        (status = 202, description = "a batch, of which each part makes neighbouring tiles", body = Begun),
        (status = 404, description = "the asset is not there", body = ProblemDocument),
        (status = 429, description = "the queue is full; nothing was taken", body = ProblemDocument),
    )
)]
pub async fn pyramid(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Told(told): Told<NewPyramid>,
) -> Result<Response, Problem> {
    let (category, id, version) = told.asset.parts()?;
    let principal = caller.at_least_in(Role::Uploader, &category)?;
    let tile = told.tile.unwrap_or(512);
    let format = told.format.unwrap_or_else(|| "webp".to_owned());
    if !(128..=4096).contains(&tile) || !["jpg", "png", "webp", "avif"].contains(&format.as_str()) {
        let detail = "a tile is 128 to 4096 pixels a side, as jpg, png, webp or avif";
        return Err(Problem::from(Refusal::BadBody).with_detail(detail));
    }
    let asset = api.catalog.asset(principal.sees(), &category, &id).await?;
    let found = api.catalog.find_version(&category, &id, version.as_deref()).await?.ok_or(catalog::Error::NotFound)?;
    let pyramid = Pyramid::new(Size::new(found.width, found.height), tile).ok_or(catalog::Error::NotFound)?;
    let tiles: u64 = pyramid.levels().map(|level| level.tiles()).sum();
    let count = TILES.max(tiles / TILE_PARTS_MAX);
    let subject = Subject { category, asset: id, version: Some(found.version) };
    let trace = client::trace(&headers).map(|trace| trace.to_string());
    let part =
        |task: Task| NewJob { trace: trace.clone(), ..task.job(&asset.owner, Some(subject.clone()), Priority::Low) };
    let mut parts: Vec<NewJob> = Vec::new();
    for level in pyramid.levels() {
        for from in (0..level.tiles()).step_by(count as usize) {
            let count = count.min(level.tiles() - from);
            parts.push(part(Task::Tiles { tile, format: format.clone(), level: level.level, from, count }));
        }
    }
    parts.push(part(Task::Assemble { tile, format: format.clone() }));
    let mut jobs = queue::batch(&asset.owner, parts);
    if let Some(whole) = jobs.first_mut() {
        // While one is under way, a second is the same.
        whole.dedupe = Some(format!("pyramid {subject:?} {tile} {format}"));
        whole.trace = trace.clone();
    }
    let pushed = api.queue.push(jobs, Some(api.settings.queue_max)).await?;
    let job_id = pushed.into_iter().next().map(|pushed| pushed.id).ok_or(catalog::Error::NotFound)?;
    Ok(Begun::new(job_id, BTreeMap::new()).into_response())
}

/// One asset of a request.
struct Part {
    category: String,
    id: String,
    version: Option<String>,
    priority: Option<Priority>,
    batch: bool,
    trace: Option<String>,
}

impl Part {
    /// Its job, and the URLs that will exist.
    async fn job(
        self,
        api: &Api,
        principal: &Principal,
        variants: &[String],
    ) -> Result<(NewJob, Vec<(String, String)>), Problem> {
        let Self { category, id, version, priority, batch, trace } = self;
        if !principal.may_in(&category) {
            return Err(Problem::from(Refusal::Forbidden).with_detail("the key is not for this category"));
        }
        let variants = api.variants(&category, &id, variants.iter().map(String::as_str))?;
        let missing = || {
            let version = version.as_ref().map_or(String::new(), |version| format!("@{version}"));
            Problem::from(catalog::Error::NotFound).with_detail(format!("there is no asset {category}/{id}{version}"))
        };
        let asset = match api.catalog.asset(principal.sees(), &category, &id).await {
            Err(catalog::Error::NotFound) => return Err(missing()),
            asset => asset?,
        };
        let found = api.catalog.find_version(&category, &id, version.as_deref()).await?;
        let found = found.ok_or_else(missing)?;
        let urls = variants.iter().map(|variant| {
            let name = if batch { format!("{category}/{id}/{variant}") } else { variant.clone() };
            (name, api.url(&category, &id, &found.version, variant))
        });
        let urls = urls.collect();
        let priority = api.ingest.priority(
            priority,
            &queue::Facts {
                category: category.clone(),
                owner: asset.owner.clone(),
                pixels: u64::from(found.width) * u64::from(found.height),
                batch,
            },
        );
        let subject = Subject { category, asset: id, version: Some(found.version) };
        let task = Task::Transform { variants };
        let mut job = task.job(&asset.owner, Some(subject), priority);
        job.trace = trace;
        Ok((job, urls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_are_variants() {
        let mut options = Options::default();
        options.add("w", Some(300)).add("h", None::<u32>).add("fit", Some("cover"));
        assert_eq!(options.variant(Some("webp".to_owned())), "w_300,fit_cover.webp");
        let mut options = Options::default();
        options.add("crop", Some("1:2:3:4"));
        assert_eq!(options.variant(None), "crop_1:2:3:4.auto");
    }
}
