//! Assets: put in, listed, told of, deleted.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::begun::{Accepted, Begun, accepted, job_path};
use super::extract::{Asked, Caller, Place, Told, bad_query, header, idempotency_key};
use super::links::split;
use super::recent::Question;
use super::wire::{AssetView, Paged, ProblemDocument};
use crate::auth::Role;
use crate::catalog::AssetFilter;
use crate::http::client;
use crate::http::problem::{Problem, Refusal};
use crate::ingest::{Error, Order};
use crate::queue::{Priority, Subject, Task};
use crate::serve::Purge;

/// Most files of one request.
const FILES_MAX: usize = 200;
/// Most bytes of a field that is no file.
const FIELD_BYTES_MAX: usize = 64 << 10;

/// What request and query say of an upload.
pub(super) fn order(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    (category, id): (&str, &str),
    asked: &Asked,
) -> Result<Order, Problem> {
    let principal = caller.at_least_in(Role::Uploader, category)?;
    if !api.ingest.takes(category) {
        return Err(Problem::from(&Error::NoCategory(category.to_owned())));
    }
    let wanted: Vec<String> = asked.all("variants").flat_map(split).collect();
    let idempotency = idempotency_key(headers)?;
    Ok(Order {
        owner: principal.owner.to_string(),
        category: category.to_owned(),
        id: id.to_owned(),
        file_name: asked.text("filename").map(str::to_owned),
        variants: api.variants(category, id, wanted.iter().map(String::as_str))?,
        priority: asked.read::<Priority>("priority")?,
        batch: false,
        idempotency: idempotency.map(str::to_owned),
        origin: "upload",
        trace: client::trace(headers).map(|trace| trace.to_string()),
    })
}

/// Put an original: the body is its bytes.
#[utoipa::path(
    put, path = "/v1/assets/{category}/{*id}", tag = "assets",
    params(
        ("category" = String, Path, description = "a category that takes uploads"),
        ("*id" = String, Path, description = "the asset's id; may hold slashes"),
        ("variants" = Option<String>, Query, description = "variants to make beside the category's list: w_400.webp,w_200,h_200,fit_cover.jpg"),
        ("priority" = Option<String>, Query, description = "critical, high, normal or low"),
        ("filename" = Option<String>, Query, description = "what the file is called; else the id's last segment"),
        ("Idempotency-Key" = Option<String>, Header, description = "a repetition with the same key is answered as the first"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, description = "taken; variants are being made", body = Accepted),
        (status = 409, description = "the id is another owner's", body = ProblemDocument),
        (status = 413, description = "larger than the category takes", body = ProblemDocument),
        (status = 415, description = "no picture that is read", body = ProblemDocument),
        (status = 422, description = "a broken picture, or an Idempotency-Key that named another request", body = ProblemDocument),
        (status = 429, description = "the queue is full; nothing was taken", body = ProblemDocument),
    )
)]
pub async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place((category, id)): Place<(String, String)>,
    asked: Asked,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let order = order(&api, &caller, &head.headers, (&category, &id), &asked)?;
    let bytes_max = api.ingest.bytes_max(&category).map_err(|error| Problem::from(&error))?;
    let announced = header(&head.headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Problem::from(&Error::TooLarge { bytes_max }));
    }
    let taken = api.ingest.take(order, body.into_data_stream()).await.map_err(|error| Problem::from(&error))?;
    Ok(api.taken(taken).into_response())
}

