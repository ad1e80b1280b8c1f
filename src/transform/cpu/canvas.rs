//! The colour behind the picture, and the canvas around it. Blended in the samples' own light, as CSS does.

use crate::base::Size;
use crate::pixels::{Layout, Picture, Samples};
use crate::plan::Colour;

/// What is behind the picture.
#[derive(Clone, Copy, Debug)]
pub struct Backdrop {
    /// The plan's colour.
    pub background: Option<Colour>,
    /// The colour behind all, where the output holds no alpha.
    pub flatten: Option<[u8; 3]>,
}

impl Backdrop {
    /// The colour of empty canvas, RGBA.
    fn colour(self) -> [u8; 4] {
        let background = self.background.map_or([0; 4], |colour| colour.rgba);
        match self.flatten {
            None => background,
            Some([red, green, blue]) => over(background, [red, green, blue, 255]),
        }
    }
}

/// Puts the picture on the backdrop, at `offset` of a canvas. Without a colour behind it a transparent picture stays so.
pub fn canvas(picture: Picture, offset: (u32, u32), size: Size, backdrop: Backdrop) -> Picture {
    let behind = backdrop.colour();
    let blends = picture.layout.has_alpha() && behind[3] > 0;
    if picture.size == size && !blends {
        return picture;
    }
    let Samples::U8(values) = &picture.samples else { return picture };
    let stays_gray = behind[3] == 0 || (behind[0] == behind[1] && behind[1] == behind[2]);
    // Transparent only where something shows through: behind the picture, or beside it.
    let alpha = behind[3] < 255 && (picture.layout.has_alpha() || picture.size != size);
    let layout = match (picture.layout, stays_gray) {
        (Layout::Gray | Layout::GrayAlpha, true) => {
            if alpha {
                Layout::GrayAlpha
            } else {
                Layout::Gray
            }
        }
        _ => {
            if alpha {
                Layout::Rgba
            } else {
                Layout::Rgb
            }
        }
    };
    let channels = layout.channels();
    let mut empty = vec![behind[0]; 1];
    if channels > 2 {
        empty.extend_from_slice(&behind[1..3]);
    }
    if alpha {
        empty.push(behind[3]);
    }
    let mut samples = empty.repeat(size.pixels() as usize);
    let from_channels = picture.layout.channels();
    let (width, left) = (picture.size.width.min(size.width.saturating_sub(offset.0)) as usize, offset.0 as usize);
    let rows = values.chunks_exact(picture.size.width as usize * from_channels);
    let places = samples.chunks_exact_mut(size.width as usize * channels).skip(offset.1 as usize);
    for (row, place) in rows.zip(places) {
        let place = &mut place[left * channels..(left + width) * channels];
        for (pixel, out) in row.chunks_exact(from_channels).zip(place.chunks_exact_mut(channels)) {
            let rgba = match picture.layout {
                Layout::Gray => [pixel[0], pixel[0], pixel[0], 255],
                Layout::GrayAlpha => [pixel[0], pixel[0], pixel[0], pixel[1]],
                Layout::Rgb => [pixel[0], pixel[1], pixel[2], 255],
                Layout::Rgba | Layout::Cmyk => [pixel[0], pixel[1], pixel[2], pixel[3]],
            };
            let rgba = over(rgba, behind);
            if channels > 2 {
                out[..3].copy_from_slice(&rgba[..3]);
            } else {
                out[0] = rgba[0];
            }
            if alpha {
                out[channels - 1] = rgba[3];
            }
        }
    }
    Picture { size, layout, samples: Samples::U8(samples), colour: picture.colour }
}

/// One straight colour over another (Porter and Duff's "over").
fn over(front: [u8; 4], back: [u8; 4]) -> [u8; 4] {
    match (front[3], back[3]) {
        (255, _) | (_, 0) => front,
        (0, _) => back,
        (front_alpha, back_alpha) => {
            let (a, b) = (u32::from(front_alpha), u32::from(back_alpha));
            // In 255ths of 255ths.
            let (front_share, back_share) = (a * 255, b * (255 - a));
            let sum = front_share + back_share;
            let mix = |at: usize| {
                ((u32::from(front[at]) * front_share + u32::from(back[at]) * back_share + sum / 2) / sum) as u8
            };
            [mix(0), mix(1), mix(2), ((sum + 127) / 255) as u8]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(rgba: [u8; 4]) -> Option<Colour> {
        Some(Colour { rgba })
    }

    #[test]
    fn what_is_behind() {
        let half = || Picture::srgb8(Size::new(1, 1), Layout::Rgba, vec![255, 0, 0, 128]);
        for (background, flatten, layout, right) in [
            (None, None, Layout::Rgba, &[255, 0, 0, 128][..]),
            (None, Some([255; 3]), Layout::Rgb, &[255, 127, 127]),
            (colour([0, 0, 255, 255]), None, Layout::Rgb, &[128, 0, 127]),
            (colour([0, 0, 255, 255]), Some([255; 3]), Layout::Rgb, &[128, 0, 127]),
            (colour([0, 0, 255, 0]), Some([255; 3]), Layout::Rgb, &[255, 127, 127]),
        ] {
            let out = canvas(half(), (0, 0), Size::new(1, 1), Backdrop { background, flatten });
            assert_eq!((out.layout, out.as_u8().unwrap()), (layout, right), "{background:?} {flatten:?}");
        }
    }

    #[test]
    fn a_border_is_as_its_colour_is() {
        let gray = || Picture::srgb8(Size::new(1, 1), Layout::Gray, vec![9]);
        let size = Size::new(3, 1);
        for (background, flatten, layout, right) in [
            (None, None, Layout::GrayAlpha, &[0, 0, 9, 255, 0, 0][..]),
            (None, Some([255; 3]), Layout::Gray, &[255, 9, 255]),
            (colour([1, 2, 3, 255]), None, Layout::Rgb, &[1, 2, 3, 9, 9, 9, 1, 2, 3]),
            (colour([1, 2, 3, 4]), None, Layout::Rgba, &[1, 2, 3, 4, 9, 9, 9, 255, 1, 2, 3, 4]),
        ] {
            let out = canvas(gray(), (1, 0), size, Backdrop { background, flatten });
            assert_eq!((out.layout, out.as_u8().unwrap()), (layout, right), "{background:?} {flatten:?}");
        }
    }
}
