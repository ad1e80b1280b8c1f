//! WebP, still and animated: lossy stills by an encoder of our own ([`vp8`]), everything else by libwebp.
//!
//! Lossy animations are libwebp's at method [`METHOD`]: half of method 4's CPU for 3 % more bytes. It asks the deadline as it goes, by
//! its progress hook. libwebp is the one that `libwebp-sys` 0.9 carries; the current one, of `libwebp-sys` 0.14, makes byte for byte the
//! same lossy files in the same time, and lossless ones 3 to 14 % quicker.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::ptr;

use libwebp_sys as ffi;

use super::palette::rgba;
use super::planes::{self, Planes};
use super::riff::{self, Chunk};
use super::{Animation, Effort, Error, Settings, vp8};
use crate::base::{Format, Size, Work};
use crate::pixels::{Frame, Layout, Picture};

/// libwebp's effort, 0 to 6.
const METHOD: c_int = 2;

/// libwebp's effort for lossless pictures, method and quality: its own preset 2 of 9, since a variant is made while somebody
/// waits. Here quality is how hard it tries, not how well it looks.
const LOSSLESS_EFFORT: (c_int, f32) = (2, 25.0);

/// The same for [`Effort::Small`], preset 6, of which photos of a few hundred pixels gain nothing: the smaller of this and the
/// usual is taken. (Lossy pictures have one effort: method 4 is no surer to be smaller.)
const LOSSLESS_SMALL: (c_int, f32) = (4, 75.0);

/// The same for [`Effort::Quick`], preset 0: a photo of 800 pixels takes 20 ms and 562 KB instead of 114 ms and 504 KB.
/// (libwebp's near-lossless mode makes 364 KB of it, but takes 270 ms.)
const LOSSLESS_QUICK: (c_int, f32) = (0, 0.0);

/// Encodes a still picture.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    let file = encode_once(picture, settings, work)?;
    if !settings.lossless || settings.effort != Effort::Small {
        return Ok(file);
    }
    let usual = encode_once(picture, &Settings { effort: Effort::Usual, ..settings.clone() }, work)?;
    Ok(if usual.len() < file.len() { usual } else { file })
}

fn encode_once(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    let file = if settings.lossless {
        Source::of(picture, work)?.encoded(&config(settings)?)?
    } else {
        lossy(picture, settings, work)?
    };
    if settings.exif.is_none() && settings.icc.is_none() {
        return Ok(file);
    }
    with_metadata(file, picture.size, settings).ok_or_else(|| failed("its own file could not be read".into()))
}

/// By the encoder of our own; alpha, where it says something, without loss.
fn lossy(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    let samples = super::samples8(picture);
    let (pixels, transparent) = planes::rgb(&samples, picture.layout, picture.size);
    let planes = Planes::video(&pixels, picture.size);
    let frame = vp8::encode(&planes, settings.quality.clamp(1, 100), work).map_err(|error| match error {
        vp8::Failed::Stopped(stopped) => Error::Stopped(stopped),
        vp8::Failed::TooLarge => failed(error.to_string()),
    })?;
    drop(planes);
    let frame = Chunk { name: *b"VP8 ", data: &frame };
    let file = if transparent {
        let alpha = alpha(&Planes::alpha(&samples, picture.layout, picture.size).values[0], picture.size, work)?;
        let header = riff::extended_header(riff::ALPHA, picture.size);
        riff::file(&[Chunk { name: *b"VP8X", data: &header }, Chunk { name: *b"ALPH", data: &alpha }, frame])
    } else {
        riff::file(&[frame])
    };
    file.ok_or_else(|| failed("the file is too long".into()))
}

/// libwebp's effort for alpha, as it has it itself at method 2.
const ALPHA_EFFORT: (c_int, f32) = (2, 16.0);

/// How many times the bits of what stands alone in alpha what it is off a prediction may take. At 400 pixels a graphic of 256 values
/// then has 5 % more bytes of alpha than as it is, in 4 ms in place of 9.5; an icon of 68 values would have 65 % more, and a soft shadow
/// has 24 % fewer.
const PREDICTED_MAX: f64 = 3.0;

