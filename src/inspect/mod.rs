//! Facts about a picture: colours, hashes, flatness, EXIF, profile.

use crate::pixels::Picture;

/// What `info.json` tells of a picture's look.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// Up to five, the most frequent first.
    pub dominant_colours: Vec<DominantColour>,
    /// See <https://blurha.sh>.
    pub blurhash: String,
    /// See <https://evanw.github.io/thumbhash/>.
    pub thumbhash: Vec<u8>,
    /// Whether it is a graphic of few flat colours.
    pub flat: bool,
}

/// A colour and how much of the picture it makes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DominantColour {
    /// sRGB.
    pub rgb: [u8; 3],
    /// 0..=1.
    pub share: f32,
}

/// What EXIF tells.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ExifFacts {
    /// Camera maker.
    pub make: Option<String>,
    /// Camera.
    pub model: Option<String>,
    /// Lens.
    pub lens: Option<String>,
    /// ISO 8601, without zone where none is told.
    pub taken_at: Option<String>,
    /// Seconds, as `1/250`.
    pub exposure: Option<String>,
    /// Aperture.
    pub f_number: Option<f64>,
    /// Sensitivity.
    pub iso: Option<u32>,
    /// Millimetres.
    pub focal_length: Option<f64>,
    /// Latitude and longitude in degrees.
    pub gps: Option<(f64, f64)>,
}

/// The facts of a small 8-bit sRGB picture.
pub fn facts(picture: &Picture) -> Facts {
    todo!("{picture:?}")
}

/// Whether a picture is a graphic of few flat colours.
pub fn is_flat(picture: &Picture) -> bool {
    todo!("{picture:?}")
}

/// What EXIF tells; the location only if it may be shown.
pub fn exif_facts(exif: &[u8], location: bool) -> ExifFacts {
    todo!("{} {location}", exif.len())
}

/// The description of an ICC profile.
pub fn icc_name(icc: &[u8]) -> Option<String> {
    todo!("{}", icc.len())
}
