//! `reprocess`: a category's settings changed, so what was made of its assets is made anew; a part of the category a try, and then
//! on to the next.

use serde_json::json;

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog};
use super::done;
use crate::catalog::{AssetFilter, AssetState, VariantState};
use crate::queue::{Ended, Job, Kind, NewJob, Priority, SYSTEM, Subject, Task};

/// Assets of one part.
const PART: u32 = 200;

/// Queues the variants of the next part.
pub async fn perform(parts: &Parts, job: &Job, category: &str, after: Option<String>) -> Result<Ended, Verdict> {
    let owner = Some(job.owner.as_str()).filter(|owner| *owner != SYSTEM);
    let filter = AssetFilter { category: Some(category.to_owned()), state: Some(AssetState::Ready), prefix: None };
    let page = parts.catalog.assets(owner, &filter, after.as_deref(), PART).await.map_err(of_catalog)?;
    let mut jobs = Vec::new();
    for asset in &page.items {
        let made = parts.catalog.variants(None, category, &asset.id, Some(&asset.version)).await.map_err(of_catalog)?;
        let ready = made.into_iter().filter(|variant| variant.state == VariantState::Ready);
        let variants: Vec<String> = ready.map(|variant| variant.variant).collect();
        if variants.is_empty() {
            continue;
        }
        let subject =
            Subject { category: category.to_owned(), asset: asset.id.clone(), version: Some(asset.version.clone()) };
        // Queued twice after a crash, it is one.
        let dedupe = format!("reprocess {category}/{} {} {}", asset.id, asset.version, job.id);
        let next = Task::Prewarm { variants, popular: Vec::new() }.job(&asset.owner, Some(subject), Priority::Low);
        jobs.push(NewJob { dedupe: Some(dedupe), trace: job.trace.clone(), ..next });
    }
    parts.queue.push(jobs, None).await.map_err(of_catalog)?;
    match page.next {
        None => Ok(done()),
        Some(next) => {
            let payload = Task::Reprocess { category: category.to_owned(), after: Some(next) }.payload();
            Ok(Ended::Next { kind: Kind::Reprocess, payload, result: json!({}), total: 0 })
        }
    }
}
