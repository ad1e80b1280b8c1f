//! Cut and resize, in linear light on premultiplied values: row by row, so that beside the result only a filter's height of
//! rows is held. Vertically first, since whole rows are added with every lane of the machine.
//!
//! Measured (one thread, AMD EPYC, 1061×707 → 400×267 RGB): see the numbers at [`resize`].

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::colour::{Row, Rows, narrow};
use super::filter::{REACH, Taps};
use super::lanes::{BLOCK, weigh_pixels, weigh_rows};
use super::light::{ToSrgb, linear8, linear16};
use crate::base::{Size, Stopped, Work};
use crate::pixels::{Layout, Picture, Samples};
use crate::transform::Light;

/// Result rows between two looks at the deadline.
const ROWS_BETWEEN_CHECKS: usize = 32;

/// Resizes the window (x, y, width, height in the picture's own pixels, with fractions) to a size. Leaves 8-bit samples, in
/// sRGB or (`keep_profile`) in the picture's own colours. A window of whole pixels that has the size already is copied
/// exactly.
pub fn resize(
    picture: Picture,
    window: [f64; 4],
    size: Size,
    light: Light,
    keep_profile: bool,
    work: &Work,
) -> Result<Picture, Stopped> {
    work.check()?;
    if let Some((left, top)) = exact(window, size, picture.size) {
        return cut(picture, left, top, size, keep_profile, work);
    }
    match light {
        Light::Linear => linear(&picture, window, size, keep_profile, work),
        Light::Gamma => {
            let whole = picture.size;
            let picture = cut(picture, 0, 0, whole, keep_profile, work)?;
            Ok(gamma(&picture, window, size))
        }
    }
}

/// An upper bound of the bytes [`resize`] holds beside its source: rows of linear light, and the result.
pub fn bytes_of_resize(source: Size, channels: usize, window: [f64; 4], size: Size) -> u64 {
    let rows = (window[3] / f64::from(size.height)).max(1.0) * REACH * 2.0 + 2.0;
    let row = (u64::from(source.width) + 8) * (channels.max(4) * size_of::<f32>()) as u64;
    // A row in 16 bits, the vertical result, its four-channel form and the horizontal result.
    let ring = (rows as u64 + 4) * row + u64::from(size.width) * 16;
    let taps = u64::from(size.width) * ((window[2] / f64::from(size.width)).max(1.0) * 40.0 + 64.0) as u64
        + u64::from(size.height) * ((window[3] / f64::from(size.height)).max(1.0) * 40.0 + 64.0) as u64;
    ring + taps + size.pixels() * channels as u64
}

/// The window's corner where it is of whole pixels and as large as the result.
fn exact(window: [f64; 4], size: Size, source: Size) -> Option<(usize, usize)> {
    let [x, y, width, height] = window;
    let whole = |value: f64| (value - value.round()).abs() < 1e-6;
    let same = |length: f64, px: u32| (length - f64::from(px)).abs() < 1e-6;
    let fits = x.round() + f64::from(size.width) <= f64::from(source.width)
        && y.round() + f64::from(size.height) <= f64::from(source.height);
    (whole(x) && whole(y) && same(width, size.width) && same(height, size.height) && fits)
        .then(|| (x.round().max(0.0) as usize, y.round().max(0.0) as usize))
}

