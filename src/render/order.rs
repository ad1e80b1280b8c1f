//! What to render, what it will cost, and what came out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::form::Mezzanines;
use super::{Error, Job, SharedHeader, animation, still};
use crate::base::{Digest, Format, Limits, Orientation, Size, Stage, Stages, Work};
use crate::decode::{self, Header, Want};
use crate::encode;
use crate::inspect;
use crate::plan::{Allowed, Bucket, Choice, Needs, Plan, Quality, QualityStep, choose};
use crate::transform::{self, Geometry, Light};

/// How much larger than the target a reduced decode stays, in hundredths. A reduced decode averages in gamma space, so every
/// step of it costs quality against linear light; at 1.7 the loss against a gamma reference is at most 0.2 SSIMULACRA2.
pub const MARGIN_PERCENT: u32 = 170;

/// How much larger than the target a picture must stay that is averaged two by two in linear light, in hundredths.
pub const HALVES_PERCENT: u32 = 140;

/// A category's settings that change bytes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Look {
    /// The light in which pictures are resized.
    pub light: Light,
    /// Default qualities.
    pub qualities: Qualities,
    /// JPEG in several scans.
    pub progressive: bool,
    /// How hard encoders press.
    pub effort: encode::Effort,
    /// Whether `meta_all` may keep the location, and `info.json` shows it.
    pub location: bool,
    /// Which formats `auto` may choose.
    pub allowed: Allowed,
    /// Which reduced forms of an original are kept to render from.
    pub mezzanines: Mezzanines,
}

/// Default qualities, each on its format's own scale; those of [`Default`] look alike (SSIMULACRA2 75, see `docs/qualities.md`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Qualities {
    /// JPEG.
    pub jpeg: u8,
    /// WebP, lossy.
    pub webp: u8,
    /// AVIF.
    pub avif: u8,
}

impl Default for Qualities {
    fn default() -> Self {
        Self { jpeg: 69, webp: 80, avif: 60 }
    }
}

impl Qualities {
    /// The quality to encode with.
    pub fn level(&self, format: Format, asked: Option<Quality>) -> u8 {
        let default = match format {
            Format::WebP => self.webp,
            Format::Avif => self.avif,
            _ => self.jpeg,
        };
        match asked {
            None | Some(Quality::Step(QualityStep::MediumHigh)) => default,
            Some(Quality::Level(level)) => level,
            Some(Quality::Step(QualityStep::Low)) => default.saturating_sub(20).max(1),
            Some(Quality::Step(QualityStep::MediumLow)) => default.saturating_sub(10).max(1),
            Some(Quality::Step(QualityStep::High)) => (default + 10).min(100),
        }
    }
}

impl Look {
    /// What of the settings goes into a variant's key. The location only changes `info.json` and kept metadata, and is part
    /// of it all the same: a category that stops showing locations must not answer old bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{self:?}").as_bytes())
    }
}

/// Which format to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// This one.
    Format(Format),
    /// The best for the picture up to a capability.
    Best(Bucket),
}

/// A variant to make.
#[derive(Clone, Debug)]
pub struct Order {
    /// The bytes to render from: the original's, or a mezzanine's.
    pub source: Bytes,
    /// Their header.
    pub header: SharedHeader,
    /// The original's header, which the plan's pixels and the choice of a format count in.
    pub original: SharedHeader,
    /// The transform.
    pub plan: Arc<Plan>,
    /// The format.
    pub target: Target,
    /// The category's settings.
    pub look: Arc<Look>,
    /// Bounds on originals.
    pub limits: Limits,
}

/// A variant that was made.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// Its size.
    pub size: Size,
    /// The encoder's quality; none for lossless.
    pub quality: Option<u8>,
    /// Whether the original was broken and this is what could be saved of it.
    pub damaged: bool,
    /// Where the time went.
    pub stages: Stages,
}

impl Order {
    /// The geometry: where every pixel of the result comes from.
    pub fn geometry(&self) -> Result<Geometry, Error> {
        Ok(geometry(&self.original, &self.plan)?)
    }

    /// What the decoder is asked for. A mezzanine is decoded at full scale: it is small, and a reduced decode would average in
    /// gamma space what it kept of linear light.
    pub(super) fn want(&self, geometry: &Geometry) -> Want {
        let [across, down] = self.scale();
        let [x, y, width, height] = geometry.region;
        let region = [x / across, y / down, width / across, height / down];
        let region = Geometry { region, ..geometry.clone() }.region_px(self.header.size);
        let margin_percent = if self.header.size == self.original.size { MARGIN_PERCENT } else { 0 };
        Want { region, target: geometry.scaled, margin_percent }
    }

    /// How the decoder may give rows: in linear light where they are resized in it.
    pub(super) fn form(&self, geometry: &Geometry) -> decode::Form {
        if !transform::Steps::take_light(geometry, self.look.light) {
            return decode::Form::Samples;
        }
        // A mezzanine was averaged once already.
        let halves = self.header.size == self.original.size;
        decode::Form::Light(if halves { HALVES_PERCENT } else { 0 })
    }

