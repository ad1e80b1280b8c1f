//! PNG: chunks that make the picture stay, text and times go; what follows IEND too.

use super::kept_exif;
use crate::encode::Keep;

/// Chunks beside the critical ones that change what is seen.
const SEEN: [&[u8; 4]; 13] = [
    b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

/// See [`super::strip`].
pub fn strip(bytes: &[u8], keep: Keep<'_>) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..8]);
    let mut data_seen = false;
    let mut first = true;
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let chunk = rest.get(..length.checked_add(12)?)?;
        rest = &rest[chunk.len()..];
        let name: &[u8; 4] = chunk[4..8].try_into().ok()?;
        if first && name != b"IHDR" {
            return None;
        }
        first = false;
        data_seen |= name == b"IDAT";
        let critical = name[0].is_ascii_uppercase();
        if name == b"eXIf" {
            if let Some(exif) = kept_exif(&chunk[8..8 + length], keep) {
                push(&mut out, name, &exif);
            }
        } else if critical || SEEN.contains(&name) {
            out.extend_from_slice(chunk);
        }
        if name == b"IEND" {
            return data_seen.then_some(out);
        }
    }
}

fn push(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let from = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    let sum = crc(&out[from..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// CRC-32 as in ISO 3309, bit by bit: it runs over a few hundred bytes.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}
