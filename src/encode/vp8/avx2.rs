//! The steps of [`Kernels`] by AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernels::{
    Block, COSINE, Coefficients, DOWN_LEFT, DOWN_RIGHT, Divisors, Edge, FORWARD, HORIZONTAL, HORIZONTAL_DOWN,
    HORIZONTAL_UP, Kernels, LOWEST, Levels, MEANS, MODES, SINE, VERTICAL, VERTICAL_LEFT, VERTICAL_RIGHT,
};

/// By AVX2. To be used where the machine is known to have it, and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

/// Where bytes of a vector come from; -1 makes 0.
type Places = [i8; 16];

#[inline(always)]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: sixteen bytes are read, of a reference to as many.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn stored(value: __m128i) -> Block {
    let mut out = [0; 16];
    // SAFETY: sixteen bytes are written, to as many.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), value) };
    out
}

/// The first eight and the last.
#[inline(always)]
fn halves(values: &[i16; 16]) -> [__m128i; 2] {
    // SAFETY: eight numbers each are read from 0 and from 8 on, of a reference to sixteen.
    unsafe { [_mm_loadu_si128(values.as_ptr().cast()), _mm_loadu_si128(values.as_ptr().add(8).cast())] }
}

/// The same of numbers without sign.
#[inline(always)]
fn wide(values: &[u16; 16]) -> [__m128i; 2] {
    // SAFETY: as above.
    unsafe { [_mm_loadu_si128(values.as_ptr().cast()), _mm_loadu_si128(values.as_ptr().add(8).cast())] }
}

#[inline(always)]
fn together([low, high]: [__m128i; 2]) -> [i16; 16] {
    let mut out = [0; 16];
    // SAFETY: eight numbers each are written from 0 and from 8 on, to sixteen.
    unsafe {
        _mm_storeu_si128(out.as_mut_ptr().cast(), low);
        _mm_storeu_si128(out.as_mut_ptr().add(8).cast(), high);
    }
    out
}

#[inline(always)]
fn shuffled(value: __m128i, places: &Places) -> __m128i {
    // SAFETY: who uses this file has asked whether the machine has AVX2; sixteen bytes are read, of a reference to as many.
    unsafe { _mm_shuffle_epi8(value, _mm_loadu_si128(places.as_ptr().cast())) }
}

/// Columns for rows, two in a vector.
#[inline(always)]
fn turned([low, high]: [__m128i; 2]) -> [__m128i; 2] {
    // SAFETY: as above; values alone are read and made.
    unsafe {
        let (even, odd) = (_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high));
        [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
    }
}

/// Two numbers in turn.
#[inline(always)]
fn pair(first: i32, second: i32) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_set1_epi32(second << 16 | (first & 0xffff)) }
}

/// One direction of the forward transform, of rows two in a vector: sums times `WHOLE` are moved by `SUMS` bits, the others by `REST`.
#[inline(always)]
fn pass<const WHOLE: i32, const SUMS: i32, const REST: i32>([low, high]: [__m128i; 2]) -> [__m128i; 2] {
    let [more, less] = FORWARD;
    // SAFETY: as above.
    unsafe {
        let high = _mm_shuffle_epi32::<0b01_00_11_10>(high);
        let (sum, difference) = (_mm_add_epi16(low, high), _mm_sub_epi16(low, high));
        let sum = _mm_unpacklo_epi16(sum, _mm_unpackhi_epi64(sum, sum));
        let difference = _mm_unpacklo_epi16(difference, _mm_unpackhi_epi64(difference, difference));
        let half = _mm_set1_epi32((1 << SUMS) >> 1);
        let zeroth = _mm_srai_epi32::<SUMS>(_mm_add_epi32(_mm_madd_epi16(sum, pair(WHOLE, WHOLE)), half));
        let second = _mm_srai_epi32::<SUMS>(_mm_add_epi32(_mm_madd_epi16(sum, pair(WHOLE, -WHOLE)), half));
        let half = _mm_set1_epi32(1 << (REST - 1));
        let first = _mm_srai_epi32::<REST>(_mm_add_epi32(_mm_madd_epi16(difference, pair(more, less)), half));
        let third = _mm_srai_epi32::<REST>(_mm_add_epi32(_mm_madd_epi16(difference, pair(less, -more)), half));
        [_mm_packs_epi32(zeroth, first), _mm_packs_epi32(second, third)]
    }
}

/// Rows, one in the first half of a vector.
#[inline(always)]
fn rows([low, high]: [__m128i; 2]) -> [__m128i; 4] {
    // SAFETY: as above.
    unsafe { [low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)] }
}

