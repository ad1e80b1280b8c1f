//! The weights of a resize along one axis: Lanczos with three lobes when reducing, Mitchell-Netravali when enlarging.
//!
//! Always true: the weights of one result sample sum to exactly 1, and its taps lie within the source or weigh nothing.

use std::f64::consts::PI;

/// Which source samples make each result sample, and how much each counts. All results have equally many taps.
#[derive(Debug)]
pub(super) struct Taps {
    /// First source sample of each result; even, since samples are weighed in pairs.
    pub starts: Vec<usize>,
    /// [`Taps::len`] weights a result, one result after another.
    weights: Vec<i16>,
    /// Taps a result.
    pub len: usize,
    bits: u32,
}

/// Weights as whole numbers: `1 << bits` is all of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    /// The weights.
    pub values: &'a [i16],
    /// Bits of fraction.
    pub bits: u32,
}

impl Weights<'_> {
    /// Half of the last place that is left when the fraction is shifted out.
    pub const fn half(self) -> i32 {
        1 << (self.bits - 1)
    }
}

/// How far a filter reaches at scale 1, in source samples to each side.
pub(super) const REACH: f64 = 3.0;

impl Taps {
    /// The taps that resize `length` source samples from `from` on, of `count` in all, to `out` samples. `multiple` (even) rounds
    /// the taps a result up, with weights of zero, so that a loop over them can be unrolled; the last may lie behind the source.
    pub fn new(count: usize, from: f64, length: f64, out: usize, multiple: usize) -> Self {
        let scale = length / out as f64;
        let same = (scale - 1.0).abs() < 1e-9 && (from - from.round()).abs() < 1e-6;
        let (reach, stretch) = if scale < 1.0 { (2.0, 1.0) } else { (REACH, scale) };
        let radius = reach * stretch;
        let last = count - 1;
        let windows: Vec<(usize, Vec<f64>)> = (0..out)
            .map(|at| {
                if same {
                    // Each result is one source sample.
                    return ((from.round() as usize + at).min(last), vec![1.0]);
                }
                let centre = from + (at as f64 + 0.5) * scale;
                let low = ((centre - radius).floor().max(0.0) as usize).min(last);
                let high = ((centre + radius).ceil().max(0.0) as usize).clamp(low + 1, count);
                let first = (low as f64 + 0.5 - centre) / stretch;
                let mut weights =
                    if scale < 1.0 { mitchell(first, high - low) } else { lanczos3(first, 1.0 / stretch, high - low) };
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|weight| *weight /= sum);
                (low, weights)
            })
            .collect();
        let widest = windows.iter().map(|(low, window)| low % 2 + window.len()).max().unwrap_or(1);
        let len = widest.next_multiple_of(multiple);
        let bits = bits(windows.iter().map(|(_, window)| window.as_slice()));
        let mut taps = Self { starts: Vec::with_capacity(out), weights: vec![0; out * len], len, bits };
        for ((low, window), weights) in windows.iter().zip(taps.weights.chunks_exact_mut(len)) {
            whole(window, bits, &mut weights[low % 2..]);
            taps.starts.push(low - low % 2);
        }
        taps
    }

    /// The source samples that are looked at: first, and one past the last (within `count`).
    pub fn span(&self, count: usize) -> (usize, usize) {
        let first = self.starts.iter().copied().min().unwrap_or(0);
        let last = self.starts.iter().copied().max().unwrap_or(0) + self.len;
        (first, last.min(count))
    }

    /// The first source sample and the weights of one result.
    pub fn of(&self, result: usize) -> (usize, Weights<'_>) {
        let values = &self.weights[result * self.len..(result + 1) * self.len];
        (self.starts[result], Weights { values, bits: self.bits })
    }

    /// The weights of all results.
    pub fn weights(&self) -> Weights<'_> {
        Weights { values: &self.weights, bits: self.bits }
    }
}

