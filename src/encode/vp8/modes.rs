//! Modes of prediction: what they cost, and how they are written.

use super::arithmetic::{Coder, decision};
use super::kernels::MODES;
use super::symbols::cost;
use super::tables::{MODE_NODES, MODES as LIKELY};

/// A macroblock's luma or its colours as a whole (RFC 6386, sections 8.2 and 8.3), numbered as the modes of blocks that mean the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Whole {
    /// The mean of what is above and to the left.
    #[default]
    Mean = 0,
    /// What is above and to the left, added, less the corner.
    Motion = 1,
    /// What is above.
    Above = 2,
    /// What is to the left.
    Left = 3,
}

/// All of them.
pub const WHOLE: [Whole; 4] = [Whole::Mean, Whole::Motion, Whole::Above, Whole::Left];

/// How likely nodes are 0 that say how luma is predicted: by blocks; motion or left; motion; above.
const LUMA: [u8; 4] = [145, 156, 128, 163];

/// The same for colours: the mean; above; left.
const COLOUR: [u8; 3] = [142, 114, 183];

impl Whole {
    /// What it costs as luma's mode, in 256ths of a bit, and that luma is not predicted by blocks.
    pub const fn luma_cost(self) -> u32 {
        cost(LUMA[0], true)
            + match self {
                Self::Mean => cost(LUMA[1], false) + cost(LUMA[3], false),
                Self::Above => cost(LUMA[1], false) + cost(LUMA[3], true),
                Self::Left => cost(LUMA[1], true) + cost(LUMA[2], false),
                Self::Motion => cost(LUMA[1], true) + cost(LUMA[2], true),
            }
    }

    /// What it costs as the colours' mode.
    pub const fn colour_cost(self) -> u32 {
        match self {
            Self::Mean => cost(COLOUR[0], false),
            Self::Above => cost(COLOUR[0], true) + cost(COLOUR[1], false),
            Self::Left => cost(COLOUR[0], true) + cost(COLOUR[1], true) + cost(COLOUR[2], false),
            Self::Motion => cost(COLOUR[0], true) + cost(COLOUR[1], true) + cost(COLOUR[2], true),
        }
    }

    /// Writes it as luma's.
    pub fn put_luma(self, out: &mut Coder) {
        out.put(decision(LUMA[0], true));
        let second = matches!(self, Self::Motion | Self::Left);
        out.put(decision(LUMA[1], second));
        if second {
            out.put(decision(LUMA[2], self == Self::Motion));
        } else {
            out.put(decision(LUMA[3], self == Self::Above));
        }
    }

    /// Writes it as the colours'.
    pub fn put_colour(self, out: &mut Coder) {
        out.put(decision(COLOUR[0], self != Self::Mean));
        if self != Self::Mean {
            out.put(decision(COLOUR[1], self != Self::Above));
            if self != Self::Above {
                out.put(decision(COLOUR[2], self == Self::Motion));
            }
        }
    }
}

/// What it costs that luma is predicted by blocks.
pub const BY_BLOCKS: u32 = cost(LUMA[0], false);

/// Writes that it is.
pub fn put_by_blocks(out: &mut Coder) {
    out.put(decision(LUMA[0], false));
}

/// The way through the tree of a block's modes (section 11.2).
const WAYS: [&[(u8, bool)]; MODES] = [
    &[(0, false)],
    &[(0, true), (1, false)],
    &[(0, true), (1, true), (2, false)],
    &[(0, true), (1, true), (2, true), (3, false), (4, false)],
    &[(0, true), (1, true), (2, true), (3, false), (4, true), (5, false)],
    &[(0, true), (1, true), (2, true), (3, false), (4, true), (5, true)],
    &[(0, true), (1, true), (2, true), (3, true), (6, false)],
    &[(0, true), (1, true), (2, true), (3, true), (6, true), (7, false)],
    &[(0, true), (1, true), (2, true), (3, true), (6, true), (7, true), (8, false)],
    &[(0, true), (1, true), (2, true), (3, true), (6, true), (7, true), (8, true)],
];

/// What a block's mode costs, by the mode above and the one to the left.
pub static COSTS: [[[u16; MODES]; MODES]; MODES] = {
    let mut costs = [[[0; MODES]; MODES]; MODES];
    let mut at = 0;
    while at < MODES * MODES * MODES {
        let (above, left, mode) = (at / MODES / MODES, at / MODES % MODES, at % MODES);
        let mut step = 0;
        while step < WAYS[mode].len() {
            let (node, one) = WAYS[mode][step];
            costs[above][left][mode] += cost(LIKELY[at / MODES * MODE_NODES + node as usize], one) as u16;
            step += 1;
        }
        at += 1;
    }
    costs
};

/// Writes a block's mode.
pub fn put_block(mode: u8, above: u8, left: u8, out: &mut Coder) {
    let first = (usize::from(above) * MODES + usize::from(left)) * MODE_NODES;
    for (node, one) in WAYS[usize::from(mode)] {
        out.put(decision(LIKELY[first + usize::from(*node)], *one));
    }
}
