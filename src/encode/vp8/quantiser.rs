//! From a quality to divisors.
//!
//! All numbers were tuned on six photos at 400 and 800 pixels, by what they need for the SSIMULACRA2 of libwebp's quality 80.

use super::kernels::Divisors;
use super::segments::SEGMENTS;
use super::tables;

/// What is added to a macroblock's index for divisors of: first coefficients of luma by blocks; of luma as a whole the first
/// coefficients' first, and their others; of colour the first, and the others (RFC 6386, section 9.6).
pub const DELTAS: [i8; 5] = [-5, -3, -4, -4, 2];

/// How much coarser a kind of macroblocks is kept than the one before it, in steps of the index; in proportion less below
/// [`STEP_FROM`], where a step of the index is more of a divisor.
const STEP: f32 = 5.0;

/// The index from which kinds are a [`STEP`] apart.
const STEP_FROM: f32 = 20.0;

/// Parts of a divisor from which a level is rounded up, first and others: of luma, of luma's first coefficients as a whole, of colour.
const ROUNDING: [[f32; 2]; 3] = [[0.48, 0.375], [0.4, 0.48], [0.49, 0.41]];

/// How much less of it each step away from the first coefficient, for luma and colour.
const SLOPE: f32 = 0.035;

/// The strength at which edges are smoothed, of a divisor of luma.
const FILTER: f32 = 0.23;

/// How sharp it leaves them (section 15.2).
pub const SHARPNESS: u8 = 1;

/// What a bit weighs beside a sum of absolute Hadamard coefficients, of a divisor of luma.
const WEIGHT: f32 = 3.0;

/// What luma by blocks has to save, of a divisor of luma.
const BY_BLOCKS: f32 = 1.7;

/// How the coefficients of one kind of macroblocks are divided.
#[derive(Clone, Debug)]
pub struct Quantiser {
    /// The index that the divisors come from, from 0 to 127.
    pub index: u8,
    /// Luma, but for what [`Quantiser::firsts`] divides.
    pub luma: Divisors,
    /// First coefficients of luma that is predicted as a whole.
    pub firsts: Divisors,
    /// Colour.
    pub colour: Divisors,
    /// How strong the edges of blocks are smoothed, from 0 to 63.
    pub filter: u8,
    /// What a bit weighs, in eighths.
    weight: u32,
    /// What luma by blocks has to save.
    pub by_blocks: u32,
}

impl Quantiser {
    /// Those of all kinds of macroblocks at a quality from 1 to 100.
    pub fn all(quality: u8) -> [Self; SEGMENTS] {
        let index = index(quality);
        let step = STEP * (index / STEP_FROM).min(1.0);
        let middle = (SEGMENTS - 1) as f32 / 2.0;
        std::array::from_fn(|at| Self::of((index + (at as f32 - middle) * step).round().clamp(0.0, 127.0) as u8))
    }

    fn of(index: u8) -> Self {
        let at = |delta: i8, most: i32| (i32::from(index) + i32::from(delta)).clamp(0, most) as usize;
        let [luma_first, firsts_first, firsts_others, colour_first, colour_others] = DELTAS;
        let luma = tables::OTHERS[usize::from(index)];
        let part = |part: f32| (f32::from(luma) * part) as u32;
        Self {
            index,
            luma: divisors([u16::from(tables::FIRST[at(luma_first, 127)]), luma], ROUNDING[0], SLOPE),
            firsts: divisors(
                [
                    u16::from(tables::FIRST[at(firsts_first, 127)]) * 2,
                    (tables::OTHERS[at(firsts_others, 127)] * 155 / 100).max(8),
                ],
                ROUNDING[1],
                0.0,
            ),
            colour: divisors(
                [u16::from(tables::FIRST[at(colour_first, 117)]), tables::OTHERS[at(colour_others, 127)]],
                ROUNDING[2],
                SLOPE,
            ),
            filter: part(FILTER).min(63) as u8,
            weight: part(WEIGHT),
            by_blocks: part(WEIGHT * BY_BLOCKS),
        }
    }

    /// What a cost in 256ths of a bit weighs beside how far a prediction is off.
    #[inline(always)]
    pub const fn weighed(&self, cost: u32) -> u32 {
        (cost * self.weight) >> 11
    }
}

/// How much finer a quality is than the same of libwebp's: then both score the same.
const FINER: f32 = 2.0;

/// The index at a quality, before kinds part: libwebp's scale.
fn index(quality: u8) -> f32 {
    let part = f32::from(quality) / 100.0;
    let linear = if part < 0.75 { part * 2.0 / 3.0 } else { 2.0 * part - 1.0 };
    (127.0 * (1.0 - linear.cbrt()) - FINER).max(0.0)
}

fn divisors([first, others]: [u16; 2], rounding: [f32; 2], slope: f32) -> Divisors {
    let by: [u16; 16] = std::array::from_fn(|at| if at == 0 { first } else { others });
    Divisors {
        by,
        inverse: by.map(|by| 65_536u32.div_ceil(u32::from(by)) as u16),
        rounding: std::array::from_fn(|at| {
            let steps = (at / 4 + at % 4) as f32;
            let part = if at == 0 { rounding[0] } else { rounding[1] - slope * (steps - 1.0) };
            (f32::from(by[at]) * part) as u16
        }),
    }
}
