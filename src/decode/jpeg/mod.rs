//! JPEG: markers by [`markers`]; pixels of a plain picture by [`baseline`], row by row, of all others by [`turbo`] (libjpeg-turbo).
//!
//! A decode is reduced in the DCT (n/8 in each direction) as far as [`Want`] allows, and cut to the wanted region where
//! that saves a quarter or more. What [`baseline`] finds irregular, libjpeg-turbo decodes; what that gives up on altogether
//! zune-jpeg tries, which is slower but forgives more (reserved markers between segments, a scan of a progressive picture
//! that breaks off).
//!
//! CPU milliseconds on one core of the development machine (the second best of seven, 8-bit RGB out), by which the scales
//! were chosen: libjpeg-turbo has SIMD for 1, 2, 4 and 8 eighths only, and 6 and 7 are slower than no reduction.
//!
//! | picture | 1/8 | 2/8 | 3/8 | 4/8 | 5/8 | 6/8 | 7/8 | 8/8 | zune-jpeg 8/8 |
//! |---|---|---|---|---|---|---|---|---|---|
//! | 12 MP, 4:2:0, 2.1 MB | 37.9 | 37.7 | 44.5 | 46.7 | 73.2 | 115.9 | 151.0 | 92.1 | 112.8 |
//! | 12 MP, progressive, 1.3 MB | 132.2 | 134.3 | 147.2 | 139.5 | 176.5 | 230.1 | 270.2 | 182.9 | 237.7 |
//! | 2 MP, 4:4:4, 1.0 MB | 16.0 | 19.9 | 21.5 | 21.8 | 28.0 | 31.0 | 34.3 | 23.2 | 26.0 |
//! | 2 MP, 4:2:0, 0.8 MB | 10.0 | 12.6 | 13.8 | 13.2 | 17.5 | 19.8 | 33.8 | 15.9 | 18.2 |
//! | 0.5 MP, 4:2:0, 89 KB | 1.3 | 1.6 | 1.8 | 1.8 | 2.8 | 3.2 | 3.9 | 2.3 | 2.9 |

mod baseline;
mod markers;
mod part;
mod turbo;

pub use self::markers::frame_size;

use bytes::Bytes;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use self::part::{Part, eighths};
use super::{Decoded, Error, Form, Header, Model, Want, check_plausible, check_size, colour_of, give, metadata};
use crate::base::{Format, Limits, Orientation, Size, Stopped, Work};
use crate::pixels::{ColourSpace, Depth, Head, Layout, Picture, Row, Samples, Sink};

/// Most scans of a progressive picture. Encoders write about 10, hand-made scripts under 70; each scan passes over all
/// coefficients however few bytes it has, which is what a scan bomb lives on.
const SCANS_MAX: usize = 100;

/// Reads the header of a file of `bytes_whole` bytes.
pub fn probe(bytes: &[u8], bytes_whole: u64, limits: &Limits) -> Result<Header, Error> {
    let markers = markers::read(bytes, limits)?;
    check_size(markers.size, limits)?;
    // A whole Huffman-coded picture has a code of at least one bit for every block's DC value, so one bit for each MCU at
    // the very least (12 for a flat 4:2:0 one, which leaves room for what a truncated picture lacks).
    if !markers.arithmetic {
        let data = bytes_whole.saturating_sub(markers.data_at as u64);
        check_plausible(Format::Jpeg, markers.size, data, markers.mcus() / 8)?;
    }
    let orientation = markers.exif.as_deref().map_or(Orientation::Upright, metadata::orientation);
    Ok(Header {
        format: Format::Jpeg,
        size: markers.size,
        orientation,
        alpha: false,
        frames: 1,
        loops: 0,
        bits: 8,
        model: markers::model(markers.components),
        progressive: markers.buffered,
        streams: baseline::open(bytes).is_ok_and(|frame| frame.size() == markers.size),
        icc: markers.icc,
        exif: markers.exif,
    })
}

/// The markers again, which must say what they said.
fn markers_of(bytes: &[u8], header: &Header) -> Result<markers::Markers, Error> {
    let markers = markers::read(bytes, &Limits { metadata_bytes_max: usize::MAX, ..Limits::default() })?;
    if markers.size != header.size || markers::model(markers.components) != header.model {
        return Err(Error::broken(Format::Jpeg, "it is not what its header said"));
    }
    Ok(markers)
}

/// What of a picture is decoded, and what its rows are; no form where libjpeg-turbo gives samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Cut {
    part: Part,
    form: Option<baseline::Form>,
}

