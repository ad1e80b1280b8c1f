//! Pixels to luma and colours by AVX2, sixteen at a time: the compiler parts red, green and blue one by one, for twice the time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{COLOUR_BITS, COLOUR_HALF, LUMA_BITS, LUMA_HALF, Matrix};

/// Pixels that are done at once.
const PIXELS: usize = 16;

/// Bytes that are read for them: the last load begins with the thirteenth pixel.
const BYTES: usize = 12 * 3 + 16;

/// Does as many as can be done sixteen at a time, if the machine has AVX2, and says how many.
pub fn read(pixels: &[u8], matrix: &Matrix, luma: &mut [u8], cb: &mut [i16], cr: &mut [i16]) -> usize {
    if !is_x86_feature_detected!("avx2") {
        return 0;
    }
    // SAFETY: the machine has AVX2.
    unsafe { read_avx2(pixels, matrix, luma, cb, cr) }
}

#[target_feature(enable = "avx2")]
fn read_avx2(pixels: &[u8], matrix: &Matrix, luma: &mut [u8], cb: &mut [i16], cr: &mut [i16]) -> usize {
    let luma_of = Dot::new(matrix.luma, LUMA_HALF);
    let [cb_of, cr_of] = matrix.colours.map(|weights| Dot::new(weights, COLOUR_HALF));
    let black = _mm256_set1_epi16(i16::from(matrix.black));
    let outs = luma.as_chunks_mut::<PIXELS>().0.iter_mut();
    let outs = outs.zip(cb.as_chunks_mut::<PIXELS>().0).zip(cr.as_chunks_mut::<PIXELS>().0);
    let mut done = 0;
    for ((luma, cb), cr) in outs {
        let Some(bytes) = pixels.get(done * 3..).and_then(|rest| rest.first_chunk::<BYTES>()) else { break };
        let parted = [eight(bytes, 0), eight(bytes, 8 * 3)];
        let values = _mm256_add_epi16(both(luma_of.of::<LUMA_BITS>(parted)), black);
        let values = _mm_packus_epi16(_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values));
        let (blue, red) = (both(cb_of.of::<COLOUR_BITS>(parted)), both(cr_of.of::<COLOUR_BITS>(parted)));
        // SAFETY: sixteen bytes and twice sixteen numbers of 16 bits are written, to arrays of as many.
        unsafe {
            _mm_storeu_si128(luma.as_mut_ptr().cast(), values);
            _mm256_storeu_si256(cb.as_mut_ptr().cast(), blue);
            _mm256_storeu_si256(cr.as_mut_ptr().cast(), red);
        }
        done += PIXELS;
    }
    done
}

/// Red and green of eight pixels in pairs, and blue with a one.
#[target_feature(enable = "avx2")]
#[inline]
fn eight(bytes: &[u8; BYTES], from: usize) -> [__m256i; 2] {
    let place = bytes[from..].as_ptr();
    // SAFETY: sixteen bytes each are read from `from` and from twelve after it on, and `from` is at most 24 of 52.
    let all = unsafe { _mm256_set_m128i(_mm_loadu_si128(place.add(12).cast()), _mm_loadu_si128(place.cast())) };
    let pairs = _mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1);
    let blues = _mm_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1);
    let blue = _mm256_shuffle_epi8(all, _mm256_broadcastsi128_si256(blues));
    [_mm256_shuffle_epi8(all, _mm256_broadcastsi128_si256(pairs)), _mm256_or_si256(blue, _mm256_set1_epi32(1 << 16))]
}

/// Sixteen numbers of 16 bits from two times eight of 32.
#[target_feature(enable = "avx2")]
#[inline]
fn both([first, second]: [__m256i; 2]) -> __m256i {
    // Packing takes halves in turn.
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(first, second))
}

/// Weights of red and green in pairs, and of blue with what is added.
#[derive(Clone, Copy)]
struct Dot([__m256i; 2]);

impl Dot {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new([red, green, blue]: [i16; 3], half: i32) -> Self {
        let pair = |first: i16, second: i32| second << 16 | (i32::from(first) & 0xffff);
        Self([_mm256_set1_epi32(pair(red, i32::from(green))), _mm256_set1_epi32(pair(blue, half))])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of<const BITS: i32>(self, parted: [[__m256i; 2]; 2]) -> [__m256i; 2] {
        let [pairs, blues] = self.0;
        let [[a, b], [c, d]] = parted;
        [
            _mm256_srai_epi32::<BITS>(_mm256_add_epi32(_mm256_madd_epi16(a, pairs), _mm256_madd_epi16(b, blues))),
            _mm256_srai_epi32::<BITS>(_mm256_add_epi32(_mm256_madd_epi16(c, pairs), _mm256_madd_epi16(d, blues))),
        ]
    }
}
