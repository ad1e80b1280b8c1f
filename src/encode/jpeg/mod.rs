//! JPEG: 4:2:0, or 4:4:4 from quality [`FULL_CHROMA_FROM`] on or where it is asked for; gray where every pixel is.
//!
//! The encoder is our own: divisors tuned for SSIMULACRA2 ([`quantiser`]) and Huffman codes made for each picture. Beside libjpeg-turbo's
//! files with its tables, which it replaced, a photo of the same score takes a fifth fewer bytes and no more time; the numbers stand in
//! `docs/engine.md`. A file in several scans has the same pixels in 2 to 3 % fewer bytes; it is what [`Effort::Small`] makes, where it is
//! smaller.

mod baseline;
mod blocks;
mod huffman;
mod lanes;
mod quantiser;
mod scan;
mod scans;
mod symbols;
#[cfg(test)]
mod tests;
mod write;

use self::baseline::Form;
use self::write::Frame;
use super::{Chroma, Effort, Error, Settings};
use crate::base::{Stopped, Work};
use crate::encode::planes::Sampling;
use crate::pixels::{Layout, Picture};

/// The quality from which chroma keeps its full resolution.
const FULL_CHROMA_FROM: u8 = 90;

/// Encodes. Alpha, which JPEG has not, is blended with white.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    encode_by(picture, settings, |source| baseline::encode(source, work))
}

/// The same without vectors: slower, the same bytes.
pub fn encode_plainly(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    encode_by(picture, settings, |source| baseline::encode_by::<lanes::Portable>(source, work))
}

fn encode_by(
    picture: &Picture,
    settings: &Settings,
    by: impl Fn(&baseline::Picture<'_>) -> Result<Vec<u8>, Stopped>,
) -> Result<Vec<u8>, Error> {
    let samples = super::samples8(picture);
    let channels = picture.layout.channels();
    // An RGB profile must not describe gray samples.
    let gray = channels < 3 || (settings.icc.is_none() && channels != 4 && super::is_gray(&samples, channels));
    let flat: Vec<u8>;
    let pixels: &[u8] = match (picture.layout, gray) {
        (Layout::Gray, _) | (Layout::Rgb, false) => &samples,
        (Layout::Rgb, true) => {
            flat = samples.chunks_exact(3).map(|pixel| pixel[0]).collect();
            &flat
        }
        (Layout::GrayAlpha, _) => {
            flat = on_white(&samples, 2);
            &flat
        }
        (Layout::Rgba | Layout::Cmyk, _) => {
            flat = on_white(&samples, 4);
            &flat
        }
    };
    let sampling = if gray {
        Sampling::None
    } else if full_chroma(settings) {
        Sampling::Full
    } else {
        Sampling::Half
    };
    let frame = Frame { width: picture.size.width as usize, height: picture.size.height as usize, sampling };
    let markers = markers(settings);
    let quality = settings.quality.clamp(1, 100);
    let of = |form| by(&baseline::Picture { samples: pixels, frame, form, quality, markers: &markers });
    if settings.progressive {
        return Ok(of(Form::Progressive)?);
    }
    let file = of(Form::Baseline)?;
    if settings.effort == Effort::Small {
        let scans = of(Form::Progressive)?;
        return Ok(if scans.len() < file.len() { scans } else { file });
    }
    Ok(file)
}

/// EXIF (APP1) and the ICC profile (APP2, in pieces). What a marker cannot hold is left out.
fn markers(settings: &Settings) -> Vec<u8> {
    let mut markers = Vec::new();
    if let Some(exif) = settings.exif.as_deref() {
        super::strip::jpeg::push_exif(&mut markers, exif);
    }
    if let Some(icc) = settings.icc.as_deref() {
        write::push_icc(&mut markers, icc);
    }
    markers
}

fn full_chroma(settings: &Settings) -> bool {
    settings.chroma == Chroma::Full || settings.quality >= FULL_CHROMA_FROM
}

/// Bytes that are held for a pixel at most: symbols that wait, four bytes each, and the file. In one scan no more than one waits for a
/// pixel; in several, all do, in lists that grow by doubling.
pub fn bytes_a_pixel(settings: &Settings) -> u64 {
    match (settings.progressive || settings.effort == Effort::Small, full_chroma(settings)) {
        (false, false) => 8,
        (false, true) => 9,
        (true, false) => 14,
        (true, true) => 26,
    }
}

fn on_white(samples: &[u8], channels: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() / channels * (channels - 1));
    for pixel in samples.chunks_exact(channels) {
        let alpha = u32::from(pixel[channels - 1]);
        out.extend(
            pixel[..channels - 1]
                .iter()
                .map(|value| ((u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8),
        );
    }
    out
}
