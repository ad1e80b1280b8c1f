//! Macroblocks of four kinds, from calm to busy, each with divisors of its own: what is lost in calm ones is seen sooner.

use super::kernels::Kernels;
use super::macroblock::Samples;

/// Kinds of macroblocks (RFC 6386, section 9.3).
pub const SEGMENTS: usize = 4;

/// How far apart kinds are, in 256ths of a doubling of what luma is off the means of its blocks.
const APART: i32 = 294;

/// What luma is off the means of its blocks, as a logarithm, in 256ths of a doubling.
#[inline(always)]
pub fn busy<K: Kernels>(samples: &Samples) -> u16 {
    let mut off = 1;
    for [one, two] in samples.luma.as_chunks::<2>().0 {
        let mut sums = [0u32; 2];
        for at in 0..16 {
            sums[0] += u32::from(one[at]);
            sums[1] += u32::from(two[at]);
        }
        let means = [[(sums[0] / 16) as u8; 16], [(sums[1] / 16) as u8; 16]];
        // Two at once are what there are vectors for.
        off += K::off(one, [&means[0], &means[0]])[0] + K::off(two, [&means[1], &means[1]])[0];
    }
    // Between powers of two in a straight line.
    let whole = off.ilog2();
    (whole * 256 + ((u64::from(off) << 8 >> whole) as u32 & 255)) as u16
}

/// Below this a macroblock is flat: a step or two in all of a block. What takes no bits must not make what does look busy: text on
/// a page would be kept coarser than in a photo.
const FLAT: u16 = 8 * 256;

/// The kind of each macroblock: by how busy it is beside the mean of all that are not flat.
pub fn of(busy: &[u16]) -> Vec<u8> {
    let (mut sum, mut count) = (0, 0);
    for busy in busy.iter().filter(|busy| **busy >= FLAT) {
        sum += u64::from(*busy);
        count += 1;
    }
    let mean = sum.checked_div(count).map_or(i32::from(FLAT), |mean| mean as i32);
    busy.iter().map(|busy| ((i32::from(*busy) - mean).div_euclid(APART) + 2).clamp(0, 3) as u8).collect()
}
