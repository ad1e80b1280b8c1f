//! Galleries: named, ordered collections of an owner's assets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::downloads::{Download, link, valid};
use super::extract::{Asked, Caller, Place, Told, bad_query, header};
use super::wire::{Named, Paged, ProblemDocument};
use crate::auth::{Principal, Role};
use crate::catalog::{self, Gallery, GalleryChange};
use crate::http::problem::{Problem, Refusal};

/// Most items of one request, and of one answer with links.
const ITEMS_MAX: usize = 500;
/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 200;

/// A gallery.
#[derive(Serialize, ToSchema)]
pub struct GalleryView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The asset that stands for it, `category/id`.
    pub cover: Option<String>,
    /// How many assets are in it.
    pub count: u64,
    /// Rises with every change; `If-Match` with it keeps two who change at once apart.
    pub revision: i64,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

impl From<Gallery> for GalleryView {
    fn from(gallery: Gallery) -> Self {
        Self {
            id: gallery.id,
            name: gallery.name,
            owner: gallery.owner,
            cover: gallery.cover.map(|(category, id)| format!("{category}/{id}")),
            count: gallery.items,
            revision: gallery.revision,
            created_ms: gallery.created_ms,
            updated_ms: gallery.updated_ms,
        }
    }
}

/// A gallery with a page of its assets, in its order.
#[derive(Serialize, ToSchema)]
pub struct Filled {
    /// The gallery.
    #[serde(flatten)]
    pub gallery: GalleryView,
    /// Its assets, `category/id`.
    pub items: Vec<String>,
    /// What `cursor` says for the next page.
    pub next: Option<String>,
}

/// A new gallery.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGallery {
    /// Its name.
    name: String,
    /// Its first assets, in order.
    #[serde(default)]
    items: Vec<Named>,
}

/// Assets of a gallery.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// The assets.
    items: Vec<Named>,
    /// Where they are put in, counted from 0; else at the end.
    at: Option<u32>,
}

/// A change of a gallery.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Another name.
    name: Option<String>,
    /// The asset that stands for it; an empty text for none.
    cover: Option<String>,
}

/// For how long links hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// Seconds, 1 to 604800.
    expires_s: Option<u64>,
}

/// A gallery in an answer, with its revision as the entity tag.
fn shown(status: StatusCode, gallery: Gallery) -> Response {
    let tag = HeaderValue::try_from(format!("\"{}\"", gallery.revision)).ok();
    let location = HeaderValue::try_from(format!("/v1/galleries/{}", gallery.id)).ok();
    let mut response = (status, Json(GalleryView::from(gallery))).into_response();
    tag.map(|tag| response.headers_mut().insert(ETAG, tag));
    if status == StatusCode::CREATED {
        location.map(|location| response.headers_mut().insert(LOCATION, location));
    }
    response
}

/// The revision that `If-Match` expects.
fn expected(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let read = |text: &str| text.trim_matches('"').parse().map_err(|_| bad_query("If-Match is a gallery's revision"));
    header(headers, IF_MATCH.as_str()).filter(|text| *text != "*").map(read).transpose()
}

fn name(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let detail = format!("a gallery's name has 1 to {NAME_BYTES_MAX} bytes, and no control characters");
        return Err(Problem::from(Refusal::BadBody).with_detail(detail));
    }
    Ok(text.to_owned())
}

/// Assets that somebody may name; each must be theirs.
async fn named(api: &Api, principal: &Principal, items: &[Named]) -> Result<Vec<(String, String)>, Problem> {
    if items.len() > ITEMS_MAX {
        return Err(Problem::from(Refusal::BadBody).with_detail(format!("at most {ITEMS_MAX} items at once")));
    }
    let mut named = Vec::with_capacity(items.len());
    for item in items {
        let (category, id, _) = item.parts()?;
        if !principal.may_in(&category) {
            return Err(Problem::from(Refusal::Forbidden).with_detail("the key is not for this category"));
        }
        api.catalog.asset(principal.sees(), &category, &id).await?;
        named.push((category, id));
    }
    Ok(named)
}

/// Make a gallery.
#[utoipa::path(
    post, path = "/v1/galleries", tag = "galleries", request_body = NewGallery,
    responses((status = 201, body = GalleryView), (status = 404, description = "an asset is not there", body = ProblemDocument))
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Told(told): Told<NewGallery>,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let name = name(&told.name)?;
    let items = named(&api, principal, &told.items).await?;
    let mut gallery = api.catalog.create_gallery(&principal.owner, &name).await?;
    if !items.is_empty() {
        let change = GalleryChange::Add { items, at: None };
        gallery = api.catalog.change_gallery(principal.sees(), &gallery.id, None, change).await?;
    }
    Ok(shown(StatusCode::CREATED, gallery))
}

/// List galleries.
#[utoipa::path(
    get, path = "/v1/galleries", tag = "galleries",
    params(("cursor" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Paged<GalleryView>))
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<Paged<GalleryView>>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let page = api.catalog.galleries(principal.sees(), asked.cursor(), asked.limit()?).await?;
    Ok(Json(Paged { items: page.items.into_iter().map(GalleryView::from).collect(), next: page.next }))
}