/// Copies a part, to 8 bits and the result's colours.
fn cut(
    picture: Picture,
    left: usize,
    top: usize,
    size: Size,
    keep_profile: bool,
    work: &Work,
) -> Result<Picture, Stopped> {
    let mut rows = Rows::new(&picture, keep_profile);
    if size == picture.size && rows.unchanged() && picture.as_u8().is_some() {
        let colour = rows.colour;
        return Ok(Picture { colour, ..picture });
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let mut samples = Vec::with_capacity(width * height * rows.layout.channels());
    for y in top..top + height {
        if y % ROWS_BETWEEN_CHECKS == 0 {
            work.check()?;
        }
        match rows.row(y, left, left + width) {
            Row::U8(values) => samples.extend_from_slice(values),
            Row::U16(values) => samples.extend(values.iter().map(|value| narrow(*value))),
        }
    }
    Ok(Picture { size, layout: rows.layout, samples: Samples::U8(samples), colour: rows.colour })
}

/// In linear light, streaming.
fn linear(
    picture: &Picture,
    window: [f64; 4],
    size: Size,
    keep_profile: bool,
    work: &Work,
) -> Result<Picture, Stopped> {
    let mut rows = Rows::new(picture, keep_profile);
    let layout = rows.layout;
    let channels = layout.channels();
    let [x, y, width, height] = window;
    let (source_width, source_height) = (picture.size.width as usize, picture.size.height as usize);
    let (out_width, out_height) = (size.width as usize, size.height as usize);
    let mut across = Taps::new(source_width, x, width, out_width, 4);
    let down = Taps::new(source_height, y, height, out_height, 1);
    let (from, to) = across.span(source_width);
    across.starts.iter_mut().for_each(|start| *start -= from);

    let blocks = ((to - from) * channels).div_ceil(BLOCK);
    let mut ring = vec![vec![[0.0f32; BLOCK]; blocks]; down.len];
    let mut read = 0;
    let mut sum = vec![[0.0f32; BLOCK]; blocks];
    let mut pixels = vec![[0.0f32; 4]; (to - from).max(across.len)];
    let mut result = vec![[0.0f32; 4]; out_width];
    let mut samples = vec![0u8; out_width * out_height * channels];
    let back = ToSrgb::new();
    for (row, out) in samples.chunks_exact_mut(out_width * channels).enumerate() {
        if row % ROWS_BETWEEN_CHECKS == 0 {
            work.check()?;
        }
        let (start, weights) = down.of(row);
        let end = (start + down.len).min(source_height);
        for row in read.max(start)..end {
            let slot = &mut ring[row % down.len];
            to_light(rows.row(row, from, to), layout, slot.as_flattened_mut());
        }
        read = read.max(end);
        let window: Vec<&[[f32; BLOCK]]> = (start..end).map(|row| ring[row % down.len].as_slice()).collect();
        weigh_rows(&mut sum, &window, weights);
        to_pixels(sum.as_flattened(), channels, &mut pixels[..to - from]);
        weigh_pixels(&mut result, &pixels, &across.starts, &across.weights, across.len);
        to_samples(&result, layout, back, out);
    }
    Ok(Picture { size, layout, samples: Samples::U8(samples), colour: rows.colour })
}

/// Samples to linear light, colours premultiplied with alpha.
fn to_light(row: Row<'_>, layout: Layout, light: &mut [f32]) {
    let channels = layout.channels();
    match row {
        Row::U8(values) => {
            let table = linear8();
            if layout.has_alpha() {
                for (pixel, light) in values.chunks_exact(channels).zip(light.chunks_exact_mut(channels)) {
                    let alpha = f32::from(pixel[channels - 1]) * (1.0 / 255.0);
                    for channel in 0..channels - 1 {
                        light[channel] = table[usize::from(pixel[channel])] * alpha;
                    }
                    light[channels - 1] = alpha;
                }
            } else {
                for (value, light) in values.iter().zip(light) {
                    *light = table[usize::from(*value)];
                }
            }
        }
        Row::U16(values) => {
            let table = linear16();
            for (pixel, light) in values.chunks_exact(channels).zip(light.chunks_exact_mut(channels)) {
                let alpha = if layout.has_alpha() { f32::from(pixel[channels - 1]) * (1.0 / 65_535.0) } else { 1.0 };
                for (value, light) in pixel.iter().zip(light.iter_mut()) {
                    *light = table[usize::from(*value)] * alpha;
                }
                if layout.has_alpha() {
                    light[channels - 1] = alpha;
                }
            }
        }
    }
}

/// Interleaved values to pixels of four; what is missing is left as it is.
fn to_pixels(values: &[f32], channels: usize, pixels: &mut [[f32; 4]]) {
    fn spread<const N: usize>(values: &[f32], pixels: &mut [[f32; 4]]) {
        for (values, pixel) in values.as_chunks::<N>().0.iter().zip(pixels) {
            pixel[..N].copy_from_slice(values);
        }
    }
    match channels {
        1 => spread::<1>(values, pixels),
        2 => spread::<2>(values, pixels),
        3 => spread::<3>(values, pixels),
        _ => spread::<4>(values, pixels),
    }
}

/// Linear light to 8-bit samples, colours divided by alpha.
fn to_samples(pixels: &[[f32; 4]], layout: Layout, back: ToSrgb, samples: &mut [u8]) {
    match layout {
        Layout::Gray => {
            for (pixel, sample) in pixels.iter().zip(samples) {
                *sample = back.of(pixel[0]);
            }
        }
        Layout::Rgb | Layout::Cmyk => {
            for (pixel, sample) in pixels.iter().zip(samples.as_chunks_mut::<3>().0) {
                *sample = [back.of(pixel[0]), back.of(pixel[1]), back.of(pixel[2])];
            }
        }
        Layout::GrayAlpha | Layout::Rgba => {
            let colours = layout.channels() - 1;
            for (pixel, sample) in pixels.iter().zip(samples.chunks_exact_mut(colours + 1)) {
                let alpha = pixel[colours].clamp(0.0, 1.0);
                let opacity = (alpha * 255.0 + 0.5) as u8;
                let divide = if opacity == 0 { 0.0 } else { 1.0 / alpha };
                for (value, sample) in pixel[..colours].iter().zip(sample.iter_mut()) {
                    *sample = back.of(value * divide);
                }
                sample[colours] = opacity;
            }
        }
    }
}

/// In the samples' own light, 8 bits, by `fast_image_resize`. Gray goes as three equal channels: every further pixel type would
/// be half a minute of compilation for a path that hardly anybody takes.
fn gamma(picture: &Picture, window: [f64; 4], size: Size) -> Picture {
    let values = picture.as_u8().unwrap_or_default();
    let samples = match picture.layout {
        Layout::Rgb => typed::<U8x3>(values, picture.size, window, size),
        Layout::Rgba | Layout::Cmyk => typed::<U8x4>(values, picture.size, window, size),
        Layout::Gray => {
            let wide: Vec<u8> = values.iter().flat_map(|&gray| [gray; 3]).collect();
            typed::<U8x3>(&wide, picture.size, window, size).into_iter().step_by(3).collect()
        }
        Layout::GrayAlpha => {
            let wide: Vec<u8> =
                values.as_chunks::<2>().0.iter().flat_map(|&[gray, alpha]| [gray, gray, gray, alpha]).collect();
            let resized = typed::<U8x4>(&wide, picture.size, window, size);
            resized.as_chunks::<4>().0.iter().flat_map(|&[gray, _, _, alpha]| [gray, alpha]).collect()
        }
    };
    Picture { size, layout: picture.layout, samples: Samples::U8(samples), colour: picture.colour.clone() }
}

fn typed<P: PixelTrait>(values: &[u8], source: Size, window: [f64; 4], size: Size) -> Vec<u8> {
    let mut samples = vec![0u8; size.pixels() as usize * size_of::<P>()];
    let [x, y, width, height] = window;
    let enlarges = width < f64::from(size.width) && height < f64::from(size.height);
    let filter = if enlarges { FilterType::Mitchell } else { FilterType::Lanczos3 };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(x, y, width, height);
    let from = TypedImageRef::<P>::from_buffer(source.width, source.height, values);
    let to = TypedImage::<P>::from_buffer(size.width, size.height, &mut samples);
    if let (Ok(from), Ok(mut to)) = (from, to) {
        // Fails only for a window outside of the picture, which `window` has excluded.
        let _ = Resizer::new().resize_typed(&from, &mut to, &options);
    }
    samples
}

#[cfg(test)]
#[path = "tests/resize.rs"]
mod tests;
