//! Chroma at the size of its luma: interpolated as libjpeg does where it is halved, repeated where it is coarser.
// Loops over columns by number are what becomes vector instructions.
#![allow(clippy::needless_range_loop)]

/// One row of chroma at full size. `near` is the row that the result lies in, `far` the one on the result's other side (the same
/// where rows are not halved); both hold `width` values that count. `factors` say how much coarser chroma is, across and down.
#[inline(always)]
pub fn upsampled(
    near: &[u8],
    far: &[u8],
    width: usize,
    factors: (usize, usize),
    scratch: &mut Vec<u16>,
    out: &mut [u8],
) {
    let (near, far) = (&near[..width], &far[..width]);
    match factors {
        (1, 1) => out.copy_from_slice(&near[..out.len()]),
        (1, 2) => {
            for ((near, far), out) in near.iter().zip(far).zip(out) {
                *out = ((3 * u16::from(*near) + u16::from(*far) + 2) >> 2) as u8;
            }
        }
        (2, 1) => {
            blend(near, near, scratch, 1);
            across(scratch, out, [1, 2], 2);
        }
        (2, 2) => {
            blend(near, far, scratch, 3);
            across(scratch, out, [8, 7], 4);
        }
        (factor, _) => {
            for (at, out) in out.iter_mut().enumerate() {
                *out = near[(at / factor).min(width - 1)];
            }
        }
    }
}

/// Three parts of near and one of far (`weight` 3), or near alone, with its first and last value repeated at its ends.
#[inline(always)]
fn blend(near: &[u8], far: &[u8], out: &mut Vec<u16>, weight: u16) {
    let width = near.len();
    out.resize(width + 2, 0);
    let inner = &mut out[1..=width];
    for at in 0..width {
        inner[at] = if weight == 3 { 3 * u16::from(near[at]) + u16::from(far[at]) } else { u16::from(near[at]) };
    }
    (out[0], out[width + 1]) = (out[1], out[width]);
}

/// Doubles a row: three parts of the nearer value, one of the farther.
#[inline(always)]
fn across(values: &[u16], out: &mut [u8], bias: [u16; 2], shift: u32) {
    let (pairs, rest) = out.as_chunks_mut::<2>();
    let count = pairs.len();
    let (before, here, after) = (&values[..count], &values[1..=count], &values[2..count + 2]);
    for at in 0..count {
        let three = 3 * here[at];
        pairs[at] = [((three + before[at] + bias[0]) >> shift) as u8, ((three + after[at] + bias[1]) >> shift) as u8];
    }
    if let [last] = rest {
        *last = ((3 * values[count + 1] + values[count] + bias[0]) >> shift) as u8;
    }
}
