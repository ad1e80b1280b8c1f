//! `assemble`: the last part of a pyramid's batch. It waits for the tiles, and tells the batch where each is.

use serde_json::{Value, json};

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog};
use super::{done, subject, tiles};
use crate::plan::asset_path;
use crate::queue::{Ended, Job};

/// How often it is looked whether the tiles are there.
const LOOK_MS: u64 = 1000;

/// Tells where the tiles are, once all are there.
pub async fn perform(parts: &Parts, job: &Job, tile: u32, format: &str) -> Result<Ended, Verdict> {
    let Some(batch) = &job.parent else {
        return Err(Verdict::lasting("no-batch", "the job is no part of a batch"));
    };
    let whole = parts.catalog.job(None, batch).await.map_err(of_catalog)?;
    if whole.done + whole.failed + 1 < whole.total {
        return Ok(Ended::Released { delay_ms: LOOK_MS });
    }
    if whole.failed > 0 {
        return Err(Verdict::lasting("tiles-missing", format!("{} parts of the pyramid failed", whole.failed)));
    }
    let (pyramid, version) = tiles::pyramid(parts, job, tile).await?;
    let subject = subject(job)?;
    let segment = format!("w_{{width}},h_{{height}},fit_fill,crop_{{x}}:{{y}}:{{across}}:{{down}}.{format}");
    let levels: Vec<Value> = pyramid
        .levels()
        .map(|level| {
            json!({ "level": level.level, "scale": level.scale, "width": level.size.width, "height": level.size.height,
                "columns": level.columns, "rows": level.rows })
        })
        .collect();
    let path = asset_path(&subject.category, &subject.asset, &version, "");
    let manifest = json!({ "tile": tile, "format": format, "levels": levels, "path": format!("{path}{segment}") });
    parts.catalog.tell_batch(job, json!({ "pyramid": manifest })).await.map_err(of_catalog)?;
    Ok(done())
}
