//! WebP: chunks by an own walk of the RIFF container, pixels by libwebp: its incremental decoder for stills, so that a
//! truncated one yields its rows and the deadline is looked at on the way; its animation decoder for animations.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use libwebp_sys as sys;
use webp::BitstreamFeatures;

use super::{Decoded, Error, Frames, Header, Model, animation, check_size, colour_of, frames_within, metadata, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{ColourSpace, Frame, Layout, Picture, Samples};

/// Input bytes between two looks at the deadline: some ten milliseconds of decoding.
const BYTES_A_CHECK: usize = 128 << 10;

/// Canvases of animations up to this size are composed however little of them the frames show (24 MiB and the result).
const UNPROVEN_PIXELS_MAX: u64 = 2 << 20;

/// Reads the container.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let chunks = Chunks::walk(bytes, limits)?;
    check_size(chunks.size, limits)?;
    let orientation = chunks.exif.as_deref().map_or(Orientation::Upright, metadata::orientation);
    Ok(Header {
        format: Format::WebP,
        size: chunks.size,
        orientation,
        alpha: chunks.alpha,
        frames: if chunks.animated { frames_within(chunks.frames, limits) } else { 1 },
        loops: chunks.loops,
        bits: 8,
        model: Model::Rgb,
        progressive: false,
        streams: false,
        icc: chunks.icc,
        exif: chunks.exif,
    })
}

/// Decodes the picture, or an animation's first frame.
pub fn decode(bytes: &[u8], header: &Header, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    let chunks = Chunks::walk(bytes, limits)?;
    if chunks.size != header.size || chunks.alpha != header.alpha {
        return Err(broken("it is not what its header said"));
    }
    if chunks.animated {
        let mut animation = Animation::open(bytes, &chunks, header)?;
        let frame = animation.next(work)?.ok_or_else(|| broken("it has no frame"))?;
        return Ok(Decoded { picture: frame.picture, covers: whole(header.size), damaged: animation.damaged });
    }
    let (layout, mode) = if header.alpha {
        (Layout::Rgba, sys::WEBP_CSP_MODE::MODE_RGBA)
    } else {
        (Layout::Rgb, sys::WEBP_CSP_MODE::MODE_RGB)
    };
    let (samples, damaged) = still(bytes, header.size, layout, mode, work)?;
    let picture = Picture { size: header.size, layout, samples: Samples::U8(samples), colour: colour_of(header) };
    Ok(Decoded { picture, covers: whole(header.size), damaged })
}

/// Opens the animation.
pub fn frames<'a>(bytes: &'a [u8], header: &Header, limits: &Limits) -> Result<Box<dyn Frames + 'a>, Error> {
    let chunks = Chunks::walk(bytes, limits)?;
    if chunks.size != header.size {
        return Err(broken("it is not what its header said"));
    }
    if chunks.animated {
        Ok(Box::new(Animation::open(bytes, &chunks, header)?))
    } else {
        Ok(Box::new(Still { bytes, header: header.clone(), limits: *limits, shown: false, damaged: false }))
    }
}

/// A still: the result; libwebp's own copy as ARGB where the coding is lossless, which also covers the planes of a lossy
/// one. An animation: two canvases, the frame's own pixels and its coding's copy, and the result.
pub fn bytes_of_work(header: &Header) -> u64 {
    let planes = if header.frames > 1 { 5 } else { 2 };
    header.size.pixels() * 4 * planes + u64::from(header.size.width) * 256
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::WebP, what)
}

/// What the container says.
struct Chunks {
    size: Size,
    alpha: bool,
    animated: bool,
    frames: u64,
    /// Pixels of an animation's frames together.
    shown: u64,
    loops: u32,
    icc: Option<Arc<[u8]>>,
    exif: Option<Arc<[u8]>>,
    /// Where the last whole chunk ends.
    end: usize,
    /// Whether bytes are missing.
    cut: bool,
}

