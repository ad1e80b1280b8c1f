//! JPEG, by libjpeg-turbo: 4:2:0, or 4:4:4 from quality [`FULL_CHROMA_FROM`] on or where it is asked for; gray where every
//! pixel is.
//!
//! Huffman tables are the standard ones: optimised ones cost 2.8 times the CPU for 0.7 % of the bytes. A file in several scans
//! always has its own; it is what [`Effort::Small`] makes: 2 to 7 % smaller for three to ten times the encoder's time (four photos at
//! 800 pixels, 1 to 7 ms against 7 to 23). libjpeg-turbo cannot be stopped on the way; a 12 MP picture takes about 60 ms.

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::{Chroma, Effort, Error, Settings};
use crate::base::Format;
use crate::pixels::{Layout, Picture};

/// The quality from which chroma keeps its full resolution.
const FULL_CHROMA_FROM: u8 = 90;

/// Encodes. Alpha, which JPEG has not, is blended with white.
pub fn encode(picture: &Picture, settings: &Settings) -> Result<Vec<u8>, Error> {
    let samples = super::samples8(picture);
    let channels = picture.layout.channels();
    // An RGB profile must not describe gray samples.
    let gray = channels < 3 || (settings.icc.is_none() && channels != 4 && super::is_gray(&samples, channels));
    let flat: Vec<u8>;
    let (pixels, format): (&[u8], _) = match (picture.layout, gray) {
        (Layout::Gray, _) => (&samples, PixelFormat::GRAY),
        (Layout::Rgb, false) => (&samples, PixelFormat::RGB),
        (Layout::Rgb, true) => {
            flat = samples.chunks_exact(3).map(|pixel| pixel[0]).collect();
            (&flat, PixelFormat::GRAY)
        }
        (Layout::GrayAlpha, _) => {
            flat = on_white(&samples, 2);
            (&flat, PixelFormat::GRAY)
        }
        (Layout::Rgba | Layout::Cmyk, _) => {
            flat = on_white(&samples, 4);
            (&flat, PixelFormat::RGB)
        }
    };
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let subsampling = if format == PixelFormat::GRAY {
        Subsamp::Gray
    } else if settings.chroma == Chroma::Full || settings.quality >= FULL_CHROMA_FROM {
        Subsamp::None
    } else {
        Subsamp::Sub2x2
    };
    let failed = |error: turbojpeg::Error| Error::Encoder { format: Format::Jpeg, what: error.to_string() };
    let mut compressor = Compressor::new().map_err(failed)?;
    compressor.set_quality(i32::from(settings.quality.clamp(1, 100))).map_err(failed)?;
    compressor.set_subsamp(subsampling).map_err(failed)?;
    compressor.set_progressive(settings.progressive || settings.effort == Effort::Small).map_err(failed)?;
    let image = Image { pixels, width, pitch: width * format.size(), height, format };
    let file = compressor.compress_to_owned(image).map_err(failed)?;
    Ok(with_metadata(&file, settings))
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

/// Puts EXIF (APP1) and the ICC profile (APP2, in pieces) behind the JFIF header. What a marker cannot hold is left out.
fn with_metadata(file: &[u8], settings: &Settings) -> Vec<u8> {
    let mut markers = Vec::new();
    if let Some(exif) = settings.exif.as_deref() {
        super::strip::jpeg::push_exif(&mut markers, exif);
    }
    if let Some(icc) = settings.icc.as_deref() {
        push_icc(&mut markers, icc);
    }
    // SOI, then APP0 with its length.
    let jfif_end = match file {
        [0xff, 0xd8, 0xff, 0xe0, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => 2,
    };
    let mut out = Vec::with_capacity(file.len() + markers.len());
    out.extend_from_slice(&file[..jfif_end]);
    out.extend_from_slice(&markers);
    out.extend_from_slice(&file[jfif_end..]);
    out
}

/// The most bytes of profile in one APP2 marker: its length field, less itself, the name and the piece's numbers.
const ICC_PIECE_MAX: usize = 65_535 - 2 - 14;

fn push_icc(markers: &mut Vec<u8>, icc: &[u8]) {
    let pieces = icc.len().div_ceil(ICC_PIECE_MAX);
    let Ok(count) = u8::try_from(pieces) else { return };
    for (at, piece) in icc.chunks(ICC_PIECE_MAX).enumerate() {
        markers.extend_from_slice(&[0xff, 0xe2]);
        markers.extend_from_slice(&((piece.len() + 16) as u16).to_be_bytes());
        markers.extend_from_slice(b"ICC_PROFILE\0");
        markers.extend_from_slice(&[at as u8 + 1, count]);
        markers.extend_from_slice(piece);
    }
}
