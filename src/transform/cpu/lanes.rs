//! The inner loops of a resize, compiled twice: for any x86-64 (or other) machine, and for AVX2.
//!
//! Always true: both give the same bits, as they add whole numbers; so equal requests make equal bytes on every machine.
#![allow(unsafe_code)]

use super::filter::Weights;

/// Values that are worked on at once; rows are padded to a multiple of it.
pub(super) const BLOCK: usize = 32;

/// Values of two rows (or of two pixels of a row) that are weighed together.
pub(super) type Pair = [i16; 2];

/// What is taken off what [`weigh_rows`] leaves, so that a filter's overshoot fits to both sides: half of full light.
pub(super) const HALF: i32 = 1 << 14;

// Plain loops over indices below: iterators' own functions, and closures given to them, are not always inlined into a function with
// features of its own.

/// Two rows of whole blocks, value by value.
pub(super) fn pair_rows(out: &mut [Pair], even: &[i16], odd: &[i16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { pair_rows_avx2(out, even, odd) };
    }
    pair_rows_body(out, even, odd);
}

/// Multiplies a colour's light with opacity, of which 32 768 is all (`u16` values); both are whole blocks.
pub(super) fn premultiply(light: &mut [i16], opacity: &[i16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { premultiply_avx2(light, opacity) };
    }
    premultiply_body(light, opacity);
}

/// `out[i] = Σ weights[j] · rows[j][i]`, less [`HALF`], brought into 16 bits. Rows come in pairs, as weights do, and are at least as
/// long as `out`, which is whole blocks.
pub(super) fn weigh_rows(out: &mut [i16], rows: &[&[Pair]], weights: Weights<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { weigh_rows_avx2(out, rows, weights) };
    }
    weigh_rows_body(out, rows, weights);
}

/// Planes of one row, `stride` values (whole blocks) each, to its pixels by twos: both reds, both greens and so on. Channels that
/// are not there become nothing.
pub(super) fn to_pixels(planes: &[i16], stride: usize, channels: usize, pixels: &mut [[Pair; 4]]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { to_pixels_avx2(planes, stride, channels, pixels) };
    }
    to_pixels_body(planes, stride, channels, pixels);
}

/// `out[i] = Σ weights[i][j] · row[2 · starts[i] + j]` of two rows, four channels at once, brought into 0 to full light. Rows are as
/// [`weigh_rows`] and [`to_pixels`] left them. `len` (a multiple of 4) weights a result.
pub(super) fn weigh_pixels(
    out: &mut [Vec<[i16; 4]>; 2],
    rows: &[Vec<[Pair; 4]>; 2],
    starts: &[usize],
    weights: Weights<'_>,
    len: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { weigh_pixels_avx2(out, rows, starts, weights, len) };
    }
    for (out, row) in out.iter_mut().zip(rows) {
        weigh_pixels_body(out, row, starts, weights, len);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::needless_range_loop)]
