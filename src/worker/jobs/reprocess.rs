//! `reprocess`: a category's settings changed, so it is cut into partitions, which make anew what was made of its assets. Some partitions
//! a job, and the next such job with them, so that no crash cuts twice.

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog};
use crate::catalog::{AssetFilter, AssetState};
use crate::queue::{Ended, Job, NewJob, Priority, Task};

/// Assets of one partition.
const PARTITION: u32 = 100;

/// Partitions that are cut at once.
const CUT_AT_ONCE: usize = 20;

/// Partitions of a batch that may wait or be under way; with more, cutting waits.
const OPEN_MAX: u32 = 1000;

/// How long it waits then.
const WAIT_MS: u64 = 2000;

/// Cuts the next partitions.
pub async fn perform(parts: &Parts, job: &Job, category: &str, after: Option<String>) -> Result<Ended, Verdict> {
    let Some(batch) = &job.parent else {
        return Err(Verdict::lasting("no-batch", "the job is no part of a batch"));
    };
    let whole = parts.catalog.job(None, batch).await.map_err(of_catalog)?;
    if whole.total.saturating_sub(whole.done + whole.failed) > OPEN_MAX {
        return Ok(Ended::Released { delay_ms: WAIT_MS });
    }
    let filter = ready(category);
    let (mut follow, mut after) = (Vec::new(), after);
    let part = |task: Task, total: u32| NewJob {
        parent: Some(batch.clone()),
        trace: job.trace.clone(),
        total,
        ..task.job(&job.owner, None, Priority::Low)
    };
    while follow.len() < CUT_AT_ONCE {
        let page = parts.catalog.assets(parts.seen_by(job), &filter, after.as_deref(), PARTITION);
        let page = page.await.map_err(of_catalog)?;
        let Some(last) = page.items.last() else { return Ok(Ended::Completed { result: json!({}), follow }) };
        let stretch = Task::Partition { category: category.to_owned(), after: after.take(), upto: last.id.clone() };
        follow.push(part(stretch, page.items.len() as u32));
        match page.next {
            None => return Ok(Ended::Completed { result: json!({}), follow }),
            next => after = next,
        }
    }
    follow.push(part(Task::Reprocess { category: category.to_owned(), after }, 0));
    Ok(Ended::Completed { result: json!({}), follow })
}

/// The assets that can be made anew.
pub fn ready(category: &str) -> AssetFilter {
    AssetFilter { category: Some(category.to_owned()), state: Some(AssetState::Ready), ..AssetFilter::default() }
}
