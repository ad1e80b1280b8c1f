//! From a URL to a [`Plan`]: the native grammar, options, presets, signatures, canonical spelling, and the choice of a format.
//!
//! Enters: a raw request path (no query) and [`Urls`], what this site's URLs may say. Leaves: a [`Request`], or an
//! [`Error`] that says what was wrong and where. Pure: no I/O, no clock but the one passed in, no config.
//!
//! Always true: a [`Plan`] that exists is legal and bounded; nothing downstream validates it again.

mod canonical;
mod error;
mod fuzz;
mod grammar;
mod hints;
mod negotiate;
mod numbers;
mod options;
#[cfg(test)]
mod policy_tests;
mod presets;
#[cfg(test)]
mod properties;
mod pyramid;
mod read;
mod signature;
#[cfg(test)]
mod tests;
mod urls;
mod values;

use std::fmt;
use std::sync::Arc;

use crate::base::Format;

pub use error::{Error, ErrorKind};
pub use fuzz::{fuzz_accept, fuzz_url};
pub use grammar::{ID_BYTES_MAX, PATH_BYTES_MAX, asset_path};
pub use hints::{DPR_STEPS, WIDTH_STEPS, WIDTH_WITHOUT_HINT};
pub use negotiate::{Allowed, Choice, Needs, bucket, choose};
pub use pyramid::{Level, Pyramid};
pub use signature::{Key, sign};
pub use urls::{Invalid, Originals, Rules, Settings, Unsigned, Urls, Versions};

/// What a request asks for, parsed, checked and allowed.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The configured collection.
    pub category: Arc<str>,
    /// The asset in its category, percent-decoded, segments joined by `/`.
    pub id: String,
    /// The version segment.
    pub version: Version,
    /// What about it.
    pub ask: Ask,
    /// The first preset named in the URL, for its max-age and tag; options that follow refine it.
    pub preset: Option<Arc<str>>,
    /// The key and expiry of a valid signature.
    pub signed: Option<Signed>,
    /// Where the client should go instead (308), when an unsigned URL was not spelled canonically.
    pub redirect: Option<String>,
    /// The canonical native path, for `Link: rel=canonical`. Holds no signature.
    pub canonical: String,
}

/// What about the asset is asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// A variant of the picture.
    Image(Box<Plan>),
    /// The original's bytes.
    Original,
    /// `info.json`.
    Info,
}

/// The version segment of a URL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// `v0`: whatever is current.
    Latest,
    /// `v` and a number of at least 1.
    Number(u64),
    /// `h` and the first 16 hex digits of the original's BLAKE3.
    Hash([u8; 8]),
}

impl Version {
    /// Reads a URL's segment.
    pub fn parse(text: &str) -> Option<Self> {
        grammar::version(text).ok()
    }

    /// As the URL's segment: `v0`, `v12`, `h0123456789abcdef`.
    pub fn text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => out.write_str("v0"),
            Self::Number(number) => write!(out, "v{number}"),
            Self::Hash(bytes) => write!(out, "h{:016x}", u64::from_be_bytes(*bytes)),
        }
    }
}

/// A signature that held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The key's name.
    pub kid: Arc<str>,
    /// Unix seconds after which the URL is gone; 0 is never.
    pub expiry: u64,
}

/// A transform: legal and bounded. Sizes are CSS pixels before [`Plan::dpr`] multiplies them.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Result box.
    pub width: Option<Width>,
    /// Result box.
    pub height: Option<u32>,
    /// How the picture meets the box.
    pub fit: Fit,
    /// What to keep when cropping.
    pub gravity: Gravity,
    /// Region of the upright original, before resizing.
    pub crop: Option<Crop>,
    /// Clockwise turn in degrees, 0, 90, 180 or 270, after EXIF orientation.
    pub rotate: u16,
    /// Mirroring, after the turn.
    pub flip: Flip,
    /// Multiplies width, height and pad. 1..=8, in hundredths.
    pub dpr: Dpr,
    /// Flatten or pad colour.
    pub background: Option<Colour>,
    /// Border, in pixels: top, right, bottom, left.
    pub pad: [u32; 4],
    /// Gaussian sigma in result pixels; 0 is none.
    pub blur: f32,
    /// Unsharp-mask sigma in result pixels; 0 is none.
    pub sharpen: f32,
    /// Whether to drop colour.
    pub gray: bool,
    /// Whether the picture may be enlarged.
    pub enlarge: bool,
    /// Whether an animation stays one where the output can.
    pub animate: bool,
    /// What metadata stays.
    pub metadata: Metadata,
    /// Whether the original's colour profile stays in place of a conversion to sRGB.
    pub keep_profile: bool,
    /// Encoder quality.
    pub quality: Option<Quality>,
    /// Most bytes of the result.
    pub bytes_max: Option<u32>,
    /// File name of `Content-Disposition: attachment`.
    pub download: Option<String>,
    /// The output format, or how to choose it.
    pub output: Output,
}

