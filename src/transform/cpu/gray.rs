//! Colour dropped: the relative luminance of BT.709, taken in linear light.

use super::light::{ToSrgb, linear8};
use crate::pixels::{ColourSpace, Layout, Picture, Samples};

/// Parts of 65,536 of each colour in luminance.
const RED: i32 = 13_933;
const GREEN: i32 = 46_871;
const BLUE: i32 = 4_732;

/// Drops colour. A picture that keeps its profile stays RGB, with equal channels, as the profile expects.
pub fn gray(picture: Picture) -> Picture {
    let (channels, colours) = match picture.layout {
        Layout::Rgb => (3, Layout::Gray),
        Layout::Rgba => (4, Layout::GrayAlpha),
        Layout::Gray | Layout::GrayAlpha | Layout::Cmyk => return picture,
    };
    let Samples::U8(values) = picture.samples else { return picture };
    let (table, back) = (linear8(), ToSrgb::new());
    let keeps = matches!(picture.colour, ColourSpace::Icc(_));
    let mut samples = Vec::with_capacity(values.len() / channels * colours.channels());
    for pixel in values.chunks_exact(channels) {
        let [red, green, blue] = [0, 1, 2].map(|at: usize| i32::from(table[usize::from(pixel[at])]));
        let luma = back.of(((RED * red + GREEN * green + BLUE * blue + 32_768) >> 16) as i16);
        samples.extend_from_slice(&[luma; 3][..if keeps { 3 } else { 1 }]);
        samples.extend_from_slice(&pixel[3..]);
    }
    Picture { layout: if keeps { picture.layout } else { colours }, samples: Samples::U8(samples), ..picture }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    #[test]
    fn green_is_lighter_than_blue() {
        let picture =
            Picture::srgb8(Size::new(4, 1), Layout::Rgb, vec![0, 255, 0, 0, 0, 255, 255, 255, 255, 77, 77, 77]);
        let gray = gray(picture);
        assert_eq!(gray.layout, Layout::Gray);
        assert_eq!(gray.as_u8().unwrap(), [220, 76, 255, 77]);
    }
}
