//! Inverse DCTs of 8, 4, 2 or 1 points a direction, eight blocks at a time, in 32-bit floating point.
//!
//! A reduced block is the inverse DCT of the block's lowest frequencies: with JPEG's normalisation (ITU-T T.81, A.3.3) an N×M
//! block is `1/8 · Σ a(u)·a(v)·F(u, v)·cos((2x+1)uπ / 2N)·cos((2y+1)vπ / 2M)`, with a(0) = 1 and a(u) = √2 otherwise.
//!
//! Coefficients of eight blocks lie beside each other, so that every step is the same loop over eight lanes, which becomes
//! vector instructions without a shuffle. Nothing is fused, so every machine gives the same samples.
// Loops over lanes by number are what becomes vector instructions.
#![allow(clippy::needless_range_loop)]

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::f64::consts::PI;

use super::ZIGZAG;

/// Blocks that are transformed together.
pub const LANES: usize = 8;

/// The last coefficient, in coding order, of those whose frequencies are below four in both directions together.
const LAST_OF_FOUR: usize = 9;

/// The last one of the diagonal from one corner of a block to the other: behind column 3 no coefficient stands below row 3.
const LAST_OF_DIAGONAL: usize = 35;

/// Points a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Points {
    One = 1,
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Points {
    pub fn of(count: u32) -> Option<Self> {
        Some(match count {
            1 => Self::One,
            2 => Self::Two,
            4 => Self::Four,
            8 => Self::Eight,
            _ => return None,
        })
    }

    /// What the coefficient of a frequency is multiplied with beside its quantum: a(u), and for eight points the scaling of
    /// Arai, Agui and Nakajima (1988).
    fn factor(self, frequency: usize) -> f64 {
        match (self, frequency) {
            (_, 0) => 1.0,
            (Self::Eight, _) => (frequency as f64 * PI / 16.0).cos() * std::f64::consts::SQRT_2,
            _ => std::f64::consts::SQRT_2,
        }
    }
}

/// What a component's coefficients go through on their way to samples.
pub struct Transform {
    /// What each coefficient is multiplied with first.
    factors: [f32; 64],
    /// Across and down.
    points: (Points, Points),
}

/// Coefficients of blocks that stand beside each other, in natural order, a lane each.
pub struct Batch {
    pub coefficients: [[i16; LANES]; 128],
    /// The last coefficient in coding order that any of the blocks may have.
    pub last: usize,
}

/// In how many rows of a block its coefficients up to each one in coding order lie.
const ROWS: [u8; 64] = {
    let (mut rows, mut most, mut at) = ([0; 64], 0, 0);
    while at < 64 {
        let row = ZIGZAG[at] / 8 + 1;
        most = if row > most { row } else { most };
        rows[at] = most;
        at += 1;
    }
    rows
};

impl Batch {
    pub const fn new() -> Self {
        Self { coefficients: [[0; LANES]; 128], last: 0 }
    }
}

impl Transform {
    /// Of a component's quanta, in natural order.
    pub fn new(quanta: &[u16; 64], points: (Points, Points)) -> Self {
        let factor = |at: usize| f64::from(quanta[at]) / 8.0 * points.0.factor(at % 8) * points.1.factor(at / 8);
        Self { factors: std::array::from_fn(|at| factor(at) as f32), points }
    }

