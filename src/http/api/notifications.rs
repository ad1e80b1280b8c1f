//! Messages of the bucket: what was put into its inbox is taken.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::begun::Accepted;
use super::extract::{Caller, Told};
use super::wire::ProblemDocument;
use crate::auth::Role;
use crate::http::problem::{Problem, Refusal};
use crate::ingest::notifications::{Message, Outcome, RECORDS_MAX};

/// What a message came to.
#[derive(Serialize, ToSchema)]
pub struct Noted {
    /// Originals that were taken.
    pub assets: Vec<Accepted>,
    /// Records that name nothing of ours.
    pub passed: usize,
    /// Records whose original was not taken, and why; it stays in the inbox.
    pub errors: Vec<Unnoted>,
}

/// An original that was not taken.
#[derive(Serialize, ToSchema)]
pub struct Unnoted {
    /// The object's key, as it came.
    pub key: String,
    /// A stable name, for programs.
    pub code: &'static str,
    /// What was wrong.
    pub detail: String,
}

/// Take S3's event messages: an original below `inbox/CATEGORY/ID` of the bucket of originals is taken, and leaves the inbox.
#[utoipa::path(
    post, path = "/v1/notifications/s3", tag = "uploads",
    request_body(content = Object, description = "a message as S3, MinIO or SeaweedFS sends it: {\"Records\": […]}"),
    responses(
        (status = 200, body = Noted),
        (status = 409, description = "the store of originals is no bucket", body = ProblemDocument),
        (status = 503, description = "come again: something failed that may pass", body = ProblemDocument),
    )
)]
pub async fn s3(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Told(message): Told<Message>,
) -> Result<Json<Noted>, Problem> {
    let principal = caller.at_least(Role::Uploader)?;
    let (bucket, prefix) =
        api.settings.bucket.as_ref().ok_or_else(|| Problem::from(&crate::ingest::Error::NoOffers))?;
    if message.records.len() > RECORDS_MAX {
        return Err(Problem::from(Refusal::BadBody).with_detail(format!("more than {RECORDS_MAX} records")));
    }
    let mut noted = Noted { assets: Vec::new(), passed: 0, errors: Vec::new() };
    for record in &message.records {
        let allowed = |category: &str| principal.may_in(category);
        match api.ingest.notified(&principal.owner, record, bucket, prefix, &allowed).await {
            Outcome::Taken(taken) => noted.assets.push(api.taken(*taken)),
            Outcome::Passed => noted.passed += 1,
            Outcome::Failed(error) => {
                let problem = Problem::from(&error);
                // The bucket sends its message again, and what was taken of it is then passed.
                if problem.status.is_server_error() || problem.retry_after.is_some() {
                    return Err(problem);
                }
                let Problem { code, detail, .. } = problem;
                noted.errors.push(Unnoted { key: record.s3.object.key.clone(), code, detail });
            }
        }
    }
    Ok(Json(noted))
}
