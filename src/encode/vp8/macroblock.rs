//! One macroblock: how it is predicted, and what is left.

// Loops over places by number are what is inlined and becomes vector instructions wherever it is compiled.
#![allow(clippy::needless_range_loop)]

use super::kernels::{Block, Coefficients, Edge, Kernels, Levels, MODES};
use super::modes::{self, WHOLE, Whole};
use super::quantiser::Quantiser;

/// Samples of a macroblock, block by block.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Brightness.
    pub luma: [Block; 16],
    /// Both colours.
    pub colours: [[Block; 4]; 2],
}

impl Samples {
    /// All 0.
    pub const EMPTY: Self = Self { luma: [[0; 16]; 16], colours: [[[0; 16]; 4]; 2] };
}

/// What stands around a plane's part of a macroblock.
#[derive(Clone, Debug)]
pub struct Around<const SIDE: usize> {
    /// Above it, from left to right.
    pub above: [u8; SIDE],
    /// To its left, from above.
    pub left: [u8; SIDE],
    /// Above and to the left.
    pub corner: u8,
    /// Whether there is anything above, and to the left.
    pub there: [bool; 2],
}

impl<const SIDE: usize> Around<SIDE> {
    /// The mean of what is there.
    #[inline(always)]
    fn mean(&self) -> u8 {
        let (mut above, mut left) = (0, 0);
        for at in 0..SIDE {
            above += u32::from(self.above[at]);
            left += u32::from(self.left[at]);
        }
        let side = SIDE as u32;
        let mean = match self.there {
            [true, true] => (above + left + side) / (2 * side),
            [true, false] => (above + side / 2) / side,
            [false, true] => (left + side / 2) / side,
            [false, false] => 128,
        };
        mean as u8
    }

    /// All predictions as a whole, block by block.
    #[inline(always)]
    fn whole<K: Kernels, const BLOCKS: usize>(&self) -> [[Block; 4]; BLOCKS] {
        let mean = self.mean();
        let columns = SIDE / 4;
        let mut out = [[[0; 16]; 4]; BLOCKS];
        for at in 0..BLOCKS {
            let (left, top) = (at % columns * 4, at / columns * 4);
            out[at] = K::whole(four(&self.above, left), four(&self.left, top), self.corner, mean);
        }
        out
    }
}

#[inline(always)]
fn four<const SIDE: usize>(samples: &[u8; SIDE], at: usize) -> [u8; 4] {
    [samples[at], samples[at + 1], samples[at + 2], samples[at + 3]]
}

/// What is known around a macroblock.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Around its luma.
    pub luma: Around<16>,
    /// Around its colours.
    pub colours: [Around<8>; 2],
    /// Above and to the right of its luma.
    pub next: [u8; 4],
    /// The modes of the blocks above.
    pub above: [u8; 4],
    /// And to the left.
    pub left: [u8; 4],
}

/// How luma is predicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Luma {
    /// As a whole.
    Whole(Whole),
    /// By blocks, each in a mode of its own.
    ByBlocks([u8; 16]),
}

impl Luma {
    /// The modes of blocks below and to the right of which others are.
    #[inline(always)]
    pub const fn edges(&self) -> ([u8; 4], [u8; 4]) {
        match self {
            Self::Whole(mode) => ([*mode as u8; 4], [*mode as u8; 4]),
            Self::ByBlocks(modes) => {
                ([modes[12], modes[13], modes[14], modes[15]], [modes[3], modes[7], modes[11], modes[15]])
            }
        }
    }
}

/// A macroblock as it is written.
#[derive(Clone, Debug)]
pub struct Coded {
    /// How luma is predicted.
    pub luma: Luma,
    /// How colours are.
    pub colour: Whole,
    /// What luma's mode costs, in 256ths of a bit.
    pub luma_cost: u32,
    /// First coefficients of luma that is predicted as a whole.
    pub firsts: Levels,
    /// Luma.
    pub blocks: [Levels; 16],
    /// Colours.
    pub colours: [[Levels; 4]; 2],
}

