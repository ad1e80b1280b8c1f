//! AVIF: the container by [`container`], AV1 by rav1d, luma and chroma to RGB by [`colour`]. Of a sequence the still
//! picture that it also holds is read.

mod av1;
mod colour;
mod container;

use std::sync::Arc;

use self::colour::Canvas;
use self::container::{Cicp, Container, Property};
use super::samples::{self, Sample};
use super::{Decoded, Error, Header, Model, check_size, colour_of, metadata, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{Layout, Picture, Samples};

/// What an auxiliary picture that is alpha says it is.
const ALPHA_URNS: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];

/// Reads the container.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let container = Container::read(bytes)?;
    let still = Still::read(&container, limits)?;
    let model = if still.gray { Model::Gray } else { Model::Rgb };
    let icc = match (still.icc, still.cicp) {
        (Some(profile), _) => metadata::profile(profile, model, limits)?,
        (None, Some(cicp)) if model == Model::Rgb => metadata::profile_of_cicp(cicp.primaries, cicp.transfer),
        _ => None,
    };
    Ok(Header {
        format: Format::Avif,
        size: still.colour.size,
        orientation: still.orientation,
        alpha: still.alpha.is_some(),
        frames: 1,
        loops: 0,
        bits: still.bits,
        model,
        progressive: false,
        streams: false,
        icc,
        exif: exif(&container, limits)?,
    })
}

/// Decodes the picture; 10 and 12 bits become 16.
pub fn decode(bytes: &[u8], header: &Header, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    let container = Container::read(bytes)?;
    let still = Still::read(&container, limits)?;
    if (still.colour.size, still.bits, still.alpha.is_some()) != (header.size, header.bits, header.alpha) {
        return Err(broken("it is not what its header said"));
    }
    let layout = match (header.model, header.alpha) {
        (Model::Gray, false) => Layout::Gray,
        (Model::Gray, true) => Layout::GrayAlpha,
        (_, false) => Layout::Rgb,
        (_, true) => Layout::Rgba,
    };
    let samples = if header.bits > 8 {
        Samples::U16(pixels(&container, &still, layout.channels(), work)?)
    } else {
        Samples::U8(pixels(&container, &still, layout.channels(), work)?)
    };
    let picture = Picture { size: header.size, layout, samples, colour: colour_of(header) };
    Ok(Decoded { picture, covers: whole(header.size), damaged: false })
}

/// The result; one decoded frame as 4:4:4, twice for film grain; its coefficients, which a decoder that delays frames holds
/// for all of it (6 values a pixel); the decoder's notes on its blocks (4 bytes a pixel).
pub fn bytes_of_work(header: &Header) -> u64 {
    let channels = if header.model == Model::Gray { 1 } else { 3 };
    let bytes = if header.bits > 8 { 2 } else { 1 };
    header.size.pixels() * (bytes * (channels + u64::from(header.alpha) + 2 * channels + 6) + 4)
        + u64::from(header.size.width) * 512
        + THREAD_BYTES
}

/// What the decoder's two threads and their tables take.
const THREAD_BYTES: u64 = 4 << 20;

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Avif, what)
}

/// The primary item and what belongs to it.
struct Still<'a> {
    colour: Tiles,
    alpha: Option<Tiles>,
    premultiplied: bool,
    bits: u8,
    gray: bool,
    cicp: Option<Cicp>,
    icc: Option<&'a [u8]>,
    orientation: Orientation,
}

impl<'a> Still<'a> {
    fn read(container: &Container<'a>, limits: &Limits) -> Result<Self, Error> {
        let primary = container.primary;
        let colour = Tiles::of(container, primary, limits)?;
        let (mut cicp, mut icc, mut turn, mut mirror) = (None, None, 0, None);
        for property in container.properties(primary).chain(container.properties(colour.items[0])) {
            match property {
                Property::Cicp(found) => cicp = cicp.or(Some(found)),
                Property::Icc(profile) => icc = icc.or(Some(profile)),
                _ => {}
            }
        }
        for property in container.properties(primary) {
            match property {
                Property::Turn(quarters) => turn = quarters,
                Property::Mirror { sideways } => mirror = Some(sideways),
                _ => {}
            }
        }
        let is_alpha = |item: &u32| {
            container.properties(*item).any(|at| matches!(at, Property::Auxiliary(urn) if ALPHA_URNS.contains(&urn)))
        };
        let alpha_item = container.referring(*b"auxl", primary).find(is_alpha);
        let alpha = alpha_item.map(|item| Tiles::of(container, item, limits)).transpose()?;
        if alpha.as_ref().is_some_and(|alpha| alpha.size != colour.size) {
            return Err(Error::kind(Format::Avif, "alpha of another size than its picture"));
        }
        let premultiplied = alpha_item.is_some_and(|item| container.references(b"prem", primary).contains(&item));
        let (bits, gray) = colour.av1;
        Ok(Self { colour, alpha, premultiplied, bits, gray, cicp, icc, orientation: orientation(turn, mirror) })
    }
}

/// A picture that is one coded item, or a grid of them.
struct Tiles {
    items: Vec<u32>,
    columns: u32,
    /// Of each tile.
    tile: Size,
    /// Of the whole; the last column and row may overhang it.
    size: Size,
    /// Bits a sample, and whether there is luma only.
    av1: (u8, bool),
}

