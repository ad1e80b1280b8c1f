//! What is computed of blocks of four by four, by AVX2 or one value after another: in whole numbers, so both make the same.

/// Samples of a block, row by row.
pub type Block = [u8; 16];

/// Coefficients of a block, row by row.
pub type Coefficients = [i16; 16];

/// Ways to predict a block from its neighbours (RFC 6386, section 12.3).
pub const MODES: usize = 10;

/// How coefficients of one kind are divided.
#[derive(Clone, Debug)]
pub struct Divisors {
    /// By what.
    pub by: [u16; 16],
    /// 65,536 by that, rounded up.
    pub inverse: [u16; 16],
    /// What is added to a coefficient before: half of the divisor rounds, less drops what is small.
    pub rounding: [u16; 16],
}

/// A block as it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// In the order in which they are written.
    pub levels: [i16; 16],
    /// For each a bit, whether it is not 0.
    pub some: u32,
}

/// Coefficients in the order in which they are written.
pub const ZIGZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// The neighbours of a block: four to the left from the lowest on, the corner, eight above from left to right.
pub type Edge = [u8; 16];

/// Steps on blocks.
pub trait Kernels {
    /// The transform of what a block is off its prediction.
    fn forward(block: &Block, prediction: &Block) -> Coefficients;
    /// A prediction and what it was off: as the decoder does it, to the bit (section 14.3).
    fn inverse(coefficients: &Coefficients, prediction: &Block) -> Block;
    /// Levels, and the coefficients that they stand for.
    fn quantise(coefficients: &Coefficients, divisors: &Divisors) -> (Levels, Coefficients);
    /// Predictions of a block of those that are predicted as a whole: the mean, what is above and to the left less the corner, what is
    /// above, what is to the left.
    fn whole(above: [u8; 4], left: [u8; 4], corner: u8, mean: u8) -> [Block; 4];
    /// All predictions of a block.
    fn predict(edge: &Edge) -> [Block; MODES];
    /// How far two predictions are off: sums of absolute Hadamard coefficients.
    fn off(block: &Block, predictions: [&Block; 2]) -> [u32; 2];
}

/// One after another.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// √2 sin(π/8) in 65,536ths (section 14.3).
pub const SINE: i32 = 35_468;

/// √2 cos(π/8) less one.
pub const COSINE: i32 = 20_091;

/// √2 cos(π/8) and √2 sin(π/8) in 4096ths, for the way there.
pub const FORWARD: [i32; 2] = [5352, 2217];

fn sine(value: i32) -> i32 {
    (value * SINE) >> 16
}

fn cosine(value: i32) -> i32 {
    value + ((value * COSINE) >> 16)
}

impl Kernels for Portable {
    fn forward(block: &Block, prediction: &Block) -> Coefficients {
        let [more, less] = FORWARD;
        let mut between = [0i32; 16];
        for column in 0..4 {
            let off = |row: usize| i32::from(block[row * 4 + column]) - i32::from(prediction[row * 4 + column]);
            let (a, b, c, d) = (off(0) + off(3), off(1) + off(2), off(1) - off(2), off(0) - off(3));
            between[column] = (a + b) * 8;
            between[4 + column] = (d * more + c * less + 256) >> 9;
            between[8 + column] = (a - b) * 8;
            between[12 + column] = (d * less - c * more + 256) >> 9;
        }
        let mut out = [0; 16];
        for row in 0..4 {
            let of = |at: usize| between[row * 4 + at];
            let (a, b, c, d) = (of(0) + of(3), of(1) + of(2), of(1) - of(2), of(0) - of(3));
            out[row * 4] = ((a + b + 8) >> 4) as i16;
            out[row * 4 + 1] = ((d * more + c * less + (1 << 15)) >> 16) as i16;
            out[row * 4 + 2] = ((a - b + 8) >> 4) as i16;
            out[row * 4 + 3] = ((d * less - c * more + (1 << 15)) >> 16) as i16;
        }
        out
    }

    fn inverse(coefficients: &Coefficients, prediction: &Block) -> Block {
        let turned = |at: [i32; 4], round: i32| {
            let (a, b) = (at[0] + at[2] + round, at[0] - at[2] + round);
            let (c, d) = (sine(at[1]) - cosine(at[3]), cosine(at[1]) + sine(at[3]));
            [a + d, b + c, b - c, a - d]
        };
        let mut between = [[0; 4]; 4];
        for column in 0..4 {
            between[column] = turned(std::array::from_fn(|row| i32::from(coefficients[row * 4 + column])), 0);
        }
        let mut out = [0; 16];
        for row in 0..4 {
            let values = turned(std::array::from_fn(|column| between[column][row]), 4);
            for column in 0..4 {
                out[row * 4 + column] =
                    ((values[column] >> 3) + i32::from(prediction[row * 4 + column])).clamp(0, 255) as u8;
            }
        }
        out
    }

