//! Whether a picture is flat graphics: icons, charts, screenshots, which stay lossless under `auto`.

use std::collections::HashSet;

use super::pixel;
use crate::pixels::Picture;

/// Most pixels that are looked at; a larger picture is looked at in every so many rows.
const PIXELS_MAX: usize = 400_000;

/// Colours up to which a picture is flat whatever it shows: a palette holds them.
const COLOURS_FEW: usize = 256;

/// The part of the visible pixels that must equal their left and upper neighbours.
const EQUAL_SHARE: f32 = 0.35;

/// The most colours for each pixel that differs from a neighbour: where edges are antialiased the same mixtures come
/// again, in a photo hardly any does.
const COLOURS_SHARE: f32 = 0.25;

/// From this part of equal pixels on, twice that share of colours is still flat: reduced to a thumbnail, edges are much of what
/// is left, and a photo on a plain ground has a colour of its own in nearly every pixel that differs.
const EQUAL_SHARE_MOST: f32 = 0.55;

/// Whether the picture is made of plain areas with few colours between them. False for photos, also those with plain
/// backgrounds, and for noisy gradients. Transparent pixels do not count, a wholly transparent picture is flat.
pub fn is_flat(picture: &Picture) -> bool {
    let Measured { visible, equal, colours } = measured(picture);
    if colours <= COLOURS_FEW.min(visible / 8) {
        return true;
    }
    let different = (visible - equal).max(1) as f32;
    let share = equal as f32 / visible.max(1) as f32;
    let colours_share = if share >= EQUAL_SHARE_MOST { 2.0 * COLOURS_SHARE } else { COLOURS_SHARE };
    share >= EQUAL_SHARE && colours as f32 <= colours_share * different
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

pub(super) fn measured(picture: &Picture) -> Measured {
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
            } else {
                colours.insert(here);
            }
        }
    }
    Measured { visible, equal, colours: colours.len() }
}
