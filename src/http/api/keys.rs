//! API keys: made, listed, rotated, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Asked, Caller, Place, Told, bad_query};
use super::wire::ProblemDocument;
use crate::auth::{Created, NewKey, Principal, Role};
use crate::catalog::ApiKey;
use crate::http::problem::{Problem, Refusal};

/// Most bytes of an owner's and of a key's name.
const NAME_BYTES_MAX: usize = 100;

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    /// What it is called, for people.
    #[serde(default)]
    name: String,
    /// `viewer`, `uploader`, `operator` or `admin`; none above the maker's own.
    role: String,
    /// The categories that it is for; all of the maker's where none is named.
    categories: Option<Vec<String>>,
    /// Whose it is; another owner than the maker's takes an admin of the server itself.
    owner: Option<String>,
    /// For how many seconds it holds; else until it is revoked.
    expires_s: Option<u64>,
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// Its id, which is part of its text.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What it is for.
    pub role: String,
    /// The categories that it is for; none is all.
    pub categories: Option<Vec<String>>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// To ten seconds, unix milliseconds.
    pub last_used_ms: Option<i64>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            owner: key.owner,
            role: key.role,
            categories: key.categories,
            created_ms: key.created_ms,
            expires_ms: key.expires_ms,
            revoked_ms: key.revoked_ms,
            last_used_ms: key.last_used_ms,
        }
    }
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// What is known of it.
    #[serde(flatten)]
    pub key: KeyView,
    /// Its text, shown this once: `Authorization: Bearer …`.
    pub secret: String,
}

fn made(created: Created) -> Response {
    (StatusCode::CREATED, Json(KeyMade { key: created.key.into(), secret: created.text })).into_response()
}

/// Make a key.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", request_body = NewKeyBody,
    responses((status = 201, body = KeyMade), (status = 403, body = ProblemDocument))
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Told(told): Told<NewKeyBody>,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Admin)?;
    let role = told.role.parse::<Role>().map_err(bad_query)?;
    let owner = told.owner.unwrap_or_else(|| principal.owner.to_string());
    if owner != *principal.owner {
        caller.root()?;
    }
    for name in [&owner, &told.name] {
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(bad_query(format!("a name has at most {NAME_BYTES_MAX} bytes, and no control characters")));
        }
    }
    let categories = scope(&api, principal, told.categories)?;
    let now_ms = api.catalog.now_ms();
    let expires_ms = told.expires_s.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000) as i64));
    let new = NewKey { owner, name: told.name, role, categories, expires_ms };
    Ok(made(api.keys.create(new).await.map_err(|error| Problem::from(&error))?))
}

/// The categories of a new key: no more than its maker's.
fn scope(api: &Api, principal: &Principal, asked: Option<Vec<String>>) -> Result<Option<Vec<String>>, Problem> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(principal.categories.as_ref().map(|own| own.to_vec()));
    };
    for category in &asked {
        if api.origin.policy(category).is_none() {
            return Err(bad_query(format!("there is no category {category:?}")));
        }
        if !principal.may_in(category) {
            return Err(
                Problem::from(Refusal::Forbidden).with_detail("a key is for no more categories than its maker's")
            );
        }
    }
    Ok(Some(asked))
}

/// List keys, without their secrets.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = Vec<KeyView>)))]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Vec<KeyView>>, Problem> {
    let principal = caller.at_least(Role::Admin)?;
    let keys = api.keys.list(principal.sees()).await.map_err(|error| Problem::from(&error))?;
    Ok(Json(keys.into_iter().map(KeyView::from).collect()))
}

/// Revoke a key: at once in this process, within five seconds in every other.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument))
)]
pub async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    let principal = caller.at_least(Role::Admin)?;
    api.keys.revoke(principal.sees(), &id).await.map_err(|error| Problem::from(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a key like another, which is revoked unless `keep=true`.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "keys",
    params(("id" = String, Path), ("keep" = Option<bool>, Query, description = "the old one holds until it is revoked")),
    responses((status = 201, body = KeyMade), (status = 404, body = ProblemDocument))
)]
pub async fn rotate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Admin)?;
    let keep = asked.read("keep")?.unwrap_or(false);
    Ok(made(api.keys.rotate(principal.sees(), &id, keep).await.map_err(|error| Problem::from(&error))?))
}
