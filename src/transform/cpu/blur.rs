//! Gaussian blur and unsharp mask, in place, in the samples' own light; colours weigh by their alpha.
//!
//! A sigma under [`EXACT_BELOW`] uses the Gaussian itself; above, three boxes of the same variance, whose cost does not grow
//! with sigma (Kovesi, "Fast almost-Gaussian filtering", 2010).

use crate::base::{Stopped, Work};
use crate::pixels::{Picture, Samples};

/// Sigma from which three boxes are near enough: their largest error is then under 3 % of the peak.
const EXACT_BELOW: f32 = 4.0;

/// Columns that are blurred at once: 64 bytes a row of four channels.
const COLUMNS: usize = 16;

/// How much of the difference to the blurred picture an unsharp mask adds.
const SHARPEN_AMOUNT: f32 = 1.0;

/// Blurs by a Gaussian of `sigma` pixels.
pub fn blur(mut picture: Picture, sigma: f32, work: &Work) -> Result<Picture, Stopped> {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let channels = picture.layout.channels();
    let alpha = picture.layout.has_alpha();
    let Samples::U8(values) = &mut picture.samples else { return Ok(picture) };
    let kernel = Kernel::of(sigma);
    let mut lines = Lines::new(width.max(height), channels.max(1), kernel);
    for (at, row) in values.chunks_exact_mut(width * channels).enumerate() {
        if at % 64 == 0 {
            work.check()?;
        }
        lines.load(row.chunks_exact(channels), channels, alpha);
        lines.blur(width, channels);
        lines.store(row.chunks_exact_mut(channels), channels, alpha);
    }
    let stride = width * channels;
    let mut columns = Lines::new(height, COLUMNS * channels, lines.kernel);
    for left in (0..width).step_by(COLUMNS) {
        work.check()?;
        let span = COLUMNS.min(width - left) * channels;
        let range = left * channels..left * channels + span;
        columns.load(values.chunks_exact(stride).map(|row| &row[range.clone()]), channels, alpha);
        columns.blur(height, span);
        columns.store(values.chunks_exact_mut(stride).map(|row| &mut row[range.clone()]), channels, alpha);
    }
    Ok(picture)
}

/// Sharpens: adds the difference to a picture blurred by `sigma`. Alpha stays.
pub fn sharpen(picture: Picture, sigma: f32, work: &Work) -> Result<Picture, Stopped> {
    let original = picture.samples.clone();
    let channels = picture.layout.channels();
    let colours = channels - usize::from(picture.layout.has_alpha());
    let mut picture = blur(picture, sigma, work)?;
    if let (Samples::U8(values), Samples::U8(original)) = (&mut picture.samples, &original) {
        for (pixel, original) in values.chunks_exact_mut(channels).zip(original.chunks_exact(channels)) {
            for (value, original) in pixel[..colours].iter_mut().zip(original) {
                let (blurred, sharp) = (f32::from(*value), f32::from(*original));
                *value = (sharp + SHARPEN_AMOUNT * (sharp - blurred) + 0.5) as u8;
            }
            pixel[colours..].copy_from_slice(&original[colours..]);
        }
    }
    Ok(picture)
}

/// How a line is blurred.
#[derive(Clone, Debug)]
enum Kernel {
    /// The weights from the centre outwards.
    Gauss(Vec<f32>),
    /// The radii of three boxes.
    Boxes([usize; 3]),
}

impl Kernel {
    fn of(sigma: f32) -> Self {
        if sigma < EXACT_BELOW {
            let radius = (sigma * 3.0).ceil().max(1.0) as usize;
            let half: Vec<f32> = (0..=radius).map(|at| (-((at * at) as f32) / (2.0 * sigma * sigma)).exp()).collect();
            let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
            Self::Gauss(half.into_iter().map(|weight| weight / sum).collect())
        } else {
            // Box widths w and w + 2, odd, so that the variances add up: w = √(12σ²/3 + 1) rounded down.
            let ideal = (4.0 * sigma * sigma + 1.0).sqrt();
            let narrow = ((ideal as usize).max(1) - 1) / 2 * 2 + 1;
            let width = narrow as f32;
            let narrows =
                ((12.0 * sigma * sigma - 3.0 * width * width - 12.0 * width - 9.0) / (-4.0 * width - 4.0)).round();
            Self::Boxes(std::array::from_fn(|at| narrow / 2 + usize::from(at as f32 >= narrows)))
        }
    }
}

/// Lines of values side by side: position by position, `stride` values each.
struct Lines {
    values: Vec<f32>,
    next: Vec<f32>,
    kernel: Kernel,
}

impl Lines {
    fn new(length: usize, stride: usize, kernel: Kernel) -> Self {
        Self { values: vec![0.0; length * stride], next: vec![0.0; length * stride], kernel }
    }

