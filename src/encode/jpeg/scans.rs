//! A file in several scans: first every block's mean, then luma's and chroma's frequencies in bands, each scan with codes of its own.
//! Blocks without anything in a band are counted together, so that smooth pictures and chroma cost next to nothing.
//!
//! Levels come whole (spectral selection alone): halving them first, as libjpeg's files do, took 3 to 4 % more bytes for eleven photos.

use super::blocks::Quantised;
use super::huffman::Codes;
use super::symbols::{Few, Often, Token, Writing};
use super::write::{self, Frame};
use crate::encode::planes::Sampling;

/// A component and what is coded of its blocks: the first and last coefficient.
type Band = (usize, u32, u32);

/// After the means, in the order of the file.
const COLOUR: &[Band] = &[(0, 1, 2), (1, 1, 63), (2, 1, 63), (0, 3, 9), (0, 10, 63)];
const GRAY: &[Band] = &[(0, 1, 2), (0, 3, 9), (0, 10, 63)];

/// Blocks that end together at most: fewer than a file may have, so that a code and what follows are at most 26 bits.
const ENDS_MAX: u32 = 1023;

/// One scan as it comes.
struct Gathered {
    band: Band,
    tokens: Vec<Token>,
    often: Often,
    /// Blocks that ended since the last symbol.
    ends: u32,
}

impl Gathered {
    fn push(&mut self, few: &mut Few, block: &Quantised) {
        let (_, from, to) = self.band;
        few.clear();
        let within = block.some & (u64::MAX >> (63 - to)) & (u64::MAX << from);
        if within != 0 {
            self.flush(few);
        }
        if few.coefficients(block, from, to, 0, &mut self.often) > 0 {
            self.ends += 1;
        }
        self.tokens.extend_from_slice(few.all());
        if self.ends == ENDS_MAX {
            few.clear();
            self.flush(few);
            self.tokens.extend_from_slice(few.all());
        }
    }

    /// Blocks that ended: the length of their number less 1, then its bits but for the first (table G.1).
    fn flush(&mut self, few: &mut Few) {
        if let Some(length) = self.ends.checked_ilog2() {
            few.put(length << 4, self.ends - (1 << length), 0, &mut self.often);
        }
        self.ends = 0;
    }
}

/// The scans as they come.
pub struct Scans {
    frame: Frame,
    few: Few,
    means: Vec<Token>,
    often: [Often; 2],
    /// The last block's DC level of each component.
    previous: [i32; 3],
    bands: Vec<Gathered>,
    /// A row of MCUs.
    row: Vec<Quantised>,
}

impl Scans {
    /// Nothing yet.
    pub fn new(frame: Frame) -> Self {
        let bands = if frame.sampling == Sampling::None { GRAY } else { COLOUR };
        let gathered = |band: &Band| Gathered { band: *band, tokens: Vec::new(), often: [0; 256], ends: 0 };
        Self {
            frame,
            few: Few::none(),
            means: Vec::new(),
            often: [[0; 256]; 2],
            previous: [0; 3],
            bands: bands.iter().map(gathered).collect(),
            row: Vec::new(),
        }
    }

    /// Takes an MCU: blocks of luma, then one each of chroma, or one of luma alone.
    pub fn push(&mut self, blocks: &[Quantised], luma: usize) {
        self.few.clear();
        for (at, block) in blocks.iter().enumerate() {
            let (component, class) = if at < luma { (0, 0) } else { (at - luma + 1, 1) };
            let level = i32::from(block.levels[0]);
            self.few.level(level - self.previous[component], 0, class, &mut self.often[class]);
            self.previous[component] = level;
        }
        self.means.extend_from_slice(self.few.all());
        self.row.extend_from_slice(blocks);
    }

    /// Ends a row of MCUs, which begins at a row of pixels. In scans of one component blocks stand row by row, and what lies wholly beyond
    /// the picture is left out (A.2.3).
    pub fn end_row(&mut self, top: usize) {
        let Frame { width, height, sampling } = self.frame;
        let (blocks, side) = match sampling {
            Sampling::None => (1, 1),
            Sampling::Full => (3, 1),
            Sampling::Half => (6, 2),
        };
        for band in &mut self.bands {
            let component = band.band.0;
            if component > 0 {
                let place = side * side + component - 1;
                self.row.chunks_exact(blocks).for_each(|mcu| band.push(&mut self.few, &mcu[place]));
                continue;
            }
            for row in 0..side.min((height - top).div_ceil(8)) {
                for column in 0..width.div_ceil(8) {
                    let block = &self.row[column / side * blocks + row * side + column % side];
                    band.push(&mut self.few, block);
                }
            }
        }
        self.row.clear();
    }

    /// The file.
    pub fn finish(mut self, tables: &[[u8; 64]; 2], markers: &[u8]) -> Vec<u8> {
        let components = if self.frame.sampling == Sampling::None { 1 } else { 3 };
        let mut writing = Writing::after(write::head(self.frame, write::PROGRESSIVE, tables, markers));
        let classes = components.min(2);
        let codes: Vec<Codes> = self.often[..classes].iter().map(Codes::of).collect();
        write::codes(writing.out(), &[0x00, 0x01][..classes], &codes);
        let all: Vec<(usize, u8)> = (0..components).map(|at| (at, u8::from(at > 0) << 4)).collect();
        write::scan(writing.out(), &all, 0, 0);
        for (class, codes) in codes.iter().enumerate() {
            writing.learn(class, codes, &self.often[class]);
        }
        writing.tokens(&self.means);
        writing.end();
        for mut band in std::mem::take(&mut self.bands) {
            self.few.clear();
            band.flush(&mut self.few);
            band.tokens.extend_from_slice(self.few.all());
            let (component, from, to) = band.band;
            let codes = [Codes::of(&band.often)];
            write::codes(writing.out(), &[0x10], &codes);
            write::scan(writing.out(), &[(component, 0)], from as u8, to as u8);
            writing.learn(0, &codes[0], &band.often);
            writing.tokens(&band.tokens);
            writing.end();
        }
        writing.finish()
    }
}