/// The data of an `ALPH` chunk: how it is coded, and a lossless picture whose green it is, without its header. Either alpha as it is, of
/// which what was there before takes next to nothing, or what it is off a prediction.
fn alpha(values: &[u8], size: Size, work: &Work) -> Result<Vec<u8>, Error> {
    let width = size.width as usize;
    let predicted = gradient(values, width);
    let alone = |at: usize| values[at] != values[at - 1] && values[at] != values[at - width];
    let as_it_is = bits((width + 1..values.len()).filter(|at| alone(*at)).map(|at| values[at]));
    if bits(predicted.iter().copied()) > PREDICTED_MAX * as_it_is {
        return coded(AS_IT_IS, values, size, work);
    }
    coded(BY_GRADIENT, &predicted, size, work)
}

/// What values take at least that are coded one by one.
fn bits(values: impl Iterator<Item = u8>) -> f64 {
    let mut counts = [0u32; 256];
    values.for_each(|value| counts[usize::from(value)] += 1);
    let all = f64::from(counts.iter().sum::<u32>());
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) * (all / f64::from(*count)).log2()).sum()
}

/// The first byte of an `ALPH` chunk: compressed, not predicted; and predicted by the gradient.
const AS_IT_IS: u8 = 0b0001;
const BY_GRADIENT: u8 = 0b1101;

/// Bytes of a lossless picture before its stream: a mark, its sides, whether it has alpha, its version.
const LOSSLESS_HEADER: usize = 5;

fn coded(how: u8, values: &[u8], size: Size, work: &Work) -> Result<Vec<u8>, Error> {
    let mut pixels: Vec<u32> = values.iter().map(|value| 0xff00_0000 | u32::from(*value) << 8).collect();
    let mut source = Source::new(size, work)?;
    // libwebp only reads them.
    (source.raw.argb, source.raw.argb_stride) = (pixels.as_mut_ptr(), source.raw.width);
    let mut config = config(&Settings { lossless: true, ..Settings::new(Format::WebP, 100) })?;
    (config.method, config.quality) = ALPHA_EFFORT;
    let file = source.encoded(&config)?;
    let chunks = riff::chunks(&file).unwrap_or_default();
    let stream = chunks.iter().find(|chunk| &chunk.name == b"VP8L").and_then(|chunk| chunk.data.get(LOSSLESS_HEADER..));
    let mut out = vec![how];
    out.extend_from_slice(stream.ok_or_else(|| failed("its own file could not be read".into()))?);
    Ok(out)
}

/// What each value is off the one to its left and the one above, added, less the one between; in the first row and column off the one
/// before.
fn gradient(values: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len());
    for (row, line) in values.chunks_exact(width).enumerate() {
        let above = row.checked_sub(1).map(|above| &values[above * width..][..width]);
        for (at, value) in line.iter().enumerate() {
            let left = at.checked_sub(1).map(|left| line[left]);
            let prediction = match (left, above) {
                (None, None) => 0,
                (Some(left), None) => left,
                (None, Some(above)) => above[0],
                (Some(left), Some(above)) => {
                    (i16::from(left) + i16::from(above[at]) - i16::from(above[at - 1])).clamp(0, 255) as u8
                }
            };
            out.push(value.wrapping_sub(prediction));
        }
    }
    out
}

fn failed(what: String) -> Error {
    Error::Encoder { format: Format::WebP, what }
}

fn config(settings: &Settings) -> Result<ffi::WebPConfig, Error> {
    let mut config = ffi::WebPConfig::new().map_err(|()| failed("version mismatch".into()))?;
    config.quality = f32::from(settings.quality.clamp(1, 100));
    config.method = METHOD;
    config.thread_level = 0;
    if settings.lossless {
        config.lossless = 1;
        (config.method, config.quality) = match settings.effort {
            Effort::Quick => LOSSLESS_QUICK,
            Effort::Usual => LOSSLESS_EFFORT,
            Effort::Small => LOSSLESS_SMALL,
        };
        config.exact = 0;
    }
    // SAFETY: `config` is initialised.
    if unsafe { ffi::WebPValidateConfig(&config) } == 0 {
        return Err(failed("invalid configuration".into()));
    }
    Ok(config)
}

/// What libwebp reads of a picture: a copy of its own, freed with it.
struct Source<'a> {
    raw: ffi::WebPPicture,
    work: &'a Work,
}

