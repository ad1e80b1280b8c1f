//! Removal of metadata from files whose pixels stay as they are; one file a format.
//!
//! Always true: where a file's structure leaves any doubt the answer is none, and the caller encodes anew. What changes how
//! pixels look stays: ICC profile, gamma, and EXIF's orientation, as a minimal EXIF block.

mod gif;
pub(super) mod jpeg;
mod png;
mod webp;

use super::{Keep, exif};
use crate::base::Format;

/// Removes metadata from a file without touching its pixels. None where the file's structure does not allow it, and for
/// formats that are not taken apart (AVIF, TIFF, BMP, SVG).
pub fn strip(bytes: &[u8], format: Format, keep: Keep<'_>) -> Option<Vec<u8>> {
    match format {
        Format::Jpeg => jpeg::strip(bytes, keep),
        Format::Png => png::strip(bytes, keep),
        Format::WebP => webp::strip(bytes, keep),
        Format::Gif => gif::strip(bytes),
        Format::Avif | Format::Tiff | Format::Bmp | Format::Svg => None,
    }
}

/// What takes an EXIF block's place; none where nothing does.
fn kept_exif(tiff: &[u8], keep: Keep<'_>) -> Option<Vec<u8>> {
    match keep {
        Keep::Appearance => exif::orientation_only(tiff),
        Keep::Exif(block) => Some(block.to_vec()),
    }
}

#[cfg(test)]
pub(super) mod tests;
