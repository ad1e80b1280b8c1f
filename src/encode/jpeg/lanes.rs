//! Eight floating-point numbers at once: by AVX2, or one after another. Both do the same to every bit: no step adds a product
//! without rounding it first.
//!
//! Whoever computes with them does so without closures and iterators' adapters: their functions are compiled without AVX2, and
//! each step in them would be a call.
#![allow(unsafe_code)]

use crate::encode::planes::words::{self, Words};

/// Numbers in a vector.
pub const LANES: usize = 8;

/// Bytes that are read for eight pixels of RGB; the last four do not matter.
pub const PIXELS_BYTES: usize = LANES * 3 + 4;

/// Numbers for two vectors.
pub type Twice = [f32; 2 * LANES];

/// Eight numbers.
pub trait Lanes: Copy {
    /// Whole numbers by the same vectors.
    type Words: Words;
    /// The same number everywhere.
    fn splat(value: f32) -> Self;
    /// Of samples.
    fn samples(samples: &[u8; LANES]) -> Self;
    /// Red, green and blue of pixels.
    fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3];
    /// The sums.
    fn plus(self, other: Self) -> Self;
    /// The differences.
    fn minus(self, other: Self) -> Self;
    /// The products.
    fn times(self, other: Self) -> Self;
    /// Columns for rows.
    fn turned(rows: [Self; LANES]) -> [Self; LANES];
    /// Two rows, each number times its factor, in whole numbers, the nearest ones (of two the even one) and at most [`LEVEL_MAX`] from 0;
    /// and for each number a bit that is set where the product is at least so far from 0 as its limit.
    fn whole(rows: [Self; 2], factors: &Twice, limits: &Twice, out: &mut [i16; 2 * LANES]) -> u32;
}

/// The largest coefficient that Huffman coding of 8-bit samples knows (ITU-T T.81, table F.2).
const LEVEL_MAX: f32 = 1023.0;

