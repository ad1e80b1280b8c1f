//! EXIF blocks written anew: a TIFF structure of the entries that may stay, in the byte order that it had.
//!
//! Always true: thumbnails (they show what a crop has cut off), offsets of picture data and unknown directories never stay;
//! what cannot be read is left out, and nothing is read beyond the block.

/// What [`exif_filtered`] keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExifKeep {
    /// Artist and copyright.
    Copyright,
    /// All but what can tell where: GPS, maker notes, embedded XMP and IPTC.
    AllButLocation,
    /// All.
    All,
}

/// The EXIF block for a picture that was made anew: what `keep` says, with the orientation (which has been applied) set
/// to 1 and sizes left out. `exif` begins at its TIFF header. None where nothing stays or the block cannot be read.
pub fn exif_filtered(exif: &[u8], keep: ExifKeep) -> Option<Vec<u8>> {
    let tiff = Tiff::new(exif)?;
    let first = tiff.directory(tiff.first()?)?;
    let child = |pointer: u16| {
        let entry = first.iter().find(|entry| entry.tag == pointer)?;
        tiff.directory(entry.long(tiff.little)? as usize)
    };
    let stays = |entry: &Entry| match keep {
        ExifKeep::Copyright => matches!(entry.tag, tag::ARTIST | tag::COPYRIGHT),
        _ if tag::POINTERS.contains(&entry.tag) || matches!(entry.tag, tag::EXIF | tag::GPS) => false,
        _ if tag::SIZES.contains(&entry.tag) => false,
        ExifKeep::AllButLocation => !tag::CAN_TELL_WHERE.contains(&entry.tag),
        // A maker note's offsets are from the block's start, and it has moved.
        ExifKeep::All => entry.tag != tag::MAKER_NOTE,
    };
    let mut children = Vec::new();
    if keep != ExifKeep::Copyright {
        if let Some(entries) = child(tag::EXIF) {
            let comment = |entry: &Entry| keep == ExifKeep::AllButLocation && entry.tag == tag::USER_COMMENT;
            children.push((tag::EXIF, entries.into_iter().filter(|entry| stays(entry) && !comment(entry)).collect()));
        }
        if keep == ExifKeep::All
            && let Some(entries) = child(tag::GPS)
        {
            children.push((tag::GPS, entries));
        }
    }
    children.retain(|(_, entries): &(u16, Vec<Entry>)| !entries.is_empty());
    let mut entries: Vec<Entry> = first.iter().filter(|entry| stays(entry)).cloned().collect();
    for entry in entries.iter_mut().filter(|entry| entry.tag == tag::ORIENTATION) {
        *entry = Entry { tag: tag::ORIENTATION, kind: 3, count: 1, data: tiff.u16_bytes(1).to_vec() };
    }
    (!entries.is_empty() || !children.is_empty()).then(|| Writer::new(tiff.little).file(entries, children))
}

/// For a file whose pixels stay: its orientation alone, or none where it stands upright.
pub(super) fn orientation_only(exif: &[u8]) -> Option<Vec<u8>> {
    let tiff = Tiff::new(exif)?;
    let entry = tiff.directory(tiff.first()?)?.into_iter().find(|entry| entry.tag == tag::ORIENTATION)?;
    let value = entry.short(tiff.little)?;
    (2..=8).contains(&value).then(|| {
        let entry = Entry { tag: tag::ORIENTATION, kind: 3, count: 1, data: tiff.u16_bytes(value).to_vec() };
        Writer::new(tiff.little).file(vec![entry], Vec::new())
    })
}

mod tag {
    pub const ORIENTATION: u16 = 0x0112;
    pub const ARTIST: u16 = 0x013b;
    pub const COPYRIGHT: u16 = 0x8298;
    pub const EXIF: u16 = 0x8769;
    pub const GPS: u16 = 0x8825;
    pub const INTEROP: u16 = 0xa005;
    pub const MAKER_NOTE: u16 = 0x927c;
    pub const USER_COMMENT: u16 = 0x9286;
    /// Strips, tiles, thumbnails, further directories: they point into what is not there any more.
    pub const POINTERS: [u16; 12] =
        [0x0111, 0x0117, 0x0144, 0x0145, 0x014a, 0x0201, 0x0202, 0x0120, 0x0121, 0x0190, INTEROP, 0xc4a5];
    /// Sizes, which a made picture does not share: width, height, rows a strip, and EXIF's own.
    pub const SIZES: [u16; 6] = [0x0100, 0x0101, 0x0116, 0xa002, 0xa003, 0x0102];
    /// XMP, IPTC, Photoshop's resources, Windows' keywords and comments.
    pub const CAN_TELL_WHERE: [u16; 7] = [0x02bc, 0x83bb, 0x8649, 0x9c9c, 0x9c9e, 0x9c9f, MAKER_NOTE];
}