    /// How much larger the original is than the source, across and down.
    pub(super) fn scale(&self) -> [f64; 2] {
        let (source, original) = (self.header.size, self.original.size);
        [f64::from(original.width) / f64::from(source.width), f64::from(original.height) / f64::from(source.height)]
    }

    fn bytes_at_once(&self) -> Result<u64, Error> {
        let geometry = self.geometry()?;
        let settings = self.settings(self.widest_format(), false);
        let animated = self.animated(self.widest_format());
        let making = self.bytes_of_picture(&geometry, &self.want(&geometry), animated);
        let encoding = encode::bytes_of_work(geometry.canvas, &settings);
        let frames = if animated { u64::from(self.original.frames) } else { 1 };
        // An animation's coded frames gather until its end; a lossless frame is at most about its pixels.
        let gathered = geometry.canvas.pixels() * frames.saturating_sub(1);
        Ok(making + encoding + gathered)
    }

    /// What [`sample`](super::still::sample) holds at once beside the original, every frame looked at where it is to be `whole`.
    pub fn bytes_of_sample(&self, whole: bool) -> Result<u64, Error> {
        let geometry = self.geometry()?;
        let mut want = self.want(&geometry);
        if whole {
            want.margin_percent = 0;
        }
        Ok(self.bytes_of_picture(&geometry, &want, whole && self.original.frames > 1))
    }

    /// What is held at once until there is a picture to encode.
    fn bytes_of_picture(&self, geometry: &Geometry, want: &Want, animated: bool) -> u64 {
        let decoded = if want.margin_percent > 0 && self.header.format == Format::Jpeg {
            // The smallest eighth that keeps the margin is at most twice it.
            let side = |target: u32, full: u32| full.min(target.saturating_mul(want.margin_percent * 2) / 100 + 8);
            Size::new(side(want.target.width, want.region.width), side(want.target.height, want.region.height))
        } else if self.header.format == Format::Svg {
            want.target
        } else {
            want.region.size()
        };
        let channels = if self.header.alpha || self.header.model == decode::Model::Cmyk { 4 } else { 3 };
        let decoding = if animated {
            decode::bytes_of_work(&self.header, want)
        } else {
            decode::bytes_of_stream(&self.header, want)
        };
        // Rows that are not resized as they come are gathered.
        let gathers = !animated && self.form(geometry) == decode::Form::Samples;
        let samples = channels as u64 * if self.header.bits > 8 { 2 } else { 1 };
        let rows = if gathers { decoded.pixels() * samples } else { 0 };
        decoding + rows + transform::bytes_of_work(decoded, channels, geometry, self.look.light)
    }

    /// Whether the result is an animation, in the given format.
    pub fn animated(&self, format: Format) -> bool {
        self.original.frames > 1 && self.plan.animate && format.holds_animation()
    }

    /// Whether it is read as an animation; the result is one where the chosen format holds it.
    pub(super) fn animates(&self) -> bool {
        match self.target {
            Target::Format(format) => self.animated(format),
            Target::Best(_) => self.original.frames > 1 && self.plan.animate,
        }
    }

    fn widest_format(&self) -> Format {
        match self.target {
            Target::Format(format) => format,
            Target::Best(_) if self.original.frames > 1 && self.plan.animate => Format::WebP,
            Target::Best(Bucket::Avif) => Format::Avif,
            Target::Best(Bucket::WebP) => Format::WebP,
            Target::Best(Bucket::Base) => Format::Png,
        }
    }

    /// Chooses the format, by what the picture turned out to need.
    pub(super) fn choose(&self, alpha: bool, flat: impl FnOnce() -> bool) -> Choice {
        match self.target {
            Target::Format(format) => {
                // A named WebP stays without loss where the picture is flat and nobody asked for a quality.
                Choice { format, lossless: format == Format::Png }
            }
            Target::Best(bucket) => {
                let animated = self.original.frames > 1 && self.plan.animate;
                let lossless_source = matches!(
                    self.original.format,
                    Format::Png | Format::Gif | Format::Bmp | Format::Tiff | Format::Svg | Format::WebP
                );
                let flat = self.plan.quality.is_none() && lossless_source && !animated && flat();
                let needs = Needs { alpha, animated, flat, source: self.original.format };
                choose(bucket, &needs, &self.look.allowed)
            }
        }
    }

    /// How to encode in a format.
    pub(super) fn settings(&self, format: Format, lossless: bool) -> encode::Settings {
        encode::Settings {
            lossless,
            effort: self.look.effort,
            progressive: self.look.progressive,
            exif: self.exif(),
            ..encode::Settings::new(format, self.look.qualities.level(format, self.plan.quality))
        }
    }

    fn exif(&self) -> Option<Arc<[u8]>> {
        use crate::plan::Metadata;
        let keep = match self.plan.metadata {
            Metadata::None => return None,
            Metadata::Copyright => encode::ExifKeep::Copyright,
            Metadata::All if self.look.location => encode::ExifKeep::All,
            Metadata::All => encode::ExifKeep::AllButLocation,
        };
        let exif = self.original.exif.as_deref()?;
        encode::exif_filtered(exif, keep).map(Into::into)
    }