    fn quantise(coefficients: &Coefficients, divisors: &Divisors) -> (Levels, Coefficients) {
        let mut natural = [0i16; 16];
        let mut back = [0; 16];
        for at in 0..16 {
            let value = coefficients[at];
            let far = value.unsigned_abs().saturating_add(divisors.rounding[at]);
            let level = ((u32::from(far) * u32::from(divisors.inverse[at])) >> 16) as i16;
            natural[at] = if value < 0 { -level } else { level };
            back[at] = natural[at].wrapping_mul(divisors.by[at] as i16);
        }
        let levels = ZIGZAG.map(|at| natural[at]);
        let some = (0..16).fold(0, |some, at| some | u32::from(levels[at] != 0) << at);
        (Levels { levels, some }, back)
    }

    fn whole(above: [u8; 4], left: [u8; 4], corner: u8, mean: u8) -> [Block; 4] {
        let motion =
            |at: usize| (i16::from(above[at % 4]) + i16::from(left[at / 4]) - i16::from(corner)).clamp(0, 255) as u8;
        [
            [mean; 16],
            std::array::from_fn(motion),
            std::array::from_fn(|at| above[at % 4]),
            std::array::from_fn(|at| left[at / 4]),
        ]
    }

    fn predict(edge: &Edge) -> [Block; MODES] {
        let mean = |at: usize| ((u16::from(edge[at]) + u16::from(edge[at + 1]) + 1) >> 1) as u8;
        let smooth = |at: usize| {
            let (before, after) = (at.saturating_sub(1), (at + 1).min(EDGE - 1));
            ((u16::from(edge[before]) + 2 * u16::from(edge[at]) + u16::from(edge[after]) + 2) >> 2) as u8
        };
        let from = |plan: &Block| {
            plan.map(|place| match place {
                LOWEST => edge[0],
                MEANS.. => mean(usize::from(place - MEANS)),
                _ => smooth(usize::from(place)),
            })
        };
        let left = [edge[3], edge[2], edge[1], edge[0]];
        let above = [edge[5], edge[6], edge[7], edge[8]];
        let sum: u16 = left.iter().chain(&above).map(|sample| u16::from(*sample)).sum();
        let [flat, motion, ..] = Self::whole(above, left, edge[4], ((sum + 4) >> 3) as u8);
        [
            flat,
            motion,
            from(&VERTICAL),
            from(&HORIZONTAL),
            from(&DOWN_RIGHT),
            from(&VERTICAL_RIGHT),
            from(&DOWN_LEFT),
            from(&VERTICAL_LEFT),
            from(&HORIZONTAL_DOWN),
            from(&HORIZONTAL_UP),
        ]
    }

    fn off(block: &Block, predictions: [&Block; 2]) -> [u32; 2] {
        predictions.map(|prediction| {
            let mut values: [i32; 16] = std::array::from_fn(|at| i32::from(block[at]) - i32::from(prediction[at]));
            for (step, apart) in [(1, 4), (4, 1)] {
                for line in 0..4 {
                    let place = |at: usize| line * apart + at * step;
                    let [a, b, c, d] = std::array::from_fn(|at| values[place(at)]);
                    let (e, f, g, h) = (a + b, a - b, c + d, c - d);
                    (values[place(0)], values[place(1)], values[place(2)], values[place(3)]) =
                        (e + g, f + h, e - g, f - h);
                }
            }
            values.iter().map(|value| value.unsigned_abs()).sum()
        })
    }
}

/// Samples of an [`Edge`] that count; the first and the last stand for what is beside them.
pub const EDGE: usize = 13;

/// In the plans below: from here on the mean of a place and the one after it, below it a place smoothed over three.
pub const MEANS: u8 = 16;

/// The lowest sample to the left as it is.
pub const LOWEST: u8 = 32;

const M0: u8 = MEANS;
const M1: u8 = MEANS + 1;
const M2: u8 = MEANS + 2;
const M3: u8 = MEANS + 3;
const M4: u8 = MEANS + 4;
const M5: u8 = MEANS + 5;
const M6: u8 = MEANS + 6;
const M7: u8 = MEANS + 7;
const M8: u8 = MEANS + 8;

/// Where in the edge each sample of a mode comes from.
pub const VERTICAL: Block = [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8];
/// As [`VERTICAL`].
pub const HORIZONTAL: Block = [3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0];
/// As [`VERTICAL`].
pub const DOWN_RIGHT: Block = [4, 5, 6, 7, 3, 4, 5, 6, 2, 3, 4, 5, 1, 2, 3, 4];
/// As [`VERTICAL`].
pub const DOWN_LEFT: Block = [6, 7, 8, 9, 7, 8, 9, 10, 8, 9, 10, 11, 9, 10, 11, 12];
/// As [`VERTICAL`].
pub const VERTICAL_RIGHT: Block = [M4, M5, M6, M7, 4, 5, 6, 7, 3, M4, M5, M6, 2, 4, 5, 6];
/// As [`VERTICAL`].
pub const VERTICAL_LEFT: Block = [M5, M6, M7, M8, 6, 7, 8, 9, M6, M7, M8, 10, 7, 8, 9, 11];
/// As [`VERTICAL`].
pub const HORIZONTAL_DOWN: Block = [M3, 4, 5, 6, M2, 3, M3, 4, M1, 2, M2, 3, M0, 1, M1, 2];
/// As [`VERTICAL`].
pub const HORIZONTAL_UP: Block = [M2, 2, M1, 1, M1, 1, M0, 0, M0, 0, LOWEST, LOWEST, LOWEST, LOWEST, LOWEST, LOWEST];
