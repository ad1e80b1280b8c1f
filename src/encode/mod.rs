//! From a picture to bytes; one file a format. Also the lossless removal of metadata from bytes that stay as they are.
//!
//! Enters: an 8-bit sRGB [`Picture`] (gray, RGB or RGBA; with an ICC profile only where the caller keeps one) and
//! [`Settings`]. Leaves: a file's bytes.
//!
//! Always true: equal pictures and settings give equal bytes, whatever the machine's load.

mod avif;
mod exif;
pub mod fuzz;
mod gif;
mod jpeg;
mod palette;
mod planes;
mod png;
mod riff;
mod strip;
mod vp8;
mod webp;

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::{Format, Size, Stopped, Work};
use crate::pixels::{Frame, Picture, Samples};

pub use exif::{ExifKeep, exif_filtered};
pub use strip::strip;

/// How to encode.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The output format; must be writable.
    pub format: Format,
    /// 1..=100, the format's own scale; PNG and lossless ignore it.
    pub quality: u8,
    /// How finely colour is kept beside brightness.
    pub chroma: Chroma,
    /// WebP without loss (PNG always is).
    pub lossless: bool,
    /// How hard an encoder presses.
    pub effort: Effort,
    /// JPEG in several scans.
    pub progressive: bool,
    /// The EXIF block to embed, from its TIFF header on.
    pub exif: Option<Arc<[u8]>>,
    /// The ICC profile to embed; none means sRGB.
    pub icc: Option<Arc<[u8]>>,
}

impl Settings {
    /// Lossy where the format can be, everything else as a variant usually has it, without metadata.
    pub const fn new(format: Format, quality: u8) -> Self {
        Self {
            format,
            quality,
            chroma: Chroma::ByQuality,
            lossless: false,
            effort: Effort::Usual,
            progressive: false,
            exif: None,
            icc: None,
        }
    }
}

/// How finely colour is kept beside brightness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chroma {
    /// Halved on both sides (4:2:0), but at full resolution from a quality on at which that would be seen.
    ByQuality,
    /// At full resolution (4:4:4), for what will be scaled and encoded again. JPEG only; other formats ignore it.
    Full,
}

/// How hard an encoder presses, where it has a choice that costs nothing but time. AVIF has none: libaom's next slower speed takes
/// more bytes for the same score.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Effort {
    /// For what is read back by ourselves: time counts more than bytes.
    Quick,
    /// For what is sent while somebody waits.
    #[default]
    Usual,
    /// For what is made while nobody waits: JPEG in several scans, PNG by oxipng's search, lossless WebP by a longer one.
    Small,
}

/// Why nothing was encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format cannot hold a picture of this size.
    #[error("{format:?} holds at most {side_max} pixels on a side")]
    TooLarge {
        /// The format.
        format: Format,
        /// Its bound.
        side_max: u32,
    },
    /// The encoder failed: a defect of ours, or memory.
    #[error("the {format:?} encoder failed: {what}")]
    Encoder {
        /// The format.
        format: Format,
        /// What it said.
        what: String,
    },
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Takes an animation's frames and gives the file (WebP, GIF).
pub trait Animation: Send {
    /// Adds a frame; all have one size.
    fn push(&mut self, frame: &Frame, work: &Work) -> Result<(), Error>;
    /// The file.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, Error>;
}

/// Encodes a still picture.
///
/// # Errors
/// [`Error::TooLarge`] where a side passes [`side_max`]; [`Error::Encoder`] for a format that is not writable.
pub fn still(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    work.check()?;
    fits(picture.size, settings.format)?;
    match settings.format {
        Format::Jpeg => jpeg::encode(picture, settings, work),
        Format::Png => png::encode(picture, settings, work),
        Format::WebP => webp::encode(picture, settings, work),
        Format::Avif => avif::encode(picture, settings, work),
        Format::Gif => gif::encode(picture, settings, work),
        format @ (Format::Tiff | Format::Bmp | Format::Svg) => Err(not_written(format)),
    }
}

/// Begins an animation. `loops` 0 is for ever.
///
/// # Errors
/// As [`still`].
pub fn animation(size: Size, loops: u32, settings: &Settings) -> Result<Box<dyn Animation>, Error> {
    fits(size, settings.format)?;
    match settings.format {
        Format::WebP => webp::animation(size, loops, settings),
        Format::Gif => gif::animation(size, loops, settings),
        format => Err(Error::Encoder { format, what: "the format holds no animation".into() }),
    }
}

fn fits(size: Size, format: Format) -> Result<(), Error> {
    let side_max = side_max(format);
    if size.width > side_max || size.height > side_max {
        return Err(Error::TooLarge { format, side_max });
    }
    if size.pixels() == 0 {
        return Err(Error::Encoder { format, what: "the picture is empty".into() });
    }
    Ok(())
}

fn not_written(format: Format) -> Error {
    Error::Encoder { format, what: "the format is only read".into() }
}

/// Whether the machine has the vectors that the encoders of our own are compiled once more for.
#[cfg(target_arch = "x86_64")]
fn has_vectors() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// The samples in 8 bits.
fn samples8(picture: &Picture) -> Cow<'_, [u8]> {
    match &picture.samples {
        Samples::U8(values) => Cow::Borrowed(values),
        Samples::U16(values) => {
            Cow::Owned(values.iter().map(|value| ((u32::from(*value) * 255 + 32_767) / 65_535) as u8).collect())
        }
    }
}

/// Whether red, green and blue are the same in every pixel; ends at the first that is not.
fn is_gray(samples: &[u8], channels: usize) -> bool {
    samples.chunks_exact(channels).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
}

/// The most pixels that the format holds on a side.
pub const fn side_max(format: Format) -> u32 {
    match format {
        Format::WebP => 16_383,
        Format::Avif => 16_384,
        Format::Jpeg | Format::Gif => 65_535,
        _ => u32::MAX >> 1,
    }
}

/// An upper bound of the bytes that encoding a picture of this size holds at once beside the picture, the file included.
pub fn bytes_of_work(size: Size, settings: &Settings) -> u64 {
    let pixels = size.pixels();
    let metadata =
        settings.exif.as_ref().map_or(0, |exif| exif.len()) + settings.icc.as_ref().map_or(0, |icc| icc.len());
    let (a_pixel, fixed): (u64, u64) = match settings.format {
        Format::Jpeg => (jpeg::bytes_a_pixel(settings), 256 << 10),
        // Reduced channels, indices, filtered rows and the file; for the search copies in other colours and filtered otherwise, two files, and
        // the compressor's state.
        Format::Png if settings.effort == Effort::Small => (28, 12 << 20),
        Format::Png => (9, 512 << 10),
        // Planes, symbols that wait and the file three times (of noise at full quality 10.5 in all), or ARGB and the encoder's state; the
        // search for back references of a lossless one.
        Format::WebP => (if settings.lossless { 40 } else { 11 }, 2 << 20),
        Format::Avif => avif::bytes_of_work(settings.quality),
        // RGBA now and before, the changed part, opaque pixels for learning, indices.
        Format::Gif => (20, 512 << 10),
        Format::Tiff | Format::Bmp | Format::Svg => (0, 0),
    };
    pixels * a_pixel + fixed + 3 * metadata as u64
}

/// What [`strip`] leaves in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep<'a> {
    /// Only what changes how pixels look: orientation, ICC profile, Adobe marker, gamma.
    Appearance,
    /// The same, with this EXIF block (from its TIFF header on) in the place of the file's own, which it was made of.
    Exif(&'a [u8]),
}

#[cfg(test)]
mod tests;
