//! From pixels to planes: full-range YCbCr by BT.601 (JFIF's), and alpha.
//!
//! Colour is kept at half resolution (4:2:0), each value the mean of its four pixels, unless that would be seen: where the four
//! differ much, as in red print, flowers or coloured lines, it stays at full resolution (4:4:4).

use std::borrow::Cow;

use crate::base::Size;
use crate::pixels::Layout;

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

/// The mean squared difference between a pixel's colour and that of its two by two, both planes added, from which colour is kept
/// at full resolution. Of twelve photos those above it (8.0 to 13.9) then need 6 % fewer bytes for the same SSIMULACRA2, those
/// below (up to 6.0) 0 to 19 % more.
const FULL_FROM: f64 = 7.0;

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
    let transparent = super::transparent(samples, layout);
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

/// Parts of 65,536 of red, green and blue in Y, Cb and Cr.
const Y: [i32; 3] = [19_595, 38_470, 7_471];
const CB: [i32; 3] = [-11_058, -21_710, 32_768];
const CR: [i32; 3] = [32_768, -27_439, -5_329];

fn dot(weights: [i32; 3], pixel: [i32; 3]) -> i32 {
    weights[0] * pixel[0] + weights[1] * pixel[1] + weights[2] * pixel[2]
}

/// Of the sum of `count` pixels (a power of two, its logarithm given): their mean's colour.
fn colour(weights: [i32; 3], sum: [i32; 3], count_log2: i32) -> u8 {
    let half = 1 << (15 + count_log2);
    (((dot(weights, sum) + half) >> (16 + count_log2)) + 128).clamp(0, 255) as u8
}

impl Planes {
    /// Of RGB.
    pub fn colour(rgb: &[u8], size: Size) -> Self {
        let pixels = rgb.as_chunks::<3>().0;
        let luma = pixels.iter().map(|pixel| ((dot(Y, pixel.map(i32::from)) + 32_768) >> 16) as u8).collect();
        let width = size.width as usize;
        let half = size.width.div_ceil(2) as usize * size.height.div_ceil(2) as usize;
        let (mut cb, mut cr) = (Vec::with_capacity(half), Vec::with_capacity(half));
        let mut detail = 0u64;
        for rows in pixels.chunks(width * 2) {
            let (upper, lower) = rows.split_at(width);
            // At an odd edge the last row and column stand for the one that is missing.
            let lower = if lower.is_empty() { upper } else { lower };
            let mut row_detail = 0u64;
            for (upper, lower) in upper.chunks(2).zip(lower.chunks(2)) {
                let four =
                    [upper[0], upper[upper.len() - 1], lower[0], lower[lower.len() - 1]].map(|p| p.map(i32::from));
                let sum = [0, 1, 2].map(|c| four[0][c] + four[1][c] + four[2][c] + four[3][c]);
                let mean = [colour(CB, sum, 2), colour(CR, sum, 2)];
                for pixel in four {
                    let (blue, red) = ((dot(CB, pixel) >> 16) + 128, (dot(CR, pixel) >> 16) + 128);
                    let (blue, red) = (blue - i32::from(mean[0]), red - i32::from(mean[1]));
                    row_detail += (blue * blue + red * red) as u64;
                }
                cb.push(mean[0]);
                cr.push(mean[1]);
            }
            detail += row_detail;
        }
        let sampling = if detail as f64 >= FULL_FROM * 4.0 * half as f64 { Sampling::Full } else { Sampling::Half };
        if sampling == Sampling::Full {
            cb = pixels.iter().map(|pixel| colour(CB, pixel.map(i32::from), 0)).collect();
            cr = pixels.iter().map(|pixel| colour(CR, pixel.map(i32::from), 0)).collect();
        }
        Self { size, sampling, values: [luma, cb, cr] }
    }

    /// Of the last channel.
    pub fn alpha(samples: &[u8], layout: Layout, size: Size) -> Self {
        let channels = layout.channels();
        let alpha = samples.chunks_exact(channels).map(|pixel| pixel[channels - 1]).collect();
        let gray = vec![128; size.width.div_ceil(2) as usize * size.height.div_ceil(2) as usize];
        Self { size, sampling: Sampling::None, values: [alpha, gray.clone(), gray] }
    }

    /// Values in a row of the colour planes.
    pub fn colour_width(&self) -> u32 {
        if self.sampling == Sampling::Full { self.size.width } else { self.size.width.div_ceil(2) }
    }
}
