//! Which variants a category's traffic asks for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Asked, Caller, Place};
use super::wire::ProblemDocument;
use crate::auth::Role;
use crate::http::problem::Problem;

/// A variant's shape, whatever the asset.
#[derive(Serialize, ToSchema)]
pub struct Shape {
    /// As in a URL: `w_400.webp`.
    pub variant: String,
    /// Requests, older ones counting less.
    pub count: f64,
    /// Its share of the category's traffic, 0 to 1.
    pub share: f64,
    /// Bytes of a body, as they were of late.
    pub bytes: u64,
}

/// Which variants a category's traffic asks for, the most popular first: of the owner's own assets where they have owners.
#[utoipa::path(
    get, path = "/v1/popularity/{category}", tag = "queue",
    params(("category" = String, Path), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<Shape>), (status = 403, body = ProblemDocument))
)]
pub async fn popularity(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(category): Place<String>,
    asked: Asked,
) -> Result<Json<Vec<Shape>>, Problem> {
    let principal = caller.at_least_in(Role::Viewer, &category)?;
    if api.origin.policy(&category).is_none() {
        return Err(Problem::from(&crate::serve::Error::NoCategory(category)));
    }
    // Of a plain source's pictures nobody is the owner.
    let owner = principal.sees().filter(|_| api.ingest.takes(&category));
    let popular = api.catalog.popularity(owner, &category, api.settings.half_life, asked.limit()?).await?;
    let shape = |found: crate::catalog::Popular| Shape {
        variant: found.shape,
        count: found.count,
        share: found.share,
        bytes: found.bytes as u64,
    };
    Ok(Json(popular.into_iter().map(shape).collect()))
}
