//! Rows of a decoded picture in the colours that the result will have: ICC profiles and CMYK become sRGB on the way, row by
//! row, before light is made linear (for that the curve must be known).
//!
//! Always true: what comes out is gray or RGB with or without alpha; a profile that is broken, does not fit the samples or
//! says sRGB changes nothing.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use moxcms::{
    ColorProfile, DataColorSpace, Layout as Channels, Transform8BitExecutor, Transform16BitExecutor, TransformOptions,
};
use parking_lot::Mutex;

use super::light::encoded;
use crate::base::Digest;
use crate::pixels::{ColourSpace, Depth, Layout, Picture, Row, Samples};

/// How a picture's rows are converted.
#[derive(Clone)]
enum Convert {
    /// As they are.
    Nothing,
    /// Four inks without a profile, by the usual formula.
    Inks,
    /// By a profile, 8 bits.
    Profile8(Arc<Transform8BitExecutor>),
    /// By a profile, 16 bits.
    Profile16(Arc<Transform16BitExecutor>),
}

/// Converts rows.
pub struct Colours {
    convert: Convert,
    /// The channels of a row as it comes.
    from: Layout,
    /// The channels of a converted row.
    pub layout: Layout,
    /// What the converted values mean.
    pub colour: ColourSpace,
    scratch8: Vec<u8>,
    scratch16: Vec<u16>,
    encoded: Vec<u16>,
}

impl Colours {
    /// Decides the conversion. With `keep_profile` an RGB or gray picture stays as its profile means it.
    pub fn new(layout: Layout, colour: &ColourSpace, depth: Depth, keep_profile: bool) -> Self {
        let cmyk = layout == Layout::Cmyk;
        let keeps = keep_profile && !cmyk;
        let convert = match colour {
            ColourSpace::Icc(icc) if !keeps => conversion(icc, layout, depth != Depth::Eight),
            _ => Convert::Nothing,
        };
        let convert = if cmyk && matches!(convert, Convert::Nothing) { Convert::Inks } else { convert };
        Self {
            convert,
            from: layout,
            layout: if cmyk { Layout::Rgb } else { layout },
            colour: if keeps { colour.clone() } else { ColourSpace::Srgb },
            scratch8: Vec::new(),
            scratch16: Vec::new(),
            encoded: Vec::new(),
        }
    }

    /// Of a picture.
    pub fn of(picture: &Picture, keep_profile: bool) -> Self {
        let depth = if matches!(picture.samples, Samples::U16(_)) { Depth::Sixteen } else { Depth::Eight };
        Self::new(picture.layout, &picture.colour, depth, keep_profile)
    }

    /// Whether rows come out as they went in.
    pub fn unchanged(&self) -> bool {
        matches!(self.convert, Convert::Nothing)
    }

    /// A row, converted. Light that has to be converted comes out as samples, of the given columns.
    pub fn row<'a>(&'a mut self, row: Row<'a>, columns: (usize, usize)) -> Row<'a> {
        let channels = self.from.channels();
        match (row, &self.convert) {
            (row, Convert::Nothing) => row,
            (Row::Light(planes), Convert::Profile16(_)) => {
                interleaved(planes, columns, &mut self.encoded);
                let values = std::mem::take(&mut self.encoded);
                self.wide(&values);
                self.encoded = values;
                Row::U16(&self.scratch16)
            }
            (Row::U8(values), Convert::Profile8(transform)) => {
                self.scratch8.resize(values.len() / channels * self.layout.channels(), 0);
                if transform.transform(values, &mut self.scratch8).is_err() {
                    copy_channels(values, channels, &mut self.scratch8, self.layout.channels());
                }
                Row::U8(&self.scratch8)
            }
            (Row::U16(values), Convert::Profile16(_)) => {
                self.wide(values);
                Row::U16(&self.scratch16)
            }
            (Row::U8(values), Convert::Inks) => {
                self.scratch8.resize(values.len() / 4 * 3, 0);
                for (inks, rgb) in values.chunks_exact(4).zip(self.scratch8.chunks_exact_mut(3)) {
                    let white = 255 - u32::from(inks[3]);
                    for (ink, value) in inks.iter().zip(rgb) {
                        *value = (((255 - u32::from(*ink)) * white + 127) / 255) as u8;
                    }
                }
                Row::U8(&self.scratch8)
            }
            (Row::U16(values), Convert::Inks) => {
                self.scratch16.resize(values.len() / 4 * 3, 0);
                for (inks, rgb) in values.chunks_exact(4).zip(self.scratch16.chunks_exact_mut(3)) {
                    let white = 65_535 - u64::from(inks[3]);
                    for (ink, value) in inks.iter().zip(rgb) {
                        *value = (((65_535 - u64::from(*ink)) * white + 32_767) / 65_535) as u16;
                    }
                }
                Row::U16(&self.scratch16)
            }
            (row, _) => row,
        }
    }

    /// 16-bit values through the profile, into `scratch16`.
    fn wide(&mut self, values: &[u16]) {
        let Convert::Profile16(transform) = &self.convert else { return };
        let channels = self.from.channels();
        self.scratch16.resize(values.len() / channels * self.layout.channels(), 0);
        if transform.transform(values, &mut self.scratch16).is_err() {
            copy_channels(values, channels, &mut self.scratch16, self.layout.channels());
        }
    }
}

