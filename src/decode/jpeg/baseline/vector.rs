//! Sixteen whole numbers of 16 bits at once: by AVX2, or one after another. Both do the same to every bit.
//!
//! Whoever computes with them does so without closures and iterators' adapters: their functions are compiled without AVX2, and
//! each step in them would be a call.

/// Numbers in a vector.
pub const LANES: usize = 16;

/// Sixteen numbers, with or without sign as each step says. What no step says more of wraps.
pub trait Vector: Copy {
    /// The same number everywhere.
    fn splat(value: u16) -> Self;
    /// Of samples.
    fn of(samples: &[u8; LANES]) -> Self;
    /// Of pairs of samples, the first in the lower half.
    fn of_pairs(samples: &[[u8; 2]; LANES]) -> Self;
    /// Writes the numbers.
    fn put(self, out: &mut [i16; LANES]);
    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The sum without sign, at most 65,535.
    fn plus_at_most(self, other: Self) -> Self;
    /// The sum with sign, within 16 bits.
    fn plus_signed(self, other: Self) -> Self;
    /// The difference.
    fn minus(self, other: Self) -> Self;
    /// The lower half of the product.
    fn times(self, other: Self) -> Self;
    /// The upper half of the product without sign.
    fn high(self, other: Self) -> Self;
    /// The upper half of the product with sign.
    fn high_signed(self, other: Self) -> Self;
    /// Shifted to the left.
    fn up<const BITS: i32>(self) -> Self;
    /// Shifted to the right, without sign.
    fn down<const BITS: i32>(self) -> Self;
    /// The bits of both.
    fn and(self, other: Self) -> Self;
    /// Without its sign.
    fn absolute(self) -> Self;
    /// With sign, at least 0.
    fn above_zero(self) -> Self;
    /// With sign, the smaller one.
    fn at_most(self, other: Self) -> Self;
    /// With sign: all bits where it is smaller.
    fn below(self, other: Self) -> Self;
    /// Of a [`Vector::below`]: the one where it is, the other where it is not.
    fn choose(self, yes: Self, no: Self) -> Self;
}

/// One after another.
#[derive(Clone, Copy)]
pub struct Portable([u16; LANES]);

impl Portable {
    #[inline(always)]
    fn each(self, other: Self, step: impl Fn(u16, u16) -> u16) -> Self {
        Self(std::array::from_fn(|lane| step(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn signed(self, other: Self, step: impl Fn(i16, i16) -> i16) -> Self {
        self.each(other, |one, two| step(one as i16, two as i16) as u16)
    }
}

impl Vector for Portable {
    #[inline(always)]
    fn splat(value: u16) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn of(samples: &[u8; LANES]) -> Self {
        Self(samples.map(u16::from))
    }
    #[inline(always)]
    fn of_pairs(samples: &[[u8; 2]; LANES]) -> Self {
        Self(samples.map(u16::from_le_bytes))
    }
    #[inline(always)]
    fn put(self, out: &mut [i16; LANES]) {
        *out = self.0.map(|value| value as i16);
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.each(other, u16::wrapping_add)
    }
    #[inline(always)]
    fn plus_at_most(self, other: Self) -> Self {
        self.each(other, u16::saturating_add)
    }
    #[inline(always)]
    fn plus_signed(self, other: Self) -> Self {
        self.signed(other, i16::saturating_add)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.each(other, u16::wrapping_sub)
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.each(other, u16::wrapping_mul)
    }
    #[inline(always)]
    fn high(self, other: Self) -> Self {
        self.each(other, |one, two| ((u32::from(one) * u32::from(two)) >> 16) as u16)
    }
    #[inline(always)]
    fn high_signed(self, other: Self) -> Self {
        self.signed(other, |one, two| ((i32::from(one) * i32::from(two)) >> 16) as i16)
    }
    #[inline(always)]
    fn up<const BITS: i32>(self) -> Self {
        Self(self.0.map(|value| value << BITS))
    }
    #[inline(always)]
    fn down<const BITS: i32>(self) -> Self {
        Self(self.0.map(|value| value >> BITS))
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.each(other, |one, two| one & two)
    }
    #[inline(always)]
    fn absolute(self) -> Self {
        Self(self.0.map(|value| (value as i16).unsigned_abs()))
    }
    #[inline(always)]
    fn above_zero(self) -> Self {
        self.signed(Self::splat(0), i16::max)
    }
    #[inline(always)]
    fn at_most(self, other: Self) -> Self {
        self.signed(other, i16::min)
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self {
        self.signed(other, |one, two| if one < two { -1 } else { 0 })
    }
    #[inline(always)]
    fn choose(self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|lane| if self.0[lane] == 0 { no.0[lane] } else { yes.0[lane] }))
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, Vector};

    /// By AVX2. To be used where the machine is known to have it, and nowhere else.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256i);

    /// Every step is one instruction.
    macro_rules! step {
        ($call:expr) => {
            // SAFETY: who uses this type has asked whether the machine has AVX2; values alone are read and made.
            Self(unsafe { $call })
        };
    }

    impl Vector for Avx2 {
        #[inline(always)]
        fn splat(value: u16) -> Self {
            step!(_mm256_set1_epi16(value as i16))
        }
        #[inline(always)]
        fn of(samples: &[u8; LANES]) -> Self {
            // SAFETY: as above; sixteen bytes are read, of a reference to as many.
            Self(unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(samples.as_ptr().cast())) })
        }
        #[inline(always)]
        fn of_pairs(samples: &[[u8; 2]; LANES]) -> Self {
            // SAFETY: as above; thirty-two bytes are read, of a reference to as many.
            Self(unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) })
        }
        #[inline(always)]
        fn put(self, out: &mut [i16; LANES]) {
            // SAFETY: as above; sixteen numbers are written, to a reference to as many.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), self.0) };
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            step!(_mm256_add_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn plus_at_most(self, other: Self) -> Self {
            step!(_mm256_adds_epu16(self.0, other.0))
        }
        #[inline(always)]
        fn plus_signed(self, other: Self) -> Self {
            step!(_mm256_adds_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            step!(_mm256_sub_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            step!(_mm256_mullo_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn high(self, other: Self) -> Self {
            step!(_mm256_mulhi_epu16(self.0, other.0))
        }
        #[inline(always)]
        fn high_signed(self, other: Self) -> Self {
            step!(_mm256_mulhi_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn up<const BITS: i32>(self) -> Self {
            step!(_mm256_slli_epi16::<BITS>(self.0))
        }
        #[inline(always)]
        fn down<const BITS: i32>(self) -> Self {
            step!(_mm256_srli_epi16::<BITS>(self.0))
        }
        #[inline(always)]
        fn and(self, other: Self) -> Self {
            step!(_mm256_and_si256(self.0, other.0))
        }
        #[inline(always)]
        fn absolute(self) -> Self {
            step!(_mm256_abs_epi16(self.0))
        }
        #[inline(always)]
        fn above_zero(self) -> Self {
            step!(_mm256_max_epi16(self.0, _mm256_setzero_si256()))
        }
        #[inline(always)]
        fn at_most(self, other: Self) -> Self {
            step!(_mm256_min_epi16(self.0, other.0))
        }
        #[inline(always)]
        fn below(self, other: Self) -> Self {
            step!(_mm256_cmpgt_epi16(other.0, self.0))
        }
        #[inline(always)]
        fn choose(self, yes: Self, no: Self) -> Self {
            step!(_mm256_blendv_epi8(no.0, yes.0, self.0))
        }
    }
}
