//! WebP: EXIF and XMP chunks go, and their flags.

use super::kept_exif;
use crate::encode::Keep;
use crate::encode::riff::{self, Chunk};

/// See [`super::strip`].
pub fn strip(bytes: &[u8], keep: Keep<'_>) -> Option<Vec<u8>> {
    let chunks = riff::chunks(bytes)?;
    let first = chunks.first()?;
    match &first.name {
        b"VP8 " | b"VP8L" => return riff::file(&chunks[..1]),
        b"VP8X" if first.data.len() == 10 => {}
        _ => return None,
    }
    let pictures = chunks.iter().filter(|chunk| matches!(&chunk.name, b"VP8 " | b"VP8L" | b"ANMF")).count();
    if pictures == 0 {
        return None;
    }
    let exif = chunks.iter().find(|chunk| &chunk.name == b"EXIF").and_then(|chunk| {
        // Some writers put JPEG's name before the block.
        kept_exif(chunk.data.strip_prefix(b"Exif\0\0").unwrap_or(chunk.data), keep)
    });
    let mut header: [u8; 10] = first.data.try_into().ok()?;
    header[0] &= !(riff::EXIF | riff::XMP);
    if exif.is_some() {
        header[0] |= riff::EXIF;
    }
    let mut kept = vec![Chunk { name: *b"VP8X", data: &header }];
    kept.extend(
        chunks[1..]
            .iter()
            .filter(|chunk| matches!(&chunk.name, b"ICCP" | b"ANIM" | b"ANMF" | b"ALPH" | b"VP8 " | b"VP8L"))
            .copied(),
    );
    if let Some(exif) = &exif {
        kept.push(Chunk { name: *b"EXIF", data: exif });
    }
    riff::file(&kept)
}
