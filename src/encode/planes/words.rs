//! Sixteen whole numbers of 16 bits at once: by AVX2, or one after another. Both do the same to every bit.
//!
//! Whoever computes with them does so without closures and iterators' adapters: their functions are compiled without AVX2, and
//! each step in them would be a call.
#![allow(unsafe_code)]

/// Numbers in a vector.
pub const WORDS: usize = 16;

/// Bytes that are read for sixteen pixels of RGB; the last four do not matter.
pub const PIXELS_BYTES: usize = WORDS * 3 + 4;

/// What 1 is where two numbers are multiplied.
pub const ONE: f32 = 32_768.0;

/// A number from −1 to 1, to be multiplied with.
pub const fn factor(value: f32) -> i16 {
    let value = value * ONE + if value < 0.0 { -0.5 } else { 0.5 };
    if value >= ONE { i16::MAX } else { value as i16 }
}

/// What a step of 0 to 255 is here.
pub const UNIT: i16 = 128;

/// What is divided by is a quarter of itself, so that it can be more than 1.
const QUARTER: f32 = ONE / 4.0;

/// Sixteen numbers.
pub trait Words: Copy {
    /// The same number everywhere.
    fn splat(value: i16) -> Self;
    /// Red, green and blue of pixels, in units.
    fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3];
    /// Of samples, as they are.
    fn samples(samples: &[u8; WORDS]) -> Self;
    /// The sums; past the largest or the smallest number there is, that one.
    fn plus(self, other: Self) -> Self;
    /// The differences, as [`Self::plus`].
    fn minus(self, other: Self) -> Self;
    /// The products, of numbers of which [`ONE`] is 1; to the nearest.
    fn times(self, other: Self) -> Self;
    /// Eight times the numbers, without what does not fit.
    fn eightfold(self) -> Self;
    /// The nearest numbers from one to another.
    fn within(self, least: Self, most: Self) -> Self;
    /// How far the numbers are apart, as [`Self::plus`].
    fn apart(self, other: Self) -> Self;
    /// The larger numbers.
    fn larger(self, other: Self) -> Self;
    /// Neighbours in each other's place.
    fn swapped(self) -> Self;
    /// Whether one is above this.
    fn any_above(self, limit: i16) -> bool;
    /// The means of numbers that are not negative; halves rounded up.
    fn mean(self, other: Self) -> Self;
    /// The means of neighbours, first of these numbers, then of others; halves rounded up.
    fn means(self, other: Self) -> Self;
    /// One of these, one of others, and so on, in two vectors.
    fn in_turn(self, other: Self) -> [Self; 2];
    /// The quotients by quarters of numbers of which [`ONE`] is 1, to the nearest; as [`Self::plus`] where they do not fit.
    fn over(self, quarters: Self) -> Self;
    /// What has this light ([`value`]).
    fn valued(self) -> Self;
    /// The nearest whole units, from 0 to 255.
    fn bytes(self, out: &mut [u8; WORDS]);
}

/// Light of sRGB's values as a polynomial without a constant, both from 0 to 1. Within 0.2 % of the whole range; what matters
/// is that it has an inverse, since light is only compared with light.
pub const POWERS: [f32; 3] = [0.012_522_878, 0.682_171_1, 0.305_306_02];

/// The value of a light, both from 0 to 1: from that of a square, a step of Newton's.
fn value(of: f32) -> f32 {
    let [one, two, three] = POWERS;
    let root = of.sqrt();
    let light = ((root * three + two) * root + one) * root;
    let slope = (root * (3.0 * three) + 2.0 * two) * root + one;
    root - (light - of) / slope
}

/// One after another.
#[derive(Clone, Copy)]
pub struct Portable([i16; WORDS]);

/// The nearest whole number (of two the even one) that fits.
fn nearest(value: f32) -> i16 {
    value.round_ties_even() as i16
}

