//! The encoders of our own for fuzzing: cargo-fuzz calls this, and a test does with what comes to it.
//!
//! Always true: for every input it returns, without a panic, and what vectors make is what plain loops make.

use std::time::Duration;

use super::planes::Planes;
use super::{Chroma, Settings, jpeg, vp8};
use crate::base::{Deadline, Format, Size, Work};
use crate::pixels::{Layout, Picture};

/// Most pixels on a side.
const SIDE_MAX: u8 = 70;

/// Bytes before those of pixels: two sides, a quality, a form.
const HEAD: usize = 4;

/// A picture: sides, quality, form, and then samples, again and again where they are too few. Encodes it as JPEG and as WebP.
///
/// # Panics
/// Where vectors and plain loops do not make the same: a defect.
pub fn picture(data: &[u8]) {
    let Some(([width, height, quality, form], samples)) = data.split_first_chunk::<HEAD>() else { return };
    if samples.is_empty() {
        return;
    }
    let size = Size::new(u32::from(width % SIDE_MAX) + 1, u32::from(height % SIDE_MAX) + 1);
    let layout = [Layout::Gray, Layout::Rgb, Layout::GrayAlpha, Layout::Rgba][usize::from(form % 4)];
    let count = size.pixels() as usize * layout.channels();
    let picture = Picture::srgb8(size, layout, samples.iter().copied().cycle().take(count).collect());
    let quality = quality % 100 + 1;
    let work = Work::until(Deadline::after(Duration::from_secs(60)));
    let chroma = if form & 4 == 0 { Chroma::ByQuality } else { Chroma::Full };
    let settings = Settings { chroma, progressive: form & 8 != 0, ..Settings::new(Format::Jpeg, quality) };
    let (by_vectors, plainly) =
        (jpeg::encode(&picture, &settings, &work), jpeg::encode_plainly(&picture, &settings, &work));
    assert!(by_vectors.ok() == plainly.ok(), "JPEG {size:?} {layout:?} {settings:?}");
    let rgb: Vec<u8> = samples.iter().copied().cycle().take(size.pixels() as usize * 3).collect();
    let planes = Planes::video(&rgb, size);
    let (by_vectors, plainly) = (vp8::encode(&planes, quality, &work), vp8::encode_plainly(&planes, quality, &work));
    assert!(by_vectors == plainly, "WebP {size:?} {quality}");
}
