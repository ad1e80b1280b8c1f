//! From an original's bytes to a picture; one file a format. [`probe`] reads headers only.
//!
//! Enters: bytes of unknown worth and [`Limits`]. Leaves: a [`Header`], a [`Decoded`] picture or a stream of [`Frames`].
//!
//! Always true: nothing larger than the limits and the header's estimate is allocated, and no input panics.

mod animation;
mod avif;
mod bmp;
pub mod fuzz;
mod gif;
mod jpeg;
mod metadata;
mod png;
mod samples;
mod svg;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Format, Limits, Orientation, Rect, Size, Stopped, Work};
use crate::pixels::{ColourSpace, Depth, Frame, Head, Picture, Row, Samples, Sink};

/// What a header tells without decoding pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    /// The format, by content.
    pub format: Format,
    /// The stored size, before orientation. For an SVG its natural size.
    pub size: Size,
    /// How to turn the stored picture upright.
    pub orientation: Orientation,
    /// Whether any pixel may be transparent.
    pub alpha: bool,
    /// Frames of an animation; 1 for a still picture. Cut at `Limits::frames_max`.
    pub frames: u32,
    /// How often an animation plays; 0 is for ever.
    pub loops: u32,
    /// Bits a sample.
    pub bits: u8,
    /// How colours are stored.
    pub model: Model,
    /// Whether decoding needs the whole coefficients or pixels at once (progressive JPEG, interlaced PNG).
    pub progressive: bool,
    /// Whether [`stream`] gives rows while it decodes, so that no whole picture is held.
    pub streams: bool,
    /// The ICC profile.
    pub icc: Option<Arc<[u8]>>,
    /// The EXIF block, from its TIFF header on.
    pub exif: Option<Arc<[u8]>>,
}

impl Header {
    /// The upright size.
    pub const fn upright(&self) -> Size {
        self.orientation.apply(self.size)
    }
}

/// How colours are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Model {
    /// Luminance only.
    Gray,
    /// Red, green, blue, or luma and chroma.
    Rgb,
    /// A palette of so many colours.
    Palette(u16),
    /// Four inks.
    Cmyk,
    /// Shapes.
    Vector,
}

/// What of the picture is needed, in stored orientation, so that a decoder can skip the rest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Want {
    /// The part of the stored picture that is used, in its full-scale pixels. A decoder may give more.
    pub region: Rect,
    /// The size to which `region` will be reduced. A decoder may reduce the picture in doing so as long as `region` keeps at
    /// least `margin` times this size; a vector is drawn so that `region` has exactly this size.
    pub target: Size,
    /// How much larger than `target` a reduced decode must stay, in hundredths (170 is 1.7); 0 forbids reducing.
    pub margin_percent: u32,
}

impl Want {
    /// The whole picture at full scale.
    pub const fn all(header: &Header) -> Self {
        Self { region: header.size.rect(), target: header.size, margin_percent: 0 }
    }
}

/// How [`stream`] gives rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As samples.
    Samples,
    /// As linear light where that is nearer than samples. Pixels may be averaged two by two in it, as long as the region keeps
    /// at least this many hundredths of the target.
    Light(u32),
}

/// A decoded picture, in stored orientation.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    /// The pixels.
    pub picture: Picture,
    /// The part of the original that `picture` covers, in full-scale pixels: x, y, width, height. Not whole where a reduced
    /// decode rounded up (libjpeg's scaled sizes are `ceil(w * n / 8)`): the part may then overhang the original.
    pub covers: [f64; 4],
    /// Whether the input was broken and the picture is what could be saved of it.
    pub damaged: bool,
}

/// An animation's frames, one at a time, composed, in stored orientation.
pub trait Frames: Send {
    /// The next frame, or none after the last. A broken frame after the first ends the animation (`damaged` then holds).
    fn next(&mut self, work: &Work) -> Result<Option<Frame>, Error>;
    /// Whether the input turned out to be broken.
    fn damaged(&self) -> bool;
}

/// What can be wrong with an original.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No format that Fovea reads.
    #[error("the original's content is no image format that can be read here")]
    Unsupported,
    /// A format that is read, but not this kind of it.
    #[error("the original is {format:?} of a kind that is not supported: {what}")]
    UnsupportedKind {
        /// The format.
        format: Format,
        /// What about it.
        what: String,
    },
    /// The bytes do not hold what their header says.
    #[error("the original is a broken {format:?}: {what}")]
    Broken {
        /// The format.
        format: Format,
        /// What is broken.
        what: String,
    },
    /// A bound was passed.
    #[error("the original is too large: {0}")]
    TooLarge(String),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Reads the header, and checks it against the limits. Decodes no pixels and allocates no more than the metadata it returns.
///
/// # Errors
/// Everything of [`Error`] but `Stopped`.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    probe_head(bytes, bytes.len() as u64, limits)
}

