//! JPEG: 4:2:0, or 4:4:4 from quality [`FULL_CHROMA_FROM`] on or where it is asked for; gray where every pixel is.
//!
//! Files are written by an encoder of our own ([`baseline`]), with tables tuned for SSIMULACRA2 and codes made for each picture. Those in
//! several scans are made of them by libjpeg-turbo, without loss: what is seen is the same, in fewer bytes.

mod baseline;
mod blocks;
mod huffman;
mod lanes;
mod quantiser;
mod scan;
#[cfg(test)]
mod tests;
mod write;

use turbojpeg::{Transform, TransformOp, Transformer};

use self::write::{Frame, Sampling};
use super::{Chroma, Effort, Error, Settings};
use crate::base::{Format, Work};
use crate::pixels::{Layout, Picture};

/// The quality from which chroma keeps its full resolution.
const FULL_CHROMA_FROM: u8 = 90;

/// Encodes. Alpha, which JPEG has not, is blended with white.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
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
        Sampling::Gray
    } else if settings.chroma == Chroma::Full || settings.quality >= FULL_CHROMA_FROM {
        Sampling::Full
    } else {
        Sampling::Half
    };
    let frame = Frame { width: picture.size.width as usize, height: picture.size.height as usize, sampling };
    let file = baseline::encode(pixels, frame, settings.quality.clamp(1, 100), &markers(settings), work)?;
    if settings.progressive {
        return in_scans(&file);
    }
    if settings.effort == Effort::Small {
        let scans = in_scans(&file)?;
        return Ok(if scans.len() < file.len() { scans } else { file });
    }
    Ok(file)
}

/// The same coefficients in several scans, each with codes of its own; libjpeg-turbo cannot be stopped on the way.
fn in_scans(file: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |error: turbojpeg::Error| Error::Encoder { format: Format::Jpeg, what: error.to_string() };
    let mut transform = Transform::op(TransformOp::None);
    transform.progressive = true;
    let out = Transformer::new()
        .and_then(|mut transformer| transformer.transform_to_owned(&transform, file))
        .map_err(failed)?;
    Ok(out.to_vec())
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
