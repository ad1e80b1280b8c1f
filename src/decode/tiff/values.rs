//! What a strip or tile holds, as values: unpacked where several share a byte, looked up where they are indices.

use tiff::decoder::DecodingResult;

use crate::decode::samples::Sample;

/// How samples become values.
pub enum Packing {
    /// One sample, one value.
    Whole,
    /// So many bits each, rows begin at whole bytes; the largest is white.
    Bits(usize),
    /// So many bits each, indices into colours: three values a sample.
    Palette(usize, Box<[[u8; 3]]>),
}

impl Packing {
    /// Of a colour map: all reds, all greens, all blues, 16 bits each. Some writers put 8-bit values there; a map with nothing
    /// above 255 is taken for such, as libtiff does.
    pub fn palette(bits: u8, map: &[u16]) -> Option<Self> {
        let count = 1_usize << bits;
        if bits > 8 || map.len() < 3 * count {
            return None;
        }
        let shift = if map.iter().any(|value| *value > 255) { 8 } else { 0 };
        let channel = |channel: usize, at: usize| (map[channel * count + at] >> shift) as u8;
        let colours = (0..count).map(|at| [channel(0, at), channel(1, at), channel(2, at)]).collect();
        Some(Self::Palette(bits.into(), colours))
    }
}

/// A value that strips hold.
pub trait Value: Sample {
    /// The values of rows of `width` samples; none if they are of another kind.
    fn take(result: DecodingResult, width: usize, packing: &Packing) -> Option<Vec<Self>>;
    /// White for black.
    fn inverted(self) -> Self;
}

impl Value for u16 {
    fn take(result: DecodingResult, _: usize, _: &Packing) -> Option<Vec<Self>> {
        if let DecodingResult::U16(values) = result { Some(values) } else { None }
    }

    fn inverted(self) -> Self {
        !self
    }
}

impl Value for u8 {
    fn take(result: DecodingResult, width: usize, packing: &Packing) -> Option<Vec<Self>> {
        let DecodingResult::U8(bytes) = result else { return None };
        match packing {
            Packing::Whole => Some(bytes),
            Packing::Bits(bits) => {
                let most = (1_u16 << bits) - 1;
                let scaled = |sample: Self| [(u16::from(sample) * 255 / most) as Self];
                Some(unpacked(&bytes, width, *bits, scaled))
            }
            Packing::Palette(bits, colours) => {
                Some(unpacked(&bytes, width, *bits, |sample| colours[usize::from(sample)]))
            }
        }
    }

    fn inverted(self) -> Self {
        !self
    }
}

/// Samples of 1, 2, 4 or 8 bits, highest bits first, rows at whole bytes, each as `N` values.
fn unpacked<const N: usize>(bytes: &[u8], width: usize, bits: usize, value: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
    let in_a_byte = 8 / bits;
    let row_bytes = width.div_ceil(in_a_byte);
    let mut values = Vec::with_capacity(bytes.len() / row_bytes * width * N);
    for row in bytes.chunks_exact(row_bytes) {
        for x in 0..width {
            let sample = row[x / in_a_byte] >> (8 - bits * (x % in_a_byte + 1)) & (0xff_u16 >> (8 - bits)) as u8;
            values.extend_from_slice(&value(sample));
        }
    }
    values
}