/// The pixels from column `from` up to `to` of an interleaved row; light stays whole.
pub fn columns(row: Row<'_>, channels: usize, (from, to): (usize, usize)) -> Row<'_> {
    match row {
        Row::U8(values) => Row::U8(&values[from * channels..to * channels]),
        Row::U16(values) => Row::U16(&values[from * channels..to * channels]),
        light => light,
    }
}

/// A row of a picture.
pub(super) fn row_of(picture: &Picture, y: usize) -> Row<'_> {
    let length = picture.size.width as usize * picture.layout.channels();
    match &picture.samples {
        Samples::U8(values) => Row::U8(&values[y * length..][..length]),
        Samples::U16(values) => Row::U16(&values[y * length..][..length]),
    }
}

/// Planes of light to 16-bit samples with sRGB's curve, which is near enough to any profile's for what was averaged in it.
fn interleaved(planes: &[&[i16]], (from, to): (usize, usize), samples: &mut Vec<u16>) {
    let (table, channels) = (encoded(), planes.len());
    samples.resize((to - from) * channels, 0);
    for (channel, plane) in planes.iter().enumerate() {
        for (light, pixel) in plane[from..to].iter().zip(samples.chunks_exact_mut(channels)) {
            pixel[channel] = table.of(*light);
        }
    }
}

/// 8 bits of 16, rounded.
pub(super) const fn narrow(value: u16) -> u8 {
    ((value as u32 * 255 + 32_767) / 65_535) as u8
}

/// What is left to do when a conversion fails in the middle: the channels as they are.
fn copy_channels<T: Copy>(from: &[T], from_channels: usize, to: &mut [T], to_channels: usize) {
    for (from, to) in from.chunks_exact(from_channels).zip(to.chunks_exact_mut(to_channels)) {
        to.copy_from_slice(&from[..to_channels]);
    }
}

/// How many conversions are remembered; making one costs as much as converting half a megapixel.
const REMEMBERED_MAX: usize = 16;

/// The conversion from a profile to sRGB (or to gray with sRGB's curve).
fn conversion(icc: &[u8], layout: Layout, wide: bool) -> Convert {
    type Key = (Digest, Layout, bool);
    static REMEMBERED: Mutex<VecDeque<(Key, Convert)>> = Mutex::new(VecDeque::new());
    let key = (Digest::of(icc), layout, wide);
    if let Some((_, known)) = REMEMBERED.lock().iter().find(|(known, _)| *known == key) {
        return known.clone();
    }
    // The library is fuzzed, but a profile is a stranger's: one that makes it panic is a broken one.
    let made = catch_unwind(AssertUnwindSafe(|| make(icc, layout, wide))).ok().flatten().unwrap_or(Convert::Nothing);
    let mut remembered = REMEMBERED.lock();
    if remembered.len() == REMEMBERED_MAX {
        remembered.pop_front();
    }
    remembered.push_back((key, made.clone()));
    made
}

fn make(icc: &[u8], layout: Layout, wide: bool) -> Option<Convert> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    let (space, from, to) = match layout {
        Layout::Gray => (DataColorSpace::Gray, Channels::Gray, Channels::Gray),
        Layout::GrayAlpha => (DataColorSpace::Gray, Channels::GrayAlpha, Channels::GrayAlpha),
        Layout::Rgb => (DataColorSpace::Rgb, Channels::Rgb, Channels::Rgb),
        Layout::Rgba => (DataColorSpace::Rgb, Channels::Rgba, Channels::Rgba),
        Layout::Cmyk => (DataColorSpace::Cmyk, Channels::Rgba, Channels::Rgb),
    };
    if profile.color_space != space {
        return None;
    }
    let mut srgb = ColorProfile::new_srgb();
    if space == DataColorSpace::Gray {
        let curve = srgb.red_trc.clone();
        srgb = ColorProfile::new_gray_with_gamma(2.2);
        srgb.gray_trc = curve;
    }
    let options = TransformOptions::default();
    let narrow = profile.create_transform_8bit(from, &srgb, to, options).ok()?;
    if layout != Layout::Cmyk && is_identity(&*narrow, layout.channels()) {
        return Some(Convert::Nothing);
    }
    if wide {
        profile.create_transform_16bit(from, &srgb, to, options).ok().map(Convert::Profile16)
    } else {
        Some(Convert::Profile8(narrow))
    }
}

/// Whether a conversion moves no colour by more than one step: the profile is sRGB under some name.
fn is_identity(transform: &Transform8BitExecutor, channels: usize) -> bool {
    let mut colours = Vec::new();
    let steps = [0u8, 32, 96, 160, 224, 255];
    for red in steps {
        for green in steps {
            for blue in steps {
                let colour = [red, green, blue, 255];
                colours.extend_from_slice(match channels {
                    1 => &colour[..1],
                    2 => &colour[2..4],
                    3 => &colour[..3],
                    _ => &colour,
                });
            }
        }
    }
    let mut converted = vec![0; colours.len()];
    transform.transform(&colours, &mut converted).is_ok()
        && colours.iter().zip(&converted).all(|(before, after)| before.abs_diff(*after) <= 1)
}