/// Codes a macroblock, luma by blocks only where their modes cost at most so much; `made` is what the decoder will have.
#[inline(always)]
pub fn code<K: Kernels>(
    samples: &Samples,
    around: &Surroundings,
    quantiser: &Quantiser,
    modes_max: u32,
    made: &mut Samples,
) -> Coded {
    let predictions: [[Block; 4]; 16] = around.luma.whole::<K, 16>();
    let off = off::<K>(&samples.luma, &predictions);
    let mut best = (u32::MAX, 0);
    for at in 0..4 {
        let cost = off[at] + quantiser.weighed(WHOLE[at].luma_cost());
        if cost < best.0 {
            best = (cost, at);
        }
    }
    let mode = WHOLE[best.1];
    let mut coded = Coded {
        luma: Luma::Whole(mode),
        colour: Whole::Mean,
        luma_cost: mode.luma_cost(),
        firsts: Levels::default(),
        blocks: [Levels::default(); 16],
        colours: [[Levels::default(); 4]; 2],
    };
    let most = Most { cost: best.0.saturating_sub(quantiser.by_blocks), modes: modes_max };
    if let Some((modes, cost)) = by_blocks::<K>(samples, around, quantiser, most, made, &mut coded.blocks) {
        (coded.luma, coded.luma_cost) = (Luma::ByBlocks(modes), cost);
    } else {
        coded.firsts = luma_whole::<K>(samples, &predictions, best.1, quantiser, made, &mut coded.blocks);
    }
    colours::<K>(samples, around, quantiser, made, &mut coded);
    coded
}

/// How far four predictions are off, all blocks together.
#[inline(always)]
fn off<K: Kernels>(blocks: &[Block], predictions: &[[Block; 4]]) -> [u32; 4] {
    let mut off = [0; 4];
    for (block, [a, b, c, d]) in blocks.iter().zip(predictions) {
        let ([a, b], [c, d]) = (K::off(block, [a, b]), K::off(block, [c, d]));
        off = [off[0] + a, off[1] + b, off[2] + c, off[3] + d];
    }
    off
}

/// Luma predicted as a whole; its first coefficients.
#[inline(always)]
fn luma_whole<K: Kernels>(
    samples: &Samples,
    predictions: &[[Block; 4]; 16],
    mode: usize,
    quantiser: &Quantiser,
    made: &mut Samples,
    levels: &mut [Levels; 16],
) -> Levels {
    let mut back = [[0; 16]; 16];
    let mut firsts = [0; 16];
    for at in 0..16 {
        let mut coefficients = K::forward(&samples.luma[at], &predictions[at][mode]);
        firsts[at] = i32::from(coefficients[0]);
        coefficients[0] = 0;
        (levels[at], back[at]) = K::quantise(&coefficients, &quantiser.luma);
    }
    let (first_levels, firsts) = K::quantise(&forward_firsts(&firsts), &quantiser.firsts);
    let firsts = inverse_firsts(&firsts);
    for at in 0..16 {
        back[at][0] = firsts[at];
        made.luma[at] = K::inverse(&back[at], &predictions[at][mode]);
    }
    first_levels
}

/// What luma by blocks may cost: in all, weighed; and its modes, in 256ths of a bit.
struct Most {
    cost: u32,
    modes: u32,
}

/// Luma predicted by blocks, if it costs less: the modes and what they cost.
#[inline(always)]
fn by_blocks<K: Kernels>(
    samples: &Samples,
    around: &Surroundings,
    quantiser: &Quantiser,
    most: Most,
    made: &mut Samples,
    levels: &mut [Levels; 16],
) -> Option<([u8; 16], u32)> {
    let mut modes_cost = modes::BY_BLOCKS;
    let mut total = quantiser.weighed(modes_cost);
    let mut chosen = [0; 16];
    // What is above a row of blocks: the corner, sixteen, and what is to the right of the last, which is the same for all four rows.
    let mut above = [0u8; 24];
    above[0] = around.luma.corner;
    above[1..17].copy_from_slice(&around.luma.above);
    above[17..21].copy_from_slice(&around.next);
    let mut modes_above = around.above;
    for row in 0..4 {
        let mut left = four(&around.luma.left, row * 4);
        let mut mode_left = around.left[row];
        for column in 0..4 {
            let at = row * 4 + column;
            let mut edge: Edge = [0; 16];
            edge[..4].copy_from_slice(&[left[3], left[2], left[1], left[0]]);
            edge[4..13].copy_from_slice(&above[column * 4..column * 4 + 9]);
            let predictions = K::predict(&edge);
            let costs = &modes::COSTS[usize::from(modes_above[column])][usize::from(mode_left)];
            let mut best = (u32::MAX, 0);
            for pair in 0..MODES / 2 {
                let off = K::off(&samples.luma[at], [&predictions[pair * 2], &predictions[pair * 2 + 1]]);
                for which in 0..2 {
                    let mode = pair * 2 + which;
                    // Of equals the first.
                    best = best.min((off[which] + quantiser.weighed(u32::from(costs[mode])), mode));
                }
            }
            let mode = best.1;
            total += best.0;
            modes_cost += u32::from(costs[mode]);
            if total >= most.cost || modes_cost > most.modes {
                return None;
            }
            let coefficients = K::forward(&samples.luma[at], &predictions[mode]);
            let (block, back) = K::quantise(&coefficients, &quantiser.luma);
            levels[at] = block;
            let out = K::inverse(&back, &predictions[mode]);
            made.luma[at] = out;
            (chosen[at], modes_above[column], mode_left) = (mode as u8, mode as u8, mode as u8);
            left = [out[3], out[7], out[11], out[15]];
        }
        above[0] = around.luma.left[row * 4 + 3];
        for column in 0..4 {
            above[1 + column * 4..5 + column * 4].copy_from_slice(&made.luma[row * 4 + column][12..]);
        }
    }
    Some((chosen, modes_cost))
}