    /// Takes samples in, colours premultiplied.
    fn load<'a>(&mut self, positions: impl Iterator<Item = &'a [u8]>, channels: usize, alpha: bool) {
        let mut at = 0;
        for position in positions {
            for pixel in position.chunks_exact(channels) {
                let values = &mut self.values[at..at + channels];
                at += channels;
                let opacity = if alpha { f32::from(pixel[channels - 1]) / 255.0 } else { 1.0 };
                for (value, sample) in values.iter_mut().zip(pixel) {
                    *value = f32::from(*sample) * opacity;
                }
                if alpha {
                    values[channels - 1] = f32::from(pixel[channels - 1]);
                }
            }
        }
    }

    fn store<'a>(&self, positions: impl Iterator<Item = &'a mut [u8]>, channels: usize, alpha: bool) {
        let mut at = 0;
        for position in positions {
            for pixel in position.chunks_exact_mut(channels) {
                let values = &self.values[at..at + channels];
                at += channels;
                let divide = if !alpha {
                    1.0
                } else if values[channels - 1] > 0.0 {
                    255.0 / values[channels - 1]
                } else {
                    0.0
                };
                for (sample, value) in pixel.iter_mut().zip(values) {
                    *sample = (value * divide + 0.5) as u8;
                }
                if alpha {
                    pixel[channels - 1] = (values[channels - 1] + 0.5) as u8;
                }
            }
        }
    }

    /// Blurs `length` positions of `stride` values; beyond its ends a line goes on as its last value.
    fn blur(&mut self, length: usize, stride: usize) {
        match self.kernel.clone() {
            Kernel::Gauss(weights) => self.gauss(&weights, length, stride),
            Kernel::Boxes(radii) => radii.into_iter().for_each(|radius| self.box_of(radius, length, stride)),
        }
    }

    fn gauss(&mut self, weights: &[f32], length: usize, stride: usize) {
        for at in 0..length {
            let out = &mut self.next[at * stride..(at + 1) * stride];
            out.copy_from_slice(&self.values[at * stride..(at + 1) * stride]);
            out.iter_mut().for_each(|value| *value *= weights[0]);
            for (distance, weight) in weights.iter().enumerate().skip(1) {
                let before = at.saturating_sub(distance) * stride;
                let after = (at + distance).min(length - 1) * stride;
                let (before, after) = (&self.values[before..before + stride], &self.values[after..after + stride]);
                for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
                    *out += weight * (before + after);
                }
            }
        }
        std::mem::swap(&mut self.values, &mut self.next);
    }

    fn box_of(&mut self, radius: usize, length: usize, stride: usize) {
        // Sums in f64, since they run over the whole line.
        let mut sums = vec![0.0f64; stride];
        let position = |at: isize| at.clamp(0, length as isize - 1) as usize * stride;
        for at in -(radius as isize)..=radius as isize {
            for (sum, value) in sums.iter_mut().zip(&self.values[position(at)..]) {
                *sum += f64::from(*value);
            }
        }
        let share = 1.0 / (2 * radius + 1) as f64;
        for at in 0..length {
            let (leaves, enters) = (position(at as isize - radius as isize), position((at + radius + 1) as isize));
            for (channel, sum) in sums.iter_mut().enumerate() {
                self.next[at * stride + channel] = (*sum * share) as f32;
                *sum += f64::from(self.values[enters + channel]) - f64::from(self.values[leaves + channel]);
            }
        }
        std::mem::swap(&mut self.values, &mut self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Deadline, Size};
    use crate::pixels::Layout;
    use std::time::Duration;

    fn work() -> Work {
        Work::until(Deadline::after(Duration::from_secs(60)))
    }

    /// The response to one white pixel has the variance that sigma says, and keeps the light.
    #[test]
    fn a_point_spreads_by_sigma() {
        for sigma in [0.8f32, 2.0, 3.9, 4.0, 7.3, 12.0] {
            let side = 121usize;
            let mut samples = vec![0u8; side];
            // A bar of 9 pixels keeps rounding small; its own variance is (81 - 1) / 12.
            for value in &mut samples[56..65] {
                *value = 255;
            }
            let picture = Picture::srgb8(Size::new(side as u32, 1), Layout::Gray, samples);
            let blurred = blur(picture, sigma, &work()).unwrap();
            let values = blurred.as_u8().unwrap();
            let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
            let variance: f64 =
                values.iter().enumerate().map(|(x, v)| (x as f64 - 60.0).powi(2) * f64::from(*v)).sum::<f64>() / sum;
            let right = f64::from(sigma * sigma) + 80.0 / 12.0;
            assert!((variance / right - 1.0).abs() < 0.06, "{sigma}: {variance} {right}");
            assert!((sum / (255.0 * 9.0) - 1.0).abs() < 0.02, "{sigma}: {sum}");
        }
    }

    #[test]
    fn a_hidden_colour_does_not_bleed() {
        // Opaque white beside fully transparent black.
        let mut samples = Vec::new();
        for x in 0..20 {
            samples.extend_from_slice(if x < 10 { &[255, 255, 255, 255] } else { &[0, 0, 0, 0] });
        }
        let picture = Picture::srgb8(Size::new(20, 1), Layout::Rgba, samples);
        let blurred = blur(picture, 2.0, &work()).unwrap();
        for pixel in blurred.as_u8().unwrap().chunks_exact(4).filter(|pixel| pixel[3] > 0) {
            assert!(pixel[..3].iter().all(|value| *value >= 254), "{pixel:?}");
        }
    }

    #[test]
    fn sharpening_raises_an_edge_and_leaves_a_plain() {
        let samples = (0..40).map(|x| if x < 20 { 100 } else { 150 }).collect();
        let picture = Picture::srgb8(Size::new(40, 1), Layout::Gray, samples);
        let sharp = sharpen(picture, 1.0, &work()).unwrap();
        let values = sharp.as_u8().unwrap();
        assert!(values[19] < 95 && values[20] > 155, "{values:?}");
        assert_eq!((values[5], values[35]), (100, 150));
    }
}
