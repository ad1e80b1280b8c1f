//! `cleanup`: what is past its time goes: jobs and answers, versions that are no longer current, uploads that did not come, and
//! originals that nothing names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_store};
use crate::catalog::UploadState;
use crate::object::ObjectStore;
use crate::queue::{Ended, Priority, Sweep, Task};

/// Uploads that are looked at in one try.
const UPLOADS_MAX: u32 = 500;

/// Where originals lie in their store, and where those are put that bypass the API.
const KEPT: [&str; 2] = ["originals/", "uploads/"];

/// An original that nothing names may still be on its way to being accepted; only what is older is an orphan.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes it. The result counts what went.
pub async fn perform(parts: &Parts, what: Sweep) -> Result<Ended, Verdict> {
    let removed = match what {
        Sweep::Retention => retention(parts).await?,
        Sweep::Uploads => uploads(parts).await?,
        Sweep::Orphans => orphans(parts).await?,
    };
    Ok(Ended::Completed { result: json!({ "removed": removed }), follow: Vec::new() })
}

async fn retention(parts: &Parts) -> Result<u64, Verdict> {
    let before = |age: Duration| parts.catalog.now_ms() - age.as_millis() as i64;
    let mut removed = 0;
    loop {
        let swept = parts.catalog.sweep_jobs(before(parts.settings.retention)).await.map_err(of_catalog)?;
        removed += swept;
        if swept == 0 {
            break;
        }
    }
    removed += parts.catalog.sweep_rest(before(parts.settings.retention)).await.map_err(of_catalog)?;
    let mut after = Some(0);
    while let Some(seq) = after {
        let swept = parts.catalog.sweep_events(before(parts.settings.retention), seq).await.map_err(of_catalog)?;
        removed += swept.removed;
        after = swept.next;
    }
    for (category, age) in &parts.settings.version_retention {
        for version in parts.catalog.versions_before(category, before(*age), false).await.map_err(of_catalog)? {
            let delete = Task::Delete {}.job(&version.owner, None, Priority::Low);
            let (asset, name) = (&version.asset, Some(version.version.as_str()));
            parts.catalog.begin_delete(None, category, asset, name, delete).await.map_err(of_catalog)?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn uploads(parts: &Parts) -> Result<u64, Verdict> {
    let Some(originals) = &parts.originals else { return Ok(0) };
    // Parts of a process that was killed, or whose abort did not reach the store.
    let before = SystemTime::now() - parts.settings.upload_time;
    let mut removed = originals.abort_uploads(before).await.map_err(|error| of_store(&error))?;
    for upload in parts.catalog.expired_uploads(UPLOADS_MAX).await.map_err(of_catalog)? {
        originals.delete(&upload.store_key).await.map_err(|error| of_store(&error))?;
        match parts.catalog.finish_upload(None, &upload.id, UploadState::Aborted, None).await {
            Ok(()) => removed += 1,
            // It was completed in this moment; its original had been copied by then.
            Err(crate::catalog::Error::State(_)) => {}
            Err(error) => return Err(of_catalog(error)),
        }
    }
    Ok(removed)
}

async fn orphans(parts: &Parts) -> Result<u64, Verdict> {
    let Some(originals) = &parts.originals else { return Ok(0) };
    let mut removed = 0;
    for prefix in KEPT {
        removed += orphans_of(parts, originals, prefix).await?;
    }
    Ok(removed)
}

async fn orphans_of(parts: &Parts, originals: &Arc<dyn ObjectStore>, prefix: &str) -> Result<u64, Verdict> {
    let (mut after, mut removed) = (None, 0);
    loop {
        let page = originals.list(prefix, after.as_deref()).await.map_err(|error| of_store(&error))?;
        for listed in &page {
            // By the store's clock it may be from a moment that has not come here.
            let old = listed.modified.is_some_and(|at| at.elapsed().is_ok_and(|age| age >= ORPHAN_AGE));
            if old && !parts.catalog.knows_key(&listed.key).await.map_err(of_catalog)? {
                originals.delete(&listed.key).await.map_err(|error| of_store(&error))?;
                removed += 1;
            }
        }
        match page.last() {
            None => return Ok(removed),
            Some(last) => after = Some(last.key.clone()),
        }
    }
}
