//! Coefficients as symbols, which wait until it is known how likely each is, and how they become decisions.

use super::arithmetic::{Decision, decision};
use super::kernels::Levels;
use super::tables::{CONTEXTS, NODES, Probabilities, UNCHANGED, USUAL};

/// What a block holds (RFC 6386, section 13.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Luma of a macroblock predicted as a whole, without first coefficients.
    LumaRest = 0,
    /// The first coefficients of such a macroblock.
    LumaFirst = 1,
    /// Colour.
    Colour = 2,
    /// Luma of a block predicted by itself.
    Luma = 3,
}

/// Contexts that a symbol may come in: of each three by what came before a fourth is not used, so that their number is a power of two.
const PLACES: usize = CONTEXTS / 3 * 4;

/// Symbols in each context: nothing more, 0, 1 to 4 with their signs, six classes of larger ones.
const SYMBOLS: usize = 16;

const NO_MORE: u16 = 0;
const NOTHING: u16 = 1;
const SMALL: u16 = 2;
const CLASSES: u16 = 10;

/// Numbers of symbols in their contexts, and whether it might have been that nothing more comes.
pub const NUMBERS: usize = PLACES * 2 * SYMBOLS;

/// How often each comes.
pub type Often = [u32; NUMBERS];

/// The band of each place.
const BANDS: [u8; 17] = [0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0];

/// The first level of each class of larger ones, and how likely the bits are 0 that say which it is (section 13.2).
const LARGER: [(u16, &[u8]); 6] = [
    (5, &[159]),
    (7, &[165, 145]),
    (11, &[173, 148, 140]),
    (19, &[176, 155, 140, 135]),
    (35, &[180, 157, 141, 134, 130]),
    (67, &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129]),
];

#[inline(always)]
const fn context(kind: Kind, band: u8, before: u8) -> u16 {
    (kind as u16 * 8 + band as u16) * 4 + before as u16
}

/// Numbers that a block has at most: for each level a symbol and what it is exactly.
const BLOCK_MAX: usize = 32;

/// Blocks of a macroblock.
const BLOCKS: usize = 25;

/// Symbols of a row of macroblocks, in 16 bits each; behind one of a larger class what it is exactly.
#[derive(Debug, Default)]
pub struct Row {
    symbols: Vec<u16>,
    count: usize,
}

impl Row {
    /// Makes room for a macroblock.
    pub fn ready(&mut self) {
        let enough = self.count + BLOCKS * BLOCK_MAX;
        if self.symbols.len() < enough {
            self.symbols.resize(enough * 2, 0);
        }
    }

    /// Gives back the room that is left.
    pub fn end(&mut self) {
        self.symbols.truncate(self.count);
        self.symbols.shrink_to_fit();
    }

    /// A block; whether it has anything.
    #[inline(always)]
    pub fn push(&mut self, block: &Levels, kind: Kind, before: u8, often: &mut Often) -> bool {
        let Some(made) = self.symbols.get_mut(self.count..).and_then(|rest| rest.first_chunk_mut::<BLOCK_MAX>()) else {
            return false;
        };
        let mut count = 0;
        let mut put = |number: u16| {
            made[count % BLOCK_MAX] = number;
            count += 1;
        };
        let from = usize::from(kind == Kind::LumaRest);
        let some = block.some & (u32::MAX << from) & 0xffff;
        let mut number = |context: u16, check: u16, symbol: u16| {
            let number = (context * 2 + check) * SYMBOLS as u16 + symbol;
            often[usize::from(number) % NUMBERS] += 1;
            number
        };
        let mut at = from;
        let mut context_now = context(kind, BANDS[at], before);
        let mut check = 1;
        let end = 32 - some.leading_zeros() as usize;
        while at < end {
            let level = block.levels[at & 15];
            at += 1;
            let far = level.unsigned_abs();
            let symbol = match far {
                0 => NOTHING,
                1..=4 => SMALL + (far - 1) * 2 + u16::from(level < 0),
                5..=6 => CLASSES,
                7..=10 => CLASSES + 1,
                11..=18 => CLASSES + 2,
                19..=34 => CLASSES + 3,
                35..=66 => CLASSES + 4,
                _ => CLASSES + 5,
            };
            put(number(context_now, check, symbol));
            if far > 4 {
                put(far << 1 | u16::from(level < 0));
            }
            context_now = context(kind, BANDS[at], far.min(2) as u8);
            check = u16::from(far != 0);
        }
        if at < 16 {
            put(number(context_now, 1, NO_MORE));
        }
        self.count += count;
        some != 0
    }
}

