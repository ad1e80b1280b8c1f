//! The weights of a resize along one axis: Lanczos with three lobes when reducing, Mitchell-Netravali when enlarging.
//!
//! Always true: the weights of one result sample sum to 1, and its taps lie within the source or weigh nothing.

use std::f64::consts::PI;

/// Which source samples make each result sample, and how much each counts. All results have equally many taps.
#[derive(Debug)]
pub(super) struct Taps {
    /// First source sample of each result.
    pub starts: Vec<usize>,
    /// [`Taps::len`] weights a result, one result after another.
    pub weights: Vec<f32>,
    /// Taps a result.
    pub len: usize,
}

/// How far a filter reaches at scale 1, in source samples to each side.
pub(super) const REACH: f64 = 3.0;

impl Taps {
    /// The taps that resize `length` source samples from `from` on, of `count` in all, to `out` samples. `multiple` rounds
    /// the taps a result up, with weights of zero, so that a loop over them can be unrolled.
    pub fn new(count: usize, from: f64, length: f64, out: usize, multiple: usize) -> Self {
        let scale = length / out as f64;
        if (scale - 1.0).abs() < 1e-9 && (from - from.round()).abs() < 1e-6 {
            return Self::identity(count, from.round() as usize, out, multiple);
        }
        let (reach, stretch) = if scale < 1.0 { (2.0, 1.0) } else { (REACH, scale) };
        let radius = reach * stretch;
        let windows: Vec<(usize, Vec<f64>)> = (0..out)
            .map(|at| {
                let centre = from + (at as f64 + 0.5) * scale;
                let last = count - 1;
                let low = ((centre - radius).floor().max(0.0) as usize).min(last);
                let high = ((centre + radius).ceil().max(0.0) as usize).clamp(low + 1, count);
                let first = (low as f64 + 0.5 - centre) / stretch;
                let weights =
                    if scale < 1.0 { mitchell(first, high - low) } else { lanczos3(first, 1.0 / stretch, high - low) };
                (low, weights)
            })
            .collect();
        let widest = windows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let len = widest.next_multiple_of(multiple);
        let mut taps = Self { starts: Vec::with_capacity(out), weights: vec![0.0; out * len], len };
        for ((low, window), weights) in windows.iter().zip(taps.weights.chunks_exact_mut(len)) {
            let start = (*low).min(count.saturating_sub(len));
            let sum: f64 = window.iter().sum();
            for (weight, value) in weights[low - start..].iter_mut().zip(window) {
                *weight = (value / sum) as f32;
            }
            taps.starts.push(start);
        }
        taps
    }

    /// Each result is one source sample.
    fn identity(count: usize, from: usize, out: usize, multiple: usize) -> Self {
        let mut taps = Self { starts: Vec::with_capacity(out), weights: vec![0.0; out * multiple], len: multiple };
        for (at, weights) in taps.weights.chunks_exact_mut(multiple).enumerate() {
            let sample = (from + at).min(count - 1);
            let start = sample.min(count.saturating_sub(multiple));
            weights[sample - start] = 1.0;
            taps.starts.push(start);
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
    pub fn of(&self, result: usize) -> (usize, &[f32]) {
        (self.starts[result], &self.weights[result * self.len..(result + 1) * self.len])
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
            for multiple in [1, 4] {
                let taps = Taps::new(count, from, length, out, multiple);
                for at in 0..out {
                    let (start, weights) = taps.of(at);
                    let sum: f32 = weights.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-4, "{count} {from} {length} {out}: {sum}");
                    let beyond: f32 = weights[(count - start).min(weights.len())..].iter().map(|w| w.abs()).sum();
                    assert_eq!(beyond, 0.0, "{count} {from} {length} {out} at {at}");
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
