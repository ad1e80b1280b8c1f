//! The answers' forms that several routes share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::links::Original;
use crate::catalog::{Asset, Job, Variant, Version};
use crate::http::problem::{Problem, Refusal};

/// A problem, by RFC 9457: what errors are answered with.
#[derive(Serialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:fovea:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, for people.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// A stable name, for programs.
    pub code: String,
    /// The piece that was wrong.
    pub at: Option<String>,
    /// The request's id, as in the log.
    pub request_id: String,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// What `cursor` says for the next page; none after the last.
    pub next: Option<String>,
}

/// An asset.
#[derive(Serialize, ToSchema)]
pub struct AssetView {
    /// `category/id`.
    pub asset: String,
    /// The category.
    pub category: String,
    /// The id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The current version.
    pub version: String,
    /// What the file was called.
    pub filename: String,
    /// Media type, by content.
    pub content_type: String,
    /// Bytes of the original.
    pub bytes: u64,
    /// Upright, in pixels.
    pub width: u32,
    /// Upright, in pixels.
    pub height: u32,
    /// `pending`, `ready`, `broken`, `deleting` or `deleted`.
    pub state: String,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

impl From<Asset> for AssetView {
    fn from(asset: Asset) -> Self {
        Self {
            asset: format!("{}/{}", asset.category, asset.id),
            category: asset.category,
            id: asset.id,
            owner: asset.owner,
            version: asset.version,
            filename: asset.filename,
            content_type: asset.content_type,
            bytes: asset.bytes,
            width: asset.width,
            height: asset.height,
            state: asset.state.to_string(),
            created_ms: asset.created_ms,
            updated_ms: asset.updated_ms,
        }
    }
}

/// A version of an asset.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    /// `h` and 16 hex digits.
    pub version: String,
    /// The how manieth of the asset.
    pub number: u32,
    /// The original's BLAKE3.
    pub blake3: String,
    /// What the file was called.
    pub filename: String,
    /// What the content is.
    pub format: String,
    /// Media type.
    pub content_type: String,
    /// Bytes of the original.
    pub bytes: u64,
    /// Upright, in pixels.
    pub width: u32,
    /// Upright, in pixels.
    pub height: u32,
    /// The colour profile's name.
    pub profile: Option<String>,
    /// Which way it came: `upload`, `fetch`, `notification`, `presigned`.
    pub origin: String,
    /// `pending`, `ready`, `broken`, `deleting` or `deleted`.
    pub state: String,
    /// Why it is broken.
    pub error: Option<String>,
    /// EXIF, dominant colours, placeholders, once it was inspected.
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
    /// The job that took care of it.
    pub job_id: String,
    /// Unix milliseconds.
    pub uploaded_ms: i64,
    /// Bytes of its reduced forms, which variants are made from.
    pub mezzanine_bytes: u64,
}

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        Self {
            version: version.version,
            number: version.number,
            blake3: version.blake3,
            filename: version.filename,
            format: version.format,
            content_type: version.content_type,
            bytes: version.bytes,
            width: version.width,
            height: version.height,
            profile: version.profile,
            origin: version.origin,
            state: version.state.to_string(),
            error: version.error,
            metadata: version.facts,
            job_id: version.job,
            uploaded_ms: version.uploaded_ms,
            mezzanine_bytes: version.mezzanine_bytes,
        }
    }
}

/// A variant that was made, or could not be.
#[derive(Serialize, ToSchema)]
pub struct VariantView {
    /// Of which version.
    pub version: String,
    /// As in a URL: `w_400.webp`.
    pub variant: String,
    /// Its URL.
    pub url: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub bytes: u64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// What making it took.
    pub ms: u64,
    /// `ready` or `failed`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Unix milliseconds.
    pub made_ms: i64,
}

impl VariantView {
    pub(super) fn of(api: &Api, variant: Variant) -> Self {
        Self {
            url: api.url(&variant.category, &variant.asset, &variant.version, &variant.variant),
            version: variant.version,
            variant: variant.variant,
            content_type: variant.content_type,
            bytes: variant.bytes,
            width: variant.width,
            height: variant.height,
            ms: variant.ms,
            state: variant.state.to_string(),
            error: variant.error,
            attempts: variant.attempts,
            made_ms: variant.made_ms,
        }
    }
}

/// How far a job is.
#[derive(Clone, Serialize, ToSchema)]
pub struct Progress {
    /// Done.
    pub done: u32,
    /// Failed.
    pub failed: u32,
    /// All.
    pub total: u32,
    /// How long the rest will take, in milliseconds, if it goes on as it has gone so far. None before anything is done, and after the end.
    pub remaining_ms: Option<u64>,
}

impl Progress {
    fn of(job: &Job, now_ms: i64) -> Self {
        let (done, failed, total) = (job.done, job.failed, job.total);
        let ended = u64::from(done) + u64::from(failed);
        let taken = u64::try_from(now_ms - job.started_ms.unwrap_or(job.queued_ms)).unwrap_or(0);
        let left = u64::from(total).saturating_sub(ended);
        let under_way = !job.state.ended() && left > 0;
        let remaining_ms = taken.saturating_mul(left).checked_div(ended).filter(|_| under_way);
        Self { done, failed, total, remaining_ms }
    }
}

