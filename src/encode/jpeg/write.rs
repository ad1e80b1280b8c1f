//! What stands in a file before its scan.

use super::blocks::PLACES;
use super::huffman::Codes;
use crate::encode::planes::Sampling;

/// What a file holds.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// In pixels, at most 65,535.
    pub width: usize,
    /// The same.
    pub height: usize,
    /// What its colours are.
    pub sampling: Sampling,
}

/// Frames (ITU-T T.81, table B.1): one scan of 8-bit samples, or several.
pub const BASELINE: u8 = 0xc0;
pub const PROGRESSIVE: u8 = 0xc2;

/// A file up to its frame (ITU-T T.81, annex B, and JFIF 1.01). Tables of divisors stand by columns.
pub fn head(frame: Frame, kind: u8, tables: &[[u8; 64]; 2], markers: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    segment(&mut out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    out.extend_from_slice(markers);
    let components: &[[u8; 3]] = match frame.sampling {
        Sampling::None => &[[1, 0x11, 0]],
        Sampling::Half => &[[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]],
        Sampling::Full => &[[1, 0x11, 0], [2, 0x11, 1], [3, 0x11, 1]],
    };
    let mut data = Vec::new();
    for (at, table) in tables.iter().take(components.len().min(2)).enumerate() {
        data.push(at as u8);
        data.extend(PLACES.iter().map(|place| table[usize::from(*place)]));
    }
    segment(&mut out, 0xdb, &data);
    let [top, bottom] = (frame.height as u16).to_be_bytes();
    let [left, right] = (frame.width as u16).to_be_bytes();
    data = vec![8, top, bottom, left, right, components.len() as u8];
    components.iter().for_each(|component| data.extend_from_slice(component));
    segment(&mut out, kind, &data);
    out
}

/// Appends tables of codes, each with its place.
pub fn codes(out: &mut Vec<u8>, places: &[u8], codes: &[Codes]) {
    let mut data = Vec::new();
    for (place, codes) in places.iter().zip(codes) {
        data.push(*place);
        data.extend_from_slice(&codes.counts);
        data.extend_from_slice(&codes.symbols);
    }
    segment(out, 0xc4, &data);
}

/// Appends the start of a scan: its components, each with the places of its codes, DC's in the upper half; the first and last coefficient.
pub fn scan(out: &mut Vec<u8>, components: &[(usize, u8)], from: u8, to: u8) {
    let mut data = vec![components.len() as u8];
    components.iter().for_each(|(component, codes)| data.extend_from_slice(&[*component as u8 + 1, *codes]));
    data.extend_from_slice(&[from, to, 0]);
    segment(out, 0xda, &data);
}

/// A baseline file up to its scan. Codes are those of luma's DC, chroma's DC, luma's AC and chroma's AC, or luma's alone.
pub fn start(frame: Frame, tables: &[[u8; 64]; 2], all: &[Codes], markers: &[u8]) -> Vec<u8> {
    let mut out = head(frame, BASELINE, tables, markers);
    let (places, components): (&[u8], &[(usize, u8)]) = match frame.sampling {
        Sampling::None => (&[0x00, 0x10], &[(0, 0x00)]),
        Sampling::Half | Sampling::Full => (&[0x00, 0x01, 0x10, 0x11], &[(0, 0x00), (1, 0x11), (2, 0x11)]),
    };
    codes(&mut out, places, all);
    scan(&mut out, components, 0, 63);
    out
}

fn segment(out: &mut Vec<u8>, marker: u8, data: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&(data.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(data);
}

/// The most bytes of profile in one APP2 marker: its length field, less itself, the name and the piece's numbers.
const ICC_PIECE_MAX: usize = 65_535 - 2 - 14;

/// Appends a profile as APP2 markers, in pieces; one that takes more than 255 is left out.
pub fn push_icc(markers: &mut Vec<u8>, icc: &[u8]) {
    let pieces = icc.len().div_ceil(ICC_PIECE_MAX);
    let Ok(count) = u8::try_from(pieces) else { return };
    for (at, piece) in icc.chunks(ICC_PIECE_MAX).enumerate() {
        markers.extend_from_slice(&[0xff, 0xe2]);
        markers.extend_from_slice(&((piece.len() + 16) as u16).to_be_bytes());
        markers.extend_from_slice(b"ICC_PROFILE\0");
        markers.extend_from_slice(&[at as u8 + 1, count]);
        markers.extend_from_slice(piece);
    }
}
