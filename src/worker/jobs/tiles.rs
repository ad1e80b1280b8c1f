//! `tiles`: neighbouring tiles of one level of a picture's pyramid, a row's together, so that one decode serves them. How far it came is
//! noted as it goes: a try that is cut short, or gives its place up, is gone on with by whichever worker is free.

use super::super::Parts;
use super::super::verdict::{Verdict, of_catalog, of_serve};
use super::{PAUSE_MS, done, subject, turn};
use crate::base::{Deadline, Size};
use crate::plan::{Pyramid, asset_path};
use crate::queue::{Ended, Failure, Job};

/// Tiles that are made together.
const TOGETHER: u64 = 16;

/// Which tiles: of a level, so many from one on, counted row by row.
pub struct Stretch {
    pub tile: u32,
    pub format: String,
    pub level: u32,
    pub from: u64,
    pub count: u64,
}

/// Makes the tiles of the stretch that are left.
pub async fn perform(parts: &Parts, job: &Job, stretch: Stretch, deadline: Deadline) -> Result<Ended, Verdict> {
    let (turn, deadline) = turn(deadline);
    let subject = subject(job)?;
    let (pyramid, version) = pyramid(parts, job, stretch.tile).await?;
    let level = pyramid.levels().find(|level| level.level == stretch.level);
    let level = level.ok_or_else(|| Verdict::lasting("no-such-level", "the picture has no such level"))?;
    let end = (stretch.from + stretch.count).min(level.tiles());
    let begun = job.result["at"].as_u64().unwrap_or(stretch.from);
    let mut at = begun;
    while at < end {
        let row_end = (at / u64::from(level.columns) + 1) * u64::from(level.columns);
        let upto = (at + TOGETHER).min(row_end).min(end);
        let path = |at: u64| {
            let (column, row) = (at % u64::from(level.columns), at / u64::from(level.columns));
            let tile = pyramid.tile(&level, column as u32, row as u32);
            asset_path(&subject.category, &subject.asset, &version, &format!("{tile}.{}", stretch.format))
        };
        let paths: Vec<String> = (at..upto).map(path).collect();
        for outcome in parts.origin.family(&paths, deadline).await {
            let Err(error) = outcome else { continue };
            return match of_serve(&error, &subject.category) {
                Verdict::Failed(Failure { passing: true, .. }, _) if at > begun => {
                    Ok(Ended::Released { delay_ms: PAUSE_MS })
                }
                verdict => Err(verdict),
            };
        }
        parts.catalog.record_tiles(job, (upto - at) as u32, upto).await.map_err(of_catalog)?;
        at = upto;
        if turn.passed() && at < end {
            return Ok(Ended::Released { delay_ms: 0 });
        }
    }
    Ok(done())
}

/// The pyramid of the picture that a job is about, and the picture's version.
pub async fn pyramid(parts: &Parts, job: &Job, tile: u32) -> Result<(Pyramid, String), Verdict> {
    let subject = subject(job)?;
    let found = parts.catalog.find_version(&subject.category, &subject.asset, subject.version.as_deref());
    let found = found.await.map_err(of_catalog)?;
    let found = found.ok_or_else(|| Verdict::lasting("gone", "there is no such asset any more"))?;
    let pyramid = Pyramid::new(Size::new(found.width, found.height), tile);
    let pyramid =
        pyramid.ok_or_else(|| Verdict::lasting("no-size", "the picture has no size, or its tiles have none"))?;
    Ok((pyramid, found.version))
}
