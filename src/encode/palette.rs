//! Palettes: the exact one where a picture has few colours, else one that NeuQuant learns.

use color_quant::NeuQuant;

use crate::pixels::Layout;

/// A picture as indices into a palette.
#[derive(Debug)]
pub struct Palette {
    /// RGBA, in order of appearance.
    pub colours: Vec<[u8; 4]>,
    /// One a pixel.
    pub indices: Vec<u8>,
}

/// Slots of the table of colours: four for each colour there can be.
const SLOTS: usize = 1024;

/// One in so many pixels teaches the network.
const SAMPLE: i32 = 10;

impl Palette {
    /// The exact palette, or none where the picture has more than `most` (at most 256) colours.
    pub fn exact(samples: &[u8], layout: Layout, most: usize) -> Option<Self> {
        let mut table = Table::new(most);
        let mut indices = Vec::with_capacity(samples.len() / layout.channels());
        for pixel in samples.chunks_exact(layout.channels()) {
            indices.push(table.index(rgba(pixel, layout))?);
        }
        Some(Self { colours: table.colours, indices })
    }

    /// A palette of at most `most` colours (64..=256) for opaque pixels; transparent ones (alpha 0) get the index 0 of a
    /// transparent black, if there are any.
    pub fn learnt(pixels: &[[u8; 4]], most: usize) -> Self {
        let opaque: Vec<u8> = pixels.iter().filter(|pixel| pixel[3] > 0).flatten().copied().collect();
        let transparent = opaque.len() < pixels.len() * 4;
        let network = NeuQuant::new(
            SAMPLE.min((opaque.len() / 4 / 1000).max(1) as i32),
            most - usize::from(transparent),
            &opaque,
        );
        let mut colours: Vec<[u8; 4]> = if transparent { vec![[0; 4]] } else { Vec::new() };
        colours.extend(network.color_map_rgba().as_chunks::<4>().0.iter().map(|[r, g, b, _]| [*r, *g, *b, 255]));
        let first = usize::from(transparent);
        // Neighbours are often equal, and the search is dear.
        let mut last = ([0u8; 4], 0u8);
        let indices = pixels
            .iter()
            .map(|pixel| {
                if pixel[3] == 0 {
                    return 0;
                }
                if last.0 != *pixel {
                    last = (*pixel, (network.index_of(pixel) + first) as u8);
                }
                last.1
            })
            .collect();
        Self { colours, indices }
    }
}

/// Any pixel as RGBA.
pub fn rgba(pixel: &[u8], layout: Layout) -> [u8; 4] {
    match layout {
        Layout::Gray => [pixel[0], pixel[0], pixel[0], 255],
        Layout::GrayAlpha => [pixel[0], pixel[0], pixel[0], pixel[1]],
        Layout::Rgb => [pixel[0], pixel[1], pixel[2], 255],
        Layout::Rgba | Layout::Cmyk => [pixel[0], pixel[1], pixel[2], pixel[3]],
    }
}

/// From colours to their indices: open addressing.
struct Table {
    slots: [u16; SLOTS],
    colours: Vec<[u8; 4]>,
    most: usize,
    last: Option<([u8; 4], u8)>,
}

impl Table {
    fn new(most: usize) -> Self {
        Self { slots: [u16::MAX; SLOTS], colours: Vec::with_capacity(most), most: most.min(256), last: None }
    }

    fn index(&mut self, colour: [u8; 4]) -> Option<u8> {
        if let Some((last, index)) = self.last
            && last == colour
        {
            return Some(index);
        }
        let mut slot = (u32::from_le_bytes(colour).wrapping_mul(0x9e37_79b1) >> 22) as usize;
        let index = loop {
            match self.slots[slot] {
                u16::MAX if self.colours.len() == self.most => return None,
                u16::MAX => {
                    self.slots[slot] = self.colours.len() as u16;
                    self.colours.push(colour);
                    break self.colours.len() - 1;
                }
                index if self.colours[usize::from(index)] == colour => break usize::from(index),
                _ => slot = (slot + 1) % SLOTS,
            }
        };
        self.last = Some((colour, index as u8));
        Some(index as u8)
    }
}