/// What became of the files of a form.
#[derive(Serialize, ToSchema)]
pub struct Files {
    /// Those that were taken.
    pub assets: Vec<Accepted>,
    /// Those that were not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FileError>,
    /// The job: of one file that was taken its own, of several the one that they are parts of, with progress n of m.
    pub job_id: String,
    /// Where its state is.
    pub status_url: String,
    /// Of a form with one file: its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A file that was not taken.
#[derive(Serialize, ToSchema)]
pub struct FileError {
    /// What it was called.
    pub filename: String,
    /// The status that it would have had alone.
    pub status: u16,
    /// A stable name, for programs.
    pub code: &'static str,
    /// What was wrong.
    pub detail: String,
}

/// Put originals: a form with one or many files. A field `id` names the file that follows it, else its file name does; fields
/// `variants` and `priority` are for those that follow. Of several files one job tells of all.
#[utoipa::path(
    post, path = "/v1/assets/{category}", tag = "assets",
    params(
        ("category" = String, Path, description = "a category that takes uploads"),
        ("variants" = Option<String>, Query, description = "variants to make beside the category's list"),
        ("Idempotency-Key" = Option<String>, Header, description = "a repetition with the same key is answered as the first"),
    ),
    request_body(content = Vec<u8>, content_type = "multipart/form-data"),
    responses(
        (status = 202, description = "at least one file was taken", body = Files),
        (status = 400, description = "no form, or none with a file", body = ProblemDocument),
        (status = 429, description = "the queue is full; nothing was taken", body = ProblemDocument),
    )
)]
pub async fn post(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(category): Place<String>,
    asked: Asked,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let base = order(&api, &caller, &headers, (&category, "id"), &asked)?;
    let bad = |error: &dyn std::fmt::Display| Problem::from(Refusal::BadBody).with_detail(error.to_string());
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(&error))?;
    let (mut id, mut template) = (None, base);
    let (mut assets, mut errors, mut first) = (Vec::new(), Vec::new(), None);
    while let Some(field) = form.next_field().await.map_err(|error| bad(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        let Some(file_name) = field.file_name().map(str::to_owned) else {
            let text = text(field).await?;
            match name.as_str() {
                "id" => id = Some(text).filter(|id| !id.is_empty()),
                "variants" => {
                    let wanted = split(&text);
                    template.variants = api.variants(&category, "id", wanted.iter().map(String::as_str))?;
                }
                "priority" => template.priority = Some(text.parse().map_err(|_| bad_query("no such priority"))?),
                // What a form's other fields say is no matter of ours.
                _ => {}
            }
            continue;
        };
        if assets.len() + errors.len() >= FILES_MAX {
            return Err(bad_query(format!("more than {FILES_MAX} files")));
        }
        let number = assets.len() + errors.len();
        let order = Order {
            id: id.take().unwrap_or_else(|| crate::ingest::file_name(&file_name, None)),
            file_name: Some(file_name.clone()),
            batch: number > 0,
            // One key for the request is one for each of its files.
            idempotency: template.idempotency.as_ref().map(|key| format!("{key}#{number}")),
            ..template.clone()
        };
        match api.ingest.take(order, field).await {
            Ok(taken) => assets.push(api.taken(taken)),
            Err(error) => {
                let problem = Problem::from(&error);
                let (status, code, detail) = (problem.status.as_u16(), problem.code, problem.detail.clone());
                errors.push(FileError { filename: file_name, status, code, detail });
                first.get_or_insert(problem);
            }
        }
    }
    let (job_id, version) = match assets.as_slice() {
        [] => return Err(first.unwrap_or_else(|| bad(&"the form holds no file"))),
        [asset] => (asset.job_id.clone(), Some(asset.version.clone()).filter(|_| errors.is_empty())),
        several => {
            let jobs = several.iter().map(|asset| asset.job_id.clone()).collect();
            (api.catalog.gather(&template.owner, jobs, template.trace).await?, None)
        }
    };
    let files = Files { status_url: job_path(&job_id), job_id: job_id.clone(), version, assets, errors };
    Ok(accepted(files, &job_id))
}

/// A short field of a form.
async fn text(mut field: axum::extract::multipart::Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) =
        field.chunk().await.map_err(|error| Problem::from(Refusal::BadBody).with_detail(error.to_string()))?
    {
        if bytes.len() + piece.len() > FIELD_BYTES_MAX {
            return Err(Refusal::BodyTooLarge.into());
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| Problem::from(Refusal::BadBody).with_detail("a field is not UTF-8"))
}