fn weigh_rows_avx2(out: &mut [i16], rows: &[&[Pair]], weights: Weights<'_>) {
    use std::arch::x86_64::{
        _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_packs_epi32,
        _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_sra_epi32, _mm256_storeu_si256, _mm256_sub_epi32,
    };
    let round = _mm256_set1_epi32(weights.half());
    let shift = _mm_cvtsi32_si128(weights.bits as i32);
    let less = _mm256_set1_epi32(HALF);
    let taps = rows.len().min(weights.values.len() / 2);
    for block in 0..out.len() / BLOCK {
        let from = block * BLOCK;
        let (mut one, mut two, mut three, mut four) = (round, round, round, round);
        for tap in 0..taps {
            let (first, second) = (weights.values[2 * tap], weights.values[2 * tap + 1]);
            let both = _mm256_set1_epi32(i32::from(first as u16) | i32::from(second) << 16);
            let values = rows[tap][from..from + BLOCK].as_ptr();
            // SAFETY: eight pairs are read of each quarter of the block.
            let [first, second, third, last] = unsafe {
                [
                    _mm256_loadu_si256(values.cast()),
                    _mm256_loadu_si256(values.add(8).cast()),
                    _mm256_loadu_si256(values.add(16).cast()),
                    _mm256_loadu_si256(values.add(24).cast()),
                ]
            };
            one = _mm256_add_epi32(one, _mm256_madd_epi16(first, both));
            two = _mm256_add_epi32(two, _mm256_madd_epi16(second, both));
            three = _mm256_add_epi32(three, _mm256_madd_epi16(third, both));
            four = _mm256_add_epi32(four, _mm256_madd_epi16(last, both));
        }
        one = _mm256_sub_epi32(_mm256_sra_epi32(one, shift), less);
        two = _mm256_sub_epi32(_mm256_sra_epi32(two, shift), less);
        three = _mm256_sub_epi32(_mm256_sra_epi32(three, shift), less);
        four = _mm256_sub_epi32(_mm256_sra_epi32(four, shift), less);
        // Packing takes halves in turn.
        let low = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(one, two));
        let high = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(three, four));
        let out = out[from..from + BLOCK].as_mut_ptr();
        // SAFETY: sixteen values are written to each half of the block.
        unsafe {
            _mm256_storeu_si256(out.cast(), low);
            _mm256_storeu_si256(out.add(16).cast(), high);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::needless_range_loop)]
