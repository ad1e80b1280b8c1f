//! From pixels to planes: YCbCr by BT.601, of full range as JFIF has it for AVIF, of video's range for WebP; and alpha.
//!
//! Colour is kept at half resolution (4:2:0), each value the mean of its four pixels. In AVIF, unless that would be seen: where the
//! four differ much, as in red print, flowers or coloured lines, it stays at full resolution (4:4:4).

// Loops over places by number are what is inlined and becomes vector instructions wherever it is compiled.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(test)]
mod tests;

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

/// Parts of 32,768 of red, green and blue in Y, Cb and Cr, and what black is.
struct Matrix {
    luma: [i16; 3],
    colours: [[i16; 3]; 2],
    black: u8,
}

/// JFIF's, <https://www.w3.org/Graphics/JPEG/jfif3.pdf>.
const FULL_RANGE: Matrix =
    Matrix { luma: [9_798, 19_235, 3_735], colours: [[-5_529, -10_855, 16_384], [16_384, -13_720, -2_664]], black: 0 };

/// Of luma from 16 to 235 and colour from 16 to 240, Rec. ITU-R BT.601.
const VIDEO_RANGE: Matrix =
    Matrix { luma: [8_414, 16_519, 3_208], colours: [[-4_857, -9_535, 14_392], [14_392, -12_051, -2_341]], black: 16 };

/// Cb and Cr of a row of pixels.
struct Row {
    matrix: &'static Matrix,
    /// About 0, in 16ths; of an odd row the last one twice.
    colours: [Vec<i16>; 2],
}

impl Row {
    fn new(width: usize, matrix: &'static Matrix) -> Self {
        let colours = vec![0; width.next_multiple_of(2)];
        Self { matrix, colours: [colours.clone(), colours] }
    }

    /// Takes pixels; makes their luma.
    fn read(&mut self, pixels: &[[u8; 3]], luma: &mut [u8]) {
        let [cb, cr] = &mut self.colours;
        // The vectors leave the last few.
        #[cfg(target_arch = "x86_64")]
        let done = avx2::read(pixels.as_flattened(), self.matrix, luma, cb, cr);
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        read(&pixels[done..], self.matrix, &mut luma[done..], &mut cb[done..], &mut cr[done..]);
        let width = pixels.len();
        if width % 2 == 1 {
            (cb[width], cr[width]) = (cb[width - 1], cr[width - 1]);
        }
    }
}

/// One pixel after another.
fn read(pixels: &[[u8; 3]], matrix: &Matrix, luma: &mut [u8], cb: &mut [i16], cr: &mut [i16]) {
    let black = i32::from(matrix.black);
    for (at, pixel) in pixels.iter().enumerate() {
        luma[at] = (((dot(matrix.luma, pixel) + LUMA_HALF) >> LUMA_BITS) + black) as u8;
        cb[at] = ((dot(matrix.colours[0], pixel) + COLOUR_HALF) >> COLOUR_BITS) as i16;
        cr[at] = ((dot(matrix.colours[1], pixel) + COLOUR_HALF) >> COLOUR_BITS) as i16;
    }
}

#[inline(always)]
fn dot(weights: [i16; 3], pixel: &[u8; 3]) -> i32 {
    i32::from(weights[0]) * i32::from(pixel[0])
        + i32::from(weights[1]) * i32::from(pixel[1])
        + i32::from(weights[2]) * i32::from(pixel[2])
}

/// From parts of 32,768 to whole values, and to 16ths; and half of one.
const LUMA_BITS: i32 = 15;
const LUMA_HALF: i32 = 1 << (LUMA_BITS - 1);
const COLOUR_BITS: i32 = 11;
const COLOUR_HALF: i32 = 1 << (COLOUR_BITS - 1);

/// Pairs whose squares are added before the sum is carried over: so many stay within 32 bits.
const PAIRS: usize = 64;