    /// The samples of the blocks, into rows of a plane that hold eight blocks, and leaves the batch empty.
    #[inline(always)]
    pub fn inverse(&self, batch: &mut Batch, samples: &mut [u8], stride: usize) {
        if batch.last == 0 {
            return self.flat(batch, samples, stride);
        }
        match self.points {
            (Points::Two, Points::Two) => self.block::<2, 2, 2, 2>(batch, samples, stride),
            (Points::Four, Points::Four) => self.block::<4, 4, 4, 4>(batch, samples, stride),
            (Points::Eight, Points::Eight) => match batch.last {
                last if last <= LAST_OF_FOUR => self.block::<8, 8, 4, 4>(batch, samples, stride),
                last if last <= LAST_OF_DIAGONAL => self.block::<8, 8, 8, 4>(batch, samples, stride),
                _ => self.block::<8, 8, 8, 8>(batch, samples, stride),
            },
            (Points::Two, Points::One) => self.block::<2, 1, 2, 1>(batch, samples, stride),
            (Points::Four, Points::Two) => self.block::<4, 2, 4, 2>(batch, samples, stride),
            (Points::Eight, Points::Four) => self.block::<8, 4, 8, 4>(batch, samples, stride),
            (Points::One, Points::Two) => self.block::<1, 2, 1, 2>(batch, samples, stride),
            (Points::Two, Points::Four) => self.block::<2, 4, 2, 4>(batch, samples, stride),
            (Points::Four, Points::Eight) => self.block::<4, 8, 4, 8>(batch, samples, stride),
            (Points::Four, Points::One) => self.block::<4, 1, 4, 1>(batch, samples, stride),
            (Points::Eight, Points::Two) => self.block::<8, 2, 8, 2>(batch, samples, stride),
            (Points::One, Points::Four) => self.block::<1, 4, 1, 4>(batch, samples, stride),
            (Points::Two, Points::Eight) => self.block::<2, 8, 2, 8>(batch, samples, stride),
            (Points::One, Points::One | Points::Eight) | (Points::Eight, Points::One) => {
                self.flat(batch, samples, stride)
            }
        }
        for rows in batch.coefficients.as_chunks_mut::<8>().0.iter_mut().take(usize::from(ROWS[batch.last & 63])) {
            *rows = [[0; LANES]; 8];
        }
        batch.last = 0;
    }

    /// Blocks of nothing but a DC value.
    #[inline(always)]
    fn flat(&self, batch: &mut Batch, samples: &mut [u8], stride: usize) {
        let (across, down) = (self.points.0 as usize, self.points.1 as usize);
        let mut values = [0u8; LANES];
        for (value, dc) in values.iter_mut().zip(batch.coefficients[0]) {
            *value = sample(f32::from(dc) * self.factors[0]);
        }
        for row in 0..down {
            for (value, samples) in values.iter().zip(samples[row * stride..].chunks_exact_mut(across)) {
                samples.fill(*value);
            }
        }
        batch.coefficients[0] = [0; LANES];
    }

    /// N×M, of which in the first four columns and rows K and in the other columns L rows of coefficients may be other than zero: K is N
    /// or for eight points 4, where there are no other columns.
    #[inline(always)]
    fn block<const N: usize, const M: usize, const K: usize, const L: usize>(
        &self,
        batch: &Batch,
        samples: &mut [u8],
        stride: usize,
    ) {
        let mut v = [[0.0f32; LANES]; 64];
        let across = if N == 8 { K } else { N };
        for column in 0..across {
            let down = if M < 8 || (N == 8 && K == 4) {
                M.min(4)
            } else if column < 4 {
                8
            } else {
                L
            };
            for row in 0..down {
                let factor = self.factors[8 * row + column];
                for lane in 0..LANES {
                    v[8 * row + column][lane] = f32::from(batch.coefficients[8 * row + column][lane]) * factor;
                }
            }
            if M == 8 && down == 4 {
                eight_of_four(&mut v, column, 8);
            } else {
                direction::<M>(&mut v, column, 8);
            }
        }
        for row in 0..M {
            if N == 8 && K == 4 {
                eight_of_four(&mut v, 8 * row, 1);
            } else {
                direction::<N>(&mut v, 8 * row, 1);
            }
            let mut bytes = [[0u8; LANES]; N];
            for column in 0..N {
                for lane in 0..LANES {
                    bytes[column][lane] = sample(v[8 * row + column][lane]);
                }
            }
            let out = &mut samples[row * stride..][..N * LANES];
            for lane in 0..LANES {
                for column in 0..N {
                    out[lane * N + column] = bytes[column][lane];
                }
            }
        }
    }
}

