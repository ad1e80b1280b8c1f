//! The two inner loops of a resize, compiled twice: for any x86-64 (or other) machine, and for AVX2.
//!
//! Always true: both give the same bits, as neither fuses a multiplication with an addition; so equal requests make equal
//! bytes on every machine.
#![allow(unsafe_code)]

/// Values that are worked on at once; rows are padded to a multiple of it.
pub(super) const BLOCK: usize = 32;

/// `out[i] = Σ weights[j] · rows[j][i]`. Rows are at least as long as `out`.
pub(super) fn weigh_rows(out: &mut [[f32; BLOCK]], rows: &[&[[f32; BLOCK]]], weights: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { weigh_rows_avx2(out, rows, weights) };
    }
    weigh_rows_body(out, rows, weights);
}

/// `out[i] = Σ weights[i][j] · row[starts[i] + j]`, four channels at once; `len` (a multiple of 4) weights a result.
pub(super) fn weigh_pixels(out: &mut [[f32; 4]], row: &[[f32; 4]], starts: &[usize], weights: &[f32], len: usize) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { weigh_pixels_avx2(out, row, starts, weights, len) };
    }
    weigh_pixels_body(out, row, starts, weights, len);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn weigh_rows_avx2(out: &mut [[f32; BLOCK]], rows: &[&[[f32; BLOCK]]], weights: &[f32]) {
    weigh_rows_body(out, rows, weights);
}

/// Two pixels to a register, which the compiler does not find by itself: a third less time than the loop below takes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::needless_range_loop)]
fn weigh_pixels_avx2(out: &mut [[f32; 4]], row: &[[f32; 4]], starts: &[usize], weights: &[f32], len: usize) {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_castsi128_pd, _mm_loadu_si64, _mm_storeu_ps, _mm256_add_ps, _mm256_broadcastsd_pd,
        _mm256_castpd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_loadu_ps, _mm256_mul_ps,
        _mm256_permutevar_ps, _mm256_set_epi32, _mm256_setzero_ps,
    };
    let spread = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
    for at in 0..out.len() {
        let window = row[starts[at]..starts[at] + len].as_flattened();
        let weights = &weights[at * len..(at + 1) * len];
        // Of taps 0 and 1, 2 and 3 of every four.
        let (mut first, mut second) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        let mut tap = 0;
        while tap + 4 <= len {
            let (values, weights) = (&window[4 * tap..4 * tap + 16], &weights[tap..tap + 4]);
            // SAFETY: of sixteen values and four weights, eight and two are read from the first on, and from the middle on.
            let (low, high, one, two) = unsafe {
                (
                    _mm256_loadu_ps(values.as_ptr()),
                    _mm256_loadu_ps(values.as_ptr().add(8)),
                    _mm256_broadcastsd_pd(_mm_castsi128_pd(_mm_loadu_si64(weights.as_ptr().cast()))),
                    _mm256_broadcastsd_pd(_mm_castsi128_pd(_mm_loadu_si64(weights.as_ptr().add(2).cast()))),
                )
            };
            let (one, two) = (_mm256_castpd_ps(one), _mm256_castpd_ps(two));
            first = _mm256_add_ps(first, _mm256_mul_ps(_mm256_permutevar_ps(one, spread), low));
            second = _mm256_add_ps(second, _mm256_mul_ps(_mm256_permutevar_ps(two, spread), high));
            tap += 4;
        }
        let first = _mm_add_ps(_mm256_castps256_ps128(first), _mm256_extractf128_ps::<1>(first));
        let second = _mm_add_ps(_mm256_castps256_ps128(second), _mm256_extractf128_ps::<1>(second));
        // SAFETY: a pixel is four values.
        unsafe { _mm_storeu_ps(out[at].as_mut_ptr(), _mm_add_ps(first, second)) };
    }
}

// Plain loops over indices: iterators' own functions are not always inlined into a function with features of its own.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn weigh_rows_body(out: &mut [[f32; BLOCK]], rows: &[&[[f32; BLOCK]]], weights: &[f32]) {
    let taps = rows.len().min(weights.len());
    for at in 0..out.len() {
        let mut sums = [0.0; BLOCK];
        for tap in 0..taps {
            let (row, weight) = (&rows[tap][at], weights[tap]);
            for lane in 0..BLOCK {
                sums[lane] += weight * row[lane];
            }
        }
        out[at] = sums;
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn weigh_pixels_body(out: &mut [[f32; 4]], row: &[[f32; 4]], starts: &[usize], weights: &[f32], len: usize) {
    for at in 0..out.len() {
        // Four sums that do not wait for each other.
        let mut sums = [[0.0f32; 4]; 4];
        let window = &row[starts[at]..starts[at] + len];
        let weights = &weights[at * len..(at + 1) * len];
        let mut tap = 0;
        while tap + 4 <= len {
            let (pixels, weights) = (&window[tap..tap + 4], &weights[tap..tap + 4]);
            for lane in 0..4 {
                for channel in 0..4 {
                    sums[lane][channel] += weights[lane] * pixels[lane][channel];
                }
            }
            tap += 4;
        }
        for channel in 0..4 {
            out[at][channel] = (sums[0][channel] + sums[1][channel]) + (sums[2][channel] + sums[3][channel]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_builds_give_the_same_bits() {
        let mut random = fastrand::Rng::with_seed(7);
        let rows: Vec<Vec<[f32; BLOCK]>> =
            (0..19).map(|_| (0..5).map(|_| std::array::from_fn(|_| random.f32())).collect()).collect();
        let rows: Vec<&[[f32; BLOCK]]> = rows.iter().map(Vec::as_slice).collect();
        let weights: Vec<f32> = (0..19).map(|_| random.f32() - 0.3).collect();
        let (mut plain, mut fast) = ([[0.0; BLOCK]; 5], [[0.0; BLOCK]; 5]);
        weigh_rows_body(&mut plain, &rows, &weights);
        weigh_rows(&mut fast, &rows, &weights);
        assert_eq!(plain, fast);

        let row: Vec<[f32; 4]> = (0..100).map(|_| std::array::from_fn(|_| random.f32())).collect();
        let starts = [0, 10, 50, 88];
        let weights: Vec<f32> = (0..4 * 12).map(|_| random.f32() - 0.3).collect();
        let (mut plain, mut fast) = ([[0.0; 4]; 4], [[0.0; 4]; 4]);
        weigh_pixels_body(&mut plain, &row, &starts, &weights, 12);
        weigh_pixels(&mut fast, &row, &starts, &weights, 12);
        assert_eq!(plain, fast);
        let by_hand: f32 = (0..12).map(|at| weights[12 + at] * row[10 + at][2]).sum();
        assert!((plain[1][2] - by_hand).abs() < 1e-5);
    }
}