/// What to fetch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Where from: http or https, at an address that the category allows.
    url: String,
    /// The category.
    category: String,
    /// The asset's id; else the URL's last segment.
    id: Option<String>,
    /// Variants to make beside the category's list.
    #[serde(default)]
    variants: Vec<String>,
    /// `critical`, `high`, `normal` or `low`.
    priority: Option<String>,
    /// What the file is called.
    filename: Option<String>,
}

/// Have an original fetched from a URL, guarded as sources are: every address is checked when it is connected to.
#[utoipa::path(
    post, path = "/v1/assets:fetch", tag = "assets", request_body = Fetch,
    params(("Idempotency-Key" = Option<String>, Header, description = "a repetition with the same key is answered as the first")),
    responses(
        (status = 202, description = "taken; variants are being made", body = Accepted),
        (status = 403, description = "the address is not allowed", body = ProblemDocument),
        (status = 502, description = "the URL did not answer with an original", body = ProblemDocument),
    )
)]
pub async fn fetch(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    asked: Asked,
    Told(told): Told<Fetch>,
) -> Result<Response, Problem> {
    let path = told.url.split(['?', '#']).next().unwrap_or_default();
    let id = told.id.unwrap_or_else(|| crate::ingest::file_name(path, None));
    let mut order = order(&api, &caller, &headers, (&told.category, &id), &asked)?;
    order.variants = api.variants(&told.category, &id, told.variants.iter().map(String::as_str))?;
    let priority = told.priority.map(|name| name.parse().map_err(|_| bad_query("no such priority"))).transpose()?;
    order.priority = priority.or(order.priority);
    order.file_name = told.filename.or_else(|| Some(path.to_owned()));
    order.origin = "fetch";
    let taken = api.ingest.fetch(order, &told.url).await.map_err(|error| Problem::from(&error))?;
    Ok(api.taken(taken).into_response())
}

/// List assets, by category and id.
#[utoipa::path(
    get, path = "/v1/assets", tag = "assets",
    params(
        ("category" = Option<String>, Query, description = "of one category"),
        ("prefix" = Option<String>, Query, description = "whose id begins so"),
        ("state" = Option<String>, Query, description = "pending, ready, broken, deleting or deleted"),
        ("cursor" = Option<String>, Query, description = "the last page's `next`"),
        ("limit" = Option<u32>, Query, description = "items of a page, 1 to 500"),
    ),
    responses((status = 200, body = Paged<AssetView>))
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<Paged<AssetView>>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let filter = AssetFilter {
        category: asked.text("category").map(str::to_owned),
        prefix: asked.text("prefix").map(str::to_owned),
        state: asked.read("state")?,
        within: principal.within(),
    };
    let page = api.catalog.assets(principal.sees(), &filter, asked.cursor(), asked.limit()?).await?;
    Ok(Json(Paged { items: page.items.into_iter().map(AssetView::from).collect(), next: page.next }))
}

/// Delete an asset, or one version of it: originals, derivatives, mezzanines, and a purge. Goes on after a crash.
#[utoipa::path(
    delete, path = "/v1/assets/{category}/{*id}", tag = "assets",
    params(
        ("category" = String, Path), ("*id" = String, Path, description = "may hold slashes"),
        ("version" = Option<String>, Query, description = "one version alone"),
    ),
    responses((status = 202, description = "it is gone for readers, and being removed", body = Begun), (status = 404, body = ProblemDocument))
)]
pub async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place((category, id)): Place<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let principal = caller.at_least_in(Role::Operator, &category)?;
    let version = asked.text("version");
    let asset = api.catalog.asset(principal.sees(), &category, &id).await?;
    let subject = Subject { category: category.clone(), asset: id.clone(), version: version.map(str::to_owned) };
    let job = Task::Delete {}.job(&asset.owner, Some(subject), Priority::High);
    let job_id = api.catalog.begin_delete(principal.sees(), &category, &id, version, job).await?;
    api.recent.changed(&Question::asset(None, &category, &id, None), api.catalog.last_known_event());
    // This process forgets it at once; the job sees to the store, and to every other.
    api.origin.purge(&Purge::Asset { category, id }).await.map_err(|error| Problem::from(&error))?;
    Ok(Begun::new(job_id, Default::default()).into_response())
}
