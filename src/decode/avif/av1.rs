//! One AV1 frame by rav1d, through the C interface that it exposes (it has no other).
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use rav1d::include::dav1d::data::Dav1dData;
use rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dSettings};
use rav1d::include::dav1d::headers::{
    DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422, DAV1D_PIXEL_LAYOUT_I444,
};
use rav1d::include::dav1d::picture::Dav1dPicture;
use rav1d::src::lib as av1;

use super::container::Cicp;
use crate::base::{Format, Size, Work};
use crate::decode::Error;

/// Chroma subsampling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chroma {
    /// 4:0:0.
    None,
    /// 4:2:0, 4:2:2 or 4:4:4: by how many bits width and height are shifted.
    Shifted(u32, u32),
}

/// A decoded frame.
pub struct Planes {
    picture: Dav1dPicture,
    /// Its size.
    pub size: Size,
    /// Its subsampling.
    pub chroma: Chroma,
    /// Bits a sample: 8, 10 or 12.
    pub bits: u8,
    /// What the stream says of its colours.
    pub cicp: Cicp,
}

impl Drop for Planes {
    fn drop(&mut self) {
        // SAFETY: the picture was filled by the decoder and is given back here only.
        unsafe { av1::dav1d_picture_unref(Some(NonNull::from(&mut self.picture))) }
    }
}

/// One row of samples.
#[derive(Clone, Copy)]
pub enum Row<'a> {
    /// 8 bits.
    Narrow(&'a [u8]),
    /// 10 or 12 bits.
    Wide(&'a [u16]),
}

impl Planes {
    /// A row of plane 0, 1 or 2.
    ///
    /// # Panics
    /// If there is no such plane or row.
    pub fn row(&self, plane: usize, y: u32) -> Row<'_> {
        let (across, down) = match (plane, self.chroma) {
            (0, _) => (0, 0),
            (_, Chroma::Shifted(across, down)) => (across, down),
            (_, Chroma::None) => panic!("a gray picture has one plane"),
        };
        let shifted = |side: u32, by: u32| (side + (1 << by) - 1) >> by;
        let (width, height) = (shifted(self.size.width, across) as usize, shifted(self.size.height, down));
        assert!(y < height, "row {y} of {height}");
        let start = self.picture.data[plane].expect("the decoder gives every plane of its layout").as_ptr();
        let stride = self.picture.stride[usize::from(plane > 0)];
        // SAFETY: the decoder's planes hold `height` rows of at least `width` samples, `stride` bytes apart, aligned to 64
        // bytes, of one byte for 8-bit pictures and two for others; they live as long as `self`.
        unsafe {
            let row = start.cast::<u8>().offset(y as isize * stride);
            if self.bits == 8 {
                Row::Narrow(std::slice::from_raw_parts(row, width))
            } else {
                Row::Wide(std::slice::from_raw_parts(row.cast::<u16>(), width))
            }
        }
    }
}

/// Decodes the frame that a still item shows. `size` is what the container says; another is refused, and nothing larger is
/// allocated.
pub fn decode(data: &[u8], size: Size, work: &Work) -> Result<Planes, Error> {
    let mut decoder = Decoder::open(size)?;
    for unit in still(data)? {
        work.check()?;
        if let Some(planes) = decoder.feed(unit)? {
            return planes.of_size(size);
        }
    }
    decoder.picture()?.ok_or_else(|| broken("it ends before its picture does"))?.of_size(size)
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Avif, what)
}

struct Decoder(Option<Dav1dContext>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is from `dav1d_open` and is closed here only.
        unsafe { av1::dav1d_close(Some(NonNull::from(&mut self.0))) }
    }
}

impl Decoder {
    fn open(size: Size) -> Result<Self, Error> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the library fills all of the settings.
        let mut settings = unsafe {
            av1::dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        // Two threads and a delay of two frames, although there is one frame and the pool above already uses every core:
        // with less, rav1d 1.1 ends the process on a frame that is broken (it looks for a header that its own clean-up has
        // taken). `re_rav1d` 0.1 mends that line, but is a branch of 1.0 without what 1.1 mended since. Layers below the last are
        // not given out.
        (settings.n_threads, settings.max_frame_delay, settings.all_layers) = (2, 2, 0);
        settings.frame_size_limit = u32::try_from(size.pixels()).unwrap_or(u32::MAX);
        // SAFETY: no callback, so nothing that would have to be safe to call.
        settings.logger = unsafe { rav1d::include::dav1d::dav1d::Dav1dLogger::new(None, None) };
        let mut decoder = Self(None);
        // SAFETY: both point to live values of ours.
        let result =
            unsafe { av1::dav1d_open(Some(NonNull::from(&mut decoder.0)), Some(NonNull::from(&mut settings))) };
        if result.0 == 0 { Ok(decoder) } else { Err(broken("no memory for a decoder")) }
    }