/// One direction of the inverse transform.
#[inline(always)]
fn back([zeroth, first, second, third]: [__m128i; 4]) -> [__m128i; 2] {
    // SAFETY: as above.
    unsafe {
        // The sine's 16 bits are a negative number, 65,536 less.
        let (sine, cosine) = (_mm_set1_epi16(SINE as i16), _mm_set1_epi16(COSINE as i16));
        let by = |value, factor| _mm_add_epi16(_mm_mulhi_epi16(value, factor), value);
        let (a, b) = (_mm_add_epi16(zeroth, second), _mm_sub_epi16(zeroth, second));
        let c = _mm_sub_epi16(by(first, sine), by(third, cosine));
        let d = _mm_add_epi16(by(first, cosine), by(third, sine));
        [
            _mm_unpacklo_epi64(_mm_add_epi16(a, d), _mm_add_epi16(b, c)),
            _mm_unpacklo_epi64(_mm_sub_epi16(b, c), _mm_sub_epi16(a, d)),
        ]
    }
}

/// Of a mode's plan the places in the smoothed edge, in the means, and in the edge itself.
const fn places(plan: &Block) -> [Places; 3] {
    let mut out = [[-1; 16]; 3];
    let mut at = 0;
    while at < 16 {
        let place = plan[at];
        let (of, from) = if place == LOWEST {
            (2, 0)
        } else if place >= MEANS {
            (1, place - MEANS)
        } else {
            (0, place)
        };
        out[of][at] = from as i8;
        at += 1;
    }
    out
}

/// Those of all modes but the first two.
static PLACES: [[Places; 3]; MODES - 2] = [
    places(&VERTICAL),
    places(&HORIZONTAL),
    places(&DOWN_RIGHT),
    places(&VERTICAL_RIGHT),
    places(&DOWN_LEFT),
    places(&VERTICAL_LEFT),
    places(&HORIZONTAL_DOWN),
    places(&HORIZONTAL_UP),
];

/// The edge smoothed over three, and the means of neighbours.
#[inline(always)]
fn smoothed(edge: __m128i) -> (__m128i, __m128i) {
    let before = shuffled(edge, &[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12]);
    let after = shuffled(edge, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 12, 12]);
    // SAFETY: as above.
    unsafe {
        // (a + 2b + c + 2) / 4 is the mean of b and of a's and c's mean, the latter rounded down.
        let odd = _mm_and_si128(_mm_xor_si128(before, after), _mm_set1_epi8(1));
        let around = _mm_sub_epi8(_mm_avg_epu8(before, after), odd);
        (_mm_avg_epu8(edge, around), _mm_avg_epu8(edge, after))
    }
}

impl Kernels for Avx2 {
    #[inline(always)]
    fn forward(block: &Block, prediction: &Block) -> Coefficients {
        let (block, prediction) = (load(block), load(prediction));
        // SAFETY: as above.
        let off = unsafe {
            let zero = _mm_setzero_si128();
            [
                _mm_sub_epi16(_mm_unpacklo_epi8(block, zero), _mm_unpacklo_epi8(prediction, zero)),
                _mm_sub_epi16(_mm_unpackhi_epi8(block, zero), _mm_unpackhi_epi8(prediction, zero)),
            ]
        };
        together(turned(pass::<1, 4, 16>(turned(pass::<8, 0, 9>(off)))))
    }

    #[inline(always)]
    fn inverse(coefficients: &Coefficients, prediction: &Block) -> Block {
        let mut columns = rows(turned(back(rows(halves(coefficients)))));
        let prediction = load(prediction);
        // SAFETY: as above.
        unsafe {
            columns[0] = _mm_add_epi16(columns[0], _mm_set1_epi16(4));
            let [low, high] = back(columns);
            let [low, high] = turned([_mm_srai_epi16::<3>(low), _mm_srai_epi16::<3>(high)]);
            let zero = _mm_setzero_si128();
            let low = _mm_add_epi16(low, _mm_unpacklo_epi8(prediction, zero));
            let high = _mm_add_epi16(high, _mm_unpackhi_epi8(prediction, zero));
            stored(_mm_packus_epi16(low, high))
        }
    }

    #[inline(always)]
    fn quantise(coefficients: &Coefficients, divisors: &Divisors) -> (Levels, Coefficients) {
        let [low, high] = halves(coefficients);
        let (rounding, inverse, by) = (wide(&divisors.rounding), wide(&divisors.inverse), wide(&divisors.by));
        // SAFETY: as above.
        unsafe {
            let level = |value, rounding, inverse| {
                let far = _mm_adds_epu16(_mm_abs_epi16(value), rounding);
                _mm_sign_epi16(_mm_mulhi_epu16(far, inverse), value)
            };
            let (one, two) = (level(low, rounding[0], inverse[0]), level(high, rounding[1], inverse[1]));
            let back = together([_mm_mullo_epi16(one, by[0]), _mm_mullo_epi16(two, by[1])]);
            // The places 0, 1, 4, 8, 5, 2, 3, 6 and 9, 12, 13, 10, 7, 11, 14, 15.
            let first = _mm_or_si128(
                shuffled(one, &[0, 1, 2, 3, 8, 9, -1, -1, 10, 11, 4, 5, 6, 7, 12, 13]),
                shuffled(two, &[-1, -1, -1, -1, -1, -1, 0, 1, -1, -1, -1, -1, -1, -1, -1, -1]),
            );
            let second = _mm_or_si128(
                shuffled(two, &[2, 3, 8, 9, 10, 11, 4, 5, -1, -1, 6, 7, 12, 13, 14, 15]),
                shuffled(one, &[-1, -1, -1, -1, -1, -1, -1, -1, 14, 15, -1, -1, -1, -1, -1, -1]),
            );
            let none = _mm_cmpeq_epi8(_mm_packs_epi16(first, second), _mm_setzero_si128());
            let some = !_mm_movemask_epi8(none) as u32 & 0xffff;
            (Levels { levels: together([first, second]), some }, back)
        }
    }