/// As [`probe`] of an original of `bytes_whole` bytes, of which the beginning is at hand: enough for JPEG, PNG and BMP, unless
/// what stands before their pixels is longer. Of the other formats all must be at hand.
///
/// # Errors
/// As [`probe`]; [`Error::Broken`] also where the header goes on behind what is at hand.
pub fn probe_head(head: &[u8], bytes_whole: u64, limits: &Limits) -> Result<Header, Error> {
    if bytes_whole > limits.source_bytes_max {
        return Err(Error::TooLarge(format!("{bytes_whole} bytes, of at most {}", limits.source_bytes_max)));
    }
    match Format::sniff(head).ok_or(Error::Unsupported)? {
        Format::Jpeg => jpeg::probe(head, bytes_whole, limits),
        Format::Png => png::probe(head, bytes_whole, limits),
        Format::WebP => webp::probe(head, limits),
        Format::Avif => avif::probe(head, limits),
        Format::Gif => gif::probe(head, limits),
        Format::Tiff => tiff::probe(head, limits),
        Format::Bmp => bmp::probe(head, bytes_whole, limits),
        Format::Svg => svg::probe(head, limits),
    }
}

/// Decodes what is wanted of the (first) picture. `header` is what [`probe`] said of the same bytes.
///
/// # Errors
/// [`Error::Broken`] when nothing can be saved of the picture; what can be saved comes back with `damaged` set.
pub fn decode(bytes: &[u8], header: &Header, want: &Want, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    work.check()?;
    check_size(header.size, limits)?;
    match header.format {
        Format::Jpeg => jpeg::decode(bytes, header, want, work),
        Format::Png => png::decode(bytes, header, limits, work),
        Format::WebP => webp::decode(bytes, header, limits, work),
        Format::Avif => avif::decode(bytes, header, limits, work),
        Format::Gif => gif::decode(bytes, header, work),
        Format::Tiff => tiff::decode(bytes, header, limits, work),
        Format::Bmp => bmp::decode(bytes, header, limits, work),
        Format::Svg => svg::decode(bytes, header, want, limits, work),
    }
}

/// What [`stream`] decodes for a want, and how: wants of equal cuts are served by the same rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Cut(Kind);

#[derive(Clone, PartialEq, Debug)]
enum Kind {
    Whole,
    Jpeg(jpeg::Cut),
    Drawn(Want),
}

impl Cut {
    /// The cut that serves both: they are equal, or lie beside each other on the same rows, so that decoding the rows once is enough.
    pub fn beside(&self, other: &Self) -> Option<Self> {
        match (&self.0, &other.0) {
            (Kind::Jpeg(one), Kind::Jpeg(other)) if one != other => Some(Self(Kind::Jpeg(one.beside(other)?))),
            (one, other) => (one == other).then(|| self.clone()),
        }
    }
}

/// As [`stream`], of a cut that serves several wants beside each other ([`Cut::beside`]): of a JPEG, since only its cuts have sides.
///
/// # Errors
/// As [`stream`]; what is broken on these rows is refused.
pub fn stream_cut(
    bytes: &Bytes,
    header: &Header,
    cut: &Cut,
    limits: &Limits,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Error> {
    work.check()?;
    check_size(header.size, limits)?;
    match &cut.0 {
        Kind::Jpeg(shared) => jpeg::stream_cut(bytes, header, shared, work, sink),
        Kind::Whole | Kind::Drawn(_) => Err(Error::broken(header.format, "it has no parts beside each other")),
    }
}

/// The cut that a want comes to.
///
/// # Errors
/// [`Error::Broken`] when the header is not the one of these bytes.
pub fn cut(bytes: &[u8], header: &Header, want: &Want, form: Form) -> Result<Cut, Error> {
    Ok(Cut(match header.format {
        Format::Jpeg => Kind::Jpeg(jpeg::cut(bytes, header, want, form)?),
        Format::Svg => Kind::Drawn(*want),
        _ => Kind::Whole,
    }))
}

/// As [`decode`], row by row into a sink; says whether the input was broken and the rows are what could be saved of it. Where the
/// header does not say that it [`streams`](Header::streams) the picture is decoded whole first.
///
/// # Errors
/// As [`decode`]; what the sink was given is void then.
pub fn stream(
    bytes: &Bytes,
    header: &Header,
    want: &Want,
    form: Form,
    limits: &Limits,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Error> {
    work.check()?;
    check_size(header.size, limits)?;
    match header.format {
        Format::Jpeg if header.streams => jpeg::stream(bytes, header, want, form, work, sink),
        Format::Png if header.streams => png::stream(bytes, header, limits, work, sink),
        _ => give(&decode(bytes, header, want, limits, work)?, sink),
    }
}

/// A whole picture's rows.
fn give(decoded: &Decoded, sink: &mut dyn Sink) -> Result<bool, Error> {
    let Decoded { picture, covers, damaged } = decoded;
    let length = picture.size.width as usize * picture.layout.channels();
    let depth = if matches!(picture.samples, Samples::U8(_)) { Depth::Eight } else { Depth::Sixteen };
    sink.begin(&Head {
        size: picture.size,
        layout: picture.layout,
        colour: picture.colour.clone(),
        depth,
        covers: *covers,
    })?;
    for y in 0..picture.size.height as usize {
        if sink.done() {
            break;
        }
        sink.row(match &picture.samples {
            Samples::U8(values) => Row::U8(&values[y * length..][..length]),
            Samples::U16(values) => Row::U16(&values[y * length..][..length]),
        })?;
    }
    Ok(*damaged)
}

/// Opens an animation (GIF, WebP) for reading frame by frame. A still picture of these formats is one frame.
///
/// # Errors
/// [`Error::UnsupportedKind`] for the other formats; [`Error::Broken`] if not even the first frame is there.
pub fn frames<'a>(bytes: &'a [u8], header: &Header, limits: &Limits) -> Result<Box<dyn Frames + 'a>, Error> {
    check_size(header.size, limits)?;
    match header.format {
        Format::Gif => gif::frames(bytes, header),
        Format::WebP => webp::frames(bytes, header, limits),
        format => Err(Error::UnsupportedKind { format, what: "it has no frames".to_owned() }),
    }
}

