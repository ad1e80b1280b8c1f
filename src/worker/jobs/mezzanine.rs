//! `mezzanine`: the reduced forms of an original, of which nobody wants a variant yet, so that the first request is quick.

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve};
use super::subject;
use crate::base::Deadline;
use crate::plan::asset_path;
use crate::queue::{Ended, Job};

/// Makes them. The result says how many there are.
pub async fn perform(parts: &Parts, job: &Job, deadline: Deadline) -> Result<Ended, Verdict> {
    let subject = subject(job)?;
    let version = subject.version.as_deref().unwrap_or("v0");
    let path = asset_path(&subject.category, &subject.asset, version, "info.json");
    let made = parts.origin.mezzanines(&path, deadline).await.map_err(|error| of_serve(&error, &subject.category))?;
    parts.catalog.record_mezzanines(job, made.bytes).await.map_err(of_catalog)?;
    Ok(Ended::Completed { result: json!({ "mezzanines": made.count }), follow: Vec::new() })
}
