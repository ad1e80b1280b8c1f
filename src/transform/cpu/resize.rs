//! Cut and resize of a picture that is there: in linear light on premultiplied values by [`Scale`], row by row.
//!
//! What it costs beside the decode stands in `docs/engine.md`.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::colour::{Colours, columns, narrow, row_of};
use super::scale::Scale;
use crate::base::{Size, Stopped, Work};
use crate::pixels::{Layout, Picture, Row, Samples};
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

/// The window's corner where it is of whole pixels and as large as the result.
pub fn exact(window: [f64; 4], size: Size, source: Size) -> Option<(usize, usize)> {
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
    let mut colours = Colours::of(&picture, keep_profile);
    if size == picture.size && colours.unchanged() && picture.as_u8().is_some() {
        return Ok(Picture { colour: colours.colour, ..picture });
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let mut samples = Vec::with_capacity(width * height * colours.layout.channels());
    for y in top..top + height {
        if y % ROWS_BETWEEN_CHECKS == 0 {
            work.check()?;
        }
        let row = columns(row_of(&picture, y), picture.layout.channels(), (left, left + width));
        match colours.row(row, (left, left + width)) {
            Row::U8(values) => samples.extend_from_slice(values),
            Row::U16(values) => samples.extend(values.iter().map(|value| narrow(*value))),
            Row::Light(_) => {}
        }
    }
    Ok(Picture { size, layout: colours.layout, samples: Samples::U8(samples), colour: colours.colour })
}

/// In linear light.
fn linear(
    picture: &Picture,
    window: [f64; 4],
    size: Size,
    keep_profile: bool,
    work: &Work,
) -> Result<Picture, Stopped> {
    let mut colours = Colours::of(picture, keep_profile);
    let layout = colours.layout;
    let mut scale = Scale::new(picture.size, layout, window, size);
    for y in 0..picture.size.height as usize {
        if y % ROWS_BETWEEN_CHECKS == 0 {
            work.check()?;
        }
        if scale.wants() {
            let row = columns(row_of(picture, y), picture.layout.channels(), scale.columns);
            scale.push(colours.row(row, scale.columns));
        } else {
            scale.pass();
        }
    }
    Ok(Picture { size, layout, samples: Samples::U8(scale.into_samples()), colour: colours.colour })
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