    /// Gives the decoder some bytes, and takes a picture if they completed one.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<Planes>, Error> {
        let mut data = Dav1dData::default();
        // SAFETY: on success the buffer is as long as the bytes; the decoder takes it over, or it is given back below.
        let result = unsafe {
            let buffer = av1::dav1d_data_create(Some(NonNull::from(&mut data)), bytes.len());
            if buffer.is_null() {
                return Err(broken("no memory for its data"));
            }
            buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let result = av1::dav1d_send_data(self.0, Some(NonNull::from(&mut data)));
            av1::dav1d_data_unref(Some(NonNull::from(&mut data)));
            result
        };
        if result.0 < 0 {
            return Err(broken(format!("the AV1 decoder refused it ({})", result.0)));
        }
        self.picture()
    }

    fn picture(&mut self) -> Result<Option<Planes>, Error> {
        let mut picture = Dav1dPicture::default();
        // SAFETY: the context is live, the picture is ours.
        let result = unsafe { av1::dav1d_get_picture(self.0, Some(NonNull::from(&mut picture))) };
        if result.0 == -libc::EAGAIN {
            return Ok(None);
        }
        if result.0 < 0 {
            return Err(broken(format!("the AV1 decoder failed ({})", result.0)));
        }
        let chroma = match picture.p.layout {
            DAV1D_PIXEL_LAYOUT_I400 => Chroma::None,
            DAV1D_PIXEL_LAYOUT_I420 => Chroma::Shifted(1, 1),
            DAV1D_PIXEL_LAYOUT_I422 => Chroma::Shifted(1, 0),
            DAV1D_PIXEL_LAYOUT_I444 => Chroma::Shifted(0, 0),
            _ => return Err(broken("its subsampling is unknown")),
        };
        let sequence = picture.seq_hdr.ok_or_else(|| broken("it has no sequence header"))?;
        // SAFETY: the header lives as long as the picture that refers to it.
        let cicp = unsafe {
            let sequence = sequence.as_ref();
            let full_range = sequence.color_range != 0;
            Cicp { primaries: sequence.pri, transfer: sequence.trc, matrix: sequence.mtrx, full_range }
        };
        let size = Size::new(picture.p.w.max(0) as u32, picture.p.h.max(0) as u32);
        let bits = picture.p.bpc as u8;
        Ok(Some(Planes { picture, size, chroma, bits, cicp }))
    }
}

impl Planes {
    fn of_size(self, size: Size) -> Result<Self, Error> {
        if self.size == size { Ok(self) } else { Err(broken("its picture has not the size that its container says")) }
    }
}

/// The units that make up a still picture, and nothing else: a sequence header and one key frame. Everything that a stream
/// might hold beside them (other frames, other headers between a frame's parts) is left out or refused here, because the
/// decoder behind was made for streams: it would decode any number of hidden frames, and states that only a broken stream
/// gets into end the process, since a panic cannot leave its C interface.
fn still(data: &[u8]) -> Result<Vec<&[u8]>, Error> {
    const SEQUENCE: u8 = 1;
    const FRAME_HEADER: u8 = 3;
    const TILE_GROUP: u8 = 4;
    const FRAME: u8 = 6;
    let mut picture = Vec::new();
    let (mut still_header, mut in_tiles) = (None, false);
    for unit in Units(data) {
        match (unit.kind, still_header) {
            (SEQUENCE, None) => {
                // Profile (3 bits), still picture, reduced still picture header.
                let flags = *unit.payload.first().ok_or_else(|| broken("its sequence header is cut off"))?;
                still_header = Some(flags & 0x08 != 0);
                picture.push(unit.bytes);
            }
            (FRAME | FRAME_HEADER, Some(reduced)) if !in_tiles => {
                // Unless the header is reduced, it begins with: shows an existing frame (1 bit), its type (2), shown (1).
                let flags = *unit.payload.first().ok_or_else(|| broken("its frame header is cut off"))?;
                if !reduced && flags & 0xf0 != 0x10 {
                    return Err(Error::kind(Format::Avif, "a still picture that is no key frame"));
                }
                picture.push(unit.bytes);
                if unit.kind == FRAME {
                    return Ok(picture);
                }
                in_tiles = true;
            }
            (TILE_GROUP, Some(_)) if in_tiles => picture.push(unit.bytes),
            (FRAME | FRAME_HEADER, _) if in_tiles => break,
            (FRAME | FRAME_HEADER | TILE_GROUP, _) => return Err(broken("its parts are out of order")),
            _ => {}
        }
    }
    if in_tiles { Ok(picture) } else { Err(broken("it has no frame")) }
}

/// The open bitstream units in some bytes (AV1 specification, 5.3). One whose length is more than there is, is the last and
/// left out.
struct Units<'a>(&'a [u8]);

struct Unit<'a> {
    kind: u8,
    /// With its header.
    bytes: &'a [u8],
    /// Without.
    payload: &'a [u8],
}

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        const HAS_EXTENSION: u8 = 4;
        const HAS_SIZE: u8 = 2;
        let header = *self.0.first()?;
        let mut at = if header & HAS_EXTENSION == 0 { 1 } else { 2 };
        let mut length = self.0.len().checked_sub(at)?;
        if header & HAS_SIZE != 0 {
            length = 0;
            for shift in 0..8 {
                let byte = *self.0.get(at)?;
                at += 1;
                length |= usize::from(byte & 0x7f) << (7 * shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let (bytes, rest) = self.0.split_at_checked(at.checked_add(length)?)?;
        self.0 = rest;
        Some(Unit { kind: header >> 3 & 15, bytes, payload: &bytes[at..] })
    }
}
