//! PNG, by the `png` crate in its fast mode: as few channels as the picture needs, and a palette where it has at most 256
//! colours. Never loses anything. [`Effort::Small`] searches slowly, with several choices of filters, and takes the smallest.

use std::borrow::Cow;

use png::{BitDepth, ColorType, Compression, Encoder, Filter, Info};

use super::palette::Palette;
use super::{Effort, Error, Settings};
use crate::base::{Format, Size};
use crate::pixels::{Layout, Picture};

/// Encodes.
pub fn encode(picture: &Picture, settings: &Settings) -> Result<Vec<u8>, Error> {
    let samples = super::samples8(picture);
    let size = picture.size;
    let reduced = reduce(&samples, picture.layout, settings.icc.is_some());
    let pixels = size.pixels() as usize;
    if let Some(palette) = Palette::exact(&reduced.samples, reduced.layout, 256)
        && reduced.layout != Layout::Gray
        && pixels > palette.colours.len()
    {
        return smallest(size, settings, &Paletted::of(&palette, size).into());
    }
    let colour = match reduced.layout {
        Layout::Gray => ColorType::Grayscale,
        Layout::GrayAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb => ColorType::Rgb,
        Layout::Rgba | Layout::Cmyk => ColorType::Rgba,
    };
    smallest(size, settings, &Content { colour, depth: BitDepth::Eight, palette: None, data: reduced.samples })
}

/// Writes with the settings that are worth their time.
fn smallest(size: Size, settings: &Settings, content: &Content<'_>) -> Result<Vec<u8>, Error> {
    let usual = match content.palette {
        // Indices do not follow their neighbours' values, so that filters only cost; the better search pays off here.
        Some(_) => (Compression::Balanced, Filter::NoFilter),
        None => (Compression::Fast, Filter::Adaptive),
    };
    let mut best = write(size, settings, content, usual)?;
    if settings.effort == Effort::Small {
        for filter in SMALL_FILTERS {
            let other = write(size, settings, content, (Compression::High, filter))?;
            if other.len() < best.len() {
                best = other;
            }
        }
    }
    Ok(best)
}

/// What [`Effort::Small`] tries.
const SMALL_FILTERS: [Filter; 4] = [Filter::NoFilter, Filter::Paeth, Filter::Adaptive, Filter::MinEntropy];

/// What is written.
struct Content<'a> {
    colour: ColorType,
    depth: BitDepth,
    palette: Option<(Vec<u8>, Vec<u8>)>,
    data: Cow<'a, [u8]>,
}

fn write(
    size: Size,
    settings: &Settings,
    content: &Content<'_>,
    (compression, filter): (Compression, Filter),
) -> Result<Vec<u8>, Error> {
    let failed = |error: png::EncodingError| Error::Encoder { format: Format::Png, what: error.to_string() };
    let mut info = Info::with_size(size.width, size.height);
    info.color_type = content.colour;
    info.bit_depth = content.depth;
    info.icc_profile = settings.icc.as_deref().map(Cow::Borrowed);
    info.exif_metadata = settings.exif.as_deref().map(Cow::Borrowed);
    if let Some((colours, alphas)) = &content.palette {
        info.palette = Some(colours.into());
        info.trns = (!alphas.is_empty()).then(|| alphas.into());
    }
    let mut file = Vec::with_capacity(content.data.len() / 2 + 1024);
    let mut encoder = Encoder::with_info(&mut file, info).map_err(failed)?;
    encoder.set_compression(compression);
    encoder.set_filter(filter);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&content.data).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

/// The picture in as few channels as hold it.
struct Reduced<'a> {
    samples: Cow<'a, [u8]>,
    layout: Layout,
}

fn reduce(samples: &[u8], layout: Layout, profile: bool) -> Reduced<'_> {
    let channels = layout.channels();
    let opaque = layout.has_alpha() && samples.chunks_exact(channels).all(|pixel| pixel[channels - 1] == 255);
    let gray = channels >= 3 && !profile && super::is_gray(samples, channels);
    let keep: &[usize] = match (channels, gray, opaque) {
        (2, _, true) | (3, true, _) | (4, true, true) => &[0],
        (4, true, false) => &[0, 3],
        (4, false, true) => &[0, 1, 2],
        _ => return Reduced { samples: Cow::Borrowed(samples), layout },
    };
    let layout = match keep.len() {
        1 => Layout::Gray,
        2 => Layout::GrayAlpha,
        _ => Layout::Rgb,
    };
    let mut out = Vec::with_capacity(samples.len() / channels * keep.len());
    for pixel in samples.chunks_exact(channels) {
        out.extend(keep.iter().map(|channel| pixel[*channel]));
    }
    Reduced { samples: Cow::Owned(out), layout }
}

/// Indices packed into bytes, with their palette.
struct Paletted {
    depth: BitDepth,
    colours: Vec<u8>,
    alphas: Vec<u8>,
    data: Vec<u8>,
}

impl Paletted {
    fn of(palette: &Palette, size: Size) -> Self {
        let (depth, bits) = match palette.colours.len() {
            0..=2 => (BitDepth::One, 1),
            3..=4 => (BitDepth::Two, 2),
            5..=16 => (BitDepth::Four, 4),
            _ => (BitDepth::Eight, 8),
        };
        // Transparent colours first, so that the list of alphas ends with them.
        let mut order: Vec<usize> = (0..palette.colours.len()).collect();
        order.sort_by_key(|at| palette.colours[*at][3] == 255);
        let mut place = [0u8; 256];
        let (mut colours, mut alphas) = (Vec::new(), Vec::new());
        for (to, from) in order.into_iter().enumerate() {
            place[from] = to as u8;
            let colour = palette.colours[from];
            colours.extend_from_slice(&colour[..3]);
            if colour[3] < 255 {
                alphas.push(colour[3]);
            }
        }
        let mut data = Vec::with_capacity((size.pixels() as usize).div_ceil(8 / bits) + size.height as usize);
        for row in palette.indices.chunks_exact(size.width as usize) {
            for group in row.chunks(8 / bits) {
                let mut byte = 0;
                for (at, index) in group.iter().enumerate() {
                    byte |= place[usize::from(*index)] << (8 - bits * (at + 1));
                }
                data.push(byte);
            }
        }
        Self { depth, colours, alphas, data }
    }
}

impl From<Paletted> for Content<'static> {
    fn from(paletted: Paletted) -> Self {
        Self {
            colour: ColorType::Indexed,
            depth: paletted.depth,
            palette: Some((paletted.colours, paletted.alphas)),
            data: Cow::Owned(paletted.data),
        }
    }
}