impl<'a> Source<'a> {
    /// A picture without pixels.
    fn new(size: Size, work: &'a Work) -> Result<Self, Error> {
        let mut raw = ffi::WebPPicture::new().map_err(|()| failed("version mismatch".into()))?;
        raw.use_argb = 1;
        (raw.width, raw.height) = (size.width as c_int, size.height as c_int);
        raw.progress_hook = Some(go_on);
        raw.user_data = ptr::from_ref(work).cast_mut().cast();
        Ok(Self { raw, work })
    }

    fn of(picture: &Picture, work: &'a Work) -> Result<Self, Error> {
        let samples = super::samples8(picture);
        let mut source = Self::new(picture.size, work)?;
        let wide: Vec<u8>;
        let (pixels, channels): (&[u8], c_int) = match picture.layout {
            Layout::Rgb => (&samples, 3),
            Layout::Rgba | Layout::Cmyk => (&samples, 4),
            Layout::Gray => {
                wide = samples.iter().flat_map(|value| [*value; 3]).collect();
                (&wide, 3)
            }
            Layout::GrayAlpha => {
                wide = samples.chunks_exact(2).flat_map(|pixel| rgba(pixel, Layout::GrayAlpha)).collect();
                (&wide, 4)
            }
        };
        debug_assert_eq!(pixels.len() as u64, picture.size.pixels() * channels as u64);
        let stride = source.raw.width * channels;
        // SAFETY: `pixels` holds `height` rows of `stride` bytes, and libwebp copies them out before it returns.
        let imported = unsafe {
            if channels == 3 {
                ffi::WebPPictureImportRGB(&mut source.raw, pixels.as_ptr(), stride)
            } else {
                ffi::WebPPictureImportRGBA(&mut source.raw, pixels.as_ptr(), stride)
            }
        };
        if imported == 0 { Err(failed("out of memory".into())) } else { Ok(source) }
    }