/// One entry of a directory.
#[derive(Clone, Debug)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// The value's bytes, wherever they were, in the file's byte order.
    data: Vec<u8>,
}

impl Entry {
    fn short(&self, little: bool) -> Option<u16> {
        let bytes: [u8; 2] = self.data.get(..2)?.try_into().ok()?;
        (self.kind == 3).then(|| if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, little: bool) -> Option<u32> {
        let bytes: [u8; 4] = self.data.get(..4)?.try_into().ok()?;
        matches!(self.kind, 4 | 13).then(|| if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

/// A TIFF structure that is read.
struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.get(..4)? {
            b"II*\0" => Some(Self { bytes, little: true }),
            b"MM\0*" => Some(Self { bytes, little: false }),
            _ => None,
        }
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    const fn u16_bytes(&self, value: u16) -> [u8; 2] {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn first(&self) -> Option<usize> {
        self.u32(4).map(|at| at as usize)
    }

    /// The entries of the directory at `at` whose values can be read; none where there is no directory. Values cannot add
    /// up to more than a hostile block's length times its entries: those that overlap are cut off at the block's length.
    fn directory(&self, at: usize) -> Option<Vec<Entry>> {
        let count = usize::from(self.u16(at)?);
        let mut entries: Vec<Entry> = Vec::new();
        let mut total = 0;
        for entry in 0..count {
            let Some(read) = self.entry(at + 2 + entry * 12) else { continue };
            total += read.data.len();
            if total > self.bytes.len() {
                break;
            }
            entries.push(read);
        }
        entries.sort_by_key(|entry| entry.tag);
        entries.dedup_by_key(|entry| entry.tag);
        Some(entries)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let (tag, kind, count) = (self.u16(at)?, self.u16(at + 2)?, self.u32(at + 4)?);
        let size = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = (count as usize).checked_mul(size)?;
        let from = if length <= 4 { at + 8 } else { self.u32(at + 8)? as usize };
        let data = self.bytes.get(from..from.checked_add(length)?)?.to_vec();
        Some(Entry { tag, kind, count, data })
    }
}

/// A TIFF structure that is written.
struct Writer {
    out: Vec<u8>,
    little: bool,
}

impl Writer {
    fn new(little: bool) -> Self {
        let out = if little { b"II*\0\x08\0\0\0".to_vec() } else { b"MM\0*\0\0\0\x08".to_vec() };
        Self { out, little }
    }

    /// The block of a first directory and those that hang from it.
    fn file(mut self, mut entries: Vec<Entry>, children: Vec<(u16, Vec<Entry>)>) -> Vec<u8> {
        for (pointer, _) in &children {
            entries.push(Entry { tag: *pointer, kind: 4, count: 1, data: vec![0; 4] });
        }
        entries.sort_by_key(|entry| entry.tag);
        let at = self.directory(&entries);
        for (pointer, child) in children {
            let place = entries.iter().position(|entry| entry.tag == pointer).unwrap_or(0);
            let offset = self.u32_bytes(self.out.len());
            self.out[at + 2 + place * 12 + 8..][..4].copy_from_slice(&offset);
            self.directory(&child);
        }
        self.out
    }

    /// Writes a directory and its values; answers where it begins.
    fn directory(&mut self, entries: &[Entry]) -> usize {
        let at = self.out.len();
        let count = self.u16_bytes(entries.len() as u16);
        self.out.extend_from_slice(&count);
        let mut values = Vec::new();
        let values_at = at + 2 + entries.len() * 12 + 4;
        for entry in entries {
            self.out.extend_from_slice(&self.u16_bytes(entry.tag));
            self.out.extend_from_slice(&self.u16_bytes(entry.kind));
            self.out.extend_from_slice(&self.u32_bytes(entry.count as usize));
            if entry.data.len() <= 4 {
                self.out.extend_from_slice(&entry.data);
                self.out.resize(self.out.len() + 4 - entry.data.len(), 0);
            } else {
                self.out.extend_from_slice(&self.u32_bytes(values_at + values.len()));
                values.extend_from_slice(&entry.data);
                // Values begin at even offsets.
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        self.out.extend_from_slice(&[0; 4]);
        self.out.extend_from_slice(&values);
        at
    }

    const fn u16_bytes(&self, value: u16) -> [u8; 2] {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    const fn u32_bytes(&self, value: usize) -> [u8; 4] {
        if self.little { (value as u32).to_le_bytes() } else { (value as u32).to_be_bytes() }
    }
}
