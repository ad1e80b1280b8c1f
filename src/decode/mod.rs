//! From an original's bytes to a picture; one file a format. [`probe`] reads headers only.
//!
//! Enters: bytes of unknown worth and [`Limits`]. Leaves: a [`Header`], a [`Decoded`] picture or a stream of [`Frames`].
//!
//! Always true: nothing larger than the limits and the header's estimate is allocated, and no input panics.

use std::sync::Arc;

use crate::base::{Format, Limits, Orientation, Rect, Size, Stopped, Work};
use crate::pixels::{Frame, Picture};

/// What a header tells without decoding pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    /// The format, by content.
    pub format: Format,
    /// The stored size, before orientation. For an SVG its natural size.
    pub size: Size,
    /// How to turn the stored picture upright.
    pub orientation: Orientation,
    /// Whether any pixel may be transparent.
    pub alpha: bool,
    /// Frames of an animation; 1 for a still picture. Cut at `Limits::frames_max`.
    pub frames: u32,
    /// How often an animation plays; 0 is for ever.
    pub loops: u32,
    /// Bits a sample.
    pub bits: u8,
    /// How colours are stored.
    pub model: Model,
    /// Whether decoding needs the whole coefficients or pixels at once (progressive JPEG, interlaced PNG).
    pub progressive: bool,
    /// The ICC profile.
    pub icc: Option<Arc<[u8]>>,
    /// The EXIF block, from its TIFF header on.
    pub exif: Option<Arc<[u8]>>,
}

impl Header {
    /// The upright size.
    pub const fn upright(&self) -> Size {
        self.orientation.apply(self.size)
    }
}

/// How colours are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Model {
    /// Luminance only.
    Gray,
    /// Red, green, blue, or luma and chroma.
    Rgb,
    /// A palette of so many colours.
    Palette(u16),
    /// Four inks.
    Cmyk,
    /// Shapes.
    Vector,
}

/// What of the picture is needed, in stored orientation, so that a decoder can skip the rest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Want {
    /// The part of the stored picture that is used, in its full-scale pixels. A decoder may give more.
    pub region: Rect,
    /// The size to which `region` will be reduced. A decoder may reduce the picture in doing so as long as `region` keeps at
    /// least `margin` times this size; a vector is drawn so that `region` has exactly this size.
    pub target: Size,
    /// How much larger than `target` a reduced decode must stay, in hundredths (170 is 1.7); 0 forbids reducing.
    pub margin_percent: u32,
}

impl Want {
    /// The whole picture at full scale.
    pub const fn all(header: &Header) -> Self {
        Self { region: header.size.rect(), target: header.size, margin_percent: 0 }
    }
}

/// A decoded picture, in stored orientation.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    /// The pixels.
    pub picture: Picture,
    /// The part of the original that `picture` covers, in full-scale pixels: x, y, width, height. Not whole where a reduced
    /// decode rounded up (libjpeg's scaled sizes are `ceil(w * n / 8)`): the part may then overhang the original.
    pub covers: [f64; 4],
    /// Whether the input was broken and the picture is what could be saved of it.
    pub damaged: bool,
}

/// An animation's frames, one at a time, composed, in stored orientation.
pub trait Frames: Send {
    /// The next frame, or none after the last. A broken frame after the first ends the animation (`damaged` then holds).
    fn next(&mut self, work: &Work) -> Result<Option<Frame>, Error>;
    /// Whether the input turned out to be broken.
    fn damaged(&self) -> bool;
}

/// What can be wrong with an original.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No format that Fovea reads.
    #[error("the original's content is no image format that can be read here")]
    Unsupported,
    /// A format that is read, but not this kind of it.
    #[error("the original is {format:?} of a kind that is not supported: {what}")]
    UnsupportedKind {
        /// The format.
        format: Format,
        /// What about it.
        what: String,
    },
    /// The bytes do not hold what their header says.
    #[error("the original is a broken {format:?}: {what}")]
    Broken {
        /// The format.
        format: Format,
        /// What is broken.
        what: String,
    },
    /// A bound was passed.
    #[error("the original is too large: {0}")]
    TooLarge(String),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Reads the header, and checks it against the limits.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    todo!("{} {limits:?}", bytes.len())
}

/// Decodes what is wanted of the (first) picture.
pub fn decode(bytes: &[u8], header: &Header, want: &Want, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    todo!("{} {header:?} {want:?} {limits:?} {work:?}", bytes.len())
}

/// Opens an animation (GIF, WebP) for reading frame by frame.
pub fn frames<'a>(bytes: &'a [u8], header: &Header, limits: &Limits) -> Result<Box<dyn Frames + 'a>, Error> {
    todo!("{} {header:?} {limits:?}", bytes.len())
}

/// An upper bound of the bytes that [`decode`] will hold at once beside the input, its result included.
pub fn bytes_of_work(header: &Header, want: &Want) -> u64 {
    todo!("{header:?} {want:?}")
}
