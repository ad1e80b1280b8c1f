//! Signed, time-limited downloads of originals.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Caller, Told, bad_query};
use super::links::Original;
use super::wire::{Named, ProblemDocument};
use crate::auth::{Principal, Role};
use crate::catalog;
use crate::http::problem::Problem;

/// How long a link holds where nothing is said, and at most: seconds.
const VALID_S: u64 = 3600;
const VALID_S_MAX: u64 = 7 * 86_400;

/// What to download.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDownload {
    /// The asset; its current version where none is named.
    asset: Named,
    /// For how many seconds the link holds, 1 to 604800.
    expires_s: Option<u64>,
}

/// A link.
#[derive(Serialize, ToSchema)]
pub struct Download {
    /// `category/id`.
    pub asset: String,
    /// The version.
    pub version: String,
    /// What the file was called.
    pub filename: String,
    /// Where it is; whoever has the URL may have the original, until it expires.
    pub url: String,
    /// Unix seconds.
    pub expires: u64,
}

/// Sign a link to an original that holds for a while.
#[utoipa::path(
    post, path = "/v1/downloads", tag = "assets", request_body = NewDownload,
    responses(
        (status = 200, body = Download),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "no key is configured that may sign for the category", body = ProblemDocument),
    )
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Told(told): Told<NewDownload>,
) -> Result<Json<Download>, Problem> {
    let (category, id, version) = told.asset.parts()?;
    let principal = caller.at_least_in(Role::Viewer, &category)?;
    let valid_s = valid(told.expires_s)?;
    Ok(Json(link(&api, principal, (&category, &id), version.as_deref(), valid_s).await?))
}

/// How many seconds a link holds.
pub(super) fn valid(asked: Option<u64>) -> Result<u64, Problem> {
    let valid_s = asked.unwrap_or(VALID_S);
    if (1..=VALID_S_MAX).contains(&valid_s) {
        Ok(valid_s)
    } else {
        Err(bad_query(format!("expires_s is from 1 to {VALID_S_MAX}")))
    }
}

/// A link to one original of somebody's.
pub(super) async fn link(
    api: &Api,
    principal: &Principal,
    (category, id): (&str, &str),
    version: Option<&str>,
    valid_s: u64,
) -> Result<Download, Problem> {
    // Whose it is stands with the asset.
    api.catalog.asset(principal.sees(), category, id).await?;
    let found = api.catalog.find_version(category, id, version).await?.ok_or(catalog::Error::NotFound)?;
    let place = Original { category, id, version: &found.version, format: &found.format };
    let (url, expires) = api.download(&place, valid_s)?;
    Ok(Download { asset: format!("{category}/{id}"), version: found.version, filename: found.filename, url, expires })
}
