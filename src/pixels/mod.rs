//! The picture in memory: samples, their layout, and what colours they mean.
//!
//! Always true: `samples` holds exactly `width * height * channels` values.

mod rows;

use std::sync::Arc;

pub use self::rows::{Depth, Head, LIGHT_FULL, Row, Sink};
use crate::base::Size;

/// One still picture, samples interleaved, rows from the top without padding.
#[derive(Clone, PartialEq, Debug)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: Size,
    /// What the channels are.
    pub layout: Layout,
    /// The values.
    pub samples: Samples,
    /// What the values mean.
    pub colour: ColourSpace,
}

/// What the channels are. Alpha is straight (not premultiplied).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// Luminance.
    Gray,
    /// Luminance, alpha.
    GrayAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    Rgba,
    /// Cyan, magenta, yellow, black; 0 is no ink (decoders undo Adobe's inversion).
    Cmyk,
}

impl Layout {
    /// Values a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    /// Whether the last channel is alpha.
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// The values, 8 or 16 bits each, full range.
#[derive(Clone, PartialEq, Debug)]
pub enum Samples {
    /// 0..=255.
    U8(Vec<u8>),
    /// 0..=65535.
    U16(Vec<u16>),
}

impl Samples {
    /// How many values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the values mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ColourSpace {
    /// sRGB, or gray with sRGB's transfer curve.
    Srgb,
    /// As an ICC profile says.
    Icc(Arc<[u8]>),
    /// CMYK without a profile.
    DeviceCmyk,
}

impl Picture {
    /// An 8-bit sRGB picture.
    ///
    /// # Panics
    /// If `samples` is not `width * height * channels` long: the caller made both.
    pub fn srgb8(size: Size, layout: Layout, samples: Vec<u8>) -> Self {
        assert_eq!(samples.len() as u64, size.pixels() * layout.channels() as u64, "samples match the size");
        Self { size, layout, samples: Samples::U8(samples), colour: ColourSpace::Srgb }
    }

    /// How many bytes its values take.
    pub fn bytes(&self) -> u64 {
        match &self.samples {
            Samples::U8(values) => values.len() as u64,
            Samples::U16(values) => 2 * values.len() as u64,
        }
    }

    /// The 8-bit values, if it has such.
    pub fn as_u8(&self) -> Option<&[u8]> {
        match &self.samples {
            Samples::U8(values) => Some(values),
            Samples::U16(_) => None,
        }
    }
}

/// One picture of an animation, composed: it shows the whole canvas.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// What is shown.
    pub picture: Picture,
    /// For how long, in milliseconds.
    pub delay_ms: u32,
}
