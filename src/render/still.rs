//! One still picture: decode, transform, encode; and the search for a quality that fits `maxb`.

use std::time::Instant;

use bytes::Bytes;

use super::order::{Order, Rendered, flat};
use super::{Error, noted, timed};
use crate::base::{Format, Limits, Stage, Stages, Stopped, Work};
use crate::decode::{self, Form, Header, Want};
use crate::encode;
use crate::pixels::{ColourSpace, Head, Layout, Picture, Row, Sink};
use crate::transform::{Geometry, Steps};

/// The colour behind transparent pixels where the output holds no alpha and the URL names none.
const PAPER: [u8; 3] = [255; 3];

/// The lowest quality that the search for a size goes down to; below it pictures are not worth looking at.
const QUALITY_MIN: u8 = 5;

/// Makes a still variant, on the caller's thread.
pub fn render(order: &Order, geometry: &Geometry, work: &Work) -> Result<Rendered, Error> {
    let mut stages = Stages::default();
    let steps = Steps::new(geometry, &order.plan, order.look.light, work);
    let (picture, damaged) = picture(&wanted(order, geometry), steps, flatten(order), &mut stages, work)?;
    encoded(order, &finished(picture, &mut stages), damaged, stages, work)
}

/// The picture of an order, and whether its source is damaged. `whole`: nothing is decoded at a smaller scale, so that all of the
/// source is looked at.
pub fn sample(order: &Order, whole: bool, work: &Work) -> Result<(Picture, bool), Error> {
    let geometry = order.geometry()?;
    let mut wanted = wanted(order, &geometry);
    if whole {
        wanted.want.margin_percent = 0;
    }
    let steps = Steps::new(&geometry, &order.plan, order.look.light, work);
    picture(&wanted, steps, None, &mut Stages::default(), work)
}

/// What an order asks of the decoder.
pub(super) fn wanted<'a>(order: &'a Order, geometry: &Geometry) -> Wanted<'a> {
    Wanted {
        source: &order.source,
        header: &order.header,
        want: order.want(geometry),
        form: order.form(geometry),
        limits: &order.limits,
        scale: order.scale(),
    }
}

/// The colour behind transparent pixels: whether alpha must go is known before the transform only where the URL names the format.
pub(super) fn flatten(order: &Order) -> Option<[u8; 3]> {
    match order.target {
        super::Target::Format(format) if !format.holds_alpha() => Some(PAPER),
        _ => None,
    }
}

/// A picture as it is encoded.
pub(super) fn finished(mut picture: Picture, stages: &mut Stages) -> Picture {
    drop_opaque_alpha(&mut picture);
    stages.left(Stage::Transform, picture.bytes());
    picture
}

/// Chooses the format and encodes.
pub(super) fn encoded(
    order: &Order,
    picture: &Picture,
    damaged: bool,
    mut stages: Stages,
    work: &Work,
) -> Result<Rendered, Error> {
    let choice = order.choose(picture.layout.has_alpha(), || flat(picture));
    let mut settings = order.settings(choice.format, choice.lossless);
    if let ColourSpace::Icc(profile) = &picture.colour {
        settings.icc = Some(profile.clone());
    }
    work.check()?;
    let bytes_max = order.bytes_max(choice.format)?;
    let (bytes, quality) = timed(&mut stages, Stage::Encode, || encode_within(picture, settings, bytes_max, work))?;
    stages.left(Stage::Encode, bytes.len() as u64);
    Ok(Rendered { bytes, format: choice.format, size: picture.size, quality, damaged, stages })
}

/// What is decoded for a picture.
pub(super) struct Wanted<'a> {
    pub source: &'a Bytes,
    pub header: &'a Header,
    pub want: Want,
    pub form: Form,
    pub limits: &'a Limits,
    /// How much larger the original is than the source, across and down.
    pub scale: [f64; 2],
}

/// Makes the picture that steps lead to, and says whether the source was damaged: rows go from the decoder straight into the
/// resize.
pub(super) fn picture(
    wanted: &Wanted,
    mut steps: Steps,
    flatten: Option<[u8; 3]>,
    stages: &mut Stages,
    work: &Work,
) -> Result<(Picture, bool), Error> {
    let begun = Instant::now();
    let mut sink = Placed { steps: &mut steps, scale: wanted.scale, bytes: 0 };
    let damaged =
        decode::stream(wanted.source, wanted.header, &wanted.want, wanted.form, wanted.limits, work, &mut sink)?;
    stages.left(Stage::Decode, sink.bytes);
    let rows = steps.time();
    noted(stages, Stage::Decode, begun.elapsed().saturating_sub(rows));
    let begun = Instant::now();
    let picture = steps.finish(flatten)?;
    noted(stages, Stage::Transform, rows + begun.elapsed());
    Ok((picture, damaged))
}

/// Tells the steps what rows cover of the original, where they come from a mezzanine.
pub(super) struct Placed<'a, 'b> {
    pub steps: &'a mut Steps<'b>,
    pub scale: [f64; 2],
    /// How many bytes of pixels come.
    pub bytes: u64,
}

impl Sink for Placed<'_, '_> {
    fn begin(&mut self, head: &Head) -> Result<(), Stopped> {
        let ([across, down], [x, y, width, height]) = (self.scale, head.covers);
        self.bytes = head.bytes();
        self.steps.begin(&Head { covers: [x * across, y * down, width * across, height * down], ..head.clone() })
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        self.steps.row(row)
    }

    fn done(&self) -> bool {
        self.steps.done()
    }
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
