//! The header of a baseline picture: everything before its one scan's data.

use super::huffman::{Ac, Code, Dc};
use super::idct::LANES;
use super::{Irregular, ZIGZAG};
use crate::base::Size;

/// One component of a frame.
#[derive(Clone)]
pub(super) struct Component {
    id: u8,
    /// Blocks of an MCU across and down.
    pub sampling: (u32, u32),
    /// Which of the frame's tables.
    pub quanta: usize,
    pub dc: usize,
    pub ac: usize,
}

/// All that comes before the coded data.
#[derive(Clone)]
pub struct Frame {
    width: u32,
    height: u32,
    pub(super) components: Vec<Component>,
    /// In natural order.
    pub(super) quanta: [Option<[u16; 64]>; 4],
    dc: [Option<Code>; 4],
    ac: [Option<Code>; 4],
    /// MCUs between two restart markers; 0 for none.
    pub(super) restart: u32,
    /// Where the coded data begins.
    pub(super) data_at: usize,
    /// A JFIF header was there, and what an Adobe marker said of the colours.
    jfif: bool,
    adobe: Option<u8>,
}

/// Reads the header of a baseline picture with one scan of 8-bit samples.
pub fn open(bytes: &[u8]) -> Result<Frame, Irregular> {
    let mut frame = Frame {
        width: 0,
        height: 0,
        components: Vec::new(),
        quanta: [None; 4],
        dc: [const { None }; 4],
        ac: [const { None }; 4],
        restart: 0,
        data_at: 0,
        jfif: false,
        adobe: None,
    };
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *bytes.get(at..at + 4).ok_or(Irregular)? else { return Err(Irregular) };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let segment = bytes.get(at + 4..end).ok_or(Irregular)?;
        match marker {
            0xc0 | 0xc1 if frame.components.is_empty() => frame.start(segment)?,
            0xc4 => frame.codes(segment)?,
            0xdb => frame.quanta(segment)?,
            0xdd => frame.restart = u32::from(u16::from_be_bytes(*segment.first_chunk().ok_or(Irregular)?)),
            0xda => {
                frame.data_at = end;
                frame.scan(segment)?;
                return if frame.is_rgb() { Err(Irregular) } else { Ok(frame) };
            }
            0xe0 => frame.jfif |= segment.starts_with(b"JFIF\0"),
            0xee if segment.starts_with(b"Adobe") => frame.adobe = segment.get(11).copied(),
            0xe1..=0xef | 0xfe => {}
            _ => return Err(Irregular),
        }
        at = end;
    }
}

impl Frame {
    fn start(&mut self, segment: &[u8]) -> Result<(), Irregular> {
        let [8, high, low, wide, narrow, count, rest @ ..] = segment else { return Err(Irregular) };
        self.height = u16::from_be_bytes([*high, *low]).into();
        self.width = u16::from_be_bytes([*wide, *narrow]).into();
        if rest.len() != 3 * usize::from(*count) || !matches!(count, 1 | 3) || self.width == 0 || self.height == 0 {
            return Err(Irregular);
        }
        for [id, factors, quanta] in rest.as_chunks::<3>().0 {
            let sampling = if *count == 1 { (1, 1) } else { (u32::from(factors >> 4), u32::from(factors & 15)) };
            self.components.push(Component { id: *id, sampling, quanta: usize::from(*quanta), dc: 0, ac: 0 });
        }
        let blocks: u32 = self.components.iter().map(|component| component.sampling.0 * component.sampling.1).sum();
        let (across, down) = self.sampling();
        let divides = |component: &Component| {
            let (h, v) = component.sampling;
            h > 0
                && v > 0
                && (LANES as u32).is_multiple_of(h)
                && across.is_multiple_of(h)
                && down.is_multiple_of(v)
                && component.quanta < 4
        };
        if across > 4 || down > 4 || blocks > 10 || !self.components.iter().all(divides) {
            Err(Irregular)
        } else {
            Ok(())
        }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    /// Values a pixel: 1 or 3.
    pub fn channels(&self) -> usize {
        self.components.len()
    }

    /// MCUs across and down.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (across, down) = self.sampling();
        (self.width.div_ceil(8 * across) as usize, self.height.div_ceil(8 * down) as usize)
    }

    /// The tables that are there, made ready.
    pub(super) fn dcs(&self) -> [Option<Dc>; 4] {
        std::array::from_fn(|slot| self.dc[slot].clone().map(Dc::new))
    }

    /// As [`Frame::dcs`].
    pub(super) fn acs(&self) -> [Option<Ac>; 4] {
        std::array::from_fn(|slot| self.ac[slot].clone().map(Ac::new))
    }

    /// Whether the components are red, green and blue, by libjpeg's rules.
    fn is_rgb(&self) -> bool {
        let named = self.components.iter().map(|component| component.id).eq(*b"RGB");
        self.components.len() == 3 && !self.jfif && self.adobe.map_or(named, |transform| transform == 0)
    }

    /// Blocks of the most finely sampled component in an MCU, across and down.
    pub(super) fn sampling(&self) -> (u32, u32) {
        let most = |side: fn(&Component) -> u32| self.components.iter().map(side).max().unwrap_or(1);
        (most(|component| component.sampling.0), most(|component| component.sampling.1))
    }

    fn codes(&mut self, mut segment: &[u8]) -> Result<(), Irregular> {
        while let [class_and_slot, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Irregular)?;
            let (symbols, rest) =
                rest.split_at_checked(counts.iter().map(|count| usize::from(*count)).sum()).ok_or(Irregular)?;
            let code = Code::new(counts, symbols).ok_or(Irregular)?;
            let tables = match class_and_slot >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Irregular),
            };
            *tables.get_mut(usize::from(class_and_slot & 15)).ok_or(Irregular)? = Some(code);
            segment = rest;
        }
        Ok(())
    }

    fn quanta(&mut self, mut segment: &[u8]) -> Result<(), Irregular> {
        while let [precision_and_slot, rest @ ..] = segment {
            let bytes = if precision_and_slot >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * bytes).ok_or(Irregular)?;
            let mut table = [0; 64];
            for (value, at) in values.chunks_exact(bytes).zip(ZIGZAG) {
                table[usize::from(at)] = value.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            *self.quanta.get_mut(usize::from(precision_and_slot & 15)).ok_or(Irregular)? = Some(table);
            segment = rest;
        }
        Ok(())
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), Irregular> {
        let [count, rest @ ..] = segment else { return Err(Irregular) };
        let count = usize::from(*count);
        if count != self.components.len() || self.components.is_empty() || rest.len() != 2 * count + 3 {
            return Err(Irregular);
        }
        for (component, [id, tables]) in self.components.iter_mut().zip(rest.as_chunks::<2>().0) {
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if component.id != *id || component.dc > 3 || component.ac > 3 {
                return Err(Irregular);
            }
        }
        // All frequencies, at their full precision.
        if rest[2 * count..] == [0, 63, 0] { Ok(()) } else { Err(Irregular) }
    }
}
