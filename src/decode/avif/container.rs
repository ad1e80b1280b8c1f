//! The HEIF container of an AVIF: items, where their bytes lie, their properties and how they refer to each other
//! (ISO/IEC 14496-12, 23008-12). Only what a still picture needs.
//!
//! Always true: one pass over the `meta` box, every table bounded, nothing is copied but by [`Container::data`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::{Format, Size};
use crate::decode::Error;

/// Most items, and most of any table's entries. A 100-megapixel picture of 512x512 tiles has 400.
const ENTRIES_MAX: usize = 8_192;

/// A four-character code.
pub type Code = [u8; 4];

/// What the `meta` box says.
#[derive(Debug, Default)]
pub struct Container<'a> {
    bytes: &'a [u8],
    /// Content of the `idat` box.
    idat: &'a [u8],
    /// The item to show.
    pub primary: u32,
    items: BTreeMap<u32, Item>,
    properties: Vec<Property<'a>>,
    references: Vec<Reference>,
}

#[derive(Debug, Default)]
struct Item {
    kind: Code,
    in_idat: bool,
    /// Offsets and lengths; a length of 0 is the rest.
    extents: Vec<(u64, u64)>,
    /// Places in `Container::properties`.
    properties: Vec<usize>,
}

#[derive(Debug)]
struct Reference {
    kind: Code,
    from: u32,
    to: Vec<u32>,
}

/// A property of an item.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Property<'a> {
    /// `ispe`: width and height before any turn.
    Size(Size),
    /// `av1C`: bits a sample, and whether there is luma only.
    Av1 { bits: u8, gray: bool },
    /// `colr` with coded points: primaries, transfer, matrix, full range.
    Cicp(Cicp),
    /// `colr` with an ICC profile.
    Icc(&'a [u8]),
    /// `irot`: quarter turns against the clock.
    Turn(u8),
    /// `imir`: whether left and right change places; else top and bottom do.
    Mirror { sideways: bool },
    /// `auxC`: what an auxiliary picture is.
    Auxiliary(&'a [u8]),
    /// Any other.
    Other(Code),
}

/// Coded points for colour (ITU-T H.273).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cicp {
    /// Colour primaries.
    pub primaries: u32,
    /// Transfer characteristics.
    pub transfer: u32,
    /// Matrix coefficients.
    pub matrix: u32,
    /// Whether samples use the whole range.
    pub full_range: bool,
}