    /// The file.
    fn encoded(mut self, config: &ffi::WebPConfig) -> Result<Vec<u8>, Error> {
        let mut out: Vec<u8> = Vec::new();
        self.raw.writer = Some(write);
        self.raw.custom_ptr = (&raw mut out).cast();
        // SAFETY: both structures were made by libwebp's own initialisers; the pixels, `out`, which `write` appends to, and `work`, which the
        // progress hook reads, outlive the call.
        let done = unsafe { ffi::WebPEncode(config, &mut self.raw) };
        if done == 0 {
            self.work.check()?;
            return Err(failed(format!("{:?}", self.raw.error_code)));
        }
        Ok(out)
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` was initialised by libwebp, which frees what it allocated for it, once.
        unsafe { ffi::WebPPictureFree(&mut self.raw) };
    }
}

/// libwebp's writer: appends to the vector behind `custom_ptr`.
unsafe extern "C" fn write(data: *const u8, length: usize, picture: *const ffi::WebPPicture) -> c_int {
    if length > 0 {
        // SAFETY: libwebp calls this with `length` readable bytes and the picture whose `custom_ptr` `encode` has pointed
        // at its vector, which nobody else touches meanwhile.
        unsafe {
            (*(*picture).custom_ptr.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(data, length))
        };
    }
    1
}

/// libwebp's progress hook: 0 stops it.
unsafe extern "C" fn go_on(_percent: c_int, picture: *const ffi::WebPPicture) -> c_int {
    // SAFETY: `user_data` is the `Work` that `Source` borrows for as long as the picture lives.
    let work = unsafe { &*(*picture).user_data.cast::<Work>() };
    c_int::from(work.check().is_ok())
}

/// The file with its metadata chunks, in the extended form that they need.
fn with_metadata(file: Vec<u8>, size: Size, settings: &Settings) -> Option<Vec<u8>> {
    let chunks = riff::chunks(&file)?;
    let extended = chunks.iter().find(|chunk| &chunk.name == b"VP8X");
    let mut flags = match extended {
        Some(chunk) => *chunk.data.first()?,
        None => {
            // A lossless bitstream says in its header whether it uses alpha.
            let alpha = chunks
                .iter()
                .any(|chunk| &chunk.name == b"VP8L" && chunk.data.get(4).is_some_and(|byte| byte & 0x10 != 0));
            if alpha { riff::ALPHA } else { 0 }
        }
    };
    let icc = settings.icc.as_deref().map(|data| Chunk { name: *b"ICCP", data });
    let exif = settings.exif.as_deref().map(|data| Chunk { name: *b"EXIF", data });
    flags |= if icc.is_some() { riff::ICC } else { 0 };
    flags |= if exif.is_some() { riff::EXIF } else { 0 };
    let header = riff::extended_header(flags, size);
    let mut all = vec![Chunk { name: *b"VP8X", data: &header }];
    all.extend(icc);
    all.extend(chunks.iter().filter(|chunk| &chunk.name != b"VP8X").copied());
    all.extend(exif);
    riff::file(&all)
}

/// Begins an animation; `loops` 0 is for ever.
pub fn animation(size: Size, loops: u32, settings: &Settings) -> Result<Box<dyn Animation>, Error> {
    let config = config(settings)?;
    // SAFETY: the options are plain numbers, for which zeroes are valid, and libwebp fills them.
    let mut options: ffi::WebPAnimEncoderOptions = unsafe { std::mem::zeroed() };
    let version = ffi::WebPGetMuxABIVersion();
    // SAFETY: `options` is a valid place to write them to.
    if unsafe { ffi::WebPAnimEncoderOptionsInitInternal(&mut options, version) } == 0 {
        return Err(failed("version mismatch".into()));
    }
    options.anim_params.loop_count = loops.min(65_535) as c_int;
    options.anim_params.bgcolor = 0;
    // SAFETY: the sizes were checked by the caller against the format's bound, and the options are initialised.
    let encoder =
        unsafe { ffi::WebPAnimEncoderNewInternal(size.width as c_int, size.height as c_int, &options, version) };
    if encoder.is_null() {
        return Err(failed("out of memory".into()));
    }
    Ok(Box::new(Animated { encoder, config, settings: settings.clone(), size, time_ms: 0, frames: 0 }))
}

/// libwebp's animation encoder, deleted with it.
struct Animated {
    encoder: *mut ffi::WebPAnimEncoder,
    config: ffi::WebPConfig,
    settings: Settings,
    size: Size,
    /// When the next frame is shown.
    time_ms: c_int,
    frames: u32,
}

// SAFETY: the encoder is owned by this value alone and libwebp keeps nothing per thread.
unsafe impl Send for Animated {}

impl Animated {
    fn error(&self) -> Error {
        // SAFETY: the encoder is alive, and the text, if any, lives as long.
        let text = unsafe {
            let text = ffi::WebPAnimEncoderGetError(self.encoder);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        failed(text)
    }
}

impl Animation for Animated {
    fn push(&mut self, frame: &Frame, work: &Work) -> Result<(), Error> {
        work.check()?;
        if frame.picture.size != self.size {
            return Err(failed("frames of different sizes".into()));
        }
        // The animation encoder compares frames as ARGB, so that the picture is imported as such.
        let mut source = Source::of(&frame.picture, work)?;
        // SAFETY: all three are alive and initialised; libwebp copies what it needs of the picture.
        let added = unsafe { ffi::WebPAnimEncoderAdd(self.encoder, &mut source.raw, self.time_ms, &self.config) };
        if added == 0 {
            work.check()?;
            return Err(self.error());
        }
        self.time_ms = self.time_ms.saturating_add(frame.delay_ms.min(0xff_ffff) as c_int);
        self.frames += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Error> {
        if self.frames == 0 {
            return Err(failed("no frames".into()));
        }
        let mut data = ffi::WebPData::default();
        // SAFETY: the encoder is alive; a null picture says when the last frame ends; `data` is filled by libwebp.
        let assembled = unsafe {
            ffi::WebPAnimEncoderAdd(self.encoder, ptr::null_mut(), self.time_ms, ptr::null()) != 0
                && ffi::WebPAnimEncoderAssemble(self.encoder, &mut data) != 0
        };
        if !assembled || data.bytes.is_null() {
            return Err(self.error());
        }
        // SAFETY: libwebp gave `size` bytes at `bytes`, which are copied before they are freed, once.
        let file = unsafe {
            let file = std::slice::from_raw_parts(data.bytes, data.size).to_vec();
            ffi::WebPDataClear(&mut data);
            file
        };
        if self.settings.exif.is_none() && self.settings.icc.is_none() {
            return Ok(file);
        }
        with_metadata(file, self.size, &self.settings).ok_or_else(|| failed("its own file could not be read".into()))
    }
}

impl Drop for Animated {
    fn drop(&mut self) {
        // SAFETY: made by `WebPAnimEncoderNewInternal`, deleted once.
        unsafe { ffi::WebPAnimEncoderDelete(self.encoder) };
    }
}
