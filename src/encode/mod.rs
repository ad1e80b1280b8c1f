//! From a picture to bytes; one file a format. Also the lossless removal of metadata from bytes that stay as they are.
//!
//! Enters: an 8-bit sRGB [`Picture`] (gray, RGB or RGBA; with an ICC profile only where the caller keeps one) and
//! [`Settings`]. Leaves: a file's bytes.
//!
//! Always true: equal pictures and settings give equal bytes, whatever the machine's load.

use std::sync::Arc;

use crate::base::{Format, Size, Stopped, Work};
use crate::pixels::{Frame, Picture};

/// How to encode.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The output format; must be writable.
    pub format: Format,
    /// 1..=100, the format's own scale; PNG and lossless ignore it.
    pub quality: u8,
    /// WebP without loss (PNG always is).
    pub lossless: bool,
    /// JPEG in several scans.
    pub progressive: bool,
    /// The EXIF block to embed, from its TIFF header on.
    pub exif: Option<Arc<[u8]>>,
    /// The ICC profile to embed; none means sRGB.
    pub icc: Option<Arc<[u8]>>,
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
pub fn still(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    todo!("{picture:?} {settings:?} {work:?}")
}

/// Begins an animation. `loops` 0 is for ever.
pub fn animation(size: Size, loops: u32, settings: &Settings) -> Result<Box<dyn Animation>, Error> {
    todo!("{size:?} {loops} {settings:?}")
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

/// An upper bound of the bytes that encoding a picture of this size holds at once beside the picture.
pub fn bytes_of_work(size: Size, settings: &Settings) -> u64 {
    todo!("{size:?} {settings:?}")
}

/// What [`strip`] leaves in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Only what changes how pixels look: ICC profile, Adobe marker, gamma.
    Appearance,
    /// Everything but the location.
    AllButLocation,
}

/// Removes metadata from a file without touching its pixels. None where the file's structure does not allow it.
pub fn strip(bytes: &[u8], format: Format, keep: Keep) -> Option<Vec<u8>> {
    todo!("{} {format:?} {keep:?}", bytes.len())
}
