//! Big originals that bypass the API: a signed put into the bucket first, and its completion.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::assets::order;
use super::begun::{Accepted, Begun};
use super::extract::{Asked, Caller, Place, Told, bad_query};
use super::wire::ProblemDocument;
use crate::auth::Role;
use crate::http::client;
use crate::http::problem::Problem;
use crate::ingest::Offer;

/// What will be put.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpload {
    /// The category.
    category: String,
    /// The asset's id.
    id: String,
    /// What the file is called.
    filename: Option<String>,
    /// Its media type, which must be sent with the put then.
    content_type: Option<String>,
    /// Its bytes.
    bytes: Option<u64>,
    /// Variants to make beside the category's list.
    #[serde(default)]
    variants: Vec<String>,
    /// `critical`, `high`, `normal` or `low`.
    priority: Option<String>,
}

/// Where to put it.
#[derive(Serialize, ToSchema)]
pub struct UploadView {
    /// The upload's id.
    pub id: String,
    /// `PUT`.
    pub method: String,
    /// Where to; whoever has the URL may use it.
    pub url: String,
    /// Headers that must be sent along.
    pub headers: BTreeMap<String, String>,
    /// For how long, in seconds.
    pub expires_s: u64,
    /// What to call when it is put.
    pub complete_url: String,
}

/// Have a put into the bucket signed, so that a big original bypasses the API.
#[utoipa::path(
    post, path = "/v1/uploads", tag = "uploads", request_body = NewUpload,
    responses(
        (status = 201, description = "put the original there, then complete it", body = UploadView),
        (status = 409, description = "the store of originals is a folder, which signs nothing", body = ProblemDocument),
        (status = 429, description = "the queue is full", body = ProblemDocument),
    )
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    asked: Asked,
    Told(told): Told<NewUpload>,
) -> Result<Response, Problem> {
    let mut order = order(&api, &caller, &headers, (&told.category, &told.id), &asked)?;
    order.variants = api.variants(&told.category, &told.id, told.variants.iter().map(String::as_str))?;
    order.priority = told.priority.map(|name| name.parse().map_err(|_| bad_query("no such priority"))).transpose()?;
    order.file_name = told.filename;
    // It is the completion that is repeated, and that has its own.
    order.idempotency = None;
    let offer = Offer { order, content_type: told.content_type, bytes: told.bytes };
    let reserved = api.ingest.offer(offer).await.map_err(|error| Problem::from(&error))?;
    let view = UploadView {
        complete_url: format!("/v1/uploads/{}/complete", reserved.id),
        id: reserved.id,
        method: reserved.request.method,
        url: reserved.request.url,
        headers: reserved.request.headers.into_iter().collect(),
        expires_s: reserved.valid.as_secs(),
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Say that an original was put: it is read once, checked, and its variants are made.
#[utoipa::path(
    post, path = "/v1/uploads/{id}/complete", tag = "uploads",
    params(("id" = String, Path, description = "the upload's id")),
    responses(
        (status = 202, description = "taken; variants are being made. A repetition names the job alone", body = Accepted),
        (status = 404, description = "no such upload", body = ProblemDocument),
        (status = 409, description = "nothing was put yet", body = ProblemDocument),
        (status = 410, description = "not completed in time: ask for another", body = ProblemDocument),
    )
)]
pub async fn complete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let done = api.ingest.completed(principal.sees(), &id).await.map_err(|error| Problem::from(&error))?;
    if let Some(job_id) = done.and_then(|upload| upload.job) {
        return Ok(Begun::new(job_id, BTreeMap::new()).into_response());
    }
    let trace = client::trace(&headers).map(|trace| trace.to_string());
    let taken = api.ingest.complete(principal.sees(), &id, trace).await.map_err(|error| Problem::from(&error))?;
    Ok(api.taken(taken).into_response())
}
