//! PNG, by the `png` crate in its fast mode: as few channels as the picture needs, and a palette where it has at most 256
//! colours. Never loses anything. [`Effort::Small`] has oxipng search for what compresses best.

use std::borrow::Cow;

use png::{BitDepth, ColorType, Compression, Encoder, Filter, Info};

use super::palette::Palette;
use super::{Effort, Error, Settings};
use crate::base::{Format, Size, Work};
use crate::pixels::{Layout, Picture};

/// Encodes.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    let samples = super::samples8(picture);
    let size = picture.size;
    let reduced = reduce(&samples, picture.layout, settings.icc.is_some());
    let pixels = size.pixels() as usize;
    if let Some(palette) = Palette::exact(&reduced.samples, reduced.layout, 256)
        && reduced.layout != Layout::Gray
        && pixels > palette.colours.len()
    {
        return smallest(size, settings, &Paletted::of(&palette, size).into(), work);
    }
    let colour = match reduced.layout {
        Layout::Gray => ColorType::Grayscale,
        Layout::GrayAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb => ColorType::Rgb,
        Layout::Rgba | Layout::Cmyk => ColorType::Rgba,
    };
    let content = Content { colour, depth: BitDepth::Eight, palette: None, data: reduced.samples };
    smallest(size, settings, &content, work)
}

/// Writes with the settings that are worth their time.
fn smallest(size: Size, settings: &Settings, content: &Content<'_>, work: &Work) -> Result<Vec<u8>, Error> {
    let usual = match content.palette {
        // Indices do not follow their neighbours' values, so that filters only cost; the better search pays off here.
        Some(_) => (Compression::Balanced, Filter::NoFilter),
        None => (Compression::Fast, Filter::Adaptive),
    };
    let usual = write(size, settings, content, usual)?;
    if settings.effort != Effort::Small {
        return Ok(usual);
    }
    work.check()?;
    let small = searched(size, settings, content)?;
    Ok(if small.len() < usual.len() { small } else { usual })
}

/// Pictures up to so many pixels are searched with more filters and the slowest compression: 2.4 s a megapixel, then 1 s.
const LONG_PIXELS_MAX: u64 = 2 << 20;

/// By oxipng's search for the palette, depth and filters that compress best.
fn searched(size: Size, settings: &Settings, content: &Content<'_>) -> Result<Vec<u8>, Error> {
    let failed = |error: oxipng::PngError| Error::Encoder { format: Format::Png, what: error.to_string() };
    let colour = match (&content.palette, content.colour) {
        (Some((colours, alphas)), _) => {
            let colour = |(at, colour): (usize, &[u8; 3])| {
                let [r, g, b] = *colour;
                rgb::RGBA8 { r, g, b, a: alphas.get(at).copied().unwrap_or(255) }
            };
            oxipng::ColorType::Indexed { palette: colours.as_chunks().0.iter().enumerate().map(colour).collect() }
        }
        (None, ColorType::Grayscale) => oxipng::ColorType::Grayscale { transparent_shade: None },
        (None, ColorType::GrayscaleAlpha) => oxipng::ColorType::GrayscaleAlpha,
        (None, ColorType::Rgb) => oxipng::ColorType::RGB { transparent_color: None },
        (None, _) => oxipng::ColorType::RGBA,
    };
    let depth = match content.depth {
        BitDepth::One => oxipng::BitDepth::One,
        BitDepth::Two => oxipng::BitDepth::Two,
        BitDepth::Four => oxipng::BitDepth::Four,
        _ => oxipng::BitDepth::Eight,
    };
    let mut raw =
        oxipng::RawImage::new(size.width, size.height, colour, depth, content.data.to_vec()).map_err(failed)?;
    if let Some(profile) = &settings.icc {
        raw.add_icc_profile(profile);
    }
    if let Some(exif) = &settings.exif {
        raw.add_png_chunk(*b"eXIf", exif.to_vec());
    }
    let mut options = oxipng::Options::from_preset(if size.pixels() <= LONG_PIXELS_MAX { 4 } else { 2 });
    // A profile for RGB is none for gray.
    options.grayscale_reduction = settings.icc.is_none();
    raw.create_optimized_png(&options).map_err(failed)
}

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
