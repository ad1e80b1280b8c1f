//! One still picture: decode, transform, encode; and the search for a quality that fits `maxb`.

use super::order::{Order, Rendered, flat};
use super::{Error, timed};
use crate::base::{Format, Stage, Stages, Work};
use crate::pixels::{ColourSpace, Layout, Picture};
use crate::transform::{self, Geometry};
use crate::{decode, encode};

/// The colour behind transparent pixels where the output holds no alpha and the URL names none.
const PAPER: [u8; 3] = [255; 3];

/// The lowest quality that the search for a size goes down to; below it pictures are not worth looking at.
const QUALITY_MIN: u8 = 5;

/// Makes a still variant, on the caller's thread.
pub fn render(order: &Order, geometry: &Geometry, work: &Work) -> Result<Rendered, Error> {
    let mut stages = Stages::default();
    let decoded = timed(&mut stages, Stage::Decode, || {
        decode::decode(&order.source, &order.header, &order.want(geometry), &order.limits, work)
    })?;
    work.check()?;
    let (damaged, covers) = (decoded.damaged, order.covers(decoded.covers));
    // Whether alpha must go is known before the transform only where the URL names the format.
    let flatten = match order.target {
        super::Target::Format(format) if !format.holds_alpha() => Some(PAPER),
        _ => None,
    };
    let mut picture = timed(&mut stages, Stage::Transform, || {
        let plan = &order.plan;
        transform::apply(decoded.picture, covers, geometry, plan, order.look.light, flatten, work)
    })?;
    drop_opaque_alpha(&mut picture);
    let choice = order.choose(picture.layout.has_alpha(), || flat(&picture));
    let mut settings = order.settings(choice.format, choice.lossless);
    if let ColourSpace::Icc(profile) = &picture.colour {
        settings.icc = Some(profile.clone());
    }
    work.check()?;
    let (bytes, quality) =
        timed(&mut stages, Stage::Encode, || encode_within(&picture, settings, order.plan.bytes_max, work))?;
    Ok(Rendered { bytes, format: choice.format, size: picture.size, quality, damaged, stages })
}

/// Encodes, and where the result must not pass `bytes_max`, finds the highest quality that fits by bisection.
/// If none fits, the smallest file that was made is the answer.
fn encode_within(
    picture: &Picture,
    mut settings: encode::Settings,
    bytes_max: Option<u32>,
    work: &Work,
) -> Result<(Vec<u8>, Option<u8>), Error> {
    let first = encode::still(picture, &settings, work)?;
    let Some(bytes_max) = bytes_max.map(|most| most as usize) else {
        return Ok((first, told_quality(&settings)));
    };
    if first.len() <= bytes_max || matches!(settings.format, Format::Png | Format::Gif) {
        return Ok((first, told_quality(&settings)));
    }
    settings.lossless = false;
    let (mut low, mut high) = (QUALITY_MIN, settings.quality.max(QUALITY_MIN));
    let mut best: Option<(Vec<u8>, u8)> = None;
    while low < high {
        work.check()?;
        let middle = low + (high - low) / 2;
        settings.quality = middle;
        let attempt = encode::still(picture, &settings, work)?;
        if attempt.len() <= bytes_max {
            best = Some((attempt, middle));
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if let Some((bytes, quality)) = best {
        return Ok((bytes, Some(quality)));
    }
    settings.quality = QUALITY_MIN;
    Ok((encode::still(picture, &settings, work)?, Some(QUALITY_MIN)))
}

/// The quality worth telling: none where nothing was lost.
pub(super) fn told_quality(settings: &encode::Settings) -> Option<u8> {
    let lossy = matches!(settings.format, Format::Jpeg | Format::WebP | Format::Avif) && !settings.lossless;
    lossy.then_some(settings.quality)
}

/// An alpha channel that is opaque everywhere says nothing, costs bytes, and would keep a photo from being a JPEG.
pub(super) fn drop_opaque_alpha(picture: &mut Picture) {
    let channels = picture.layout.channels();
    let Some(samples) = picture.as_u8() else { return };
    if !picture.layout.has_alpha() || samples.chunks_exact(channels).any(|pixel| pixel[channels - 1] != 255) {
        return;
    }
    let kept: Vec<u8> =
        samples.chunks_exact(channels).flat_map(|pixel| pixel[..channels - 1].iter().copied()).collect();
    picture.layout = if channels == 4 { Layout::Rgb } else { Layout::Gray };
    picture.samples = crate::pixels::Samples::U8(kept);
}
