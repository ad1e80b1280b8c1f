//! PNG by the `png` crate, rows read straight into the result. Of an animated PNG the default picture is read.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodingError, InterlaceInfo, Reader, Transformations};

use super::{Decoded, Error, Header, Model, check_plausible, check_size, colour_of, metadata, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{Depth, Head, Layout, Picture, Row, Samples, Sink};

/// Rows between two looks at the deadline.
const ROWS_A_CHECK: u32 = 64;

/// Reads the header and the metadata before the pixels, of a file of `bytes_whole` bytes.
pub fn probe(bytes: &[u8], bytes_whole: u64, limits: &Limits) -> Result<Header, Error> {
    let reader = open(bytes, limits)?;
    let info = reader.info();
    // Deflate packs at most 1032 bytes into one; a sixteenth of that may be left of a truncated picture.
    let packed_min = (info.raw_row_length() as u64 - 1) * u64::from(info.height) / (1032 * 16);
    check_plausible(Format::Png, Size::new(info.width, info.height), bytes_whole, packed_min)?;
    let (model, holds_alpha) = match info.color_type {
        ColorType::Grayscale => (Model::Gray, false),
        ColorType::GrayscaleAlpha => (Model::Gray, true),
        ColorType::Rgb => (Model::Rgb, false),
        ColorType::Rgba => (Model::Rgb, true),
        ColorType::Indexed => {
            let colours = info.palette.as_ref().map_or(0, |palette| palette.len() / 3);
            (Model::Palette(colours.min(256) as u16), false)
        }
    };
    // What a PNG says without a profile (sRGB, gAMA 1/2.2) is sRGB; a profile outranks it.
    let icc = match &info.icc_profile {
        Some(profile) => metadata::profile(profile, model, limits)?,
        None => None,
    };
    let exif = match &info.exif_metadata {
        Some(block) => metadata::exif(block, limits)?,
        None => None,
    };
    Ok(Header {
        format: Format::Png,
        size: Size::new(info.width, info.height),
        orientation: exif.as_deref().map_or(Orientation::Upright, metadata::orientation),
        alpha: holds_alpha || info.trns.is_some(),
        frames: 1,
        loops: 0,
        bits: info.bit_depth as u8,
        model,
        progressive: info.interlaced,
        streams: !info.interlaced,
        icc,
        exif,
    })
}

/// Decodes the whole picture. 1, 2 and 4 bits and palettes become 8 bits; 16 bits stay, unless they hold no more than 8.
pub fn decode(bytes: &[u8], header: &Header, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    let mut reader = open(bytes, limits)?;
    let (size, layout, deep) = shape(&reader, header)?;
    let interlaced = reader.info().interlaced;
    let row_bytes = size.width as usize * layout.channels() * if deep { 2 } else { 1 };
    let length = row_bytes * size.height as usize;
    let (samples, damaged) = if interlaced {
        let mut samples = vec![blank(layout); length];
        let damaged = read_passes(&mut reader, &mut samples, row_bytes, 8 * row_bytes / size.width as usize, work)?;
        (samples, damaged)
    } else {
        let mut samples = Vec::with_capacity(length);
        let damaged = read_rows(&mut reader, &mut samples, row_bytes, (size.height, blank(layout)), work)?;
        samples.resize(length, blank(layout));
        (samples, damaged)
    };
    let samples = if deep { narrowed(samples) } else { Samples::U8(samples) };
    let picture = Picture { size, layout, samples, colour: colour_of(header) };
    Ok(Decoded { picture, covers: whole(size), damaged })
}

/// Gives the rows of a picture that is not interlaced.
pub fn stream(bytes: &[u8], header: &Header, limits: &Limits, work: &Work, sink: &mut dyn Sink) -> Result<bool, Error> {
    let mut reader = open(bytes, limits)?;
    let (size, layout, deep) = shape(&reader, header)?;
    if reader.info().interlaced {
        return Err(Error::broken(Format::Png, "it is not what its header said"));
    }
    let depth = if deep { Depth::Sixteen } else { Depth::Eight };
    sink.begin(&Head { size, layout, colour: colour_of(header), depth, covers: whole(size) })?;
    let values = size.width as usize * layout.channels();
    let mut row = vec![0; if deep { 2 * values } else { values }];
    let mut wide = vec![0; if deep { values } else { 0 }];
    let mut damaged = false;
    for y in 0..size.height {
        if y % ROWS_A_CHECK == 0 {
            work.check()?;
        }
        if sink.done() {
            break;
        }
        if !damaged {
            match reader.read_row(&mut row) {
                Ok(Some(_)) => {}
                Err(what) if y == 0 => return Err(error(what)),
                Ok(None) | Err(_) => {
                    damaged = true;
                    row.fill(blank(layout));
                }
            }
            for (value, pair) in wide.iter_mut().zip(row.as_chunks::<2>().0) {
                *value = u16::from_be_bytes(*pair);
            }
        }
        sink.row(if deep { Row::U16(&wide) } else { Row::U8(&row) })?;
    }
    Ok(damaged)
}

/// What of a picture that never came is shown: nothing, or gray as what JPEG decoders show.
const fn blank(layout: Layout) -> u8 {
    if layout.has_alpha() { 0 } else { 0x80 }
}

/// Size, layout, and whether samples have 16 bits.
fn shape(reader: &Reader<Cursor<&[u8]>>, header: &Header) -> Result<(Size, Layout, bool), Error> {
    let info = reader.info();
    let size = Size::new(info.width, info.height);
    if size != header.size {
        return Err(Error::broken(Format::Png, "it is not what its header said"));
    }
    let (colour, depth) = reader.output_color_type();
    let layout = match colour {
        ColorType::Grayscale => Layout::Gray,
        ColorType::GrayscaleAlpha => Layout::GrayAlpha,
        ColorType::Rgb => Layout::Rgb,
        ColorType::Rgba => Layout::Rgba,
        ColorType::Indexed => return Err(Error::broken(Format::Png, "it has no palette")),
    };
    Ok((size, layout, depth == BitDepth::Sixteen))
}

/// Rows: the last one, this one, and as they leave.
pub fn bytes_of_stream(header: &Header) -> u64 {
    u64::from(header.size.width) * 8 * 8
}

/// The result, and for 16 bits a second copy while the byte order is turned.
pub fn bytes_of_work(header: &Header) -> u64 {
    let channels = if header.model == Model::Gray { 1 } else { 3 } + u64::from(header.alpha);
    let row = u64::from(header.size.width) * channels * 2;
    let result = header.size.pixels() * channels;
    8 * row + if header.bits == 16 { 4 * result } else { result }
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reader<Cursor<&'a [u8]>>, Error> {
    // The size comes first, so that nothing is allocated for one out of bounds.
    if let Some(ihdr) = bytes.get(16..24) {
        let side = |at: usize| u32::from_be_bytes([ihdr[at], ihdr[at + 1], ihdr[at + 2], ihdr[at + 3]]);
        check_size(Size::new(side(0), side(4)), limits)?;
    }
    // Bounds every chunk that is kept: a profile (packed and unpacked), an EXIF block, a palette.
    let bounds = png::Limits { bytes: limits.metadata_bytes_max.saturating_mul(4) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), bounds);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info().map_err(error)
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::LimitsExceeded => Error::TooLarge("its metadata is over the bound".to_owned()),
        other => Error::broken(Format::Png, other),
    }
}