/// The bits of fraction with which every weight fits into 16 bits, and the sum of the largest samples' products into 32: 15, or 14
/// where a sample may count for about one.
fn bits<'a>(windows: impl Iterator<Item = &'a [f64]>) -> u32 {
    let fine = |window: &[f64]| {
        let most = window.iter().fold(0.0, |most: f64, weight| most.max(weight.abs()));
        most < 0.999 && window.iter().map(|weight| weight.abs()).sum::<f64>() < 1.9
    };
    if windows.into_iter().all(fine) { 15 } else { 14 }
}

/// Rounds weights so that they sum to exactly one, and every part of them to as nearly as can be.
fn whole(window: &[f64], bits: u32, weights: &mut [i16]) {
    let (mut sum, mut before) = (0.0, 0);
    for (exact, weight) in window.iter().zip(weights) {
        sum += exact * f64::from(1 << bits);
        let upto = sum.round() as i32;
        *weight = (upto - before) as i16;
        before = upto;
    }
}

/// `count` values of sinc(x)·sinc(x/3) from `first` on in steps of `step`; sines by rotation, so that a window costs two.
fn lanczos3(first: f64, step: f64, count: usize) -> Vec<f64> {
    let (mut sine, mut cosine) = (PI * first).sin_cos();
    let (turn_sine, turn_cosine) = (PI * step).sin_cos();
    let (mut third_sine, mut third_cosine) = (PI * first / 3.0).sin_cos();
    let (third_turn_sine, third_turn_cosine) = (PI * step / 3.0).sin_cos();
    (0..count)
        .map(|at| {
            let x = first + at as f64 * step;
            let value = if x.abs() < 1e-8 {
                1.0
            } else if x.abs() >= 3.0 {
                0.0
            } else {
                3.0 * sine * third_sine / (PI * PI * x * x)
            };
            (sine, cosine) = (sine * turn_cosine + cosine * turn_sine, cosine * turn_cosine - sine * turn_sine);
            (third_sine, third_cosine) = (
                third_sine * third_turn_cosine + third_cosine * third_turn_sine,
                third_cosine * third_turn_cosine - third_sine * third_turn_sine,
            );
            value
        })
        .collect()
}

/// `count` values of the Mitchell-Netravali filter (B = C = 1/3) from `first` on, one sample apart.
fn mitchell(first: f64, count: usize) -> Vec<f64> {
    (0..count)
        .map(|at| {
            let x = (first + at as f64).abs();
            if x < 1.0 {
                (7.0 * x * x * x - 12.0 * x * x + 16.0 / 3.0) / 6.0
            } else if x < 2.0 {
                (-7.0 / 3.0 * x * x * x + 12.0 * x * x - 20.0 * x + 32.0 / 3.0) / 6.0
            } else {
                0.0
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for (count, from, length, out) in [
            (1061, 0.0, 1061.0, 400),
            (10, 2.5, 5.25, 3),
            (7, 0.0, 7.0, 70),
            (1, 0.0, 1.0, 1),
            (1, 0.0, 1.0, 9),
            (5000, 0.3, 4999.0, 1),
        ] {
            for multiple in [2, 4] {
                let taps = Taps::new(count, from, length, out, multiple);
                for at in 0..out {
                    let (start, weights) = taps.of(at);
                    let sum: i32 = weights.values.iter().map(|weight| i32::from(*weight)).sum();
                    assert_eq!(sum, 1 << weights.bits, "{count} {from} {length} {out} at {at}");
                    assert!(start % 2 == 0 && weights.values.len() % multiple == 0);
                    let beyond = weights.values.get(count - start..).unwrap_or_default();
                    assert!(beyond.iter().all(|weight| *weight == 0), "{count} {from} {length} {out} at {at}");
                }
            }
        }
    }

    #[test]
    fn rotation_is_as_good_as_the_sine() {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
        for (at, value) in lanczos3(-2.97, 0.013, 450).into_iter().enumerate() {
            let x = -2.97 + at as f64 * 0.013;
            let right = if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 };
            assert!((value - right).abs() < 1e-10, "{x}: {value} {right}");
        }
    }
}