/// The cut that [`stream`] makes for a want.
pub fn cut(bytes: &[u8], header: &Header, want: &Want, form: Form) -> Result<Cut, Error> {
    let markers = markers_of(bytes, header)?;
    let dct = eighths(want, want.margin_percent);
    if !header.streams {
        let eighths = if markers.lossless { 8 } else { dct };
        return Ok(Cut { part: Part::of(header.size, want, eighths, markers.sampling), form: None });
    }
    // 3 and 5 eighths are the next larger scale here, which takes less time than libjpeg-turbo's.
    let dct = match dct {
        3 => 4,
        5 => 8,
        eighths => eighths,
    };
    let halves = matches!(form, Form::Light(margin) if margin > 0 && dct >= 4 && eighths(want, margin) <= 4);
    let part = Part::of(header.size, want, if halves { 4 } else { dct }, markers.sampling);
    let form = match form {
        Form::Light(_) if halves => baseline::Form::Halves,
        // A profile is for samples of full precision.
        Form::Light(_) if header.icc.is_none() => baseline::Form::Light,
        _ => baseline::Form::Samples,
    };
    Ok(Cut { part, form: Some(form) })
}

impl Cut {
    /// The cut that serves both, where they take the same rows at the same scale and lie beside each other.
    pub fn beside(&self, other: &Self) -> Option<Self> {
        if self.form.is_none() || self.form != other.form {
            return None;
        }
        Some(Self { part: self.part.beside(&other.part)?, form: self.form })
    }
}

/// Decodes a cut row by row: of [`stream`]'s wants, or what several of them share.
pub fn stream_cut(bytes: &Bytes, header: &Header, cut: &Cut, work: &Work, sink: &mut dyn Sink) -> Result<bool, Error> {
    rows(bytes, header, cut, sink, |frame, form, repairs, sink| {
        baseline::together(bytes, frame, &cut.part, form, repairs, work, sink)
    })
}

/// As [`stream_cut`] by several threads, however small the picture is; none where it cannot be parted. For fuzzing.
pub fn stream_parted(
    bytes: &Bytes,
    header: &Header,
    cut: &Cut,
    work: &Work,
    sink: &mut dyn Sink,
) -> Option<Result<bool, Error>> {
    let mut parts = true;
    let result = rows(bytes, header, cut, sink, |frame, form, repairs, sink| {
        let result = baseline::parted(bytes, frame, &cut.part, form, repairs, work, sink);
        parts = result.is_some();
        result.unwrap_or(Err(baseline::Failure::Irregular))
    });
    parts.then_some(result)
}

/// The rows of a cut, by one of the ways to decode them.
fn rows(
    bytes: &[u8],
    header: &Header,
    cut: &Cut,
    sink: &mut dyn Sink,
    decode: impl FnOnce(&baseline::Frame, baseline::Form, bool, &mut dyn Sink) -> Result<bool, baseline::Failure>,
) -> Result<bool, Error> {
    let (part, Some(form)) = (&cut.part, cut.form) else {
        return Err(Error::broken(Format::Jpeg, "it does not stream"));
    };
    let frame = baseline::open(bytes).map_err(|_| Error::broken(Format::Jpeg, "its header is broken"))?;
    let depth = if form == baseline::Form::Samples { Depth::Eight } else { Depth::Light };
    let (layout, colour) = (layout(header.model), colour_of(header));
    sink.begin(&Head { size: part.size, layout, colour, depth, covers: part.covers() })?;
    let small = header.size.pixels() <= RESCUE_PIXELS_MAX;
    match decode(&frame, form, !small, sink) {
        Ok(damaged) => Ok(damaged),
        Err(baseline::Failure::Stopped(stopped)) => Err(stopped.into()),
        Err(baseline::Failure::Irregular) => Err(Error::broken(Format::Jpeg, "its data is broken from the start")),
    }
}