impl<'a> Container<'a> {
    /// Reads the `meta` box of a file.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let meta = Boxes(bytes).find(|(kind, _)| kind == b"meta").ok_or_else(|| broken("it has no meta box"))?;
        let mut container = Self { bytes, ..Self::default() };
        let mut primary = None;
        for (kind, body) in Boxes(meta.1.get(4..).unwrap_or_default()) {
            let mut fields = Fields(body);
            let read = match &kind {
                b"pitm" => fields.version().and_then(|version| fields.id(version)).map(|id| primary = Some(id)),
                b"iinf" => container.read_infos(fields),
                b"iloc" => container.read_locations(fields),
                b"iprp" => container.read_properties(body),
                b"iref" => container.read_references(fields),
                b"idat" => {
                    container.idat = body;
                    Some(())
                }
                _ => Some(()),
            };
            read.ok_or_else(|| broken(format!("its {} box is cut off or too long", String::from_utf8_lossy(&kind))))?;
        }
        container.primary = primary.ok_or_else(|| Error::kind(Format::Avif, "no still picture in a sequence"))?;
        Ok(container)
    }

    /// What kind of item it is.
    pub fn kind(&self, item: u32) -> Option<Code> {
        Some(self.items.get(&item)?.kind)
    }

    /// The properties of an item, in order.
    pub fn properties(&self, item: u32) -> impl Iterator<Item = Property<'a>> + '_ {
        let places = self.items.get(&item).map_or(&[][..], |item| &item.properties);
        places.iter().filter_map(|place| self.properties.get(*place)).copied()
    }

    /// The items that an item refers to in such a way.
    pub fn references(&self, kind: &Code, from: u32) -> &[u32] {
        let found = self.references.iter().find(|reference| reference.kind == *kind && reference.from == from);
        found.map_or(&[], |reference| &reference.to)
    }

    /// The items that refer to an item in such a way.
    pub fn referring(&self, kind: Code, to: u32) -> impl Iterator<Item = u32> + '_ {
        self.references
            .iter()
            .filter(move |reference| reference.kind == kind && reference.to.contains(&to))
            .map(|at| at.from)
    }

    /// An item's bytes: borrowed where they lie together, else joined.
    pub fn data(&self, item: u32) -> Result<Cow<'a, [u8]>, Error> {
        let item = self.items.get(&item).ok_or_else(|| broken("an item is missing"))?;
        let source = if item.in_idat { self.idat } else { self.bytes };
        let extent = |(offset, length): (u64, u64)| {
            let from = source.get(usize::try_from(offset).ok()?..)?;
            if length == 0 { Some(from) } else { from.get(..usize::try_from(length).ok()?) }
        };
        let cut = || broken("an item's bytes are cut off");
        if let [only] = item.extents[..] {
            return extent(only).map(Cow::Borrowed).ok_or_else(cut);
        }
        let mut joined = Vec::new();
        for at in &item.extents {
            let part = extent(*at).ok_or_else(cut)?;
            if joined.len() + part.len() > source.len() {
                return Err(broken("an item's extents overlap"));
            }
            joined.extend_from_slice(part);
        }
        Ok(Cow::Owned(joined))
    }

    fn read_infos(&mut self, mut fields: Fields<'a>) -> Option<()> {
        let version = fields.version()?;
        fields.number(if version == 0 { 2 } else { 4 })?;
        for (kind, body) in Boxes(fields.0).take(ENTRIES_MAX) {
            let mut info = Fields(body);
            let version = info.version()?;
            if &kind == b"infe" && version >= 2 {
                let id = info.id(version - 2)?;
                info.number(2)?;
                self.items.entry(id).or_default().kind = info.code()?;
            }
        }
        Some(())
    }

    fn read_locations(&mut self, mut fields: Fields<'a>) -> Option<()> {
        let version = fields.version()?;
        let sizes = fields.number(2)?;
        let size = |at: u32| (sizes >> at & 15) as usize;
        let (offset_size, length_size, base_size) = (size(12), size(8), size(4));
        let index_size = if version > 0 { size(0) } else { 0 };
        let items = fields.number(if version < 2 { 2 } else { 4 })?;
        let mut extents_left = ENTRIES_MAX;
        for _ in 0..entries(items)? {
            let id = fields.id(version / 2)?;
            let construction = if version > 0 { fields.number(2)? & 15 } else { 0 };
            fields.number(2)?;
            let base = fields.number(base_size)?;
            let extents = entries(fields.number(2)?)?;
            extents_left = extents_left.checked_sub(extents)?;
            let mut read = Vec::with_capacity(extents);
            for _ in 0..extents {
                fields.number(index_size)?;
                read.push((base.checked_add(fields.number(offset_size)?)?, fields.number(length_size)?));
            }
            // Construction by another item is used by no still picture; such an item has no bytes here.
            let item = self.items.entry(id).or_default();
            (item.in_idat, item.extents) = (construction == 1, if construction < 2 { read } else { Vec::new() });
        }
        Some(())
    }

    fn read_properties(&mut self, body: &'a [u8]) -> Option<()> {
        for (kind, body) in Boxes(body) {
            match &kind {
                b"ipco" => {
                    for (kind, body) in Boxes(body) {
                        entries(self.properties.len() as u64 + 1)?;
                        self.properties.push(property(kind, body)?);
                    }
                }
                b"ipma" => self.read_associations(Fields(body))?,
                _ => {}
            }
        }
        Some(())
    }

    fn read_associations(&mut self, mut fields: Fields<'a>) -> Option<()> {
        let flags = fields.number(4)?;
        let (version, wide) = (flags >> 24, flags & 1 != 0);
        let mut left = ENTRIES_MAX;
        for _ in 0..entries(fields.number(4)?)? {
            let id = fields.id(version)?;
            let count = fields.number(1)? as usize;
            left = left.checked_sub(count)?;
            let item = self.items.entry(id).or_default();
            for _ in 0..count {
                let place = if wide { fields.number(2)? & 0x7fff } else { fields.number(1)? & 0x7f };
                // Places count from 1; 0 is none.
                item.properties.extend((place as usize).checked_sub(1));
            }
        }
        Some(())
    }

    fn read_references(&mut self, mut fields: Fields<'a>) -> Option<()> {
        let version = fields.version()?;
        let mut left = ENTRIES_MAX;
        for (kind, body) in Boxes(fields.0) {
            let mut fields = Fields(body);
            let from = fields.id(version)?;
            let count = entries(fields.number(2)?)?;
            left = left.checked_sub(count + 1)?;
            let to = (0..count).map(|_| fields.id(version)).collect::<Option<_>>()?;
            self.references.push(Reference { kind, from, to });
        }
        Some(())
    }
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Avif, what)
}

