//! TIFF by the `tiff` crate, strip by strip or tile by tile, so that inks stay inks, the deadline is looked at on the way
//! and a truncated file yields what it holds. Of several pages the first is read.

mod patched;
mod values;

use tiff::ColorType;
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use self::patched::{Meaning, Patched};
use self::values::{Packing, Value};
use super::samples::{self, Sample};
use super::{Decoded, Error, Header, Model, check_plausible, check_size, colour_of, jpeg, metadata, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{ColourSpace, Layout, Picture, Samples};

/// Most bytes that one packed byte stands for: an LZW code of 12 bits for a string of 4094.
const BYTES_A_BYTE_MAX: u64 = 2_730;

/// The compression that puts JPEG files into strips.
const JPEG: u32 = 7;

/// The kinds of extra sample that are alpha: premultiplied, and not.
const ASSOCIATED_ALPHA: u32 = 1;
const STRAIGHT_ALPHA: u32 = 2;

/// Reads the first directory.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut file = File::open(bytes, limits)?;
    let (layout, bits) = (file.layout()?, file.colour.bit_depth());
    let packed_min = file.size.pixels() * layout.channels() as u64 * u64::from(bits) / 8 / (BYTES_A_BYTE_MAX * 16);
    check_plausible(Format::Tiff, file.size, bytes.len() as u64, packed_min)?;
    let model = match layout {
        _ if file.meaning == Meaning::Palette => Model::Palette(1 << bits),
        Layout::Gray | Layout::GrayAlpha => Model::Gray,
        Layout::Cmyk => Model::Cmyk,
        Layout::Rgb | Layout::Rgba => Model::Rgb,
    };
    let icc = match file.decoder.find_tag(Tag::IccProfile) {
        Ok(Some(value)) => match value.into_u8_vec() {
            Ok(profile) => metadata::profile(&profile, model, limits)?,
            Err(_) => None,
        },
        Ok(None) => None,
        Err(tiff::TiffError::LimitsExceeded) => {
            return Err(Error::TooLarge("an ICC profile over the bound".to_owned()));
        }
        Err(_) => None,
    };
    let orientation = file.number(Tag::Orientation).map_or(Orientation::Upright, Orientation::from_exif);
    Ok(Header {
        format: Format::Tiff,
        size: file.size,
        orientation,
        alpha: layout.has_alpha(),
        frames: 1,
        loops: 0,
        bits,
        model,
        progressive: false,
        streams: false,
        icc,
        exif: None,
    })
}

/// Decodes the first page.
pub fn decode(bytes: &[u8], header: &Header, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    let mut file = File::open(bytes, limits)?;
    let layout = file.layout()?;
    if file.size != header.size || file.colour.bit_depth() != header.bits {
        return Err(broken("it is not what its header said"));
    }
    let (samples, damaged) = if header.bits == 16 {
        let (samples, damaged) = file.read::<u16>(bytes, layout, work)?;
        (Samples::U16(samples), damaged)
    } else {
        let (samples, damaged) = file.read::<u8>(bytes, layout, work)?;
        (Samples::U8(samples), damaged)
    };
    let colour = match (layout, &header.icc) {
        (Layout::Cmyk, None) => ColourSpace::DeviceCmyk,
        _ => colour_of(header),
    };
    let picture = Picture { size: file.size, layout, samples, colour };
    Ok(Decoded { picture, covers: whole(header.size), damaged })
}

/// The result, and once more for a picture in a single strip, and that strip unpacked by a JPEG decoder (as 4:4:4, at most
/// as long as the strip).
pub fn bytes_of_work(header: &Header) -> u64 {
    let channels = match header.model {
        Model::Gray => 1,
        Model::Cmyk => 4,
        _ => 3,
    } + u64::from(header.alpha);
    let bytes = if header.bits == 16 { 2 } else { 1 };
    header.size.pixels() * channels * bytes * 4
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Tiff, what)
}

fn error(error: tiff::TiffError) -> Error {
    match error {
        tiff::TiffError::UnsupportedError(what) => Error::kind(Format::Tiff, what),
        tiff::TiffError::LimitsExceeded => Error::TooLarge("it needs more memory than its size tells".to_owned()),
        other => broken(other),
    }
}