    /// Whether the result shows the original's own pixels, so that the original's bytes could stand for it.
    pub(super) fn unchanged(&self, geometry: &Geometry) -> bool {
        self.untouched(geometry)
            && geometry.scaled == self.original.size
            && geometry.canvas == self.original.size
            && self.upright(geometry)
    }

    /// Most bytes of a still result. Where it shows the whole original at its size and in its format, only turned, the original's
    /// bytes cannot stand for it, but it may not be larger either.
    pub(super) fn bytes_max(&self, format: Format) -> Result<Option<u32>, Error> {
        let geometry = self.geometry()?;
        let pixels = self.original.size.pixels();
        let turned = format == self.original.format
            && self.header.size == self.original.size
            && self.original.frames == 1
            && (geometry.scaled.pixels(), geometry.canvas.pixels()) == (pixels, pixels)
            && self.untouched(&geometry)
            && !self.upright(&geometry);
        let original = turned.then(|| u32::try_from(self.source.len()).unwrap_or(u32::MAX));
        Ok(self.plan.bytes_max.into_iter().chain(original).min())
    }

    /// Whether nothing is left out of the original, and nothing done to it but resizing and turning.
    fn untouched(&self, geometry: &Geometry) -> bool {
        let plan = &self.plan;
        geometry.region == [0.0, 0.0, f64::from(self.original.size.width), f64::from(self.original.size.height)]
            && plan.blur == 0.0
            && plan.sharpen == 0.0
            && !plan.gray
            && (plan.background.is_none() || !self.original.alpha)
    }

    fn upright(&self, geometry: &Geometry) -> bool {
        geometry.turn == Orientation::Upright && self.original.orientation == Orientation::Upright
    }
}

impl Job for Order {
    type Output = Rendered;

    fn bytes_of_work(&self) -> Result<u64, Error> {
        self.bytes_at_once()
    }

    fn source(&self) -> &Bytes {
        &self.source
    }

    fn run(self, waited: Duration, work: &Work) -> Result<Rendered, Error> {
        let mut rendered = run(&self, work)?;
        rendered.stages.add(Stage::Queue, waited);
        Ok(rendered)
    }
}

/// The geometry of a plan on an original.
pub fn geometry(header: &Header, plan: &Plan) -> Result<Geometry, transform::Error> {
    transform::geometry(header.size, header.orientation, header.format == Format::Svg, plan)
}

/// Makes the variant, on the caller's thread.
pub fn run(order: &Order, work: &Work) -> Result<Rendered, Error> {
    work.check()?;
    let geometry = order.geometry()?;
    let animates = order.animates();
    if animates {
        check_length(&order.original, &order.limits)?;
    }
    let rendered = if animates {
        let choice = order.choose(order.original.alpha, || false);
        if choice.format.holds_animation() {
            animation::render(order, &geometry, choice, work)?
        } else {
            still::render(order, &geometry, work)?
        }
    } else {
        still::render(order, &geometry, work)?
    };
    Ok(original_if_smaller(order, &geometry, rendered))
}

/// Holds an animation against the limits: a film that is cut short would pass for the whole one.
fn check_length(header: &Header, limits: &Limits) -> Result<(), decode::Error> {
    let (frames, pixels) = (header.frames, header.size.pixels() * u64::from(header.frames));
    if frames >= limits.frames_max {
        Err(decode::Error::TooLarge(format!("its animation has {frames} frames or more; anim_0 shows the first")))
    } else if pixels > limits.animation_pixels_max {
        let most = limits.animation_pixels_max;
        let what = format!("its {frames} frames have {pixels} pixels, of at most {most}; anim_0 shows the first");
        Err(decode::Error::TooLarge(what))
    } else {
        Ok(())
    }
}

/// Never an answer larger than the original in the same format at the same size: the original's bytes, stripped of
/// metadata without touching a pixel, stand in where they are smaller.
pub(super) fn original_if_smaller(order: &Order, geometry: &Geometry, rendered: Rendered) -> Rendered {
    let same = rendered.format == order.original.format && order.unchanged(geometry);
    let animated_alike = order.original.frames == 1 || order.animated(rendered.format);
    if !same || !animated_alike || rendered.damaged || rendered.bytes.len() < order.source.len() {
        return rendered;
    }
    // What the category and the URL let stay of the metadata stays here too, and nothing else.
    let exif = order.exif();
    let keep = exif.as_deref().map_or(encode::Keep::Appearance, encode::Keep::Exif);
    match encode::strip(&order.source, order.original.format, keep) {
        Some(bytes) if bytes.len() < rendered.bytes.len() => Rendered { bytes, quality: None, ..rendered },
        _ => rendered,
    }
}

/// Whether a picture's colours are few and flat, so that it is better kept without loss.
pub(super) fn flat(picture: &crate::pixels::Picture) -> bool {
    inspect::is_flat(picture)
}