/// One after another.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Lanes for Portable {
    type Words = words::Portable;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn samples(samples: &[u8; LANES]) -> Self {
        Self(samples.map(f32::from))
    }
    #[inline(always)]
    fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3] {
        let channel = |channel: usize| Self(std::array::from_fn(|at| f32::from(pixels[at * 3 + channel])));
        [channel(0), channel(1), channel(2)]
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] + other.0[at]))
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] - other.0[at]))
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] * other.0[at]))
    }
    #[inline(always)]
    fn turned(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|row| Self(std::array::from_fn(|at| rows[at].0[row])))
    }
    #[inline(always)]
    fn whole(rows: [Self; 2], factors: &Twice, limits: &Twice, out: &mut [i16; 2 * LANES]) -> u32 {
        let mut mask = 0;
        for at in 0..2 * LANES {
            let value = rows[at / LANES].0[at % LANES] * factors[at];
            let far = value.abs();
            mask |= u32::from(far >= limits[at]) << at;
            // From 2²³ on a number of 32 bits has no fraction.
            let level = ((far.min(LEVEL_MAX) + 8_388_608.0).to_bits() & 0x7f_ffff) as i16;
            out[at] = if value < 0.0 { -level } else { level };
        }
        mask
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, LEVEL_MAX, Lanes, PIXELS_BYTES, Twice};

    /// By AVX2. To be used where the machine is known to have it, and nowhere else.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    /// Every step is one instruction.
    macro_rules! step {
        ($call:expr) => {
            // SAFETY: who uses this type has asked whether the machine has AVX2; values alone are read and made.
            Self(unsafe { $call })
        };
    }

    /// Of four rows: columns 0 and 4, 1 and 5, 2 and 6, 3 and 7.
    #[inline(always)]
    fn four([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(low, low2),
                _mm256_shuffle_ps::<0b11_10_11_10>(low, low2),
                _mm256_shuffle_ps::<0b01_00_01_00>(high, high2),
                _mm256_shuffle_ps::<0b11_10_11_10>(high, high2),
            ]
        }
    }

    impl Lanes for Avx2 {
        type Words = crate::encode::planes::words::Avx2;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            step!(_mm256_set1_ps(value))
        }
        #[inline(always)]
        fn samples(samples: &[u8; LANES]) -> Self {
            // SAFETY: as above; eight bytes are read, of a reference to as many.
            Self(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(samples.as_ptr().cast()))) })
        }
        #[inline(always)]
        fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3] {
            // SAFETY: as above; sixteen bytes are read from 0 and from 12 on, of a reference to 28.
            let both = unsafe {
                let (first, second) = (pixels.as_ptr(), pixels.as_ptr().add(12));
                _mm256_set_m128i(_mm_loadu_si128(second.cast()), _mm_loadu_si128(first.cast()))
            };
            // SAFETY: as above.
            unsafe {
                // Every third byte, from the first on; -1 makes 0.
                let places = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                    0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1,
                ));
                let next = _mm256_broadcastsi128_si256(_mm_set1_epi32(1));
                let (green, blue) =
                    (_mm256_add_epi32(places, next), _mm256_add_epi32(places, _mm256_add_epi32(next, next)));
                [
                    Self(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, places))),
                    Self(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, green))),
                    Self(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, blue))),
                ]
            }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            step!(_mm256_add_ps(self.0, other.0))
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            step!(_mm256_sub_ps(self.0, other.0))
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            step!(_mm256_mul_ps(self.0, other.0))
        }
        #[inline(always)]
        fn turned(rows: [Self; LANES]) -> [Self; LANES] {
            let upper = four([rows[0].0, rows[1].0, rows[2].0, rows[3].0]);
            let lower = four([rows[4].0, rows[5].0, rows[6].0, rows[7].0]);
            // SAFETY: as above.
            unsafe {
                [
                    Self(_mm256_permute2f128_ps::<0x20>(upper[0], lower[0])),
                    Self(_mm256_permute2f128_ps::<0x20>(upper[1], lower[1])),
                    Self(_mm256_permute2f128_ps::<0x20>(upper[2], lower[2])),
                    Self(_mm256_permute2f128_ps::<0x20>(upper[3], lower[3])),
                    Self(_mm256_permute2f128_ps::<0x31>(upper[0], lower[0])),
                    Self(_mm256_permute2f128_ps::<0x31>(upper[1], lower[1])),
                    Self(_mm256_permute2f128_ps::<0x31>(upper[2], lower[2])),
                    Self(_mm256_permute2f128_ps::<0x31>(upper[3], lower[3])),
                ]
            }
        }
        #[inline(always)]
        fn whole(rows: [Self; 2], factors: &Twice, limits: &Twice, out: &mut [i16; 2 * LANES]) -> u32 {
            // SAFETY: as above; eight factors and limits are read from 0 and from 8 on, of references to sixteen, and sixteen numbers are
            // written to a reference to as many.
            unsafe {
                let sign = _mm256_set1_ps(-0.0);
                let most = _mm256_set1_ps(LEVEL_MAX);
                let first = _mm256_mul_ps(rows[0].0, _mm256_loadu_ps(factors.as_ptr()));
                let second = _mm256_mul_ps(rows[1].0, _mm256_loadu_ps(factors.as_ptr().add(LANES)));
                let (one, two) = (_mm256_andnot_ps(sign, first), _mm256_andnot_ps(sign, second));
                let (limit, next) = (_mm256_loadu_ps(limits.as_ptr()), _mm256_loadu_ps(limits.as_ptr().add(LANES)));
                let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(one, limit))
                    | _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(two, next)) << LANES;
                let (one, two) =
                    (_mm256_cvtps_epi32(_mm256_min_ps(one, most)), _mm256_cvtps_epi32(_mm256_min_ps(two, most)));
                let (one, two) = (
                    _mm256_sign_epi32(one, _mm256_castps_si256(first)),
                    _mm256_sign_epi32(two, _mm256_castps_si256(second)),
                );
                // Packing takes halves in turn.
                let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(one, two));
                _mm256_storeu_si256(out.as_mut_ptr().cast(), both);
                mask as u32
            }
        }
    }
}
