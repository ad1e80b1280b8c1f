//! A TIFF read with another photometric interpretation than it names.
//!
//! The `tiff` crate gives no samples of a palette picture, and inverts white-is-zero gray in some layouts but not in others.
//! Told that black is zero, it gives every such picture's samples as they are stored; what they mean is then ours to say. The
//! two bytes that say so are exchanged on the way, so that the file is not copied.

use std::io::{Cursor, Read, Result, Seek, SeekFrom};

use crate::decode::metadata;

/// PhotometricInterpretation's number.
const TAG: u32 = 262;

/// What gray samples, or indices, mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// As the crate says: black is zero, or colours.
    Plain,
    /// White is zero.
    Inverted,
    /// Indices into the colour map.
    Palette,
}

/// The file's bytes, two of them perhaps exchanged.
pub struct Patched<'a> {
    file: Cursor<&'a [u8]>,
    patch: Option<(u64, [u8; 2])>,
}

impl<'a> Patched<'a> {
    /// Looks at the first directory.
    pub fn open(bytes: &'a [u8]) -> (Self, Meaning) {
        let found = metadata::first_directory(bytes).and_then(|directory| directory.short_at(TAG));
        let meaning = match found {
            Some((0, _)) => Meaning::Inverted,
            Some((3, _)) => Meaning::Palette,
            _ => Meaning::Plain,
        };
        let black_is_zero = if bytes.starts_with(b"II") { [1, 0] } else { [0, 1] };
        let patch = found.filter(|_| meaning != Meaning::Plain).map(|(_, at)| (at as u64, black_is_zero));
        (Self { file: Cursor::new(bytes), patch }, meaning)
    }
}

impl Read for Patched<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let from = self.file.position();
        let count = self.file.read(into)?;
        if let Some((at, bytes)) = self.patch {
            for (byte, place) in bytes.into_iter().zip(at..) {
                if (from..from + count as u64).contains(&place) {
                    into[(place - from) as usize] = byte;
                }
            }
        }
        Ok(count)
    }
}

impl Seek for Patched<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_bytes_are_exchanged_however_they_are_read() {
        let file = b"MM\0*\0\0\0\x08\0\x01\x01\x06\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
        for step in 1..file.len() {
            let (mut patched, meaning) = Patched::open(file);
            assert_eq!(meaning, Meaning::Palette);
            let mut read = vec![0; file.len()];
            for part in read.chunks_mut(step) {
                patched.read_exact(part).unwrap();
            }
            let mut expected = file.to_vec();
            expected[19] = 1;
            assert_eq!(read, expected, "{step} bytes at a time");
        }
        assert_eq!(Patched::open(b"II*\0").1, Meaning::Plain);
    }
}