/// Both colours.
#[inline(always)]
fn colours<K: Kernels>(
    samples: &Samples,
    around: &Surroundings,
    quantiser: &Quantiser,
    made: &mut Samples,
    coded: &mut Coded,
) {
    let predictions = [around.colours[0].whole::<K, 4>(), around.colours[1].whole::<K, 4>()];
    let first = off::<K>(&samples.colours[0], &predictions[0]);
    let second = off::<K>(&samples.colours[1], &predictions[1]);
    let mut best = (u32::MAX, 0);
    for at in 0..4 {
        let cost = first[at] + second[at] + quantiser.weighed(WHOLE[at].colour_cost());
        if cost < best.0 {
            best = (cost, at);
        }
    }
    let mode = best.1;
    coded.colour = WHOLE[mode];
    for colour in 0..2 {
        for at in 0..4 {
            let prediction = &predictions[colour][at][mode];
            let coefficients = K::forward(&samples.colours[colour][at], prediction);
            let (levels, back) = K::quantise(&coefficients, &quantiser.colour);
            coded.colours[colour][at] = levels;
            made.colours[colour][at] = K::inverse(&back, prediction);
        }
    }
}

/// The transform of the sixteen first coefficients: the inverse of the decoder's (section 14.3).
#[inline(always)]
fn forward_firsts(firsts: &[i32; 16]) -> Coefficients {
    let mut between = [0; 16];
    for row in 0..4 {
        let [zeroth, first, second, third] = [0, 1, 2, 3].map(|at| firsts[row * 4 + at]);
        let (a, b, c, d) = (zeroth + second, first + third, first - third, zeroth - second);
        between[row * 4..row * 4 + 4].copy_from_slice(&[a + b, d + c, d - c, a - b]);
    }
    let mut out = [0; 16];
    for column in 0..4 {
        let [zeroth, first, second, third] = [0, 1, 2, 3].map(|at| between[at * 4 + column]);
        let (a, b, c, d) = (zeroth + second, first + third, first - third, zeroth - second);
        for (row, value) in [a + b, d + c, d - c, a - b].into_iter().enumerate() {
            out[row * 4 + column] = (value >> 1) as i16;
        }
    }
    out
}

/// The way back, as the decoder does it.
#[inline(always)]
fn inverse_firsts(coefficients: &Coefficients) -> [i16; 16] {
    let turned = |[zeroth, first, second, third]: [i32; 4]| {
        let (a, b, c, d) = (zeroth + third, first + second, first - second, zeroth - third);
        [a + b, d + c, a - b, d - c]
    };
    let mut between = [0; 16];
    for column in 0..4 {
        let values = turned([0, 1, 2, 3].map(|at| i32::from(coefficients[at * 4 + column])));
        for row in 0..4 {
            between[row * 4 + column] = values[row];
        }
    }
    let mut out = [0; 16];
    for row in 0..4 {
        let [zeroth, first, second, third] = [0, 1, 2, 3].map(|at| between[row * 4 + at]);
        let values = turned([zeroth + 3, first, second, third]);
        for column in 0..4 {
            out[row * 4 + column] = (values[column] >> 3) as i16;
        }
    }
    out
}
