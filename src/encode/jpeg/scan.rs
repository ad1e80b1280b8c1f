//! The one scan of a baseline file: symbols are gathered and counted, codes are made for them, and they are written.
//!
//! Always true: no more symbols wait than [`Scan::new`] was told. Where a picture has more, codes are made of what was counted until then,
//! with one for each symbol that may still come, and the rest is written as it comes.

use super::blocks::Quantised;
use super::huffman::Codes;
use super::symbols::{Few, Often, Token, Writing, occurs};

/// What symbols tell, each with codes of its own.
const LUMA_DC: usize = 0;
const CHROMA_DC: usize = 1;
const LUMA_AC: usize = 2;
const CHROMA_AC: usize = 3;

/// The scan as it comes.
pub struct Scan {
    few: Few,
    waiting: Vec<Token>,
    waiting_max: usize,
    often: [Often; 4],
    /// The last block's DC level of each component.
    previous: [i32; 3],
    writing: Option<Writing>,
}

impl Scan {
    /// Of which so many symbols wait.
    pub fn new(waiting_max: usize) -> Self {
        Self {
            few: Few::none(),
            waiting: Vec::with_capacity(waiting_max),
            waiting_max,
            often: [[0; 256]; 4],
            previous: [0; 3],
            writing: None,
        }
    }

    /// Takes an MCU: blocks of luma, then one each of chroma, or one of luma alone. `start` makes the file up to the scan.
    #[inline(always)]
    pub fn push(&mut self, blocks: &[Quantised], luma: usize, start: impl FnOnce(&[Codes]) -> Vec<u8>) {
        self.few.clear();
        for (at, block) in blocks.iter().enumerate() {
            let component = if at < luma { 0 } else { at - luma + 1 };
            let (dc, ac) = if at < luma { (LUMA_DC, LUMA_AC) } else { (CHROMA_DC, CHROMA_AC) };
            let level = i32::from(block.levels[0]);
            self.few.level(level - self.previous[component], 0, dc, &mut self.often[dc]);
            self.previous[component] = level;
            if self.few.coefficients(block, 1, 63, ac, &mut self.often[ac]) > 0 {
                self.few.put(0, 0, ac, &mut self.often[ac]);
            }
        }
        let tokens = self.few.all();
        match &mut self.writing {
            None if self.waiting.len() + tokens.len() <= self.waiting_max => self.waiting.extend_from_slice(tokens),
            None => self.overflow(start),
            Some(writing) => writing.tokens(tokens),
        }
    }

    #[cold]
    fn overflow(&mut self, start: impl FnOnce(&[Codes]) -> Vec<u8>) {
        // All that may come must have a code.
        for (class, often) in self.often.iter_mut().enumerate().filter(|(_, often)| occurs(often)) {
            possible(class).for_each(|symbol| often[symbol] = often[symbol].max(1));
        }
        let mut writing = self.begin(start);
        // Room for what noise takes, so that it need not be moved: three bytes and a half a pixel at the highest quality in 4:4:4.
        writing.out().reserve(self.waiting_max * 3);
        writing.tokens(self.few.all());
        self.writing = Some(writing);
    }

    /// Writes what waits.
    fn begin(&mut self, start: impl FnOnce(&[Codes]) -> Vec<u8>) -> Writing {
        // Of a gray picture there are two.
        let classes: Vec<usize> = (0..4).filter(|class| occurs(&self.often[*class])).collect();
        let codes: Vec<Codes> = classes.iter().map(|class| Codes::of(&self.often[*class])).collect();
        let mut writing = Writing::after(start(&codes));
        for (class, codes) in classes.into_iter().zip(&codes) {
            writing.learn(class, codes, &self.often[class]);
        }
        writing.tokens(&std::mem::take(&mut self.waiting));
        writing
    }

    /// The file, with everything that was pushed.
    pub fn finish(mut self, start: impl FnOnce(&[Codes]) -> Vec<u8>) -> Vec<u8> {
        let mut writing = match self.writing.take() {
            Some(writing) => writing,
            None => self.begin(start),
        };
        writing.end();
        writing.finish()
    }
}

/// The symbols that a class may have, in 8-bit pictures.
fn possible(class: usize) -> impl Iterator<Item = usize> {
    (0..256).filter(move |symbol| {
        if class < LUMA_AC {
            *symbol < 12
        } else {
            *symbol == 0 || *symbol == 0xf0 || (1..=10).contains(&(symbol & 15))
        }
    })
}