/// The nearest whole number to a value about 0, of 0 to 255 about 128.
#[inline(always)]
fn sample(value: f32) -> u8 {
    // Beyond 2^23 a float has no fraction: the sum is rounded and the whole number is its lowest bits.
    ((value + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// One direction: N values from `at` on, `step` apart.
#[inline(always)]
fn direction<const N: usize>(v: &mut [[f32; LANES]; 64], at: usize, step: usize) {
    match N {
        8 => eight(v, at, step),
        4 => four(v, at, step),
        2 => two(v, at, step),
        _ => {}
    }
}

/// The flow graph of Arai, Agui and Nakajima (Pennebaker and Mitchell, figure 4-8), for coefficients scaled by
/// [`Points::factor`].
#[inline(always)]
fn eight(v: &mut [[f32; LANES]; 64], at: usize, step: usize) {
    let at = |frequency: usize| (at + frequency * step) & 63;
    for lane in 0..LANES {
        let (even, odd) = (v[at(0)][lane] + v[at(4)][lane], v[at(0)][lane] - v[at(4)][lane]);
        let sum = v[at(2)][lane] + v[at(6)][lane];
        let difference = (v[at(2)][lane] - v[at(6)][lane]) * SQRT_2 - sum;
        let e = [even + sum, odd + difference, odd - difference, even - sum];
        let (z13, z10) = (v[at(5)][lane] + v[at(3)][lane], v[at(5)][lane] - v[at(3)][lane]);
        let (z11, z12) = (v[at(1)][lane] + v[at(7)][lane], v[at(1)][lane] - v[at(7)][lane]);
        let o7 = z11 + z13;
        let z5 = (z10 + z12) * 1.847_759_1;
        let o6 = z5 - z10 * 2.613_126 - o7;
        let o5 = (z11 - z13) * SQRT_2 - o6;
        let o4 = z5 - z12 * 1.082_392_2 - o5;
        v[at(0)][lane] = e[0] + o7;
        v[at(7)][lane] = e[0] - o7;
        v[at(1)][lane] = e[1] + o6;
        v[at(6)][lane] = e[1] - o6;
        v[at(2)][lane] = e[2] + o5;
        v[at(5)][lane] = e[2] - o5;
        v[at(3)][lane] = e[3] + o4;
        v[at(4)][lane] = e[3] - o4;
    }
}

/// [`eight`] where the last four are zero; the same values.
#[inline(always)]
fn eight_of_four(v: &mut [[f32; LANES]; 64], at: usize, step: usize) {
    let at = |frequency: usize| (at + frequency * step) & 63;
    for lane in 0..LANES {
        let (zero, one, two, three) = (v[at(0)][lane], v[at(1)][lane], v[at(2)][lane], v[at(3)][lane]);
        let difference = two * SQRT_2 - two;
        let e = [zero + two, zero + difference, zero - difference, zero - two];
        let o7 = one + three;
        let z5 = (one - three) * 1.847_759_1;
        let o6 = z5 + three * 2.613_126 - o7;
        let o5 = (one - three) * SQRT_2 - o6;
        let o4 = z5 - one * 1.082_392_2 - o5;
        v[at(0)][lane] = e[0] + o7;
        v[at(7)][lane] = e[0] - o7;
        v[at(1)][lane] = e[1] + o6;
        v[at(6)][lane] = e[1] - o6;
        v[at(2)][lane] = e[2] + o5;
        v[at(5)][lane] = e[2] - o5;
        v[at(3)][lane] = e[3] + o4;
        v[at(4)][lane] = e[3] - o4;
    }
}

#[inline(always)]
fn four(v: &mut [[f32; LANES]; 64], at: usize, step: usize) {
    // cos(π/8) and sin(π/8).
    const COS: f32 = 0.923_879_5;
    const SIN: f32 = 0.382_683_43;
    let at = |frequency: usize| (at + frequency * step) & 63;
    for lane in 0..LANES {
        let half = v[at(2)][lane] * FRAC_1_SQRT_2;
        let (even, odd) = (v[at(0)][lane] + half, v[at(0)][lane] - half);
        let outer = v[at(1)][lane] * COS + v[at(3)][lane] * SIN;
        let inner = v[at(1)][lane] * SIN - v[at(3)][lane] * COS;
        v[at(0)][lane] = even + outer;
        v[at(1)][lane] = odd + inner;
        v[at(2)][lane] = odd - inner;
        v[at(3)][lane] = even - outer;
    }
}

#[inline(always)]
fn two(v: &mut [[f32; LANES]; 64], at: usize, step: usize) {
    let at = |frequency: usize| (at + frequency * step) & 63;
    for lane in 0..LANES {
        let half = v[at(1)][lane] * FRAC_1_SQRT_2;
        (v[at(0)][lane], v[at(1)][lane]) = (v[at(0)][lane] + half, v[at(0)][lane] - half);
    }
}