/// What a value in 16ths is off the mean that a sum of four has, squared: a sixteenth of a step times four is a quarter of one.
#[inline(always)]
fn square(value: i16, sum: i16) -> i32 {
    let off = i32::from((4 * value - sum + 8) >> 4);
    off * off
}

/// The means of two by two; and, where it is measured, the sum of the squares of what the four are off, in 16ths of a squared step.
fn halved<const MEASURED: bool>(upper: &[i16], lower: &[i16], out: &mut [u8]) -> u64 {
    let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
    let mut off = 0;
    for ((upper, lower), out) in upper.chunks(PAIRS).zip(lower.chunks(PAIRS)).zip(out.chunks_mut(PAIRS)) {
        let mut squares = 0;
        for at in 0..out.len().min(upper.len()).min(lower.len()) {
            let ([a, b], [c, d]) = (upper[at], lower[at]);
            let sum = a + b + c + d;
            out[at] = (((sum + 32) >> 6) + 128).clamp(0, 255) as u8;
            if MEASURED {
                squares += square(a, sum) + square(b, sum) + square(c, sum) + square(d, sum);
            }
        }
        off += squares as u64;
    }
    off
}

impl Planes {
    /// Of RGB, in full range.
    pub fn colour(rgb: &[u8], size: Size) -> Self {
        let width = size.width as usize;
        let (mut planes, off) = Self::halved::<true>(rgb, size, &FULL_RANGE);
        if off < FULL_FROM {
            return planes;
        }
        planes.sampling = Sampling::Full;
        let mut row = Row::new(width, &FULL_RANGE);
        let [luma, cb, cr] = &mut planes.values;
        (*cb, *cr) = (vec![0; luma.len()], vec![0; luma.len()]);
        for (at, pixels) in rgb.as_chunks::<3>().0.chunks(width).enumerate() {
            row.read(pixels, &mut luma[at * width..][..width]);
            for (colour, from) in [&mut *cb, &mut *cr].into_iter().zip(&row.colours) {
                for (out, value) in colour[at * width..][..width].iter_mut().zip(from) {
                    *out = (((value + 8) >> 4) + 128).clamp(0, 255) as u8;
                }
            }
        }
        planes
    }

    /// Of RGB, in video's range, with colour at half resolution.
    pub fn video(rgb: &[u8], size: Size) -> Self {
        Self::halved::<false>(rgb, size, &VIDEO_RANGE).0
    }

    /// With colour at half resolution; and, where it is measured, the mean squared difference that it makes, both planes added.
    fn halved<const MEASURED: bool>(rgb: &[u8], size: Size, matrix: &'static Matrix) -> (Self, f64) {
        let pixels = rgb.as_chunks::<3>().0;
        let width = size.width as usize;
        let (half_width, half_height) = (size.width.div_ceil(2) as usize, size.height.div_ceil(2) as usize);
        let half = half_width * half_height;
        let mut luma = vec![0; pixels.len()];
        let mut colours = [vec![0; half], vec![0; half]];
        let mut rows = [Row::new(width, matrix), Row::new(width, matrix)];
        let mut off = 0;
        for (at, (pixels, luma)) in pixels.chunks(width * 2).zip(luma.chunks_mut(width * 2)).enumerate() {
            for ((pixels, luma), row) in pixels.chunks(width).zip(luma.chunks_mut(width)).zip(&mut rows) {
                row.read(pixels, luma);
            }
            // At an odd edge the last row stands for the one that is missing.
            let lower = if pixels.len() > width { 1 } else { 0 };
            for (channel, colour) in colours.iter_mut().enumerate() {
                let out = &mut colour[at * half_width..][..half_width];
                off += halved::<MEASURED>(&rows[0].colours[channel], &rows[lower].colours[channel], out);
            }
        }
        let [cb, cr] = colours;
        (Self { size, sampling: Sampling::Half, values: [luma, cb, cr] }, off as f64 / (16.0 * 4.0 * half as f64))
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