/// A job.
#[derive(Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `queued`, `processing`, `completed`, `failed`, `retrying` or `cancelled`; completed only when all of it is.
    pub status: String,
    /// What kind of work.
    pub kind: String,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// Whose it is.
    pub owner: String,
    /// `category/id` of its asset, where it is about one.
    pub asset: Option<String>,
    /// The asset's version.
    pub version: Option<String>,
    /// The job that it is part of.
    pub parent: Option<String>,
    /// How far it is.
    pub progress: Progress,
    /// The original's URL, where it is about one; where originals need a signature, it has one that holds for an hour, or none where no key
    /// of `[keys]` may sign.
    pub original_url: Option<String>,
    /// What is known of the original: EXIF, dominant colours, placeholders.
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
    /// Each variant: URL, bytes, milliseconds, error, attempts.
    #[schema(value_type = Vec<Object>)]
    pub variants: serde_json::Value,
    /// What came of it beside these, as its kind has it: how many mezzanines, where a pyramid's tiles are.
    #[schema(value_type = Object)]
    pub result: serde_json::Value,
    /// Why it failed.
    pub error: Option<String>,
    /// A stable name of why.
    pub code: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Unix milliseconds.
    pub queued_ms: i64,
    /// Unix milliseconds.
    pub started_ms: Option<i64>,
    /// Unix milliseconds.
    pub completed_ms: Option<i64>,
    /// When it is tried next, unix milliseconds.
    pub due_ms: i64,
    /// The W3C trace that it belongs to.
    pub trace: Option<String>,
}

impl JobView {
    /// Of a job, and the version that it is about.
    pub(super) fn of(api: &Api, mut job: Job, version: Option<&Version>) -> Self {
        let mut take = |name: &str| job.result.as_object_mut().and_then(|result| result.remove(name));
        let mut variants = take("variants").unwrap_or_else(|| serde_json::json!([]));
        // What the version is known to be now, or what the job found out.
        let metadata = take("metadata");
        let metadata = version.map(|version| version.facts.clone()).or(metadata).unwrap_or_default();
        if let (Some(subject), Some(list)) = (&job.subject, variants.as_array_mut()) {
            for variant in list.iter_mut().filter_map(|variant| variant.as_object_mut()) {
                let named = variant.get("variant").and_then(|name| name.as_str()).zip(subject.version.as_deref());
                if let Some((name, version)) = named {
                    let url = api.url(&subject.category, &subject.asset, version, name);
                    variant.insert("url".to_owned(), url.into());
                }
            }
        }
        let original = version.map(|found| {
            api.original_url(&Original {
                category: &found.category,
                id: &found.asset,
                version: &found.version,
                format: &found.format,
            })
        });
        let progress = Progress::of(&job, api.catalog.now_ms());
        Self {
            status: job.state.to_string(),
            kind: job.kind.to_string(),
            priority: job.priority.to_string(),
            owner: job.owner,
            asset: job.subject.as_ref().map(|subject| format!("{}/{}", subject.category, subject.asset)),
            version: job.subject.and_then(|subject| subject.version),
            parent: job.parent,
            progress,
            original_url: original,
            metadata,
            variants,
            result: job.result,
            error: job.error,
            code: job.code,
            attempts: job.attempts,
            queued_ms: job.queued_ms,
            started_ms: job.started_ms,
            completed_ms: job.completed_ms,
            due_ms: job.due_ms,
            trace: job.trace,
            id: job.id,
        }
    }
}

/// An asset, and a version of it: the current one where none is named.
#[derive(Clone, Serialize, Deserialize, ToSchema, PartialEq, Eq, Debug)]
#[serde(
    untagged,
    expecting = "an asset is a text category/id or category/id@version, or an object with category, id and version"
)]
pub enum Named {
    /// `category/id`, or `category/id@version`.
    Text(String),
    /// In parts.
    Parts {
        /// The category.
        category: String,
        /// The id.
        id: String,
        /// `h` and 16 hex digits.
        version: Option<String>,
    },
}

impl Named {
    /// Category, id and version.
    pub fn parts(&self) -> Result<(String, String, Option<String>), Problem> {
        let bad = || Problem::from(Refusal::BadBody).with_detail("an asset is category/id, or category/id@version");
        match self {
            Self::Parts { category, id, version } => Ok((category.clone(), id.clone(), version.clone())),
            Self::Text(text) => {
                let is_version = |text: &str| text.len() == 17 && text.starts_with('h');
                let (text, version) = match text.rsplit_once('@') {
                    Some((text, version)) if is_version(version) => (text, Some(version.to_owned())),
                    _ => (text.as_str(), None),
                };
                let (category, id) = super::extract::pair(text).ok_or_else(bad)?;
                Ok((category, id, version))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_named_by_a_text_or_in_parts() {
        let parts = |json: &str| serde_json::from_str::<Named>(json).unwrap().parts().ok();
        let wanted = |version: Option<&str>| Some(("shop".to_owned(), "a/b@c".to_owned(), version.map(str::to_owned)));
        assert_eq!(parts(r#""shop/a/b@c""#), wanted(None));
        assert_eq!(parts(r#""shop/a/b@c@h0123456789abcdef""#), wanted(Some("h0123456789abcdef")));
        assert_eq!(parts(r#"{"category":"shop","id":"a/b@c"}"#), wanted(None));
        assert_eq!(parts(r#"{"category":"shop","id":"a/b@c","version":"h1"}"#), wanted(Some("h1")));
        assert_eq!(parts(r#""shop""#), None);
    }
}