/// Reads as many rows as there are; says whether some were missing, and fails if next to all were: the header lied, or there
/// is nothing to see. Memory is touched as rows come.
fn read_rows(
    reader: &mut Reader<Cursor<&[u8]>>,
    samples: &mut Vec<u8>,
    row_bytes: usize,
    (height, blank): (u32, u8),
    work: &Work,
) -> Result<bool, Error> {
    for y in 0..height {
        if y % ROWS_A_CHECK == 0 {
            work.check()?;
        }
        let from = samples.len();
        samples.resize(from + row_bytes, blank);
        match reader.read_row(&mut samples[from..]) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(what) if y == 0 => return Err(error(what)),
            Err(_) if y < height / 16 => {
                return Err(Error::broken(Format::Png, format!("{y} of its {height} rows are there")));
            }
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// Reads the seven passes of an interlaced picture, each spread over the pixels that later ones refine, so that a
/// truncated picture is coarse, not full of holes.
fn read_passes(
    reader: &mut Reader<Cursor<&[u8]>>,
    samples: &mut [u8],
    row_bytes: usize,
    bits_a_pixel: usize,
    work: &Work,
) -> Result<bool, Error> {
    let mut rows = 0_u32;
    loop {
        if rows.is_multiple_of(ROWS_A_CHECK) {
            work.check()?;
        }
        match reader.next_interlaced_row() {
            Ok(Some(row)) => {
                let InterlaceInfo::Adam7(pass) = row.interlace() else { return Ok(false) };
                png::splat_interlaced_row(samples, row_bytes, row.data(), pass, bits_a_pixel as u8);
            }
            Ok(None) => return Ok(false),
            Err(what) if rows == 0 => return Err(error(what)),
            Err(_) => return Ok(true),
        }
        rows += 1;
    }
}

/// Turns big-endian pairs into 16-bit values, or into 8-bit ones where both bytes of every value are equal: such a picture
/// was widened from 8 bits.
fn narrowed(bytes: Vec<u8>) -> Samples {
    if bytes.chunks_exact(2).all(|pair| pair[0] == pair[1]) {
        Samples::U8(bytes.chunks_exact(2).map(|pair| pair[0]).collect())
    } else {
        Samples::U16(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }
}
