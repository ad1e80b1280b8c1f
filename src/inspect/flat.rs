//! Whether a picture is flat graphics: icons, charts, screenshots, which stay lossless under `auto`.

use std::collections::HashSet;

use super::pixel;
use crate::pixels::Picture;

/// Most pixels that are looked at; a larger picture is looked at in every so many rows.
const PIXELS_MAX: usize = 400_000;

/// Colours up to which a picture is flat whatever it shows: a palette holds them.
const COLOURS_FEW: usize = 256;

/// The part of the visible pixels that must equal their left and upper neighbours. Measured: graphics from 0.49 on (also
/// when reduced to 100 pixels), photos up to 0.18; a photo cut out on white can pass it.
const EQUAL_SHARE: f32 = 0.4;

/// The most colours for each pixel that differs from a neighbour: where edges are antialiased the same mixtures come
/// again (0.02 to 0.48), in a photo of few pixels hardly any does (0.7 to 1).
const COLOURS_SHARE: f32 = 0.55;

/// The most colours of such pixels: a large photo, whose colours do come again, has 38 000 and more, graphics up to 8 100.
const COLOURS_MAX: usize = 10_000;

/// Whether the picture is made of plain areas with few colours between them. False for photos, also those with plain
/// backgrounds, and for noisy gradients. Transparent pixels do not count, a wholly transparent picture is flat.
pub fn is_flat(picture: &Picture) -> bool {
    let Some(Measured { visible, equal, colours }) = measured(picture) else { return false };
    if colours <= COLOURS_FEW.min(visible / 8) {
        return true;
    }
    let different = (visible - equal).max(1) as f32;
    equal as f32 >= EQUAL_SHARE * visible as f32 && colours as f32 <= COLOURS_SHARE * different
}

/// What the decision is made of.
#[derive(Debug)]
pub(super) struct Measured {
    /// Pixels that were looked at and are not wholly transparent.
    visible: usize,
    /// Those that equal their left and upper neighbours.
    equal: usize,
    /// Colours of those that do not.
    colours: usize,
}

/// None as soon as there are more than [`COLOURS_MAX`] colours: a photo is told after its first rows.
pub(super) fn measured(picture: &Picture) -> Option<Measured> {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let step = (width * height).div_ceil(PIXELS_MAX).max(1);
    let mut colours: HashSet<[u8; 4]> = HashSet::new();
    let (mut visible, mut equal) = (0, 0);
    for y in (0..height).skip(1.min(height.saturating_sub(1))).step_by(step) {
        for x in 0..width {
            let at = y * width + x;
            let here = pixel(picture, at);
            if here[3] == 0 {
                continue;
            }
            visible += 1;
            let same = |neighbour: usize| pixel(picture, neighbour) == here;
            if (x == 0 || same(at - 1)) && (y == 0 || same(at - width)) {
                equal += 1;
            } else if colours.insert(here) && colours.len() > COLOURS_MAX {
                return None;
            }
        }
    }
    Some(Measured { visible, equal, colours: colours.len() })
}
