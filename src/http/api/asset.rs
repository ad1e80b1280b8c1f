//! All that is known of an asset.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::events::EventView;
use super::extract::{Asked, Caller, Place};
use super::recent::{Answer, Question};
use super::wire::{AssetView, ProblemDocument, VariantView, VersionView};
use crate::auth::Role;
use crate::catalog::{Access, EventFilter};
use crate::http::problem::Problem;

/// Most events of an asset's history in one answer.
const HISTORY_MAX: u32 = 500;

/// All that is known of an asset.
#[derive(Serialize, ToSchema)]
pub struct Whole {
    /// The asset.
    #[serde(flatten)]
    pub asset: AssetView,
    /// Its versions, the newest first.
    pub versions: Vec<VersionView>,
    /// The variants made of it.
    pub variants: Vec<VariantView>,
    /// Bytes of all originals, their reduced forms and variants.
    pub bytes_total: u64,
    /// How often it was asked for, by day and variant, the youngest day first; a variant of no name is the original.
    pub access: Vec<AccessView>,
    /// What happened to it, in order.
    pub history: Vec<EventView>,
}

/// How often a variant was asked for on a day.
#[derive(Serialize, ToSchema)]
pub struct AccessView {
    /// Days since 1970.
    pub day: i64,
    /// As a URL's last segment.
    pub variant: String,
    /// So often, as far as it was counted.
    pub count: u64,
}

/// All that is known of an asset: versions, variants made with their sizes, history.
#[utoipa::path(
    get, path = "/v1/assets/{category}/{*id}", tag = "assets",
    params(
        ("category" = String, Path), ("*id" = String, Path, description = "may hold slashes"),
        ("version" = Option<String>, Query, description = "variants of one version alone"),
    ),
    responses((status = 200, body = Whole), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Place((category, id)): Place<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let principal = caller.at_least_in(Role::Viewer, &category)?;
    let sees = principal.sees();
    let question = Question::asset(sees, &category, &id, asked.text("version"));
    if let Some(answer) = api.recent.find(&question).await {
        return Ok(answer.into_response());
    }
    let mark = api.recent.mark();
    let asset = api.catalog.asset(sees, &category, &id).await;
    api.recent.asked_catalog(asset.is_ok());
    let asset = asset?;
    let versions = api.catalog.versions(sees, &category, &id).await?;
    let variants = api.catalog.variants(sees, &category, &id, asked.text("version")).await?;
    let filter = EventFilter {
        owner: sees.map(str::to_owned),
        category: Some(category),
        asset: Some(id),
        ..EventFilter::default()
    };
    let history = api.catalog.events(0, &filter, HISTORY_MAX).await?;
    let access = api.catalog.access(sees, filter.category.as_deref().unwrap_or_default(), &asset.id).await?;
    let access = access.into_iter().map(|Access { day, variant, count, .. }| AccessView { day, variant, count });
    let originals: u64 = versions.iter().map(|version| version.bytes + version.mezzanine_bytes).sum();
    let bytes_total = originals + variants.iter().map(|variant| variant.bytes).sum::<u64>();
    let (owner, category) = (asset.owner.clone(), asset.category.clone());
    let whole = Whole {
        asset: asset.into(),
        versions: versions.into_iter().map(VersionView::from).collect(),
        variants: variants.into_iter().map(|variant| VariantView::of(&api, variant)).collect(),
        bytes_total,
        access: access.collect(),
        history: history.into_iter().map(EventView::from).collect(),
    };
    let answer = Arc::new(Answer::new(&owner, Some(&category), &whole));
    api.recent.keep(&question, answer.clone(), mark);
    Ok(answer.into_response())
}
