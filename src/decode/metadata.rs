//! Metadata that several formats share: ICC profiles and EXIF blocks.
//!
//! Always true: a piece of metadata that is kept is within `Limits::metadata_bytes_max`.

use std::sync::Arc;

use super::{Error, Model};
use crate::base::{Limits, Orientation};

/// An ICC header's length; a profile is at least this and its tag count.
const ICC_BYTES_MIN: usize = 132;

/// Takes an ICC profile if it looks like one for the picture's colour model; another one would say nothing about the
/// samples, and is left out, as browsers do.
pub fn profile(bytes: &[u8], model: Model, limits: &Limits) -> Result<Option<Arc<[u8]>>, Error> {
    check("an ICC profile", bytes.len(), limits)?;
    let space: &[u8] = match model {
        Model::Gray => b"GRAY",
        Model::Rgb | Model::Palette(_) => b"RGB ",
        Model::Cmyk => b"CMYK",
        Model::Vector => return Ok(None),
    };
    let fits = bytes.len() >= ICC_BYTES_MIN && &bytes[36..40] == b"acsp" && &bytes[16..20] == space;
    Ok(fits.then(|| Arc::from(bytes)))
}

/// A profile for coded colour points (ITU-T H.273); none where they are sRGB's, near enough to be shown as such (BT.709 and
/// BT.601 video), unspecified or unknown.
pub fn profile_of_cicp(primaries: u32, transfer: u32) -> Option<Arc<[u8]>> {
    const SRGB_PRIMARIES: [u32; 5] = [1, 2, 5, 6, 7];
    const SRGB_TRANSFERS: [u32; 6] = [1, 2, 6, 13, 14, 15];
    const SRGB: u8 = 13;
    let like_srgb = SRGB_TRANSFERS.contains(&transfer);
    if SRGB_PRIMARIES.contains(&primaries) && like_srgb {
        return None;
    }
    let primaries = if primaries == 2 { 1 } else { u8::try_from(primaries).ok()? };
    let transfer = if like_srgb { SRGB } else { u8::try_from(transfer).ok()? };
    let profile = moxcms::ColorProfile::new_from_cicp(moxcms::CicpProfile {
        color_primaries: moxcms::CicpColorPrimaries::try_from(primaries).ok()?,
        transfer_characteristics: moxcms::TransferCharacteristics::try_from(transfer).ok()?,
        matrix_coefficients: moxcms::MatrixCoefficients::Identity,
        full_range: true,
    });
    profile.encode().ok().map(Arc::from)
}

/// Takes an EXIF block, with or without the `Exif\0\0` that JPEG puts before the TIFF header.
pub fn exif(bytes: &[u8], limits: &Limits) -> Result<Option<Arc<[u8]>>, Error> {
    check("an EXIF block", bytes.len(), limits)?;
    let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    Ok((bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*")).then(|| Arc::from(bytes)))
}

/// Holds a piece of metadata against the limits.
pub fn check(what: &str, length: usize, limits: &Limits) -> Result<(), Error> {
    if length > limits.metadata_bytes_max {
        return Err(Error::TooLarge(format!("{what} of {length} bytes, of at most {}", limits.metadata_bytes_max)));
    }
    Ok(())
}

/// The orientation that the first directory of a TIFF structure names; upright where it names none or is broken. Reads
/// this one tag without parsing the rest, so a broken tail (they are common) does not hide it.
pub fn orientation(tiff: &[u8]) -> Orientation {
    first_directory(tiff).and_then(|tags| tags.short(0x0112)).map_or(Orientation::Upright, Orientation::from_exif)
}

/// The entries of the first directory of a TIFF structure.
pub fn first_directory(tiff: &[u8]) -> Option<Directory<'_>> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let offset = number(tiff.get(4..8)?, little) as usize;
    let count = number(tiff.get(offset..offset.checked_add(2)?)?, little) as usize;
    let entries = tiff.get(offset + 2..)?;
    Some(Directory { entries: &entries[..entries.len().min(count * 12)], at: offset + 2, little })
}

/// Entries of a TIFF directory: tag, type, count, value or offset; 12 bytes each.
pub struct Directory<'a> {
    entries: &'a [u8],
    /// Where they begin in the structure.
    at: usize,
    little: bool,
}

impl Directory<'_> {
    /// The value of a tag that holds one SHORT or LONG.
    pub fn short(&self, tag: u32) -> Option<u32> {
        let entry = self.entries.chunks_exact(12).find(|entry| number(&entry[..2], self.little) == tag)?;
        match number(&entry[2..4], self.little) {
            3 => Some(number(&entry[8..10], self.little)),
            4 => Some(number(&entry[8..12], self.little)),
            _ => None,
        }
    }

    /// The value of a tag that holds one SHORT, and where in the structure it stands.
    pub fn short_at(&self, tag: u32) -> Option<(u32, usize)> {
        let mut entries = self.entries.chunks_exact(12).zip((self.at..).step_by(12));
        let (entry, at) = entries.find(|(entry, _)| number(&entry[..2], self.little) == tag)?;
        (number(&entry[2..4], self.little) == 3).then(|| (number(&entry[8..10], self.little), at + 8))
    }
}

/// An unsigned number of at most four bytes.
fn number(bytes: &[u8], little: bool) -> u32 {
    let fold = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
    if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientation_in_both_byte_orders_and_none_from_rubbish() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
        assert_eq!(orientation(little), Orientation::Rotate90);
        assert_eq!(orientation(big), Orientation::Rotate270);
        for length in 0..little.len() - 4 {
            assert_eq!(orientation(&little[..length.min(21)]), Orientation::Upright, "cut at {length}");
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff\xff\xff"), Orientation::Upright);
    }

    #[test]
    fn a_profile_for_another_model_is_left_out() {
        let mut bytes = vec![0; 200];
        bytes[16..20].copy_from_slice(b"RGB ");
        bytes[36..40].copy_from_slice(b"acsp");
        let limits = Limits::default();
        assert!(profile(&bytes, Model::Rgb, &limits).unwrap().is_some());
        assert!(profile(&bytes, Model::Gray, &limits).unwrap().is_none());
        assert!(profile(&bytes[..131], Model::Rgb, &limits).unwrap().is_none());
        let tight = Limits { metadata_bytes_max: 199, ..limits };
        assert!(matches!(profile(&bytes, Model::Rgb, &tight), Err(Error::TooLarge(_))));
    }
}