/// A node of a coefficient's tree and where it is left for.
type Step = (u8, bool);

/// The way to each symbol, without the sign and the bits of larger ones.
const WAYS: [&[Step]; SYMBOLS] = {
    const ONE: &[Step] = &[(0, true), (1, true), (2, false)];
    const TWO: &[Step] = &[(0, true), (1, true), (2, true), (3, false), (4, false)];
    const THREE: &[Step] = &[(0, true), (1, true), (2, true), (3, false), (4, true), (5, false)];
    const FOUR: &[Step] = &[(0, true), (1, true), (2, true), (3, false), (4, true), (5, true)];
    [
        &[(0, false)],
        &[(0, true), (1, false)],
        ONE,
        ONE,
        TWO,
        TWO,
        THREE,
        THREE,
        FOUR,
        FOUR,
        &[(0, true), (1, true), (2, true), (3, true), (6, false), (7, false)],
        &[(0, true), (1, true), (2, true), (3, true), (6, false), (7, true)],
        &[(0, true), (1, true), (2, true), (3, true), (6, true), (8, false), (9, false)],
        &[(0, true), (1, true), (2, true), (3, true), (6, true), (8, false), (9, true)],
        &[(0, true), (1, true), (2, true), (3, true), (6, true), (8, true), (10, false)],
        &[(0, true), (1, true), (2, true), (3, true), (6, true), (8, true), (10, true)],
    ]
};

/// The steps of a symbol in its context: where nothing more cannot be, it is not said.
fn way(number: usize) -> &'static [Step] {
    let (symbol, check) = (number % SYMBOLS, number / SYMBOLS % 2);
    if check == 0 { WAYS[symbol].get(1..).unwrap_or(&[]) } else { WAYS[symbol] }
}

/// How often each node is left for 0 and for 1, by context.
fn counted(often: &Often) -> Box<[[[u32; 2]; NODES]; PLACES]> {
    let mut counts = Box::new([[[0; 2]; NODES]; PLACES]);
    for (number, count) in often.iter().enumerate().filter(|(_, count)| **count > 0) {
        for (node, one) in way(number) {
            counts[number / SYMBOLS / 2][usize::from(*node)][usize::from(*one)] += count;
        }
    }
    counts
}

/// 256 times the bits that a decision costs of which one side is so likely, of 256; rounded.
pub const COSTS: [u16; 257] = {
    let mut costs = [2048; 257];
    let mut likely = 1;
    while likely <= 256 {
        // The logarithm to the base of two, by squaring: 12 bits behind the point.
        let mut value = (likely as u64) << 32;
        let mut bits: u32 = 0;
        while value < 1 << 40 {
            value <<= 1;
            bits += 1;
        }
        let mut log: u32 = 0;
        let mut mantissa = value >> 9;
        let mut at = 0;
        while at < 12 {
            mantissa = (mantissa * mantissa) >> 31;
            log <<= 1;
            if mantissa >= 1 << 32 {
                mantissa >>= 1;
                log |= 1;
            }
            at += 1;
        }
        costs[likely] = ((bits * 4096 - log + 8) / 16) as u16;
        likely += 1;
    }
    costs
};

/// What a decision costs.
pub const fn cost(likely: u8, one: bool) -> u32 {
    COSTS[if one { 256 - likely as usize } else { likely as usize }] as u32
}

