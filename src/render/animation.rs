//! An animation, frame by frame: one frame is in memory at a time.

use super::order::{Order, Rendered};
use super::still::told_quality;
use super::{Error, timed};
use crate::base::{Stage, Stages, Work};
use crate::pixels::Frame;
use crate::plan::Choice;
use crate::transform::{self, Geometry};
use crate::{decode, encode};

/// Makes an animated variant, on the caller's thread.
pub fn render(order: &Order, geometry: &Geometry, choice: Choice, work: &Work) -> Result<Rendered, Error> {
    let mut stages = Stages::default();
    let settings = order.settings(choice.format, choice.lossless);
    let stored = order.header.size;
    let covers = [0.0, 0.0, f64::from(stored.width), f64::from(stored.height)];
    let mut frames = decode::frames(&order.source, &order.header, &order.limits)?;
    let mut file = encode::animation(geometry.canvas, order.header.loops, &settings)?;
    while let Some(frame) = timed(&mut stages, Stage::Decode, || frames.next(work))? {
        work.check()?;
        stages.left(Stage::Decode, frame.picture.bytes());
        let picture = timed(&mut stages, Stage::Transform, || {
            transform::apply(frame.picture, covers, geometry, &order.plan, order.look.light, None, work)
        })?;
        stages.left(Stage::Transform, picture.bytes());
        let frame = Frame { picture, delay_ms: frame.delay_ms };
        timed(&mut stages, Stage::Encode, || file.push(&frame, work))?;
    }
    let bytes = timed(&mut stages, Stage::Encode, || file.finish())?;
    stages.left(Stage::Encode, bytes.len() as u64);
    let quality = told_quality(&settings);
    Ok(Rendered { bytes, format: choice.format, size: geometry.canvas, quality, damaged: frames.damaged(), stages })
}
