//! A resize in linear light that is given its source row by row and leaves the result's rows as soon as they are complete: beside
//! the result only a filter's height of rows is held. Vertically first, since whole rows are added with every lane of the machine.

// Loops over places by number are what is inlined and becomes vector instructions wherever it is compiled.
#![allow(clippy::needless_range_loop)]

use super::filter::{REACH, Taps};
use super::lanes::{BLOCK, Pair, pair_rows, premultiply, to_pixels, weigh_pixels, weigh_rows};
use super::light::{ToSrgb, linear8, linear16};
use crate::base::Size;
use crate::pixels::{LIGHT_FULL, Layout, Row};

/// One resize under way.
pub struct Scale {
    layout: Layout,
    across: Taps,
    down: Taps,
    source_height: usize,
    /// The columns that are looked at.
    pub columns: (usize, usize),
    /// The last row that has an even number, and the last one: linear light, a plane a channel, premultiplied.
    rows: [Vec<i16>; 2],
    /// Such rows by twos.
    ring: Vec<Vec<Pair>>,
    /// Values from one plane of a row to the next.
    stride: usize,
    /// The next row of the source and of the result.
    next: usize,
    made: usize,
    sum: Vec<i16>,
    /// Two rows that [`weigh_rows`] made, by pixels, and what becomes of them.
    pixels: [Vec<[Pair; 4]>; 2],
    result: [Vec<[i16; 4]>; 2],
    samples: Vec<u8>,
    back: ToSrgb,
}

impl Scale {
    /// From a source of `source` pixels, of which the window (x, y, width, height, with fractions) is shown, to a size.
    pub fn new(source: Size, layout: Layout, window: [f64; 4], size: Size) -> Self {
        let [x, y, width, height] = window;
        let (source_width, source_height) = (source.width as usize, source.height as usize);
        let (out_width, out_height) = (size.width as usize, size.height as usize);
        let mut across = Taps::new(source_width, x, width, out_width, 4);
        let down = Taps::new(source_height, y, height, out_height, 2);
        let columns = across.span(source_width);
        across.starts.iter_mut().for_each(|start| *start = (*start - columns.0) / 2);
        let stride = (columns.1 - columns.0).next_multiple_of(BLOCK);
        let all = stride * layout.channels();
        Self {
            layout,
            source_height,
            columns,
            rows: [vec![0; all], vec![0; all]],
            ring: vec![vec![[0; 2]; all]; down.len / 2],
            stride,
            next: 0,
            made: 0,
            sum: vec![0; all],
            pixels: [(); 2].map(|()| vec![[[0; 2]; 4]; (stride + across.len) / 2]),
            result: [(); 2].map(|()| vec![[0; 4]; out_width]),
            samples: vec![0; out_width * out_height * layout.channels()],
            back: ToSrgb::new(),
            across,
            down,
        }
    }

    /// Whether the result is complete.
    pub fn done(&self) -> bool {
        self.made * self.result[0].len() * self.layout.channels() >= self.samples.len()
    }

    /// Whether the next row is looked at. One that is not may be left out by [`Scale::pass`].
    pub fn wants(&self) -> bool {
        !self.done() && self.down.of(self.made).0 <= self.next
    }

    /// Passes a row.
    pub const fn pass(&mut self) {
        self.next += 1;
    }

    /// Takes the next row: of [`Scale::columns`] where its samples are interleaved, whole where it is light.
    pub fn push(&mut self, row: Row<'_>) {
        let (from, to) = self.columns;
        let light = self.rows[self.next % 2].as_mut_slice();
        match row {
            Row::Light(planes) => {
                for (plane, light) in planes.iter().zip(light.chunks_exact_mut(self.stride)) {
                    light[..to - from].copy_from_slice(&plane[from..to]);
                }
            }
            samples => to_light(samples, self.layout, light, self.stride),
        }
        self.next += 1;
        if self.next % 2 == 1 && self.next < self.source_height {
            return;
        }
        // The last row of an odd number stands for the one that is missing, which weighs nothing.
        let (pairs, slots) = (self.next.div_ceil(2), self.ring.len());
        let slot = &mut self.ring[(pairs - 1) % slots];
        let (even, odd) = (&self.rows[0][..slot.len()], &self.rows[1][..slot.len()]);
        pair_rows(slot, even, odd);
        while !self.done() {
            let (start, weights) = self.down.of(self.made);
            let (start, end) = (start / 2, (start / 2 + slots).min(self.source_height.div_ceil(2)));
            if end > pairs {
                break;
            }
            let window: Vec<&[Pair]> = (start..end).map(|pair| self.ring[pair % slots].as_slice()).collect();
            weigh_rows(&mut self.sum, &window, weights);
            let second = self.made % 2;
            to_pixels(&self.sum, self.stride, self.layout.channels(), &mut self.pixels[second]);
            self.made += 1;
            if second == 1 || self.done() {
                self.leave(second + 1);
            }
        }
    }

    /// Weighs the pixels of the last `rows` rows (1 or 2), and leaves their samples.
    fn leave(&mut self, rows: usize) {
        let (starts, weights, len) = (&self.across.starts, self.across.weights(), self.across.len);
        // Where there is one alone the other is weighed again, to no end.
        weigh_pixels(&mut self.result, &self.pixels, starts, weights, len);
        let row = self.result[0].len() * self.layout.channels();
        let out = &mut self.samples[(self.made - rows) * row..self.made * row];
        for (result, out) in self.result.iter().zip(out.chunks_exact_mut(row)) {
            to_samples(result, self.layout, self.back, out);
        }
    }

    /// The result's samples.
    pub fn into_samples(self) -> Vec<u8> {
        self.samples
    }
}