impl Tiles {
    fn of(container: &Container<'_>, item: u32, limits: &Limits) -> Result<Self, Error> {
        let (items, columns, size) = match &container.kind(item).ok_or_else(|| broken("its picture is missing"))? {
            b"av01" => (vec![item], 1, size_of(container, item)?),
            b"grid" => {
                let (rows, columns, size) = grid(&container.data(item)?)?;
                let items = container.references(b"dimg", item).to_vec();
                if items.len() as u64 != u64::from(rows) * u64::from(columns) {
                    return Err(broken("its grid has another number of tiles than it says"));
                }
                (items, columns, size)
            }
            other => {
                let what = format!("a picture of kind {}", String::from_utf8_lossy(other));
                return Err(Error::kind(Format::Avif, what));
            }
        };
        check_size(size, limits)?;
        let tile = size_of(container, items[0])?;
        let av1 = container.properties(items[0]).find_map(|property| match property {
            Property::Av1 { bits, gray } => Some((bits, gray)),
            _ => None,
        });
        let rows = items.len() as u32 / columns;
        // Every tile shows something, so that their number is bounded by the picture's size.
        let fits = |tile: u32, count: u32, side: u32| {
            let (tile, count) = (u64::from(tile), u64::from(count));
            tile * (count - 1) < u64::from(side) && u64::from(side) <= tile * count
        };
        if !fits(tile.width, columns, size.width) || !fits(tile.height, rows, size.height) {
            return Err(broken("its tiles do not make up its grid"));
        }
        check_size(tile, limits)?;
        Ok(Self { items, columns, tile, size, av1: av1.ok_or_else(|| broken("its coding is not described"))? })
    }

    /// Decodes tile by tile; one is held at a time.
    fn each(
        &self,
        container: &Container<'_>,
        work: &Work,
        mut with: impl FnMut(&av1::Planes, (u32, u32)) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (item, number) in self.items.iter().zip(0_u32..) {
            if container.kind(*item) != Some(*b"av01") {
                return Err(broken("a tile is no coded picture"));
            }
            let planes = av1::decode(&container.data(*item)?, self.tile, work)?;
            with(&planes, (number % self.columns * self.tile.width, number / self.columns * self.tile.height))?;
        }
        Ok(())
    }
}

fn size_of(container: &Container<'_>, item: u32) -> Result<Size, Error> {
    let size = container.properties(item).find_map(|property| match property {
        Property::Size(size) => Some(size),
        _ => None,
    });
    let size = size.ok_or_else(|| broken("a picture's size is missing"))?;
    if size.width == 0 || size.height == 0 { Err(broken("a picture is empty")) } else { Ok(size) }
}

/// Rows, columns and size of a grid.
fn grid(data: &[u8]) -> Result<(u32, u32, Size), Error> {
    let (rows, columns, size) = match *data {
        [_, flags, rows, columns, a, b, c, d, ..] if flags & 1 == 0 => {
            (rows, columns, Size::new(u16::from_be_bytes([a, b]).into(), u16::from_be_bytes([c, d]).into()))
        }
        [_, flags, rows, columns, a, b, c, d, e, f, g, h, ..] if flags & 1 == 1 => {
            (rows, columns, Size::new(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
        }
        _ => return Err(broken("its grid is cut off")),
    };
    if size.width == 0 || size.height == 0 {
        return Err(broken("its grid is empty"));
    }
    Ok((u32::from(rows) + 1, u32::from(columns) + 1, size))
}

/// First the turn, then the mirror.
const fn orientation(quarters_against_clock: u8, mirror_sideways: Option<bool>) -> Orientation {
    match (quarters_against_clock, mirror_sideways) {
        (0, None) => Orientation::Upright,
        (0, Some(true)) | (2, Some(false)) => Orientation::FlipHorizontal,
        (0, Some(false)) | (2, Some(true)) => Orientation::FlipVertical,
        (1, None) => Orientation::Rotate270,
        (1, Some(true)) | (3, Some(false)) => Orientation::Transverse,
        (1, Some(false)) | (3, Some(true)) => Orientation::Transpose,
        (2, None) => Orientation::Rotate180,
        _ => Orientation::Rotate90,
    }
}

/// The EXIF block that describes the primary item: an offset to its TIFF header, then the block. Its orientation is not
/// asked for: AVIF says that with `irot` and `imir`.
fn exif(container: &Container<'_>, limits: &Limits) -> Result<Option<Arc<[u8]>>, Error> {
    let Some(item) =
        container.referring(*b"cdsc", container.primary).find(|item| container.kind(*item) == Some(*b"Exif"))
    else {
        return Ok(None);
    };
    let Ok(data) = container.data(item) else { return Ok(None) };
    let Some((offset, block)) = data.split_at_checked(4) else { return Ok(None) };
    let offset = u32::from_be_bytes([offset[0], offset[1], offset[2], offset[3]]) as usize;
    block.get(offset..).map_or(Ok(None), |block| metadata::exif(block, limits))
}

fn pixels<T: Sample>(
    container: &Container<'_>,
    still: &Still<'_>,
    channels: usize,
    work: &Work,
) -> Result<Vec<T>, Error> {
    let size = still.colour.size;
    let mut samples = Vec::new();
    still.colour.each(container, work, |planes, at| {
        // Allocated when the first tile has been decoded: a lying header costs one tile's memory at most.
        samples.resize(size.pixels() as usize * channels, T::default());
        let mut canvas = Canvas { samples: &mut samples, size, channels };
        canvas.paint(planes, at, still.cicp.unwrap_or(planes.cicp), work)
    })?;
    if let Some(alpha) = &still.alpha {
        let mut canvas = Canvas { samples: &mut samples, size, channels };
        alpha.each(container, work, |planes, at| {
            canvas.paint_alpha(planes, at);
            Ok(())
        })?;
        if still.premultiplied {
            samples::unpremultiply(&mut samples, channels);
        }
    }
    Ok(samples)
}
