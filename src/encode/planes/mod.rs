//! From pixels to planes: YCbCr by BT.601, of full range as JFIF has it for AVIF, of video's range for WebP; and alpha.
//!
//! Colour is kept at half resolution (4:2:0), and luma makes up for much of what that costs: see [`halved`].

mod dispatch;
mod halved;
#[cfg(test)]
mod tests;
pub mod words;

use std::borrow::Cow;

use crate::base::Size;
use crate::pixels::Layout;

use words::factor;

pub use halved::{ROWS, Strip};

/// How finely colour is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampling {
    /// Not at all: one plane.
    None,
    /// One value for two by two pixels.
    Half,
    /// One a pixel.
    Full,
}

/// Luma and colour of one picture, or its alpha.
#[derive(Debug)]
pub struct Planes {
    /// Width and height in pixels.
    pub size: Size,
    /// What the second and third plane are.
    pub sampling: Sampling,
    /// Y, Cb, Cr; rows without padding. Without colour the latter two are gray, since libaom may look at them.
    pub values: [Vec<u8>; 3],
}

/// A picture as RGB, its gray ones too, and whether some of it is transparent. What cannot be seen takes the mean colour of what
/// can in its block, or of the block before: it costs few bytes so, and bleeds nothing into what is seen.
pub fn rgb(samples: &[u8], layout: Layout, size: Size) -> (Cow<'_, [u8]>, bool) {
    let transparent = transparent(samples, layout);
    if layout == Layout::Rgb {
        return (Cow::Borrowed(samples), false);
    }
    let of = |pixel: &[u8]| match layout {
        Layout::Gray | Layout::GrayAlpha => [pixel[0]; 3],
        Layout::Rgb | Layout::Rgba | Layout::Cmyk => [pixel[0], pixel[1], pixel[2]],
    };
    let channels = layout.channels();
    let mut out: Vec<u8> = samples.chunks_exact(channels).flat_map(of).collect();
    if transparent {
        fill_hidden(&mut out, |at| samples[at * channels + channels - 1], size);
    }
    (Cow::Owned(out), transparent)
}

/// Whether a picture of this layout has an alpha that says something.
fn transparent(samples: &[u8], layout: Layout) -> bool {
    let channels = layout.channels();
    layout.has_alpha() && samples.chunks_exact(channels).any(|pixel| pixel[channels - 1] != 255)
}

/// Pixels on a side of the blocks in which hidden colours are replaced.
const BLOCK: usize = 16;

fn fill_hidden(rgb: &mut [u8], alpha: impl Fn(usize) -> u8, size: Size) {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut fill = [128u8; 3];
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            let pixels = || {
                (top..height.min(top + BLOCK))
                    .flat_map(move |y| (left..width.min(left + BLOCK)).map(move |x| y * width + x))
            };
            let (mut sum, mut weight) = ([0u32; 3], 0);
            for at in pixels() {
                let alpha = u32::from(alpha(at));
                weight += alpha;
                for channel in 0..3 {
                    sum[channel] += u32::from(rgb[at * 3 + channel]) * alpha;
                }
            }
            if weight > 0 {
                fill = sum.map(|sum| (sum / weight) as u8);
            }
            for at in pixels().filter(|at| alpha(*at) == 0) {
                rgb[at * 3..at * 3 + 3].copy_from_slice(&fill);
            }
        }
    }
}

/// From red, green and blue to Y, Cb and Cr and back, and what a range makes of them; as [`words::factor`]s.
struct Matrix {
    /// Parts of the three in luma from 0 to 255.
    luma: [i16; 3],
    cb: [i16; 3],
    cr: [i16; 3],
    /// What luma is multiplied by, and what black is.
    scale: i16,
    black: i16,
    /// A quarter of what a colour adds to the three.
    red_of_cr: i16,
    green_of_cb: i16,
    green_of_cr: i16,
    blue_of_cb: i16,
}

/// JFIF's, <https://www.w3.org/Graphics/JPEG/jfif3.pdf>.
const FULL_RANGE: Matrix = Matrix::ranged(255.0, 0, 255.0);

/// Of luma from 16 to 235 and colour from 16 to 240, Rec. ITU-R BT.601.
const VIDEO_RANGE: Matrix = Matrix::ranged(219.0, 16, 224.0);

impl Matrix {
    const fn ranged(luma: f32, black: i16, colours: f32) -> Self {
        let part = colours / 255.0;
        Self {
            luma: [factor(0.299), factor(0.587), factor(0.114)],
            cb: [factor(-0.168_735_89 * part), factor(-0.331_264_1 * part), factor(0.5 * part)],
            cr: [factor(0.5 * part), factor(-0.418_687_59 * part), factor(-0.081_312_41 * part)],
            scale: factor(luma / 255.0),
            black,
            red_of_cr: factor(1.402 / part / 4.0),
            green_of_cb: factor(-0.344_136_3 / part / 4.0),
            green_of_cr: factor(-0.714_136_3 / part / 4.0),
            blue_of_cb: factor(1.772 / part / 4.0),
        }
    }
}

impl Planes {
    /// Of RGB, in full range.
    pub fn full(rgb: &[u8], size: Size) -> Self {
        dispatch::halved(rgb, size, &FULL_RANGE)
    }

    /// Of RGB, in video's range.
    pub fn video(rgb: &[u8], size: Size) -> Self {
        dispatch::halved(rgb, size, &VIDEO_RANGE)
    }

    /// Of the last channel.
    pub fn alpha(samples: &[u8], layout: Layout, size: Size) -> Self {
        let channels = layout.channels();
        let alpha = samples.chunks_exact(channels).map(|pixel| pixel[channels - 1]).collect();
        let gray = vec![128; size.width.div_ceil(2) as usize * size.height.div_ceil(2) as usize];
        Self { size, sampling: Sampling::None, values: [alpha, gray.clone(), gray] }
    }
}