impl Chunks {
    fn walk(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut chunks = Self {
            size: Size::default(),
            alpha: false,
            animated: false,
            frames: 0,
            shown: 0,
            loops: 1,
            icc: None,
            exif: None,
            end: 12,
            cut: false,
        };
        let (mut extended, mut pictures) = (false, 0_u32);
        let mut at = 12;
        while let Some(head) = bytes.get(at..at + 8) {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let rest = &bytes[at + 8..];
            chunks.cut = length > rest.len();
            let body = &rest[..length.min(rest.len())];
            match &head[..4] {
                b"VP8X" => {
                    let [flags, _, _, _, canvas @ ..] = body else { return Err(broken("its header is cut off")) };
                    let side = |at: usize| canvas.get(at..at + 3).map(|side| 1 + triple(side));
                    let (Some(width), Some(height)) = (side(0), side(3)) else {
                        return Err(broken("its header is cut off"));
                    };
                    extended = true;
                    chunks.size = Size::new(width, height);
                    (chunks.alpha, chunks.animated) = (flags & 0x10 != 0, flags & 2 != 0);
                }
                b"VP8 " | b"VP8L" => {
                    pictures += 1;
                    // libwebp takes a lone chunk for a file, and its header alone where the rest is not there yet.
                    let picture = BitstreamFeatures::new(&bytes[at..at + 8 + body.len()])
                        .ok_or_else(|| broken("its picture's header is cut off or wrong"))?;
                    let size = Size::new(picture.width(), picture.height());
                    if !extended {
                        (chunks.size, chunks.alpha) = (size, picture.has_alpha());
                    } else if !chunks.animated && size != chunks.size {
                        return Err(broken("its picture has not the size of its canvas"));
                    }
                }
                b"ANIM" if body.len() >= 6 => chunks.loops = u32::from(u16::from_le_bytes([body[4], body[5]])),
                b"ANMF" if body.len() >= 16 && !chunks.cut => chunks.frame(body),
                b"ICCP" if !chunks.cut => chunks.icc = metadata::profile(body, Model::Rgb, limits)?,
                b"EXIF" if !chunks.cut => chunks.exif = metadata::exif(body, limits)?,
                _ => {}
            }
            if chunks.cut {
                break;
            }
            at += 8 + length.next_multiple_of(2);
            chunks.end = at.min(bytes.len());
            if pictures > 0 && !extended {
                break;
            }
        }
        let said = bytes.get(4..8).map_or(0, |said| u32::from_le_bytes([said[0], said[1], said[2], said[3]]) as usize);
        chunks.cut |= said.saturating_add(8) > bytes.len() + 1;
        if (chunks.animated && chunks.frames == 0) || (!chunks.animated && pictures == 0) {
            return Err(broken("it has no picture"));
        }
        // A sixteenth may be left of a truncated animation.
        let Size { width, height } = chunks.size;
        if chunks.animated && chunks.size.pixels() > UNPROVEN_PIXELS_MAX && chunks.shown < chunks.size.pixels() / 16 {
            return Err(broken(format!("its frames cannot fill a canvas of {width}x{height}")));
        }
        Ok(chunks)
    }

    /// Counts a frame, and whether it leaves transparent what was opaque: the canvas begins empty.
    fn frame(&mut self, body: &[u8]) {
        let at = |from: usize| triple(&body[from..from + 3]);
        let part = Size::new(1 + at(6), 1 + at(9));
        let fills = at(0) == 0 && at(3) == 0 && part == self.size;
        let clears = body[15] & 1 != 0;
        self.alpha |= !fills && (self.frames == 0 || clears);
        self.frames += 1;
        self.shown += part.pixels();
    }
}

/// 24 bits, little end first.
fn triple(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

/// libwebp's incremental decoder.
struct Incremental(NonNull<sys::WebPIDecoder>);

impl Drop for Incremental {
    fn drop(&mut self) {
        // SAFETY: the decoder is from `WebPINewRGB` and is deleted here only.
        unsafe { sys::WebPIDelete(self.0.as_ptr()) }
    }
}

/// Decodes a still; says whether it was damaged.
fn still(
    bytes: &[u8],
    size: Size,
    layout: Layout,
    mode: sys::WEBP_CSP_MODE,
    work: &Work,
) -> Result<(Vec<u8>, bool), Error> {
    let row_bytes = size.width as usize * layout.channels();
    // All zeros, so that no page is touched before its rows come.
    let mut samples = vec![0; row_bytes * size.height as usize];
    // SAFETY: the decoder writes into `samples` only, whose length it is told, and is dropped before it; it refuses a
    // picture that does not fit.
    let decoder = unsafe { sys::WebPINewRGB(mode, samples.as_mut_ptr(), samples.len(), row_bytes as i32) };
    let decoder = Incremental(NonNull::new(decoder).ok_or_else(|| broken("no memory for a decoder"))?);
    let mut fed = 0;
    let status = loop {
        work.check()?;
        fed = (fed + BYTES_A_CHECK).min(bytes.len());
        // SAFETY: the decoder is live; `bytes` stays where it is, so that data seen before may be looked at again.
        let status = unsafe { sys::WebPIUpdate(decoder.0.as_ptr(), bytes.as_ptr(), fed) };
        if status != sys::VP8StatusCode::VP8_STATUS_SUSPENDED || fed == bytes.len() {
            break status;
        }
    };
    let (mut rows, mut width, mut height) = (0, 0, 0);
    // SAFETY: the decoder is live; the stride is not asked for.
    unsafe { sys::WebPIDecGetRGB(decoder.0.as_ptr(), &mut rows, &mut width, &mut height, null_mut()) };
    drop(decoder);
    match status {
        sys::VP8StatusCode::VP8_STATUS_OK => Ok((samples, false)),
        // With next to nothing there the header lied, or there is nothing to see.
        _ if rows > 0 && rows as u32 >= size.height / 16 => {
            if !layout.has_alpha() {
                samples[rows as usize * row_bytes..].fill(0x80);
            }
            Ok((samples, true))
        }
        sys::VP8StatusCode::VP8_STATUS_SUSPENDED => Err(broken("it ends before its first row")),
        other => Err(broken(format!("{other:?}"))),
    }
}

/// A still picture that is read as an animation of one frame.
struct Still<'a> {
    bytes: &'a [u8],
    header: Header,
    limits: Limits,
    shown: bool,
    damaged: bool,
}

