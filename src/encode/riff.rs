//! The chunks of a WebP file (RIFF), and the file of some chunks.

use crate::base::Size;

/// VP8X flag: the file holds an ICC profile.
pub const ICC: u8 = 0x20;
/// VP8X flag: some pixel is transparent.
pub const ALPHA: u8 = 0x10;
/// VP8X flag: the file holds EXIF.
pub const EXIF: u8 = 0x08;
/// VP8X flag: the file holds XMP.
pub const XMP: u8 = 0x04;

/// A named piece of a file.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Four letters.
    pub name: [u8; 4],
    /// Without the padding byte that an odd length has.
    pub data: &'a [u8],
}

/// The chunks of a whole WebP file; none where its structure is not sound. What follows the RIFF's end is left out.
pub fn chunks(file: &[u8]) -> Option<Vec<Chunk<'_>>> {
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WEBP" {
        return None;
    }
    let length = u32::from_le_bytes(file[4..8].try_into().ok()?) as usize;
    let mut rest = file.get(12..length.checked_add(8)?)?;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let name: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let data = rest.get(8..length.checked_add(8)?)?;
        chunks.push(Chunk { name, data });
        // Some writers leave out the padding of the last chunk.
        rest = rest.get(8 + length + length % 2..).unwrap_or_default();
    }
    Some(chunks)
}

/// A WebP file of chunks; none where it would pass 4 GiB.
pub fn file(chunks: &[Chunk<'_>]) -> Option<Vec<u8>> {
    let body: usize = 4 + chunks.iter().map(|chunk| 8 + chunk.data.len().next_multiple_of(2)).sum::<usize>();
    let mut out = Vec::with_capacity(body + 8);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&u32::try_from(body).ok()?.to_le_bytes());
    out.extend_from_slice(b"WEBP");
    for chunk in chunks {
        out.extend_from_slice(&chunk.name);
        out.extend_from_slice(&(chunk.data.len() as u32).to_le_bytes());
        out.extend_from_slice(chunk.data);
        if chunk.data.len() % 2 == 1 {
            out.push(0);
        }
    }
    Some(out)
}

/// The data of a VP8X chunk: flags, and the canvas' sides less one in 24 bits.
pub fn extended_header(flags: u8, size: Size) -> [u8; 10] {
    let [w0, w1, w2, _] = size.width.saturating_sub(1).to_le_bytes();
    let [h0, h1, h2, _] = size.height.saturating_sub(1).to_le_bytes();
    [flags, 0, 0, 0, w0, w1, w2, h0, h1, h2]
}
