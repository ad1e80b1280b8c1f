//! What is answered with 202: an original that was taken, a job that was begun.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::recent::Question;
use crate::ingest::Taken;

/// An original that was taken.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// `category/id`.
    pub asset: String,
    /// The category.
    pub category: String,
    /// The id.
    pub id: String,
    /// `h` and the first 16 hex digits of the BLAKE3: the same content has the same version.
    pub version: String,
    /// The job that makes the variants.
    pub job_id: String,
    /// Where its state is.
    pub status_url: String,
    /// Whether the version was there before; then nothing is made anew.
    pub existed: bool,
    /// What the content is.
    pub format: String,
    /// Upright, in pixels.
    pub width: u32,
    /// Upright, in pixels.
    pub height: u32,
    /// Bytes of the original.
    pub bytes: u64,
    /// Their BLAKE3, 64 hex digits.
    pub blake3: String,
    /// The URLs that will exist, by variant.
    pub urls: BTreeMap<String, String>,
}

impl Api {
    /// What is said of an original that was taken; `v0` is asked for anew from now on.
    pub(super) fn taken(&self, taken: Taken) -> Accepted {
        self.origin.renew_current(&taken.category, &taken.id);
        let question = Question::asset(None, &taken.category, &taken.id, None);
        self.recent.changed(&question, self.catalog.last_known_event());
        let variants = self.prewarm(&taken.category).iter().chain(&taken.variants);
        let url = |variant: &String| {
            let url = self.url(&taken.category, &taken.id, &taken.version, variant);
            (variant.clone(), url)
        };
        Accepted {
            asset: format!("{}/{}", taken.category, taken.id),
            urls: variants.map(url).collect(),
            status_url: job_path(&taken.job),
            version: taken.version,
            job_id: taken.job,
            existed: taken.existed,
            format: taken.facts.format.extension().to_owned(),
            width: taken.facts.size.width,
            height: taken.facts.size.height,
            bytes: taken.bytes,
            blake3: taken.digest.hex(64),
            category: taken.category,
            id: taken.id,
        }
    }
}

/// A job that was begun.
#[derive(Serialize, ToSchema)]
pub struct Begun {
    /// Its id.
    pub job_id: String,
    /// Where its state is.
    pub status_url: String,
    /// The URLs that will exist, by variant; of several assets, by asset and variant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, String>,
}

impl Begun {
    /// A job, and what it will make.
    pub fn new(job_id: String, urls: BTreeMap<String, String>) -> Self {
        Self { status_url: job_path(&job_id), job_id, urls }
    }
}

/// 202, with where the job's state is.
pub(super) fn accepted(body: impl Serialize, job: &str) -> Response {
    let location = HeaderValue::try_from(job_path(job)).ok();
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    location.map(|location| response.headers_mut().insert(LOCATION, location));
    response
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        accepted(&self, &self.job_id)
    }
}

impl IntoResponse for Begun {
    fn into_response(self) -> Response {
        accepted(&self, &self.job_id)
    }
}

/// Where a job's state is.
pub(super) fn job_path(id: &str) -> String {
    format!("/v1/jobs/{id}")
}
