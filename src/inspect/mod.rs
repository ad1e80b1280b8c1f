//! Facts about a picture for `info.json` and for the choice of a format: colours, placeholders, whether it is flat graphics,
//! what its EXIF block and its ICC profile say.
//!
//! Enters: a [`Picture`] or a piece of metadata of unknown worth. Leaves: plain values.
//!
//! Always true: nothing here fails; what cannot be read is not told.

mod exif;
mod flat;
mod placeholder;

use moxcms::{ColorProfile, ProfileText};

use crate::base::Size;
use crate::pixels::{Layout, Picture, Samples};

pub use self::exif::{ExifFacts, exif_facts};
pub use flat::is_flat;
pub use placeholder::Dominant;

/// The side to which a picture should be reduced before [`facts`]; a larger one is thinned out.
pub const SIDE_MAX: u32 = 100;

/// What a small form of a picture tells.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// Up to five colours that make most of the picture, the most frequent first. Transparent pixels do not count.
    pub dominant_colours: Vec<Dominant>,
    /// A BlurHash (<https://blurha.sh>) of 4×3 or 3×4 components.
    pub blurhash: String,
    /// A ThumbHash (<https://evanw.github.io/thumbhash/>) in standard Base64.
    pub thumbhash: String,
    /// See [`is_flat`].
    pub flat: bool,
}

/// Facts about a picture, best of [`SIDE_MAX`] pixels a side, 8 bits, sRGB, upright.
pub fn facts(picture: &Picture) -> Facts {
    let flat = is_flat(picture);
    let (size, pixels) = rgba(picture);
    let dominant_colours = placeholder::dominant(&pixels);
    let (blurhash, thumbhash) = placeholder::hashes(size, &pixels);
    Facts { dominant_colours, blurhash, thumbhash, flat }
}

/// The profile's own description, such as `Display P3`.
pub fn icc_name(icc: &[u8]) -> Option<String> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    let name = match profile.description? {
        ProfileText::PlainString(text) => text,
        ProfileText::Localizable(texts) => {
            let english = texts.iter().find(|text| text.language == "en");
            english.or_else(|| texts.first())?.value.clone()
        }
        ProfileText::Description(text) if !text.ascii_string.is_empty() => text.ascii_string,
        ProfileText::Description(text) => text.unicode_string,
    };
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Most letters of a name or text that is passed on from metadata.
const NAME_LETTERS_MAX: usize = 256;

/// The picture as RGBA, thinned out to at most [`SIDE_MAX`] pixels a side.
fn rgba(picture: &Picture) -> (Size, Vec<[u8; 4]>) {
    let Size { width, height } = picture.size;
    let step = width.max(height).div_ceil(SIDE_MAX).max(1);
    let size = Size::new(width.div_ceil(step), height.div_ceil(step));
    let pixels = (0..size.height)
        .flat_map(|y| (0..size.width).map(move |x| (x, y)))
        .map(|(x, y)| pixel(picture, (y * step) as usize * width as usize + (x * step) as usize))
        .collect();
    (size, pixels)
}

/// One pixel as 8-bit RGBA.
fn pixel(picture: &Picture, at: usize) -> [u8; 4] {
    let channels = picture.layout.channels();
    let from = at * channels;
    let value = |channel: usize| match &picture.samples {
        Samples::U8(values) => values[from + channel],
        Samples::U16(values) => (values[from + channel] >> 8) as u8,
    };
    match picture.layout {
        Layout::Gray => [value(0), value(0), value(0), 255],
        Layout::GrayAlpha => [value(0), value(0), value(0), value(1)],
        Layout::Rgb => [value(0), value(1), value(2), 255],
        Layout::Rgba => [value(0), value(1), value(2), value(3)],
        Layout::Cmyk => {
            let ink = |channel: usize| (u16::from(255 - value(channel)) * u16::from(255 - value(3)) / 255) as u8;
            [ink(0), ink(1), ink(2), 255]
        }
    }
}

#[cfg(test)]
mod tests;