impl Words for Portable {
    #[inline(always)]
    fn splat(value: i16) -> Self {
        Self([value; WORDS])
    }
    #[inline(always)]
    fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3] {
        [0, 1, 2].map(|channel| Self(std::array::from_fn(|at| i16::from(pixels[at * 3 + channel]) * UNIT)))
    }
    #[inline(always)]
    fn samples(samples: &[u8; WORDS]) -> Self {
        Self(samples.map(i16::from))
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_add(other.0[at])))
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(other.0[at])))
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        let product = |at: usize| ((i32::from(self.0[at]) * i32::from(other.0[at]) + (1 << 14)) >> 15) as i16;
        Self(std::array::from_fn(product))
    }
    #[inline(always)]
    fn eightfold(self) -> Self {
        Self(self.0.map(|value| value << 3))
    }
    #[inline(always)]
    fn within(self, least: Self, most: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].max(least.0[at]).min(most.0[at])))
    }
    #[inline(always)]
    fn apart(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| {
            let (one, other) = (self.0[at], other.0[at]);
            one.saturating_sub(other).max(other.saturating_sub(one))
        }))
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].max(other.0[at])))
    }
    #[inline(always)]
    fn swapped(self) -> Self {
        Self(std::array::from_fn(|at| self.0[at ^ 1]))
    }
    #[inline(always)]
    fn any_above(self, limit: i16) -> bool {
        self.0.iter().any(|value| *value > limit)
    }
    #[inline(always)]
    fn mean(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| ((i32::from(self.0[at]) + i32::from(other.0[at]) + 1) >> 1) as i16))
    }
    #[inline(always)]
    fn means(self, other: Self) -> Self {
        let half = |at: usize| {
            let (of, at) = if at < WORDS / 2 { (self.0, at) } else { (other.0, at - WORDS / 2) };
            ((i32::from(of[2 * at]) + i32::from(of[2 * at + 1]) + 1) >> 1) as i16
        };
        Self(std::array::from_fn(half))
    }
    #[inline(always)]
    fn in_turn(self, other: Self) -> [Self; 2] {
        let both = [self.0, other.0];
        [0, WORDS / 2].map(|from| Self(std::array::from_fn(|at| both[at % 2][from + at / 2])))
    }
    #[inline(always)]
    fn over(self, quarters: Self) -> Self {
        let quotient = |at: usize| nearest(f32::from(self.0[at]) * QUARTER / f32::from(quarters.0[at]));
        Self(std::array::from_fn(quotient))
    }
    #[inline(always)]
    fn valued(self) -> Self {
        Self(self.0.map(|light| nearest(value(f32::from(light) * (1.0 / ONE)) * ONE)))
    }
    #[inline(always)]
    fn bytes(self, out: &mut [u8; WORDS]) {
        *out = self.0.map(|value| ((i32::from(value) + i32::from(UNIT) / 2) / i32::from(UNIT)).clamp(0, 255) as u8);
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{ONE, PIXELS_BYTES, POWERS, QUARTER, UNIT, WORDS, Words};

    /// By AVX2. To be used where the machine is known to have it, and nowhere else.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256i);

    /// Every step is one instruction, or two.
    macro_rules! step {
        ($call:expr) => {
            // SAFETY: who uses this type has asked whether the machine has AVX2; values alone are read and made.
            Self(unsafe { $call })
        };
    }

    /// As floating-point numbers, in two halves.
    #[inline(always)]
    fn floats(words: __m256i) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(words))),
                _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(words))),
            ]
        }
    }

    /// The nearest whole numbers that fit, of two halves.
    #[inline(always)]
    fn nearest([first, second]: [__m256; 2]) -> __m256i {
        // SAFETY: as above. Packing takes halves in turn.
        unsafe {
            let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(first), _mm256_cvtps_epi32(second));
            _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
        }
    }

    #[inline(always)]
    fn value(of: __m256) -> __m256 {
        let [one, two, three] = POWERS;
        // SAFETY: as above.
        unsafe {
            let splat = |value: f32| _mm256_set1_ps(value);
            let (one, two, three, twice, thrice) =
                (splat(one), splat(two), splat(three), splat(2.0 * two), splat(3.0 * three));
            let root = _mm256_sqrt_ps(of);
            let light = _mm256_add_ps(_mm256_mul_ps(root, three), two);
            let light = _mm256_mul_ps(_mm256_add_ps(_mm256_mul_ps(light, root), one), root);
            let slope = _mm256_add_ps(_mm256_mul_ps(root, thrice), twice);
            let slope = _mm256_add_ps(_mm256_mul_ps(slope, root), one);
            _mm256_sub_ps(root, _mm256_div_ps(_mm256_sub_ps(light, of), slope))
        }
    }

    impl Words for Avx2 {
        #[inline(always)]
        fn splat(value: i16) -> Self {
            step!(_mm256_set1_epi16(value))
        }
        #[inline(always)]
        fn pixels(pixels: &[u8; PIXELS_BYTES]) -> [Self; 3] {
            // SAFETY: as above; sixteen bytes each are read from 0, 12, 24 and 36 on, of a reference to 52.
            unsafe {
                let four = |pixel: usize| _mm_loadu_si128(pixels.as_ptr().add(pixel * 3).cast());
                let (first, second) = (_mm256_set_m128i(four(8), four(0)), _mm256_set_m128i(four(12), four(4)));
                // Red and green of four pixels; blue; -1 makes 0.
                let both =
                    _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1));
                let blue = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                    2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                ));
                let (one, two) = (_mm256_shuffle_epi8(first, both), _mm256_shuffle_epi8(second, both));
                let blues = (_mm256_shuffle_epi8(first, blue), _mm256_shuffle_epi8(second, blue));
                const SHIFT: i32 = UNIT.trailing_zeros() as i32;
                [
                    Self(_mm256_slli_epi16::<SHIFT>(_mm256_unpacklo_epi64(one, two))),
                    Self(_mm256_slli_epi16::<SHIFT>(_mm256_unpackhi_epi64(one, two))),
                    Self(_mm256_slli_epi16::<SHIFT>(_mm256_unpacklo_epi64(blues.0, blues.1))),
                ]
            }
        }
        #[inline(always)]
        fn samples(samples: &[u8; WORDS]) -> Self {
            // SAFETY: as above; sixteen bytes are read, of a reference to as many.
            Self(unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(samples.as_ptr().cast())) })
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            step!(_mm256_adds_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            step!(_mm256_subs_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            step!(_mm256_mulhrs_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn eightfold(self) -> Self {
            step!(_mm256_slli_epi16::<3>(self.0))
        }
        #[inline(always)]
        fn within(self, least: Self, most: Self) -> Self {
            step!(_mm256_min_epi16(_mm256_max_epi16(self.0, least.0), most.0))
        }
        #[inline(always)]
        fn apart(self, other: Self) -> Self {
            step!(_mm256_max_epi16(_mm256_subs_epi16(self.0, other.0), _mm256_subs_epi16(other.0, self.0)))
        }
        #[inline(always)]
        fn larger(self, other: Self) -> Self {
            step!(_mm256_max_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn swapped(self) -> Self {
            step!(_mm256_shufflehi_epi16::<0b10_11_00_01>(_mm256_shufflelo_epi16::<0b10_11_00_01>(self.0)))
        }
        #[inline(always)]
        fn any_above(self, limit: i16) -> bool {
            // SAFETY: as above.
            unsafe { _mm256_movemask_epi8(_mm256_cmpgt_epi16(self.0, _mm256_set1_epi16(limit))) != 0 }
        }
        #[inline(always)]
        fn mean(self, other: Self) -> Self {
            step!(_mm256_avg_epu16(self.0, other.0))
        }
        #[inline(always)]
        fn means(self, other: Self) -> Self {
            // SAFETY: as above. Packing takes halves in turn.
            unsafe {
                let ones = _mm256_set1_epi16(1);
                let round = _mm256_set1_epi32(1);
                let half = |of| _mm256_srai_epi32::<1>(_mm256_add_epi32(_mm256_madd_epi16(of, ones), round));
                let packed = _mm256_packs_epi32(half(self.0), half(other.0));
                Self(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed))
            }
        }
        #[inline(always)]
        fn in_turn(self, other: Self) -> [Self; 2] {
            // SAFETY: as above.
            unsafe {
                let (low, high) = (_mm256_unpacklo_epi16(self.0, other.0), _mm256_unpackhi_epi16(self.0, other.0));
                [Self(_mm256_permute2x128_si256::<0x20>(low, high)), Self(_mm256_permute2x128_si256::<0x31>(low, high))]
            }
        }
        #[inline(always)]
        fn over(self, quarters: Self) -> Self {
            let ([a, b], [c, d]) = (floats(self.0), floats(quarters.0));
            // SAFETY: as above.
            unsafe {
                let quarter = _mm256_set1_ps(QUARTER);
                Self(nearest([
                    _mm256_div_ps(_mm256_mul_ps(a, quarter), c),
                    _mm256_div_ps(_mm256_mul_ps(b, quarter), d),
                ]))
            }
        }
        #[inline(always)]
        fn valued(self) -> Self {
            let [a, b] = floats(self.0);
            // SAFETY: as above.
            unsafe {
                let (one, part) = (_mm256_set1_ps(ONE), _mm256_set1_ps(1.0 / ONE));
                let (a, b) = (value(_mm256_mul_ps(a, part)), value(_mm256_mul_ps(b, part)));
                Self(nearest([_mm256_mul_ps(a, one), _mm256_mul_ps(b, one)]))
            }
        }
        #[inline(always)]
        fn bytes(self, out: &mut [u8; WORDS]) {
            // SAFETY: as above; sixteen bytes are written, to a reference to as many.
            unsafe {
                let whole = _mm256_mulhrs_epi16(self.0, _mm256_set1_epi16((ONE / UNIT as f32) as i16));
                let packed = _mm_packus_epi16(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
                _mm_storeu_si128(out.as_mut_ptr().cast(), packed);
            }
        }
    }
}
