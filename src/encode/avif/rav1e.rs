//! AVIF by ravif (rav1e): 10 bits, 4:4:4, on this thread, at its fastest.

use ravif::{Encoder, Img};
use rgb::FromSlice;

use super::failed;
use crate::encode::palette::rgba;
use crate::encode::{Error, Settings, samples8};
use crate::pixels::{Layout, Picture};

/// ravif's speed, 1 to 10.
const SPEED: u8 = 10;

/// Encodes.
pub fn encode(picture: &Picture, settings: &Settings) -> Result<Vec<u8>, Error> {
    let samples = samples8(picture);
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let quality = f32::from(settings.quality.clamp(1, 100));
    let mut encoder =
        Encoder::new().with_speed(SPEED).with_quality(quality).with_alpha_quality(quality).with_num_threads(Some(1));
    if let Some(exif) = settings.exif.as_deref() {
        encoder = encoder.with_exif(exif);
    }
    // Always as RGBA: ravif leaves out an alpha of 255s by itself, and its `encode_rgb` is inlined, which would compile the
    // whole of rav1e once more into this crate (two minutes).
    let wide: Vec<u8>;
    let pixels: &[u8] = if picture.layout == Layout::Rgba {
        &samples
    } else {
        wide = samples.chunks_exact(picture.layout.channels()).flat_map(|pixel| rgba(pixel, picture.layout)).collect();
        &wide
    };
    Ok(encoder.encode_rgba(Img::new(pixels.as_rgba(), width, height)).map_err(failed)?.avif_file)
}