    #[inline(always)]
    fn whole(above: [u8; 4], left: [u8; 4], corner: u8, mean: u8) -> [Block; 4] {
        // SAFETY: as above.
        unsafe {
            let above = _mm_set1_epi32(i32::from_le_bytes(above));
            let left = _mm_cvtsi32_si128(i32::from_le_bytes(left));
            let left = shuffled(left, &[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
            let zero = _mm_setzero_si128();
            let slope = _mm_sub_epi16(_mm_unpacklo_epi8(above, zero), _mm_set1_epi16(i16::from(corner)));
            let motion = _mm_packus_epi16(
                _mm_add_epi16(_mm_unpacklo_epi8(left, zero), slope),
                _mm_add_epi16(_mm_unpackhi_epi8(left, zero), slope),
            );
            [[mean; 16], stored(motion), stored(above), stored(left)]
        }
    }

    #[inline(always)]
    fn predict(edge: &Edge) -> [Block; MODES] {
        let edge = load(edge);
        let (smooth, means) = smoothed(edge);
        let mut out = [[0; 16]; MODES];
        // SAFETY: as above.
        unsafe {
            let zero = _mm_setzero_si128();
            let around = shuffled(edge, &[0, 1, 2, 3, 5, 6, 7, 8, -1, -1, -1, -1, -1, -1, -1, -1]);
            let sum = _mm_cvtsi128_si32(_mm_sad_epu8(around, zero));
            out[0] = [((sum + 4) >> 3) as u8; 16];
            let above = shuffled(edge, &[5, -1, 6, -1, 7, -1, 8, -1, 5, -1, 6, -1, 7, -1, 8, -1]);
            let corner = shuffled(edge, &[4, -1, 4, -1, 4, -1, 4, -1, 4, -1, 4, -1, 4, -1, 4, -1]);
            let slope = _mm_sub_epi16(above, corner);
            let upper = shuffled(edge, &[3, -1, 3, -1, 3, -1, 3, -1, 2, -1, 2, -1, 2, -1, 2, -1]);
            let lower = shuffled(edge, &[1, -1, 1, -1, 1, -1, 1, -1, 0, -1, 0, -1, 0, -1, 0, -1]);
            out[1] = stored(_mm_packus_epi16(_mm_add_epi16(upper, slope), _mm_add_epi16(lower, slope)));
            for at in 0..MODES - 2 {
                let [in_smooth, in_means, in_edge] = &PLACES[at];
                let both = _mm_or_si128(shuffled(smooth, in_smooth), shuffled(means, in_means));
                out[at + 2] = stored(_mm_or_si128(both, shuffled(edge, in_edge)));
            }
        }
        out
    }

    #[inline(always)]
    fn off(block: &Block, predictions: [&Block; 2]) -> [u32; 2] {
        // SAFETY: as above.
        unsafe {
            let block = _mm256_cvtepu8_epi16(load(block));
            let one = _mm256_sub_epi16(block, _mm256_cvtepu8_epi16(load(predictions[0])));
            let two = _mm256_sub_epi16(block, _mm256_cvtepu8_epi16(load(predictions[1])));
            // Rows 0 and 1 of both, rows 2 and 3 of both.
            let low = _mm256_permute2x128_si256::<0x20>(one, two);
            let high = _mm256_permute2x128_si256::<0x31>(one, two);
            let (a, b) = (_mm256_add_epi16(low, high), _mm256_sub_epi16(low, high));
            let (low, high) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
            let (a, b) = (_mm256_add_epi16(low, high), _mm256_sub_epi16(low, high));
            // Each column's four sums and differences of rows stand together now, two of them in either.
            let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (a, b) = (_mm256_add_epi16(low, high), _mm256_sub_epi16(low, high));
            let (low, high) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
            // The last sums and differences: |x + y| + |x - y| is twice the larger of |x| and |y|.
            let larger = _mm256_max_epi16(_mm256_abs_epi16(low), _mm256_abs_epi16(high));
            let sums = _mm256_madd_epi16(larger, _mm256_set1_epi16(2));
            let sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b01_00_11_10>(sums));
            let sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b10_11_00_01>(sums));
            [_mm256_cvtsi256_si32(sums) as u32, _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sums)) as u32]
        }
    }
}
