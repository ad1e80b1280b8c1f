//! Reads a JPEG's markers up to its first scan, without decoding anything.
//!
//! Own code and not a decoder's header reader, since it has to say things that those do not (scans in all, sampling,
//! whether Adobe inverted the inks) and has to be as lenient as the decoder behind it.

use std::sync::Arc;

use crate::base::{Format, Limits, Size};
use crate::decode::{Error, Model, metadata};

/// What the markers before the first scan say.
#[derive(Debug)]
pub struct Markers {
    /// Width and height of the frame.
    pub size: Size,
    /// 1, 3 or 4.
    pub components: u8,
    /// The largest horizontal and vertical sampling factor: an MCU is 8 times this. 1 and 1 for a single component.
    pub sampling: (u32, u32),
    /// More than a strip is held while decoding: coefficients of the whole picture (progressive, or components in scans of
    /// their own), or, with a sampling that TurboJPEG has no name for and so does not cut, all pixels.
    pub buffered: bool,
    /// Arithmetic coding, for which no least number of bits a block holds.
    pub arithmetic: bool,
    /// Lossless JPEG, which has no reduced decode.
    pub lossless: bool,
    /// An Adobe marker was there: inks are inverted.
    pub adobe: bool,
    /// The ICC profile, joined.
    pub icc: Option<Arc<[u8]>>,
    /// The EXIF block from its TIFF header on.
    pub exif: Option<Arc<[u8]>>,
    /// Where the first scan's coded data begins.
    pub data_at: usize,
}

impl Markers {
    /// How many MCUs the frame has.
    pub fn mcus(&self) -> u64 {
        let across = self.size.width.div_ceil(8 * self.sampling.0);
        let down = self.size.height.div_ceil(8 * self.sampling.1);
        u64::from(across) * u64::from(down)
    }
}

/// Walks the segments. Garbage between them is skipped, as every decoder does; one pass over the bytes.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Markers, Error> {
    let mut frame: Option<Markers> = None;
    let mut parts = Vec::new();
    let (mut adobe, mut exif) = (false, None);
    let mut at = 2;
    while let Some((marker, start)) = next_marker(bytes, at) {
        at = start;
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker == EOI {
            break;
        }
        let Some((segment, end)) = segment(bytes, start) else { break };
        at = end;
        match marker {
            SOF0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if frame.is_some() {
                    return Err(broken("it has two frame headers"));
                }
                frame = Some(frame_header(marker, segment)?);
            }
            APP1 if exif.is_none() && segment.starts_with(b"Exif\0\0") => exif = metadata::exif(segment, limits)?,
            APP2 if segment.starts_with(b"ICC_PROFILE\0") => parts.push(segment),
            APP14 if segment.starts_with(b"Adobe") && segment.len() >= 12 => adobe = true,
            SOS => {
                let mut markers = frame.ok_or_else(|| broken("a scan comes before the frame header"))?;
                markers.buffered |= segment.first().is_none_or(|scanned| *scanned < markers.components);
                markers.icc = profile(parts, model(markers.components), limits)?;
                return Ok(Markers { adobe, exif, data_at: end, ..markers });
            }
            _ => {}
        }
    }
    Err(broken("it ends before its first scan"))
}

/// How many scans there are, counted up to `at_most`.
pub fn scans(bytes: &[u8], at_most: usize) -> usize {
    let (mut count, mut at) = (0, 2);
    while count < at_most {
        // In coded data 0xff is followed by 0 or a restart marker, so any other marker ends it.
        match next_marker(bytes, at) {
            Some((EOI, _)) | None => break,
            Some((SOS, start)) => {
                count += 1;
                at = start;
            }
            Some((0x01 | 0xd0..=0xd8, start)) => at = start,
            Some((_, start)) => at = segment(bytes, start).map_or(start, |(_, end)| end),
        }
    }
    count
}

/// How colours are stored with so many components.
pub const fn model(components: u8) -> Model {
    match components {
        1 => Model::Gray,
        4 => Model::Cmyk,
        _ => Model::Rgb,
    }
}

/// Luma factors, with chroma's at 1x1, for which TurboJPEG has a name: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, 4:4:1.
const NAMED_SAMPLINGS: [(u32, u32); 6] = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (1, 4)];

