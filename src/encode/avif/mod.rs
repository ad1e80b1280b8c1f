//! AVIF, on this thread: by libaom, made while somebody waits, and by ravif (rav1e) from quality [`TEN_BITS_FROM`] on.
//!
//! libaom codes 8 bits at its fastest intra speed, colour at half resolution (see [`planes`]), alpha as a second picture without
//! loss, as in WebP, so that what is transparent or opaque stays so. ravif codes 10 bits and colour at full resolution, which only
//! shows where little else is lost. Both write sRGB as CICP 1/13/6, full range: into the bitstream, and libaom's also into the
//! container (ravif leaves it to the container's default, which is the same).
//!
//! Neither can be stopped on the way: between colour and alpha the deadline is looked at. Neither writes an ICC profile: a
//! picture that keeps its profile must not come here (the caller converts it to sRGB), and [`Settings::icc`] is ignored.
//! What a quality comes to, and what it costs, stands in `docs/qualities.md`.

mod aom;
mod rav1e;

use avif_serialize::Aviffy;
use avif_serialize::constants::MatrixCoefficients;

use super::planes::{self, Planes};
use super::{Error, Settings};
use crate::base::{Format, Work};
use crate::pixels::Picture;

/// The quality from which ravif does it: there eight bits of YCbCr are what limits libaom.
const TEN_BITS_FROM: u8 = 98;

/// Encodes.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    if settings.quality >= TEN_BITS_FROM {
        return rav1e::encode(picture, settings);
    }
    let samples = super::samples8(picture);
    let (pixels, has_alpha) = planes::rgb(&samples, picture.layout, picture.size);
    let colour = Planes::full(&pixels, picture.size);
    drop(pixels);
    let colour_obus = aom::encode(&colour, quantizer(settings.quality))?;
    drop(colour);
    work.check()?;
    let alpha_obus =
        has_alpha.then(|| aom::encode(&Planes::alpha(&samples, picture.layout, picture.size), 0)).transpose()?;
    Ok(file(picture, settings, &colour_obus, alpha_obus.as_deref()))
}

/// libaom's quantizer, 63 the coarsest, for a quality of 1 to 100: straight lines through 100, 60 and 1. Quality 60 scores what
/// sharp's and libavif's 60 do (their quantizer is 25; ours works with quantisation matrices, which are coarser by themselves).
fn quantizer(quality: u8) -> u32 {
    let quality = u32::from(quality.clamp(1, 100));
    if quality >= 60 { (100 - quality) * 18 / 40 } else { 18 + (60 - quality) * 45 / 59 }
}

/// The container.
fn file(picture: &Picture, settings: &Settings, colour: &[u8], alpha: Option<&[u8]>) -> Vec<u8> {
    let mut container = Aviffy::new();
    container.set_seq_profile(0).set_chroma_subsampling((true, true));
    // The writer leaves out a `colr` box that says its own default. Readers differ in what they take for granted, so it is made
    // to write one, which `tell_colour` corrects.
    container.set_matrix_coefficients(MatrixCoefficients::Bt709);
    if let Some(exif) = settings.exif.as_deref() {
        container.set_exif(exif.to_vec());
    }
    let mut file = container.to_vec(colour, alpha, picture.size.width, picture.size.height, 8);
    tell_colour(&mut file);
    tell_levels(&mut file, [Some(colour), alpha].into_iter().flatten());
    file
}

/// Makes the `colr` box say BT.601's matrix, as the bitstream does.
fn tell_colour(file: &mut [u8]) {
    const BT709: &[u8] = b"colrnclx\x00\x01\x00\x0d\x00\x01";
    if let Some(at) = memchr::memmem::find(file, BT709) {
        file[at + BT709.len() - 1] = MatrixCoefficients::Bt601 as u8;
    }
}

/// Writes the level that each bitstream claims into its `av1C` box, where the specification wants it and the container's
/// writer puts the highest.
fn tell_levels<'a>(file: &mut [u8], streams: impl Iterator<Item = &'a [u8]>) {
    let mut from = 0;
    for stream in streams {
        let (Some(level), Some(at)) = (level(stream), memchr::memmem::find(&file[from..], b"av1C")) else { return };
        // Name, marker and version, then three bits of profile and five of level.
        let at = from + at + 5;
        file[at] = (file[at] & 0xe0) | level;
        from = at;
    }
}

/// The level in a bitstream of a still picture: after a temporal delimiter, if any, the sequence header begins with profile (3
/// bits), still picture, reduced header (1 each) and level (5).
fn level(stream: &[u8]) -> Option<u8> {
    let stream = stream.strip_prefix(&[0x12, 0x00]).unwrap_or(stream);
    match stream {
        [0x0a, _, first, second, ..] if first & 0x18 == 0x18 => Some(((first & 7) << 2) | (second >> 6)),
        _ => None,
    }
}

fn failed(what: impl ToString) -> Error {
    Error::Encoder { format: Format::Avif, what: what.to_string() }
}

/// Bytes a pixel, and besides, that encoding holds at its peak. libaom took 15 a pixel and 5 MB (VmHWM at 0.07 to 13 MP); ours are
/// RGB, the planes and the bitstream twice. rav1e takes 60 to 100.
pub const fn bytes_of_work(quality: u8) -> (u64, u64) {
    if quality >= TEN_BITS_FROM { (110, 4 << 20) } else { (24, 6 << 20) }
}

#[cfg(test)]
mod tests;
