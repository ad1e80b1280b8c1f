//! The first part of a frame: what is said of all of it, and how each macroblock is predicted (RFC 6386, sections 9.3 to 9.11).

use super::arithmetic::{Coder, decision};
use super::macroblock::Luma;
use super::modes::{self, Whole};
use super::quantiser::{DELTAS, Quantiser, SHARPNESS};
use super::segments::SEGMENTS;
use super::symbols::Learned;

/// What of a macroblock is written apart from its coefficients.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// How luma is predicted.
    pub luma: Luma,
    /// How colours are.
    pub colour: Whole,
    /// Whether it has no coefficients.
    pub empty: bool,
    /// Which divisors it has.
    pub kind: u8,
}

/// How likely something is 0, of 256, that was so often 0 and so often 1.
fn likely(zeros: usize, ones: usize) -> u8 {
    (zeros * 255).checked_div(zeros + ones).map_or(255, |share| share.max(1)) as u8
}

/// Writes it.
#[inline(always)]
pub fn part(told: &[Told], columns: usize, quantisers: &[Quantiser], learned: &Learned, streams: usize) -> Vec<u8> {
    let mut out = Coder::new(told.len() * 8);
    // Colours are as usual, and samples are to be clamped.
    out.put_number(0, 2);
    let kinds = Kinds::of(told);
    kinds.put(quantisers, &mut out);
    // The usual filter, in the same strength for all that kinds do not tell apart.
    out.put_number(0, 1);
    out.put_number(u32::from(quantisers[kinds.one].filter), 6);
    out.put_number(u32::from(SHARPNESS), 3);
    out.put_number(0, 1);
    out.put_number(streams.ilog2(), 2);
    out.put_number(u32::from(quantisers[kinds.one].index), 7);
    for delta in DELTAS {
        out.put_signed(i32::from(delta), 4);
    }
    // What is said of probabilities is for no other frame.
    out.put_number(0, 1);
    for (changed, to) in &learned.changes {
        out.put(*changed);
        if let Some(likely) = to {
            out.put_number(u32::from(*likely), 8);
        }
    }
    let empty = told.iter().filter(|told| told.empty).count();
    let filled = (empty > 0).then(|| likely(told.len() - empty, empty));
    out.put_number(u32::from(filled.is_some()), 1);
    if let Some(likely) = filled {
        out.put_number(u32::from(likely), 8);
    }
    let mut above = vec![[0; 4]; columns];
    for row in told.chunks(columns) {
        let mut left = [0; 4];
        for (told, above) in row.iter().zip(&mut above) {
            kinds.put_one(told.kind, &mut out);
            if let Some(likely) = filled {
                out.put(decision(likely, told.empty));
            }
            put_luma(&told.luma, *above, left, &mut out);
            (*above, left) = told.luma.edges();
            told.colour.put_colour(&mut out);
        }
    }
    let mut bytes = out.finish();
    // libwebp's decoder for data that come in pieces, which browsers use, wants a byte left where the modes begin, and has read as far as a
    // flat picture's modes end by then.
    bytes.push(0);
    bytes
}

#[inline(always)]
fn put_luma(luma: &Luma, mut above: [u8; 4], mut left: [u8; 4], out: &mut Coder) {
    match luma {
        Luma::Whole(mode) => mode.put_luma(out),
        Luma::ByBlocks(chosen) => {
            modes::put_by_blocks(out);
            for (at, mode) in chosen.iter().enumerate() {
                modes::put_block(*mode, above[at % 4], left[at / 4], out);
                (above[at % 4], left[at / 4]) = (*mode, *mode);
            }
        }
    }
}

/// The kinds of macroblocks that there are.
struct Kinds {
    /// How likely the nodes of their tree are 0, where there are several.
    likely: Option<[u8; SEGMENTS - 1]>,
    /// One of them.
    one: usize,
}

impl Kinds {
    fn of(told: &[Told]) -> Self {
        let mut counts = [0; SEGMENTS];
        for told in told {
            counts[usize::from(told.kind) % SEGMENTS] += 1;
        }
        let one = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let several = counts[one] < told.len();
        let [a, b, c, d] = counts;
        Self { likely: several.then(|| [likely(a + b, c + d), likely(a, b), likely(c, d)]), one }
    }

    /// What is said of all of them: a map, and values as they are.
    fn put(&self, quantisers: &[Quantiser], out: &mut Coder) {
        out.put_number(u32::from(self.likely.is_some()), 1);
        let Some(likely) = self.likely else { return };
        out.put_number(0b111, 3);
        for quantiser in quantisers {
            out.put_signed(i32::from(quantiser.index), 7);
        }
        for quantiser in quantisers {
            out.put_signed(i32::from(quantiser.filter), 6);
        }
        for likely in likely {
            out.put_number(1, 1);
            out.put_number(u32::from(likely), 8);
        }
    }

    /// That of one macroblock.
    #[inline(always)]
    fn put_one(&self, kind: u8, out: &mut Coder) {
        if let Some(likely) = self.likely {
            let upper = kind >= 2;
            out.put(decision(likely[0], upper));
            out.put(decision(likely[1 + usize::from(upper)], kind % 2 == 1));
        }
    }
}
