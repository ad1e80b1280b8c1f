//! BMP by the `image` crate.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder};

use super::{Decoded, Error, Header, Model, check_plausible, check_size, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{ColourSpace, Layout, Picture, Samples};

/// Most pixels that a byte of run-length coding stands for: two bytes for 255.
const PIXELS_A_BYTE_MAX: u64 = 128;

/// Reads the header and palette of a file of `bytes_whole` bytes.
pub fn probe(bytes: &[u8], bytes_whole: u64, limits: &Limits) -> Result<Header, Error> {
    let (decoder, size) = open(bytes, limits)?;
    // A sixteenth of the data may be left of a truncated picture.
    let data_min = match coding(bytes) {
        Some((bits, Coding::Plain)) => size.pixels() * u64::from(bits) / 8,
        _ => size.pixels() / PIXELS_A_BYTE_MAX,
    };
    check_plausible(Format::Bmp, size, bytes_whole, data_min / 16)?;
    let alpha = match decoder.color_type() {
        ColorType::Rgb8 => false,
        ColorType::Rgba8 => true,
        other => return Err(Error::kind(Format::Bmp, format!("{other:?}"))),
    };
    Ok(Header {
        format: Format::Bmp,
        size,
        orientation: Orientation::Upright,
        alpha,
        frames: 1,
        loops: 0,
        bits: 8,
        model: decoder.get_palette().map_or(Model::Rgb, |palette| Model::Palette(palette.len().min(256) as u16)),
        progressive: false,
        streams: false,
        icc: None,
        exif: None,
    })
}

/// Decodes the picture; what a truncated one lacks (its top: rows are stored from the bottom) stays gray or transparent.
pub fn decode(bytes: &[u8], header: &Header, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    let (decoder, size) = open(bytes, limits)?;
    let layout = match decoder.color_type() {
        ColorType::Rgb8 => Layout::Rgb,
        _ => Layout::Rgba,
    };
    let length = size.pixels() * layout.channels() as u64;
    if size != header.size || layout.has_alpha() != header.alpha || decoder.total_bytes() != length {
        return Err(broken("it is not what its header said"));
    }
    let blank = if header.alpha { 0 } else { 0x80 };
    let mut samples = vec![blank; length as usize];
    let read = decoder.read_image(&mut samples);
    work.check()?;
    let damaged = read.is_err();
    if let Err(error) = read
        && samples.iter().all(|sample| *sample == blank)
    {
        return Err(broken(error));
    }
    let picture = Picture { size, layout, samples: Samples::U8(samples), colour: ColourSpace::Srgb };
    Ok(Decoded { picture, covers: whole(size), damaged })
}

/// The result and a few rows.
pub fn bytes_of_work(header: &Header) -> u64 {
    header.size.pixels() * if header.alpha { 4 } else { 3 } + u64::from(header.size.width) * 32
}

/// How pixels are stored.
enum Coding {
    /// Each in its bits.
    Plain,
    /// In runs.
    Runs,
}

/// Bits a pixel, and the coding, as the header says them; none where it is of a kind that says them elsewhere.
fn coding(bytes: &[u8]) -> Option<(u16, Coding)> {
    let short = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    match short(14)? {
        12 => Some((short(24)?, Coding::Plain)),
        _ => Some((short(28)?, if matches!(short(30)?, 0 | 3 | 6) { Coding::Plain } else { Coding::Runs })),
    }
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Bmp, what)
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(BmpDecoder<Cursor<&'a [u8]>>, Size), Error> {
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = Size::new(width, height);
    if size.pixels() == 0 {
        return Err(broken("it is empty"));
    }
    check_size(size, limits)?;
    Ok((decoder, size))
}