/// A count of entries, if it is within bounds.
fn entries(count: u64) -> Option<usize> {
    usize::try_from(count).ok().filter(|count| *count <= ENTRIES_MAX)
}

fn property(kind: Code, body: &[u8]) -> Option<Property<'_>> {
    let mut fields = Fields(body);
    Some(match &kind {
        b"ispe" => {
            fields.number(4)?;
            Property::Size(Size::new(fields.number(4)? as u32, fields.number(4)? as u32))
        }
        b"av1C" => {
            let flags = fields.number(3)?;
            let bits = if flags & 0x40 == 0 {
                8
            } else if flags & 0x20 == 0 {
                10
            } else {
                12
            };
            Property::Av1 { bits, gray: flags & 0x10 != 0 }
        }
        b"colr" => match &fields.code()? {
            b"nclx" => Property::Cicp(Cicp {
                primaries: fields.number(2)? as u32,
                transfer: fields.number(2)? as u32,
                matrix: fields.number(2)? as u32,
                full_range: fields.number(1)? & 0x80 != 0,
            }),
            b"prof" | b"rICC" => Property::Icc(fields.0),
            _ => Property::Other(kind),
        },
        b"irot" => Property::Turn(fields.number(1)? as u8 & 3),
        b"imir" => Property::Mirror { sideways: fields.number(1)? & 1 != 0 },
        b"auxC" => {
            fields.number(4)?;
            Property::Auxiliary(fields.0.split(|byte| *byte == 0).next().unwrap_or_default())
        }
        _ => Property::Other(kind),
    })
}

/// The boxes in some bytes: kind and content. One that is cut off is the last.
#[derive(Clone, Copy)]
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = (Code, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields(self.0);
        let length = fields.number(4)?;
        let kind = fields.code()?;
        let (header, length) = match length {
            0 => (8, self.0.len() as u64),
            1 => (16, fields.number(8)?),
            length => (8, length),
        };
        let content = usize::try_from(length.checked_sub(header)?).ok()?;
        let content = &fields.0[..content.min(fields.0.len())];
        self.0 = &fields.0[content.len()..];
        Some((kind, content))
    }
}

/// Takes big-endian fields from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// A number of at most 8 bytes; of none it is 0.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let (taken, rest) = self.0.split_at_checked(bytes).filter(|_| bytes <= 8)?;
        self.0 = rest;
        Some(taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn code(&mut self) -> Option<Code> {
        Some((self.number(4)? as u32).to_be_bytes())
    }

    /// The version of a full box; its flags are passed over.
    fn version(&mut self) -> Option<u64> {
        Some(self.number(4)? >> 24)
    }

    /// An item's number: 16 bits in version 0, else 32.
    fn id(&mut self, version: u64) -> Option<u32> {
        Some(self.number(if version == 0 { 2 } else { 4 })? as u32)
    }
}
