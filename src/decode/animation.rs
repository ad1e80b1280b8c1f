//! What the two animated formats share.

use crate::base::Size;
use crate::pixels::{ColourSpace, Layout, Picture, Samples};

/// The shortest delay that is taken at its word. Browsers play shorter ones (0 and 10 ms, mostly written by mistake) at
/// [`DELAY_MS_SLOW`].
const DELAY_MS_MIN: u32 = 11;

/// What too short a delay becomes.
const DELAY_MS_SLOW: u32 = 100;

/// A frame's delay as browsers play it.
pub const fn delay_ms(written: u32) -> u32 {
    if written < DELAY_MS_MIN { DELAY_MS_SLOW } else { written }
}

/// A canvas as a picture, without its alpha channel where the header said that there is none.
pub fn picture(canvas: &[u8], size: Size, alpha: bool, colour: ColourSpace) -> Picture {
    let (layout, samples) = if alpha {
        (Layout::Rgba, canvas.to_vec())
    } else {
        let mut samples = Vec::with_capacity(canvas.len() / 4 * 3);
        canvas.chunks_exact(4).for_each(|pixel| samples.extend_from_slice(&pixel[..3]));
        (Layout::Rgb, samples)
    };
    Picture { size, layout, samples: Samples::U8(samples), colour }
}