/// An opened file.
struct File<'a> {
    decoder: Decoder<Patched<'a>>,
    size: Size,
    colour: ColorType,
    meaning: Meaning,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let (patched, meaning) = Patched::open(bytes);
        let mut decoder = Decoder::new(patched).map_err(error)?;
        let (width, height) = decoder.dimensions().map_err(error)?;
        let size = Size::new(width, height);
        if size.pixels() == 0 {
            return Err(broken("it is empty"));
        }
        check_size(size, limits)?;
        let mut bounds = tiff::decoder::Limits::default();
        bounds.ifd_value_size = limits.metadata_bytes_max;
        // No strip or tile is larger than the whole picture at 16 bits of four samples and one row and column of tiles.
        let chunk = (size.pixels() as usize).saturating_mul(8).saturating_add(TILE_BYTES);
        (bounds.decoding_buffer_size, bounds.intermediate_buffer_size) = (chunk, chunk);
        let mut decoder = decoder.with_limits(bounds);
        let colour = decoder.colortype().map_err(error)?;
        Ok(Self { decoder, size, colour, meaning })
    }

    fn number(&mut self, tag: Tag) -> Option<u32> {
        self.decoder.find_tag_unsigned(tag).ok().flatten()
    }

    fn layout(&mut self) -> Result<Layout, Error> {
        match (self.colour, self.meaning) {
            (ColorType::Gray(1 | 2 | 4 | 8), Meaning::Palette) => Ok(Layout::Rgb),
            (ColorType::Gray(1 | 2 | 4 | 8 | 16), Meaning::Plain | Meaning::Inverted) => Ok(Layout::Gray),
            (ColorType::Multiband { bit_depth: 8 | 16, .. }, Meaning::Plain | Meaning::Inverted) => {
                let alpha = matches!(self.first_extra(), Some(ASSOCIATED_ALPHA | STRAIGHT_ALPHA));
                Ok(if alpha { Layout::GrayAlpha } else { Layout::Gray })
            }
            (ColorType::YCbCr(8), _) if self.is_subsampled() => {
                Err(Error::kind(Format::Tiff, "reduced chroma outside of JPEG"))
            }
            (ColorType::RGB(8 | 16) | ColorType::YCbCr(8), _) => Ok(Layout::Rgb),
            (ColorType::RGBA(8 | 16), _) => Ok(Layout::Rgba),
            (ColorType::CMYK(8 | 16) | ColorType::CMYKA(8 | 16), _) => Ok(Layout::Cmyk),
            (other, _) => Err(Error::kind(Format::Tiff, format!("{other:?}"))),
        }
    }

    /// What the first sample beyond the colours is.
    fn first_extra(&mut self) -> Option<u32> {
        let extra = self.decoder.find_tag(Tag::ExtraSamples).ok().flatten()?;
        extra.into_u32_vec().ok()?.first().copied()
    }

    /// Whether chroma has fewer samples than luma. Inside of JPEG that is the JPEG decoder's affair.
    fn is_subsampled(&mut self) -> bool {
        let factors = self.decoder.find_tag(Tag::ChromaSubsampling).ok().flatten();
        let factors = factors.and_then(|value| value.into_u32_vec().ok());
        self.number(Tag::Compression) != Some(JPEG) && factors.is_none_or(|factors| factors != [1, 1])
    }

    /// How samples become values.
    fn packing(&mut self) -> Result<Packing, Error> {
        let bits = self.colour.bit_depth();
        if self.meaning == Meaning::Palette {
            let map = self.decoder.get_tag_u16_vec(Tag::ColorMap).map_err(error)?;
            return Packing::palette(bits, &map)
                .ok_or_else(|| broken("its colour map has not the length that it should"));
        }
        Ok(if bits < 8 { Packing::Bits(bits.into()) } else { Packing::Whole })
    }

    /// Reads every strip or tile into its place; fails if the first cannot be read.
    fn read<T: Value>(&mut self, bytes: &[u8], layout: Layout, work: &Work) -> Result<(Vec<T>, bool), Error> {
        let channels = layout.channels();
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let (chunk_width, chunk_height) = self.decoder.chunk_dimensions();
        let (chunk_width, chunk_height) = (chunk_width.max(1) as usize, chunk_height.max(1) as usize);
        let (across, down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
        let packing = self.packing()?;
        let stored = if self.meaning == Meaning::Palette { channels } else { self.colour.num_samples().into() };
        // Planes of one sample each come one after another.
        let planar = stored > 1 && self.number(Tag::PlanarConfiguration) == Some(2) && self.meaning != Meaning::Palette;
        let (planes, stored) = if planar { (channels, 1) } else { (1, stored) };
        self.check_jpegs(bytes, (chunk_width * chunk_height) as u64)?;
        let blank = if layout.has_alpha() { T::default() } else { T::of(0.5) };
        let mut samples = vec![blank; width * height * channels];
        let mut damaged = false;
        for chunk in 0..across * down * planes {
            work.check()?;
            let (plane, place) = (chunk / (across * down), chunk % (across * down));
            let (left, top) = (place % across * chunk_width, place / across * chunk_height);
            let (wide, high) = (chunk_width.min(width - left), chunk_height.min(height - top));
            let values = match self.decoder.read_chunk(chunk as u32) {
                Ok(result) => T::take(result, wide, &packing)
                    .ok_or_else(|| Error::kind(Format::Tiff, "signed or real samples"))?,
                Err(what) if chunk == 0 => return Err(error(what)),
                Err(_) => Vec::new(),
            };
            if values.len() < wide * high * stored {
                if chunk == 0 {
                    return Err(broken("its first strip is too short"));
                }
                damaged = true;
                continue;
            }
            for (row, y) in values.chunks_exact(wide * stored).zip(top..top + high) {
                let into = &mut samples[(y * width + left) * channels..(y * width + left + wide) * channels];
                if planar {
                    into.chunks_exact_mut(channels).zip(row).for_each(|(pixel, value)| pixel[plane] = *value);
                } else if stored == channels {
                    into.copy_from_slice(row);
                } else {
                    let pixels = into.chunks_exact_mut(channels).zip(row.chunks_exact(stored));
                    pixels.for_each(|(pixel, values)| pixel.copy_from_slice(&values[..channels]));
                }
            }
        }
        if self.meaning == Meaning::Inverted {
            samples.chunks_exact_mut(channels).for_each(|pixel| pixel[0] = pixel[0].inverted());
        }
        if matches!(self.colour, ColorType::YCbCr(_)) {
            samples.chunks_exact_mut(3).for_each(to_rgb);
        }
        if layout.has_alpha() && self.first_extra() == Some(ASSOCIATED_ALPHA) {
            samples::unpremultiply(&mut samples, channels);
        }
        Ok((samples, damaged))
    }

    /// A JPEG in a strip has a size of its own, and its decoder believes that: it may be no larger than the strip.
    fn check_jpegs(&mut self, bytes: &[u8], pixels_max: u64) -> Result<(), Error> {
        if self.number(Tag::Compression) != Some(JPEG) {
            return Ok(());
        }
        let tiled = matches!(self.decoder.find_tag(Tag::TileOffsets), Ok(Some(_)));
        let tag = if tiled { Tag::TileOffsets } else { Tag::StripOffsets };
        for offset in self.decoder.get_tag_u64_vec(tag).map_err(error)? {
            let file = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            if jpeg::frame_size(file).is_none_or(|size| size.pixels() > pixels_max.saturating_mul(2)) {
                return Err(broken("a JPEG in it is larger than its strip"));
            }
        }
        Ok(())
    }
}

/// Room for one tile beyond the picture: 1024x1024 of four 16-bit samples.
const TILE_BYTES: usize = 8 << 20;

/// JPEG's YCbCr to RGB, in place.
fn to_rgb<T: Sample>(pixel: &mut [T]) {
    let (y, cb, cr) = (pixel[0].unit(), pixel[1].unit() - 128.0 / 255.0, pixel[2].unit() - 128.0 / 255.0);
    let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    pixel.iter_mut().zip(rgb).for_each(|(value, unit)| *value = T::of(unit));
}
