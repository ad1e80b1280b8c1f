//! JPEG: markers up to the end of the image; what follows it (MPF pictures, motion photos) goes.

use super::kept_exif;
use crate::encode::Keep;

const EXIF: &[u8] = b"Exif\0\0";

/// See [`super::strip`].
pub fn strip(bytes: &[u8], keep: Keep<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(bytes.get(..2).filter(|soi| *soi == [0xff, 0xd8])?);
    let mut at = 2;
    let (mut scans, mut exifs) = (0, 0);
    loop {
        let marker = next_marker(bytes, &mut at)?;
        match marker {
            0xd9 => {
                out.extend_from_slice(&[0xff, 0xd9]);
                return (scans > 0).then_some(out);
            }
            // Parameterless markers and a second start have no place here.
            0x00 | 0x01 | 0xd0..=0xd8 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let segment = bytes.get(at..at.checked_add(length)?).filter(|_| length >= 2)?;
        at += length;
        let data = &segment[2..];
        match marker {
            0xe1 if data.starts_with(EXIF) => {
                exifs += 1;
                if exifs > 1 {
                    continue;
                }
                if let Some(exif) = kept_exif(&data[EXIF.len()..], keep) {
                    push_exif(&mut out, &exif);
                }
            }
            _ if stays(marker, data) => {
                out.extend_from_slice(&[0xff, marker]);
                out.extend_from_slice(segment);
            }
            _ => {}
        }
        if marker == 0xda {
            scans += 1;
            let end = scan_end(bytes, at)?;
            out.extend_from_slice(&bytes[at..end]);
            at = end;
        }
    }
}

/// Appends an APP1 marker with an EXIF block; one that is too long for a marker is left out.
pub fn push_exif(out: &mut Vec<u8>, tiff: &[u8]) {
    let Ok(length) = u16::try_from(tiff.len() + EXIF.len() + 2) else { return };
    out.extend_from_slice(&[0xff, 0xe1]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(EXIF);
    out.extend_from_slice(tiff);
}

/// Whether a marker segment stays.
fn stays(marker: u8, data: &[u8]) -> bool {
    match marker {
        0xe0 => data.starts_with(b"JFIF\0"),
        0xe2 => data.starts_with(b"ICC_PROFILE\0"),
        0xee => data.starts_with(b"Adobe"),
        // XMP (APP1) and IPTC (APP13) can name the place, and an MPF index (APP2) points at what was cut off.
        0xe1 | 0xed => false,
        0xe3..=0xef | 0xfe => false,
        _ => true,
    }
}

/// The marker at `at`, after fill bytes; `at` is then behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    if *bytes.get(*at)? != 0xff {
        return None;
    }
    while *bytes.get(*at)? == 0xff {
        *at += 1;
    }
    *at += 1;
    Some(bytes[*at - 1])
}

/// Where the entropy-coded data that begins at `from` ends: before the first marker that is neither stuffing nor restart.
fn scan_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}