/// An upper bound of the bytes that [`decode`] will hold at once beside the input, its result included. For an animation it
/// also bounds what [`frames`] holds beside the input, one frame that the caller keeps included.
pub fn bytes_of_work(header: &Header, want: &Want) -> u64 {
    let metadata = [&header.icc, &header.exif].into_iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
    FIXED_BYTES
        + 2 * metadata
        + match header.format {
            Format::Jpeg => jpeg::bytes_of_work(header, want),
            Format::Png => png::bytes_of_work(header),
            Format::WebP => webp::bytes_of_work(header),
            Format::Avif => avif::bytes_of_work(header),
            Format::Gif => gif::bytes_of_work(header),
            Format::Tiff => tiff::bytes_of_work(header),
            Format::Bmp => bmp::bytes_of_work(header),
            Format::Svg => svg::bytes_of_work(header, want),
        }
}

/// As [`bytes_of_work`] for [`stream`].
pub fn bytes_of_stream(header: &Header, want: &Want) -> u64 {
    let metadata = [&header.icc, &header.exif].into_iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
    match header.format {
        Format::Jpeg if header.streams => FIXED_BYTES + 2 * metadata + jpeg::bytes_of_stream(header),
        Format::Png if header.streams => FIXED_BYTES + 2 * metadata + png::bytes_of_stream(header),
        _ => bytes_of_work(header, want),
    }
}

/// What every decoder may hold whatever the picture's size: tables, windows, buffers of a few rows.
const FIXED_BYTES: u64 = 1 << 20;

impl Error {
    fn broken(format: Format, what: impl ToString) -> Self {
        Self::Broken { format, what: what.to_string() }
    }

    fn kind(format: Format, what: impl ToString) -> Self {
        Self::UnsupportedKind { format, what: what.to_string() }
    }
}

/// Holds a frame's size against the limits.
fn check_size(size: Size, limits: &Limits) -> Result<(), Error> {
    let Size { width, height } = size;
    if width > limits.side_max || height > limits.side_max {
        Err(Error::TooLarge(format!("{width}x{height} pixels, of at most {} on a side", limits.side_max)))
    } else if size.pixels() > limits.pixels_max {
        Err(Error::TooLarge(format!("{width}x{height} pixels, of at most {} together", limits.pixels_max)))
    } else {
        Ok(())
    }
}

/// Pictures up to this size are decoded however little data they come with (16 MiB of 16-bit RGBA).
const UNPROVEN_PIXELS_MAX: u64 = 2 << 20;

/// Refuses a header that claims a large picture for which there cannot be enough data: fewer bytes than `bytes_min`. Formats
/// call it with a bound that every whole picture keeps, divided where they can save a truncated one.
fn check_plausible(format: Format, size: Size, bytes: u64, bytes_min: u64) -> Result<(), Error> {
    if size.pixels() > UNPROVEN_PIXELS_MAX && bytes < bytes_min {
        let Size { width, height } = size;
        return Err(Error::broken(format, format!("{bytes} bytes cannot hold {width}x{height} pixels")));
    }
    Ok(())
}

/// How many frames of an animation are counted and read: as many as the limits allow, and at least the first.
fn frames_within(frames: u64, limits: &Limits) -> u32 {
    frames.min(u64::from(limits.frames_max)).max(1) as u32
}

/// The colour space that a header's profile gives to RGB and gray samples.
fn colour_of(header: &Header) -> ColourSpace {
    header.icc.clone().map_or(ColourSpace::Srgb, ColourSpace::Icc)
}

/// What a picture of the whole original covers.
fn whole(size: Size) -> [f64; 4] {
    [0.0, 0.0, f64::from(size.width), f64::from(size.height)]
}