impl Frames for Still<'_> {
    fn next(&mut self, work: &Work) -> Result<Option<Frame>, Error> {
        if self.shown {
            return Ok(None);
        }
        let decoded = decode(self.bytes, &self.header, &self.limits, work)?;
        (self.shown, self.damaged) = (true, decoded.damaged);
        Ok(Some(Frame { picture: decoded.picture, delay_ms: animation::delay_ms(0) }))
    }

    fn damaged(&self) -> bool {
        self.damaged
    }
}

/// libwebp's animation decoder, and the bytes that it reads.
struct Animation<'a> {
    decoder: NonNull<sys::WebPAnimDecoder>,
    /// Held because the decoder points into them.
    _bytes: Cow<'a, [u8]>,
    size: Size,
    alpha: bool,
    colour: ColourSpace,
    left: u32,
    /// When the last frame's time ended, in milliseconds from the start.
    time_ms: i32,
    begun: bool,
    damaged: bool,
}

// SAFETY: the decoder is used through `&mut` only, and libwebp keeps no state of a thread.
unsafe impl Send for Animation<'_> {}

impl Drop for Animation<'_> {
    fn drop(&mut self) {
        // SAFETY: the decoder is from `WebPAnimDecoderNewInternal` and is deleted here only.
        unsafe { sys::WebPAnimDecoderDelete(self.decoder.as_ptr()) }
    }
}

impl<'a> Animation<'a> {
    fn open(bytes: &'a [u8], chunks: &Chunks, header: &Header) -> Result<Self, Error> {
        // The animation decoder refuses a container that is cut off; without its last, partial chunk it is whole.
        let bytes = if chunks.cut { Cow::Owned(mended(&bytes[..chunks.end])) } else { Cow::Borrowed(bytes) };
        let data = sys::WebPData { bytes: bytes.as_ptr(), size: bytes.len() };
        let mut options = MaybeUninit::<sys::WebPAnimDecoderOptions>::zeroed();
        let version = sys::WebPGetDemuxABIVersion();
        // SAFETY: the options are initialised by the library (and all zeros are valid); `data` describes `bytes`, which
        // the result keeps, and which does not move when the `Cow` does.
        let decoder = unsafe {
            if sys::WebPAnimDecoderOptionsInitInternal(options.as_mut_ptr(), version) == 0 {
                return Err(broken("libwebp is of another version"));
            }
            let mut options = options.assume_init();
            options.color_mode = sys::WEBP_CSP_MODE::MODE_RGBA;
            options.use_threads = 0;
            sys::WebPAnimDecoderNewInternal(&data, &options, version)
        };
        let animation = Self {
            decoder: NonNull::new(decoder).ok_or_else(|| broken("its frames cannot be told apart"))?,
            _bytes: bytes,
            size: header.size,
            alpha: header.alpha,
            colour: colour_of(header),
            left: header.frames,
            time_ms: 0,
            begun: false,
            damaged: chunks.cut,
        };
        let mut info = MaybeUninit::<sys::WebPAnimInfo>::zeroed();
        // SAFETY: the decoder is live and fills the information, of which all zeros are valid.
        let info = unsafe {
            sys::WebPAnimDecoderGetInfo(animation.decoder.as_ptr(), info.as_mut_ptr());
            info.assume_init()
        };
        if Size::new(info.canvas_width, info.canvas_height) != header.size {
            return Err(broken("its canvas is not what its header said"));
        }
        Ok(animation)
    }
}

/// A container whose size says what is there.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    let size = (bytes.len() - 8) as u32;
    mended[4..8].copy_from_slice(&size.to_le_bytes());
    mended
}

impl Frames for Animation<'_> {
    fn next(&mut self, work: &Work) -> Result<Option<Frame>, Error> {
        work.check()?;
        // SAFETY: the decoder is live.
        if self.left == 0 || unsafe { sys::WebPAnimDecoderHasMoreFrames(self.decoder.as_ptr()) } == 0 {
            return Ok(None);
        }
        let (mut canvas, mut time_ms) = (null_mut(), 0);
        // SAFETY: the decoder is live.
        if unsafe { sys::WebPAnimDecoderGetNext(self.decoder.as_ptr(), &mut canvas, &mut time_ms) } == 0 {
            self.damaged = true;
            self.left = 0;
            return if self.begun { Ok(None) } else { Err(broken("its first frame cannot be read")) };
        }
        // SAFETY: after success the decoder lends its canvas, RGBA of the size that was checked, until its next call.
        let canvas = unsafe { std::slice::from_raw_parts(canvas, self.size.pixels() as usize * 4) };
        let delay = time_ms.saturating_sub(self.time_ms).max(0) as u32;
        (self.time_ms, self.begun) = (time_ms, true);
        self.left -= 1;
        let picture = animation::picture(canvas, self.size, self.alpha, self.colour.clone());
        Ok(Some(Frame { picture, delay_ms: animation::delay_ms(delay) }))
    }

    fn damaged(&self) -> bool {
        self.damaged
    }
}