fn weigh_pixels_avx2(
    out: &mut [Vec<[i16; 4]>; 2],
    rows: &[Vec<[Pair; 4]>; 2],
    starts: &[usize],
    weights: Weights<'_>,
    len: usize,
) {
    use std::arch::x86_64::{
        _mm_cvtsi32_si128, _mm_loadu_si64, _mm_storeu_si64, _mm256_add_epi32, _mm256_broadcastq_epi64,
        _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_max_epi16, _mm256_packs_epi32, _mm256_permute2x128_si256, _mm256_permutevar_ps,
        _mm256_set_epi32, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sra_epi32,
    };
    // Weights 0 and 1 for every channel of the first two pixels, 2 and 3 for the other two.
    let spread = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
    let round = _mm256_set1_epi32(weights.half());
    let shift = _mm_cvtsi32_si128(weights.bits as i32);
    let more = _mm256_set1_epi32(HALF);
    let ([first, second], [first_out, second_out]) = (rows, out);
    let count = starts.len().min(first_out.len()).min(second_out.len());
    for at in 0..count {
        let place = starts[at]..starts[at] + len / 2;
        let (upper, lower) = (first[place.clone()].as_ptr(), second[place].as_ptr());
        let own = weights.values[at * len..(at + 1) * len].as_ptr();
        let (mut one, mut two) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for step in 0..len / 4 {
            // SAFETY: four weights are read of the `len`, and two pairs of pixels of the `len / 2` of each row.
            let (four, upper, lower) = unsafe {
                (
                    _mm256_broadcastq_epi64(_mm_loadu_si64(own.add(4 * step).cast())),
                    _mm256_loadu_si256(upper.add(2 * step).cast()),
                    _mm256_loadu_si256(lower.add(2 * step).cast()),
                )
            };
            let four = _mm256_castps_si256(_mm256_permutevar_ps(_mm256_castsi256_ps(four), spread));
            one = _mm256_add_epi32(one, _mm256_madd_epi16(upper, four));
            two = _mm256_add_epi32(two, _mm256_madd_epi16(lower, four));
        }
        // The upper row's sums in one half, the lower one's in the other.
        let sums =
            _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(one, two), _mm256_permute2x128_si256::<0x31>(one, two));
        let sums = _mm256_add_epi32(_mm256_sra_epi32(_mm256_add_epi32(sums, round), shift), more);
        let sums = _mm256_max_epi16(_mm256_packs_epi32(sums, sums), _mm256_setzero_si256());
        // SAFETY: a pixel is four values.
        unsafe {
            _mm_storeu_si64(first_out[at].as_mut_ptr().cast(), _mm256_castsi256_si128(sums));
            _mm_storeu_si64(second_out[at].as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(sums));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn to_pixels_avx2(planes: &[i16], stride: usize, channels: usize, pixels: &mut [[Pair; 4]]) {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_storeu_si256,
        _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    };
    let plane = |channel: usize| planes.get(channel * stride..(channel + 1) * stride).unwrap_or_default();
    let planes: [_; 4] = std::array::from_fn(|channel| {
        let plane = if channel < channels { plane(channel) } else { &[] };
        plane.as_chunks::<16>().0
    });
    let blocks = pixels.as_chunks_mut::<8>().0;
    for at in 0..blocks.len().min(planes[0].len()) {
        let mut values = [_mm256_setzero_si256(); 4];
        for channel in 0..4 {
            if let Some(pairs) = planes[channel].get(at) {
                // SAFETY: sixteen values are read, which are eight pairs.
                values[channel] = unsafe { _mm256_loadu_si256(pairs.as_ptr().cast()) };
            }
        }
        let [one, two, three, four] = values;
        let (low, low_more) = (_mm256_unpacklo_epi32(one, two), _mm256_unpacklo_epi32(three, four));
        let (high, high_more) = (_mm256_unpackhi_epi32(one, two), _mm256_unpackhi_epi32(three, four));
        // Pairs 0 and 4, 1 and 5, 2 and 6, 3 and 7.
        let (first, second) = (_mm256_unpacklo_epi64(low, low_more), _mm256_unpackhi_epi64(low, low_more));
        let (third, last) = (_mm256_unpacklo_epi64(high, high_more), _mm256_unpackhi_epi64(high, high_more));
        let place = blocks[at].as_mut_ptr();
        // SAFETY: a pair of pixels of four channels is half of what is written each time; eight are there.
        unsafe {
            _mm256_storeu_si256(place.cast(), _mm256_permute2x128_si256::<0x20>(first, second));
            _mm256_storeu_si256(place.add(2).cast(), _mm256_permute2x128_si256::<0x20>(third, last));
            _mm256_storeu_si256(place.add(4).cast(), _mm256_permute2x128_si256::<0x31>(first, second));
            _mm256_storeu_si256(place.add(6).cast(), _mm256_permute2x128_si256::<0x31>(third, last));
        }
    }
}

fn to_pixels_body(planes: &[i16], stride: usize, channels: usize, pixels: &mut [[Pair; 4]]) {
    for (channel, plane) in planes.chunks_exact(stride).take(channels).enumerate() {
        for (pixel, pair) in pixels.iter_mut().zip(plane.as_chunks::<2>().0) {
            pixel[channel] = *pair;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pair_rows_avx2(out: &mut [Pair], even: &[i16], odd: &[i16]) {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm256_permute4x64_epi64, _mm256_storeu_si256, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
    };
    let (out, even, odd) = (out.as_chunks_mut::<16>().0, even.as_chunks::<16>().0, odd.as_chunks::<16>().0);
    for at in 0..out.len().min(even.len()).min(odd.len()) {
        // SAFETY: sixteen values are read of each row.
        let (first, second) =
            unsafe { (_mm256_loadu_si256(even[at].as_ptr().cast()), _mm256_loadu_si256(odd[at].as_ptr().cast())) };
        // Unpacking takes halves of halves.
        let first = _mm256_permute4x64_epi64::<0b11_01_10_00>(first);
        let second = _mm256_permute4x64_epi64::<0b11_01_10_00>(second);
        let place = out[at].as_mut_ptr();
        // SAFETY: sixteen pairs are written.
        unsafe {
            _mm256_storeu_si256(place.cast(), _mm256_unpacklo_epi16(first, second));
            _mm256_storeu_si256(place.add(8).cast(), _mm256_unpackhi_epi16(first, second));
        }
    }
}

fn pair_rows_body(out: &mut [Pair], even: &[i16], odd: &[i16]) {
    for ((pair, even), odd) in out.iter_mut().zip(even).zip(odd) {
        *pair = [*even, *odd];
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn premultiply_avx2(light: &mut [i16], opacity: &[i16]) {
    use std::arch::x86_64::{_mm256_abs_epi16, _mm256_loadu_si256, _mm256_mulhrs_epi16, _mm256_storeu_si256};
    let (light, opacity) = (light.as_chunks_mut::<16>().0, opacity.as_chunks::<16>().0);
    for at in 0..light.len().min(opacity.len()) {
        let place = light[at].as_mut_ptr();
        // SAFETY: sixteen values are read of each, and written.
        unsafe {
            let product =
                _mm256_mulhrs_epi16(_mm256_loadu_si256(place.cast()), _mm256_loadu_si256(opacity[at].as_ptr().cast()));
            // All of it reads as minus one.
            _mm256_storeu_si256(place.cast(), _mm256_abs_epi16(product));
        }
    }
}

fn premultiply_body(light: &mut [i16], opacity: &[i16]) {
    for (light, opacity) in light.iter_mut().zip(opacity) {
        *light = ((i32::from(*light) * i32::from(*opacity as u16) + 16_384) >> 15) as i16;
    }
}

fn weigh_rows_body(out: &mut [i16], rows: &[&[Pair]], weights: Weights<'_>) {
    for (at, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = [weights.half(); BLOCK];
        for (row, [first, second]) in rows.iter().zip(weights.values.as_chunks::<2>().0) {
            let block = &row[at * BLOCK..][..BLOCK];
            for (sum, pair) in sums.iter_mut().zip(block) {
                *sum += i32::from(pair[0]) * i32::from(*first) + i32::from(pair[1]) * i32::from(*second);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = within((sum >> weights.bits) - HALF, i16::MIN);
        }
    }
}

fn weigh_pixels_body(out: &mut [[i16; 4]], row: &[[Pair; 4]], starts: &[usize], weights: Weights<'_>, len: usize) {
    for ((out, start), own) in out.iter_mut().zip(starts).zip(weights.values.chunks_exact(len)) {
        let mut sums = [weights.half(); 4];
        for (pixels, [first, second]) in row[*start..][..len / 2].iter().zip(own.as_chunks::<2>().0) {
            for (sum, pair) in sums.iter_mut().zip(pixels) {
                *sum += i32::from(pair[0]) * i32::from(*first) + i32::from(pair[1]) * i32::from(*second);
            }
        }
        *out = sums.map(|sum| within((sum >> weights.bits) + HALF, 0));
    }
}

fn within(value: i32, low: i16) -> i16 {
    value.clamp(i32::from(low), i32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random weights, now and then so large that sums leave 16 bits.
    fn weights(random: &mut fastrand::Rng, count: usize) -> Vec<i16> {
        (0..count).map(|_| random.i16(-1500..3600)).collect()
    }

    #[test]
    fn rows_are_paired_the_same_in_both_builds() {
        let mut random = fastrand::Rng::with_seed(9);
        let [even, odd] = [(); 2].map(|()| (0..3 * BLOCK).map(|_| random.i16(..)).collect::<Vec<_>>());
        let (mut plain, mut fast) = ([[0; 2]; 3 * BLOCK], [[1; 2]; 3 * BLOCK]);
        pair_rows_body(&mut plain, &even, &odd);
        pair_rows(&mut fast, &even, &odd);
        assert_eq!(plain, fast);
        assert_eq!(plain[BLOCK + 5], [even[BLOCK + 5], odd[BLOCK + 5]]);
    }

    #[test]
    fn planes_become_pixels_the_same_in_both_builds() {
        let mut random = fastrand::Rng::with_seed(10);
        let stride = 3 * BLOCK;
        for channels in 1..=4 {
            let planes: Vec<i16> = (0..channels * stride).map(|_| random.i16(..)).collect();
            let [mut plain, mut fast] = [(); 2].map(|()| vec![[[0; 2]; 4]; stride / 2 + 6]);
            to_pixels_body(&planes, stride, channels, &mut plain);
            to_pixels(&planes, stride, channels, &mut fast);
            assert_eq!(plain, fast);
            let last = channels - 1;
            assert_eq!(plain[BLOCK][last], [planes[last * stride + 2 * BLOCK], planes[last * stride + 2 * BLOCK + 1]]);
        }
    }

    #[test]
    fn light_is_multiplied_the_same_in_both_builds() {
        let mut random = fastrand::Rng::with_seed(8);
        let opacity: Vec<i16> = (0..4 * BLOCK).map(|at| if at % 5 == 0 { i16::MIN } else { random.i16(0..) }).collect();
        let light: Vec<i16> = (0..4 * BLOCK).map(|at| if at % 7 == 0 { i16::MAX } else { random.i16(0..) }).collect();
        let (mut plain, mut fast) = (light.clone(), light.clone());
        premultiply_body(&mut plain, &opacity);
        premultiply(&mut fast, &opacity);
        assert_eq!(plain, fast);
        for at in 0..light.len() {
            let by_hand = f64::from(light[at]) * f64::from(opacity[at] as u16) / 32_768.0;
            assert!((f64::from(plain[at]) - by_hand).abs() <= 0.5, "{} {}", light[at], opacity[at]);
        }
    }

    #[test]
    fn both_builds_give_the_same_bits() {
        let mut random = fastrand::Rng::with_seed(7);
        let rows: Vec<Vec<Pair>> =
            (0..9).map(|_| (0..5 * BLOCK).map(|_| [random.i16(0..), random.i16(0..)]).collect()).collect();
        let rows: Vec<&[Pair]> = rows.iter().map(Vec::as_slice).collect();
        let values = weights(&mut random, 18);
        let own = Weights { values: &values, bits: 15 };
        let (mut plain, mut fast) = ([0; 5 * BLOCK], [0; 5 * BLOCK]);
        weigh_rows_body(&mut plain, &rows, own);
        weigh_rows(&mut fast, &rows, own);
        assert_eq!(plain, fast);
        let by_hand: f64 =
            (0..18).map(|at| f64::from(values[at]) / 32_768.0 * f64::from(rows[at / 2][77][at % 2])).sum();
        let by_hand = (by_hand - f64::from(HALF)).clamp(-32_768.0, 32_767.0);
        assert!((f64::from(plain[77]) - by_hand).abs() < 0.51);

        let mut row =
            || (0..50).map(|_| std::array::from_fn(|_| [random.i16(..), random.i16(..)])).collect::<Vec<[Pair; 4]>>();
        let rows = [row(), row()];
        let starts = [0, 5, 25, 44];
        let values = weights(&mut random, 4 * 12);
        let own = Weights { values: &values, bits: 15 };
        let mut fast = [(); 2].map(|()| vec![[0; 4]; 4]);
        weigh_pixels(&mut fast, &rows, &starts, own, 12);
        for (row, fast) in rows.iter().zip(&fast) {
            let mut plain = vec![[0; 4]; 4];
            weigh_pixels_body(&mut plain, row, &starts, own, 12);
            assert_eq!(&plain, fast);
            let by_hand: f64 =
                (0..12).map(|at| f64::from(values[12 + at]) / 32_768.0 * f64::from(row[5 + at / 2][2][at % 2])).sum();
            let by_hand = (by_hand + f64::from(HALF)).clamp(0.0, 32_767.0);
            assert!((f64::from(plain[1][2]) - by_hand).abs() < 0.51);
        }
    }
}
