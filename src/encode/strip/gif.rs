//! GIF: comments, texts and applications' blocks go, but for the one that says how often an animation plays.

/// See [`super::strip`]. A GIF holds no location, so that there is one way only.
pub fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    if !matches!(bytes.get(..6)?, b"GIF87a" | b"GIF89a") {
        return None;
    }
    let mut at = 13 + table_bytes(*bytes.get(10)?);
    let mut out = bytes.get(..at)?.to_vec();
    out.reserve(bytes.len() - at);
    let mut pictures = 0;
    loop {
        let from = at;
        match *bytes.get(at)? {
            0x3b => {
                out.push(0x3b);
                return (pictures > 0).then_some(out);
            }
            0x21 => {
                let label = *bytes.get(at + 1)?;
                at = blocks_end(bytes, at + 2)?;
                let data = &bytes[from + 2..at];
                let loops =
                    label == 0xff && (data.starts_with(b"\x0bNETSCAPE2.0") || data.starts_with(b"\x0bANIMEXTS1.0"));
                if label == 0xf9 || loops {
                    out.extend_from_slice(&bytes[from..at]);
                }
            }
            0x2c => {
                // Descriptor, local colour table, code size, data.
                at = blocks_end(bytes, at + 10 + table_bytes(*bytes.get(at + 9)?) + 1)?;
                out.extend_from_slice(&bytes[from..at]);
                pictures += 1;
            }
            _ => return None,
        }
    }
}

/// The bytes of the colour table that a packed field announces.
const fn table_bytes(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// Behind the terminator of the data sub-blocks that begin at `at`.
fn blocks_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