/// A gallery and a page of its assets.
#[utoipa::path(
    get, path = "/v1/galleries/{id}", tag = "galleries",
    params(("id" = String, Path), ("cursor" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Filled), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
    asked: Asked,
) -> Result<Json<Filled>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let gallery = api.catalog.gallery(principal.sees(), &id).await?;
    let page = api
        .catalog
        .gallery_items(principal.sees(), &id, principal.categories.as_deref(), asked.cursor(), asked.limit()?)
        .await?;
    let items = page.items.into_iter().map(|(category, id)| format!("{category}/{id}")).collect();
    Ok(Json(Filled { gallery: gallery.into(), items, next: page.next }))
}

/// Rename a gallery, or give it a cover.
#[utoipa::path(
    patch, path = "/v1/galleries/{id}", tag = "galleries", request_body = Changed,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "the revision that is changed")),
    responses((status = 200, body = GalleryView), (status = 409, description = "somebody else changed it", body = ProblemDocument))
)]
pub async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Place(id): Place<String>,
    Told(told): Told<Changed>,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let mut changes = Vec::new();
    if let Some(text) = &told.name {
        changes.push(GalleryChange::Rename(name(text)?));
    }
    if let Some(text) = told.cover {
        let cover = if text.is_empty() { None } else { named(&api, principal, &[Named::Text(text)]).await?.pop() };
        changes.push(GalleryChange::Cover(cover));
    }
    let mut expected = expected(&headers)?;
    let mut gallery = api.catalog.gallery(principal.sees(), &id).await?;
    for change in changes {
        gallery = api.catalog.change_gallery(principal.sees(), &id, expected, change).await?;
        expected = expected.map(|_| gallery.revision);
    }
    Ok(shown(StatusCode::OK, gallery))
}

/// Delete a gallery; its assets stay.
#[utoipa::path(
    delete, path = "/v1/galleries/{id}", tag = "galleries", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument))
)]
pub async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    api.catalog.delete_gallery(principal.sees(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put assets into a gallery.
#[utoipa::path(
    post, path = "/v1/galleries/{id}/items", tag = "galleries", request_body = Items,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "the revision that is changed")),
    responses((status = 200, body = GalleryView), (status = 404, body = ProblemDocument))
)]
pub async fn add(State(api): State<Arc<Api>>, asking: Asking, Told(told): Told<Items>) -> Result<Response, Problem> {
    change_items(&api, asking, &told, Known::Must, |items| GalleryChange::Add { items, at: told.at }).await
}

/// Put a gallery's assets into another order.
#[utoipa::path(
    put, path = "/v1/galleries/{id}/items", tag = "galleries", request_body = Items,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "the revision that is changed")),
    responses((status = 200, body = GalleryView), (status = 404, body = ProblemDocument))
)]
pub async fn order(State(api): State<Arc<Api>>, asking: Asking, Told(told): Told<Items>) -> Result<Response, Problem> {
    change_items(&api, asking, &told, Known::Must, GalleryChange::Order).await
}

/// Take assets out of a gallery.
#[utoipa::path(
    delete, path = "/v1/galleries/{id}/items", tag = "galleries", request_body = Items,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "the revision that is changed")),
    responses((status = 200, body = GalleryView), (status = 404, body = ProblemDocument))
)]
pub async fn remove(State(api): State<Arc<Api>>, asking: Asking, Told(told): Told<Items>) -> Result<Response, Problem> {
    // What was deleted meanwhile can still be taken out.
    change_items(&api, asking, &told, Known::NeedNot, GalleryChange::Remove).await
}

/// Who changes which gallery, and what they know of it.
type Asking = (Caller, HeaderMap, Place<String>);

/// Whether assets that are named must be there.
enum Known {
    Must,
    NeedNot,
}

/// Changes the assets of a gallery.
async fn change_items(
    api: &Api,
    (caller, headers, Place(id)): Asking,
    told: &Items,
    known: Known,
    change: impl FnOnce(Vec<(String, String)>) -> GalleryChange,
) -> Result<Response, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let items = match known {
        Known::Must => named(api, principal, &told.items).await?,
        Known::NeedNot => {
            let parts = |item: &Named| item.parts().map(|(category, id, _)| (category, id));
            told.items.iter().map(parts).collect::<Result<_, _>>()?
        }
    };
    let gallery = api.catalog.change_gallery(principal.sees(), &id, expected(&headers)?, change(items)).await?;
    Ok(shown(StatusCode::OK, gallery))
}

/// Sign links to the originals of a gallery that hold for a while; of its first 500 assets, or those after `cursor`.
#[utoipa::path(
    post, path = "/v1/galleries/{id}/downloads", tag = "galleries", request_body = Links,
    params(("id" = String, Path), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Paged<Download>), (status = 404, body = ProblemDocument))
)]
pub async fn downloads(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place(id): Place<String>,
    asked: Asked,
    Told(told): Told<Links>,
) -> Result<Json<Paged<Download>>, Problem> {
    let principal = caller.at_least(Role::Viewer)?;
    let valid_s = valid(told.expires_s)?;
    api.catalog.gallery(principal.sees(), &id).await?;
    let page = api
        .catalog
        .gallery_items(principal.sees(), &id, principal.categories.as_deref(), asked.cursor(), ITEMS_MAX as u32)
        .await?;
    let mut links = Vec::with_capacity(page.items.len());
    for (category, id) in &page.items {
        // What was deleted has no link.
        match link(&api, principal, (category, id), None, valid_s).await {
            Ok(found) => links.push(found),
            Err(problem) if problem.status == StatusCode::NOT_FOUND => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(Json(Paged { items: links, next: page.next }))
}

impl From<catalog::Error> for Problem {
    fn from(error: catalog::Error) -> Self {
        Self::from(&error)
    }
}