/// Decodes the wanted region row by row, reduced as far as allowed: by halves in linear light, where that is welcome, rather
/// than in the DCT, which averages in the samples' own light.
pub fn stream(
    bytes: &Bytes,
    header: &Header,
    want: &Want,
    form: Form,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Error> {
    let cut = cut(bytes, header, want, form)?;
    if cut.form.is_none() {
        return give(&decode(bytes, header, want, work)?, sink);
    }
    match stream_cut(bytes, header, &cut, work, sink) {
        // What libjpeg-turbo makes of it is worth a second look.
        Err(Error::Broken { .. }) if header.size.pixels() <= RESCUE_PIXELS_MAX => {
            give(&decode(bytes, header, want, work)?, sink)
        }
        done => done,
    }
}

/// A strip of rows of MCUs, the rows made of it, and what a small picture takes that is tried a second time, or a large one whose
/// restart markers are decoded by several threads.
pub fn bytes_of_stream(header: &Header) -> u64 {
    let channels = layout(header.model).channels() as u64;
    let row = u64::from(header.size.width).next_multiple_of(8 * 32);
    let rescue = if header.size.pixels() > RESCUE_PIXELS_MAX { 0 } else { header.size.pixels() * channels };
    let ahead = if header.size.pixels() < baseline::AHEAD_PIXELS_MIN { 0 } else { baseline::AHEAD_BYTES_MAX as u64 };
    row * channels * 33 + row * 24 + rescue + ahead
}

/// Decodes the wanted region, reduced as far as allowed.
pub fn decode(bytes: &[u8], header: &Header, want: &Want, work: &Work) -> Result<Decoded, Error> {
    let markers = markers_of(bytes, header)?;
    if markers.buffered && markers::scans(bytes, SCANS_MAX + 1) > SCANS_MAX {
        return Err(Error::TooLarge(format!("more than {SCANS_MAX} scans")));
    }
    work.check()?;
    let eighths = if markers.lossless { 8 } else { eighths(want, want.margin_percent) };
    let mut part = Part::of(header.size, want, eighths, markers.sampling);
    let layout = layout(header.model);
    let (mut samples, damaged) = match plain(bytes, header.size, &part, work)? {
        Some(samples) => (samples, false),
        None => match turbo::pixels(bytes, layout, &part) {
            Err(error) => {
                part = Part::all(header.size);
                (rescued(bytes, layout, header.size).ok_or(error)?, true)
            }
            decoded => decoded?,
        },
    };
    work.check()?;
    if layout == Layout::Cmyk && markers.adobe {
        samples.iter_mut().for_each(|ink| *ink = !*ink);
    }
    let colour = match (layout, &header.icc) {
        (Layout::Cmyk, None) => ColourSpace::DeviceCmyk,
        _ => colour_of(header),
    };
    let picture = Picture { size: part.size, layout, samples: Samples::U8(samples), colour };
    Ok(Decoded { picture, covers: part.covers(), damaged })
}

/// The result, a strip of rows in decoding, and for a buffered picture its coefficients (16 bits each; the header does not
/// say the sampling, so none is assumed).
pub fn bytes_of_work(header: &Header, want: &Want) -> u64 {
    let channels = layout(header.model).channels() as u64;
    // The alignment that a region is cut at is at most that of 4x4 sampling.
    let result = Part::of(header.size, want, eighths(want, want.margin_percent), (4, 4)).size.pixels() * channels;
    let padded = |side: u32| u64::from(side.next_multiple_of(32));
    let coefficients = padded(header.size.width) * padded(header.size.height) * channels * 2;
    let strip = padded(header.size.width) * channels * 32 * 4;
    let rescue = if header.size.pixels() > RESCUE_PIXELS_MAX { 0 } else { header.size.pixels() * channels };
    result.max(rescue) + strip + if header.progressive { coefficients } else { 0 }
}

const fn layout(model: Model) -> Layout {
    match model {
        Model::Gray => Layout::Gray,
        Model::Cmyk => Layout::Cmyk,
        _ => Layout::Rgb,
    }
}

/// By [`baseline`], where it is ahead of libjpeg-turbo: plain pictures. None where another has to have a look.
fn plain(bytes: &[u8], size: Size, part: &Part, work: &Work) -> Result<Option<Vec<u8>>, Stopped> {
    if !matches!(part.eighths, 1 | 2 | 4 | 8) {
        return Ok(None);
    }
    let Ok(frame) = baseline::open(bytes) else { return Ok(None) };
    if frame.size() != size {
        return Ok(None);
    }
    let mut gathered = Gathered(Vec::with_capacity(part.size.pixels() as usize * frame.channels()));
    match baseline::stream(bytes, &frame, part, baseline::Form::Samples, false, work, &mut gathered) {
        Ok(_) => Ok(Some(gathered.0)),
        Err(baseline::Failure::Irregular) => Ok(None),
        Err(baseline::Failure::Stopped(stopped)) => Err(stopped),
    }
}

/// Rows of samples, one after another.
struct Gathered(Vec<u8>);

impl Sink for Gathered {
    fn begin(&mut self, _: &Head) -> Result<(), Stopped> {
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        if let Row::U8(values) = row {
            self.0.extend_from_slice(values);
        }
        Ok(())
    }
}

/// Largest picture that is tried a second time: the second decoder knows neither scales nor regions, so a reduced decode
/// of a larger one would take more memory than was said.
const RESCUE_PIXELS_MAX: u64 = 1 << 20;

/// The whole picture by zune-jpeg, where that is gray or RGB, small, and can make something of it.
fn rescued(bytes: &[u8], layout: Layout, size: Size) -> Option<Vec<u8>> {
    let colour = match layout {
        Layout::Gray => ColorSpace::Luma,
        Layout::Rgb => ColorSpace::RGB,
        _ => return None,
    };
    let side_max = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(side_max).set_max_height(side_max);
    let options = options.jpeg_set_max_scans(SCANS_MAX).jpeg_set_out_colorspace(colour);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    if size.pixels() > RESCUE_PIXELS_MAX || decoder.dimensions() != Some((size.width as usize, size.height as usize)) {
        return None;
    }
    let samples = decoder.decode().ok()?;
    (samples.len() as u64 == size.pixels() * layout.channels() as u64).then_some(samples)
}