/// An upper bound of the bytes that a [`Scale`] holds, its result included.
pub fn bytes_of_scale(source: Size, channels: usize, window: [f64; 4], size: Size) -> u64 {
    let rows = (window[3] / f64::from(size.height)).max(1.0) * REACH * 2.0 + 4.0;
    let width = (u64::from(source.width) + 8).next_multiple_of(BLOCK as u64);
    // The ring and its next two rows, the vertical result, two of its four-channel form, and a converted row of the source.
    let ring = (rows as u64 + 3) * width * (channels * size_of::<i16>()) as u64 + 2 * width * 8 + width * 8;
    let taps = u64::from(size.width) * ((window[2] / f64::from(size.width)).max(1.0) * 40.0 + 64.0) as u64
        + u64::from(size.height) * ((window[3] / f64::from(size.height)).max(1.0) * 40.0 + 64.0) as u64;
    ring + taps + 2 * u64::from(size.width) * 8 + size.pixels() * channels as u64
}

/// Samples to planes of linear light, colours premultiplied with alpha.
fn to_light(row: Row<'_>, layout: Layout, light: &mut [i16], stride: usize) {
    match row {
        Row::U8(values) => match layout {
            Layout::Gray => planes8::<1>(values, light, stride),
            Layout::GrayAlpha => planes8_alpha::<2>(values, light, stride),
            Layout::Rgb | Layout::Cmyk => planes8::<3>(values, light, stride),
            Layout::Rgba => planes8_alpha::<4>(values, light, stride),
        },
        Row::U16(values) => {
            let (table, channels) = (linear16(), layout.channels());
            for (at, pixel) in values.chunks_exact(channels).enumerate() {
                let alpha = if layout.has_alpha() { pixel[channels - 1] } else { u16::MAX };
                for (channel, value) in pixel.iter().enumerate() {
                    let full = u32::from(table[usize::from(*value)] as u16);
                    light[channel * stride + at] = ((full * u32::from(alpha) + 32_767) / 65_535) as i16;
                }
                if layout.has_alpha() {
                    light[(channels - 1) * stride + at] = (alpha >> 1) as i16;
                }
            }
        }
        Row::Light(_) => {}
    }
}

fn planes8<const N: usize>(values: &[u8], light: &mut [i16], stride: usize) {
    let table = linear8();
    let pixels = values.as_chunks::<N>().0;
    for (channel, plane) in light.chunks_exact_mut(stride).take(N).enumerate() {
        for (pixel, light) in pixels.iter().zip(plane) {
            *light = table[usize::from(pixel[channel])];
        }
    }
}

/// Pixels that are looked at together, since what is transparent is so in stretches.
const STRETCH: usize = 16;

/// What an 8-bit alpha leaves of light, of 32 768, which is all of it and has no sign: a `u16` value. The nearest, as 128 times alpha and
/// what 255 goes into the rest, so that no table is asked.
#[inline(always)]
fn opacity(alpha: u8) -> i16 {
    let part = u16::from(alpha) * 128;
    let rest = part + 127;
    // Exact for all of 16 bits but the last one.
    (part + ((rest + 1 + (rest >> 8)) >> 8)) as i16
}

fn planes8_alpha<const N: usize>(values: &[u8], light: &mut [i16], stride: usize) {
    let table = linear8();
    let pixels = values.as_chunks::<N>().0;
    let (colours, alphas) = light.split_at_mut((N - 1) * stride);
    let alphas = &mut alphas[..stride];
    for (at, pixels) in pixels.chunks(STRETCH).enumerate() {
        let at = at * STRETCH;
        let mut any = 0;
        for pixel in pixels {
            any |= pixel[N - 1];
        }
        let alphas = &mut alphas[at..at + pixels.len()];
        if any == 0 {
            // Whatever colours are left here from before are multiplied with nothing below.
            alphas.fill(0);
            continue;
        }
        for channel in 0..N - 1 {
            let plane = &mut colours[channel * stride + at..][..pixels.len()];
            for at in 0..pixels.len() {
                plane[at] = table[usize::from(pixels[at][channel])];
            }
        }
        for at in 0..pixels.len() {
            alphas[at] = opacity(pixels[at][N - 1]);
        }
    }
    for plane in colours.chunks_exact_mut(stride) {
        premultiply(plane, alphas);
    }
    for alpha in alphas {
        *alpha = (*alpha as u16).min(LIGHT_FULL as u16) as i16;
    }
}

/// Linear light to 8-bit samples, colours divided by alpha.
fn to_samples(pixels: &[[i16; 4]], layout: Layout, back: ToSrgb, samples: &mut [u8]) {
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
            let (colours, full) = (layout.channels() - 1, f32::from(LIGHT_FULL));
            for (pixel, sample) in pixels.iter().zip(samples.chunks_exact_mut(colours + 1)) {
                if pixel[colours] == LIGHT_FULL {
                    for (value, sample) in pixel[..colours].iter().zip(sample.iter_mut()) {
                        *sample = back.of(*value);
                    }
                    sample[colours] = 255;
                    continue;
                }
                let alpha = f32::from(pixel[colours]);
                let opacity = (alpha * (255.0 / full) + 0.5) as u8;
                let divide = if opacity == 0 { 0.0 } else { full / alpha };
                for (value, sample) in pixel[..colours].iter().zip(sample.iter_mut()) {
                    *sample = back.of((f32::from(*value) * divide + 0.5).min(full) as i16);
                }
                sample[colours] = opacity;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opacity_is_the_nearest() {
        for alpha in 0..=255u8 {
            let right = (f64::from(alpha) * 32_768.0 / 255.0).round();
            assert_eq!(f64::from(opacity(alpha) as u16), right, "{alpha}");
        }
    }
}
