//! Dominant colours by median cut, BlurHash and ThumbHash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::Size;

/// A colour that makes much of a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dominant {
    /// sRGB.
    pub rgb: [u8; 3],
    /// The part of the picture's visible pixels that are near it, 0..=1.
    pub share: f32,
}

/// Most colours that are told.
const COLOURS_MAX: usize = 5;

/// Boxes that the median cut makes before near ones are joined.
const BOXES: usize = 12;

/// Colours nearer than this (distance in RGB, weighted by 2, 4, 3 as the eye is) are one.
const NEAR: i32 = 3 * 40 * 40;

/// The dominant colours, most frequent first.
pub fn dominant(pixels: &[[u8; 4]]) -> Vec<Dominant> {
    let visible: Vec<[u8; 3]> =
        pixels.iter().filter(|pixel| pixel[3] >= 128).map(|[red, green, blue, _]| [*red, *green, *blue]).collect();
    if visible.is_empty() {
        return Vec::new();
    }
    let total = visible.len();
    let mut boxes = vec![visible];
    while boxes.len() < BOXES {
        // The box with the widest spread for its size is cut at the middle of its widest channel.
        let widest = boxes
            .iter()
            .enumerate()
            .map(|(at, pixels)| (spread(pixels), at, pixels.len()))
            .max_by_key(|((width, _), at, count)| (*width as usize * count, usize::MAX - at));
        let Some(((width, channel), at, _)) = widest else { break };
        if width == 0 {
            break;
        }
        let (low, high) = extent(&boxes[at], channel);
        let middle = low + (high - low) / 2;
        let (below, above): (Vec<_>, Vec<_>) = boxes[at].iter().partition(|pixel| pixel[channel] <= middle);
        boxes[at] = below;
        boxes.push(above);
    }
    let mut colours: Vec<([u8; 3], usize)> = boxes.iter().map(|pixels| (mean(pixels), pixels.len())).collect();
    colours.sort_by_key(|(rgb, count)| (usize::MAX - count, *rgb));
    let mut joined: Vec<([u8; 3], usize)> = Vec::new();
    for (rgb, count) in colours {
        match joined.iter_mut().find(|(other, _)| distance(*other, rgb) < NEAR) {
            Some((_, sum)) => *sum += count,
            None => joined.push((rgb, count)),
        }
    }
    joined.sort_by_key(|(rgb, count)| (usize::MAX - count, *rgb));
    joined.truncate(COLOURS_MAX);
    joined.into_iter().map(|(rgb, count)| Dominant { rgb, share: count as f32 / total as f32 }).collect()
}

fn extent(pixels: &[[u8; 3]], channel: usize) -> (u8, u8) {
    pixels.iter().fold((255, 0), |(low, high), pixel| (low.min(pixel[channel]), high.max(pixel[channel])))
}

/// The widest channel of a box: its width, and which.
fn spread(pixels: &[[u8; 3]]) -> (u8, usize) {
    (0..3)
        .map(|channel| {
            let (low, high) = extent(pixels, channel);
            (high.saturating_sub(low), channel)
        })
        .max_by_key(|(width, channel)| (*width, 2 - channel))
        .unwrap_or_default()
}

fn mean(pixels: &[[u8; 3]]) -> [u8; 3] {
    let count = pixels.len().max(1) as u64;
    std::array::from_fn(|channel| {
        ((pixels.iter().map(|pixel| u64::from(pixel[channel])).sum::<u64>() + count / 2) / count) as u8
    })
}

fn distance(a: [u8; 3], b: [u8; 3]) -> i32 {
    let apart = |channel: usize| i32::from(a[channel]) - i32::from(b[channel]);
    (2 * apart(0) * apart(0) + 4 * apart(1) * apart(1) + 3 * apart(2) * apart(2)) / 3
}

/// BlurHash and ThumbHash (Base64) of a picture of at most 100 pixels a side.
pub fn hashes(size: Size, pixels: &[[u8; 4]]) -> (String, String) {
    let (across, down) = if size.width >= size.height { (4, 3) } else { (3, 4) };
    // BlurHash knows no alpha: it sees the picture on white.
    let on_white: Vec<[u8; 4]> = pixels
        .iter()
        .map(|pixel| {
            let alpha = u32::from(pixel[3]);
            let mix = |value: u8| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
            [mix(pixel[0]), mix(pixel[1]), mix(pixel[2]), 255]
        })
        .collect();
    let blurhash = blurhash::encode(across, down, size.width, size.height, on_white.as_flattened()).unwrap_or_default();
    let thumbhash = thumbhash::rgba_to_thumb_hash(size.width as usize, size.height as usize, pixels.as_flattened());
    (blurhash, STANDARD.encode(thumbhash))
}