/// How likely each node is left for 0 in this picture, and what the file says of it.
pub struct Learned {
    /// Context by context.
    pub probabilities: Box<Probabilities>,
    /// For each the decision whether it is another than usual, and what it is then.
    pub changes: Vec<(Decision, Option<u8>)>,
}

impl Learned {
    /// From how often each symbol comes.
    pub fn of(often: &Often) -> Self {
        let counts = counted(often);
        let mut probabilities = Box::new(USUAL);
        let mut changes = Vec::with_capacity(USUAL.len());
        for (at, likely) in probabilities.iter_mut().enumerate() {
            let context = at / NODES;
            let [zeros, ones] = counts[context / 3 * 4 + context % 3][at % NODES];
            let total = u64::from(zeros) + u64::from(ones);
            let better = (u64::from(ones) * 255).checked_div(total).map_or(255, |share| (255 - share).max(1)) as u8;
            let bits = |likely| {
                u64::from(zeros) * u64::from(cost(likely, false)) + u64::from(ones) * u64::from(cost(likely, true))
            };
            let (same, says) = (cost(UNCHANGED[at], false), cost(UNCHANGED[at], true) + 8 * 256);
            let change = bits(better) + u64::from(says) < bits(*likely) + u64::from(same);
            changes.push((decision(UNCHANGED[at], change), change.then_some(better)));
            if change {
                *likely = better;
            }
        }
        Self { probabilities, changes }
    }
}

/// How symbols become decisions.
pub struct Writing {
    /// Of each number the decisions, eight at most.
    decisions: Box<[[Decision; 8]; NUMBERS]>,
    /// How many they are.
    counts: Box<[u8; NUMBERS]>,
}

/// Decisions that a number becomes at most: seven steps, eleven bits and a sign, of a symbol that takes two numbers.
const DECISIONS_MAX: usize = 10;

impl Writing {
    /// With what is known of a picture.
    pub fn new(probabilities: &Probabilities) -> Self {
        let mut written = Self { decisions: Box::new([[0; 8]; NUMBERS]), counts: Box::new([0; NUMBERS]) };
        for number in 0..NUMBERS {
            let place = number / SYMBOLS / 2;
            if place % 4 == 3 {
                continue;
            }
            let nodes = &probabilities[(place / 4 * 3 + place % 4) * NODES..][..NODES];
            let symbol = (number % SYMBOLS) as u16;
            let steps = way(number).iter().map(|(node, one)| decision(nodes[usize::from(*node)], *one));
            let sign = (SMALL..CLASSES).contains(&symbol).then_some(decision(128, symbol % 2 == 1));
            for (at, made) in steps.chain(sign).enumerate() {
                written.decisions[number][at] = made;
                written.counts[number] = at as u8 + 1;
            }
        }
        written
    }

    /// The decisions of a row, from the first place of `out` on; how many they are.
    #[inline(always)]
    pub fn decisions(&self, row: &Row, out: &mut Vec<Decision>) -> usize {
        let enough = row.symbols.len() * DECISIONS_MAX + 8;
        if out.len() < enough {
            out.resize(enough, 0);
        }
        let mut end = 0;
        let mut symbols = row.symbols.iter();
        while let Some(number) = symbols.next() {
            let number = usize::from(*number) % NUMBERS;
            // All eight are copied; what comes next stands where the first is that does not count.
            let Some(place) = out[end..].first_chunk_mut::<8>() else { break };
            *place = self.decisions[number];
            end += usize::from(self.counts[number]);
            let symbol = (number % SYMBOLS) as u16;
            if symbol >= CLASSES {
                let exactly = symbols.next().copied().unwrap_or(0);
                let (first, bits) = LARGER[usize::from(symbol - CLASSES)];
                let rest = (exactly >> 1).wrapping_sub(first);
                for (at, likely) in bits.iter().enumerate() {
                    out[end] = decision(*likely, rest >> (bits.len() - 1 - at) & 1 != 0);
                    end += 1;
                }
                out[end] = decision(128, exactly & 1 != 0);
                end += 1;
            }
        }
        end
    }
}