const SOF0: u8 = 0xc0;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;

fn broken(what: &str) -> Error {
    Error::broken(Format::Jpeg, what)
}

/// The next marker at or after a position, and what follows it.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        let filled = bytes[at..].iter().position(|byte| *byte != 0xff)?;
        let marker = bytes[at + filled];
        at += filled + 1;
        if marker != 0 {
            return Some((marker, at));
        }
    }
}

/// A segment's content, without its length, and where it ends.
fn segment(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    Some((bytes.get(at + 2..at + length)?, at + length))
}

fn frame_header(marker: u8, segment: &[u8]) -> Result<Markers, Error> {
    let unsupported = |what: &str| Err(Error::kind(Format::Jpeg, what));
    if !matches!(marker, 0xc0..=0xc3 | 0xc9 | 0xca) {
        return unsupported("hierarchical or arithmetic lossless coding");
    }
    let [depth, high, low, wide, narrow, components, rest @ ..] = segment else {
        return Err(broken("its frame header is too short"));
    };
    let size = Size::new(u16::from_be_bytes([*wide, *narrow]).into(), u16::from_be_bytes([*high, *low]).into());
    if size.width == 0 {
        return Err(broken("it is 0 pixels wide"));
    }
    if size.height == 0 {
        return unsupported("its height is not in its header");
    }
    if *depth != 8 {
        return unsupported(&format!("{depth} bits a sample"));
    }
    if !matches!(components, 1 | 3 | 4) {
        return unsupported(&format!("{components} components"));
    }
    let mut factors_of = Vec::new();
    for at in 0..usize::from(*components) {
        let factors = *rest.get(3 * at + 1).ok_or_else(|| broken("its frame header is too short"))?;
        let (across, down) = (u32::from(factors >> 4), u32::from(factors & 15));
        if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
            return Err(broken("its sampling factors are not from 1 to 4"));
        }
        factors_of.push((across, down));
    }
    let (sampling, odd) = match factors_of[..] {
        [_] => ((1, 1), false),
        [luma, (1, 1), (1, 1)] => (luma, !NAMED_SAMPLINGS.contains(&luma)),
        [luma, (1, 1), (1, 1), key] if key == luma => (luma, !NAMED_SAMPLINGS.contains(&luma)),
        _ => (factors_of.iter().fold((1, 1), |most, at| (most.0.max(at.0), most.1.max(at.1))), true),
    };
    Ok(Markers {
        size,
        components: *components,
        sampling,
        buffered: odd || matches!(marker, 0xc2 | 0xca),
        arithmetic: matches!(marker, 0xc9 | 0xca),
        lossless: marker == 0xc3,
        adobe: false,
        icc: None,
        exif: None,
        data_at: 0,
    })
}

/// Joins a profile's parts: each says its number, from 1, and how many there are. An incomplete one is left out.
fn profile(mut parts: Vec<&[u8]>, model: Model, limits: &Limits) -> Result<Option<Arc<[u8]>>, Error> {
    const HEADER: usize = 14;
    metadata::check("an ICC profile", parts.iter().map(|part| part.len()).sum(), limits)?;
    parts.retain(|part| part.len() > HEADER);
    parts.sort_by_key(|part| part[12]);
    let numbered = parts.iter().zip(1_usize..).all(|(part, number)| usize::from(part[12]) == number);
    if parts.is_empty() || !numbered || parts.iter().any(|part| usize::from(part[13]) != parts.len()) {
        return Ok(None);
    }
    let joined: Vec<u8> = parts.iter().flat_map(|part| &part[HEADER..]).copied().collect();
    metadata::profile(&joined, model, limits)
}

/// The size that the first frame header says, without the checks of [`read`].
pub fn frame_size(bytes: &[u8]) -> Option<Size> {
    let mut at = 2;
    loop {
        let (marker, start) = next_marker(bytes, at)?;
        match marker {
            0x01 | 0xd0..=0xd8 => at = start,
            SOS | EOI => return None,
            0xc4 | 0xc8 | 0xcc => at = segment(bytes, start)?.1,
            SOF0..=0xcf => {
                let side = |at: usize| Some(u32::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
                return Some(Size::new(side(start + 5)?, side(start + 3)?));
            }
            _ => at = segment(bytes, start)?.1,
        }
    }
}
