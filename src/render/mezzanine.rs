//! Making an original's mezzanines: one decode, a cascade of sizes, each encoded so well that what is rendered from it shows no
//! loss: JPEG of quality 90 with full chroma, lossless WebP where there is alpha.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use super::order::{HALVES_PERCENT, Look};
use super::still::{Wanted, drop_opaque_alpha};
use super::{Error, Job, SharedHeader, form, still, timed};
use crate::base::{Format, Limits, Orientation, Size, Stage, Stages, Work};
use crate::decode::{self, Form, Want};
use crate::encode;
use crate::inspect;
use crate::pixels::Picture;
use crate::plan::Plan;
use crate::transform::{self, Geometry, Light, Steps};

/// Raised when mezzanines are made otherwise: it is part of their keys, since what is rendered from them must not depend on when
/// they were made.
pub const REVISION: u32 = 3;

/// JPEG's quality. At it 4:4:4 is smaller and better than quality 95 with halved chroma.
const QUALITY: u8 = 90;

/// How much larger than the largest mezzanine a reduced decode must stay, in hundredths; 0 decodes at full scale. At half the scale
/// (1.66 and 1.8 times 1280) results of 250 to 800 pixels lose 0.1 SSIMULACRA2 (0.4 at most) against full decodes, and the decoder
/// does a third of the work.
const DECODE_MARGIN_PERCENT: u32 = 150;

/// Mezzanines to make.
#[derive(Clone, Debug)]
pub struct Making {
    /// The original.
    pub source: Bytes,
    /// Its header.
    pub header: SharedHeader,
    /// Which widths, ascending; see [`form::widths`].
    pub widths: Vec<u32>,
    /// The category's settings.
    pub look: Arc<Look>,
    /// Bounds on originals.
    pub limits: Limits,
}

/// Mezzanines that were made.
#[derive(Clone, Debug)]
pub struct Mezzanines {
    /// The files, in the order of [`Making::widths`]. None where the original has none: flat graphics stay as they are, and
    /// what is broken is not kept.
    pub files: Vec<Mezzanine>,
    /// Where the time went.
    pub stages: Stages,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Mezzanine {
    /// Its width, upright.
    pub width: u32,
    /// The file.
    pub bytes: Vec<u8>,
    /// JPEG or WebP.
    pub format: Format,
    /// Its size as stored.
    pub size: Size,
}

impl Making {
    fn want(&self) -> Want {
        let target = form::size(&self.header, self.widths.last().copied().unwrap_or(1));
        Want { region: self.header.size.rect(), target, margin_percent: DECODE_MARGIN_PERCENT }
    }

    /// The picture that mezzanines are made of, and what it covers: of a JPEG the largest of them, since its rows are reduced as
    /// they come; else all of it, since first its colours are counted. None where there are to be none.
    fn begun(&self, stages: &mut Stages, work: &Work) -> Result<Option<(Picture, [f64; 4])>, Error> {
        if self.header.format == Format::Jpeg {
            let geometry = self.geometry(self.widths.last().copied().unwrap_or(1));
            let light = self.look.light;
            let form = if light == Light::Linear { Form::Light(HALVES_PERCENT) } else { Form::Samples };
            let steps = Steps::new(&geometry, &Plan::DEFAULT, light, work);
            let wanted = Wanted {
                source: &self.source,
                header: &self.header,
                want: self.want(),
                form,
                limits: &self.limits,
                scale: [1.0, 1.0],
            };
            let (picture, damaged) = still::picture(&wanted, steps, None, stages, work)?;
            return Ok((!damaged).then_some((picture, geometry.region)));
        }
        let decoded = timed(stages, Stage::Decode, || {
            decode::decode(&self.source, &self.header, &self.want(), &self.limits, work)
        })?;
        let none = decoded.damaged || inspect::is_flat(&decoded.picture);
        Ok((!none).then_some((decoded.picture, decoded.covers)))
    }

    fn geometry(&self, width: u32) -> Geometry {
        let stored = self.header.size;
        let size = form::size(&self.header, width);
        let region = [0.0, 0.0, f64::from(stored.width), f64::from(stored.height)];
        Geometry { region, scaled: size, turn: Orientation::Upright, offset: (0, 0), canvas: size }
    }
}

impl Job for Making {
    type Output = Mezzanines;

    fn bytes_of_work(&self) -> Result<u64, Error> {
        let Some(largest) = self.widths.last() else { return Ok(0) };
        let geometry = self.geometry(*largest);
        let channels = if self.header.alpha || self.header.model == decode::Model::Cmyk { 4 } else { 3 };
        let settings = settings(self.header.alpha);
        let transforming = transform::bytes_of_work(self.header.size, channels, &geometry, self.look.light);
        let decoding = if self.header.format == Format::Jpeg && self.look.light == Light::Linear {
            decode::bytes_of_stream(&self.header, &self.want())
        } else {
            // In gamma light rows are gathered.
            decode::bytes_of_work(&self.header, &self.want()) + self.header.size.pixels() * channels as u64
        };
        Ok(decoding
            + transforming
            + 2 * geometry.canvas.pixels() * channels as u64
            + encode::bytes_of_work(geometry.canvas, &settings))
    }

    fn source(&self) -> &Bytes {
        &self.source
    }

    fn run(self, waited: Duration, work: &Work) -> Result<Mezzanines, Error> {
        let mut stages = Stages::default();
        stages.add(Stage::Queue, waited);
        let Some((mut picture, mut covers)) = self.begun(&mut stages, work)? else {
            return Ok(Mezzanines { files: Vec::new(), stages });
        };
        let mut files = Vec::with_capacity(self.widths.len());
        for width in self.widths.iter().rev() {
            let geometry = self.geometry(*width);
            if picture.size != geometry.scaled {
                picture = timed(&mut stages, Stage::Transform, || {
                    transform::apply(picture, covers, &geometry, &Plan::DEFAULT, self.look.light, None, work)
                })?;
            }
            covers = geometry.region;
            drop_opaque_alpha(&mut picture);
            stages.left(Stage::Transform, picture.bytes());
            let (bytes, format) = timed(&mut stages, Stage::Encode, || encoded(&picture, work))?;
            stages.left(Stage::Encode, bytes.len() as u64);
            files.push(Mezzanine { width: *width, bytes, format, size: picture.size });
        }
        files.reverse();
        metrics::counter!("fovea_render_mezzanines_total").increment(files.len() as u64);
        Ok(Mezzanines { files, stages })
    }
}

fn encoded(picture: &Picture, work: &Work) -> Result<(Vec<u8>, Format), Error> {
    let settings = settings(picture.layout.has_alpha());
    Ok((encode::still(picture, &settings, work)?, settings.format))
}

fn settings(alpha: bool) -> encode::Settings {
    let format = if alpha { Format::WebP } else { Format::Jpeg };
    encode::Settings {
        lossless: alpha,
        chroma: encode::Chroma::Full,
        effort: encode::Effort::Quick,
        ..encode::Settings::new(format, QUALITY)
    }
}