impl Plan {
    /// The plan that changes nothing: every option's default, the format negotiated.
    pub const DEFAULT: Self = Self {
        width: None,
        height: None,
        fit: Fit::Contain,
        gravity: Gravity::CENTRE,
        crop: None,
        rotate: 0,
        flip: Flip { horizontal: false, vertical: false },
        dpr: Dpr::ONE,
        background: None,
        pad: [0; 4],
        blur: 0.0,
        sharpen: 0.0,
        gray: false,
        enlarge: false,
        animate: true,
        metadata: Metadata::None,
        keep_profile: false,
        quality: None,
        bytes_max: None,
        download: None,
        output: Output::Negotiate,
    };
}

impl Default for Plan {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Plan {
    /// The whole picture, contained in a box.
    pub fn within(width: u32, height: u32) -> Self {
        Self { width: Some(Width::Px(width)), height: Some(height), ..Self::DEFAULT }
    }
}

/// A width in a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// So many pixels.
    Px(u32),
    /// `w_auto`: from the client's hints.
    Auto,
}

/// CSS `object-fit` words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Fit {
    /// Inside the box, ratio kept.
    #[default]
    Contain,
    /// Fills the box, ratio kept, the rest cut off by gravity. A picture smaller than the box is cut to the box's ratio.
    Cover,
    /// Stretched to the box.
    Fill,
    /// `contain`, then padded to the box with the background.
    Pad,
    /// Cut out of the picture without resizing, by gravity.
    Crop,
}

/// What to keep when cropping.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Gravity {
    /// One of nine points, as fractions 0, 0.5 or 1 of the free space.
    Point(f32, f32),
    /// A focal point as fractions of the picture: centred as far as the borders allow.
    Focal(f32, f32),
}

impl Gravity {
    /// The middle, the default.
    pub const CENTRE: Self = Self::Point(0.5, 0.5);
}

/// A region of the upright original.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Crop {
    /// Pixels: x, y, width, height.
    Px(u32, u32, u32, u32),
    /// Fractions of the original: x, y, width, height.
    Fraction(f32, f32, f32, f32),
}

/// Mirroring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flip {
    /// Left to right.
    pub horizontal: bool,
    /// Top to bottom.
    pub vertical: bool,
}

/// Device pixel ratio in hundredths, 100..=800.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Dpr(pub u16);

impl Dpr {
    /// One device pixel to a CSS pixel, the default.
    pub const ONE: Self = Self(100);

    /// A length in device pixels, rounded half up.
    pub const fn scale(self, css_px: u32) -> u64 {
        (css_px as u64 * self.0 as u64 + 50) / 100
    }
}

/// A colour with alpha, sRGB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Colour {
    /// Red, green, blue, alpha.
    pub rgba: [u8; 4],
}

/// What metadata stays in the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Metadata {
    /// None.
    #[default]
    None,
    /// Copyright and artist.
    Copyright,
    /// All but the orientation, which has been applied, and (unless the category allows it) the location.
    All,
}

/// Encoder quality.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Quality {
    /// 1..=100, the format's own scale.
    Level(u8),
    /// `low`, `medium-low`, `medium-high`, `high`: steps around the format's default.
    Step(QualityStep),
}

/// A named step of quality.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum QualityStep {
    /// 20 under the default.
    Low,
    /// 10 under the default.
    MediumLow,
    /// The default.
    MediumHigh,
    /// 10 over the default.
    High,
}

/// The output format, or how to choose it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Named in the URL.
    Format(Format),
    /// `auto`: the best that the client takes, by its headers.
    Negotiate,
    /// `auto-…`: the best up to a capability; depends on no header.
    Bucket(Bucket),
}

impl Output {
    /// Its name in URLs and keys: `auto`, `auto-avif`, `jpg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Format(format) => format.extension(),
            Self::Negotiate => "auto",
            Self::Bucket(bucket) => bucket.output_name(),
        }
    }

    /// The output of that canonical name, where it is one that Fovea writes.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Negotiate),
            "auto-base" => Some(Self::Bucket(Bucket::Base)),
            "auto-webp" => Some(Self::Bucket(Bucket::WebP)),
            "auto-avif" => Some(Self::Bucket(Bucket::Avif)),
            _ => Format::from_extension(name).filter(|format| format.writable()).map(Self::Format),
        }
    }
}

/// What a client can show, as few classes as decide the format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Bucket {
    /// JPEG, PNG and GIF.
    Base,
    /// And WebP.
    WebP,
    /// And AVIF.
    Avif,
}

impl Bucket {
    /// The output that names it in a URL: `auto-base`, `auto-webp`, `auto-avif`.
    pub const fn output_name(self) -> &'static str {
        match self {
            Self::Base => "auto-base",
            Self::WebP => "auto-webp",
            Self::Avif => "auto-avif",
        }
    }
}
