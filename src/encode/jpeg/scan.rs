//! The one scan of a file: symbols are gathered and counted, codes are made for them, and they are written.
//!
//! Always true: no more symbols wait than [`Scan::new`] was told. Where a picture has more, codes are made of what was counted until then, with
//! one for each symbol that may still come, and the rest is written as it comes.

use super::blocks::{PLACES, Quantised};
use super::huffman::Codes;

/// What an MCU has at most: six blocks.
const BLOCKS_MAX: usize = 6;

/// The symbols of a block at most: one for each coefficient.
const SYMBOLS_MAX: usize = BLOCKS_MAX * 64;

/// Which codes a symbol is of: two bits.
#[derive(Clone, Copy)]
enum Class {
    LumaDc = 0,
    ChromaDc = 1,
    LumaAc = 2,
    ChromaAc = 3,
}

/// Sixteen zeros.
const ZEROS: u32 = 0xf0;

/// A symbol with the bits that follow its code: 8 bits of symbol, 2 of class, from the 16th on what follows.
type Token = u32;

const CLASS_BITS: u32 = 8;
const REST_BITS: u32 = 16;
const SYMBOL_MASK: u32 = (1 << 10) - 1;

/// The scan as it comes.
pub struct Scan {
    tokens: Tokens,
    waiting: Vec<Token>,
    waiting_max: usize,
    often: [[u32; 256]; 4],
    /// The last block's DC level of each component.
    previous: [i32; 3],
    writing: Option<Writing>,
}

impl Scan {
    /// For a picture of so many MCUs, of which so many symbols wait.
    pub fn new(waiting_max: usize) -> Self {
        let tokens = Tokens { tokens: [0; SYMBOLS_MAX], count: 0 };
        Self {
            tokens,
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
        self.tokens.count = 0;
        for (at, block) in blocks.iter().enumerate() {
            let component = if at < luma { 0 } else { at - luma + 1 };
            let (dc, ac) = if at < luma { (Class::LumaDc, Class::LumaAc) } else { (Class::ChromaDc, Class::ChromaAc) };
            self.tokens.block(block, dc, ac, &mut self.previous[component], &mut self.often);
        }
        let (tokens, count) = (self.tokens.tokens, self.tokens.count);
        let tokens = &tokens[..count];
        match &mut self.writing {
            None if self.waiting.len() + tokens.len() <= self.waiting_max => self.waiting.extend_from_slice(tokens),
            None => {
                // All that may come must have a code.
                for (class, often) in self.often.iter_mut().enumerate().filter(|(_, often)| occurs(often)) {
                    possible(class).for_each(|symbol| often[symbol] = often[symbol].max(1));
                }
                let mut writing = self.begin(start);
                writing.tokens(tokens);
                self.writing = Some(writing);
            }
            Some(writing) => writing.tokens(tokens),
        }
    }

    /// Writes what waits.
    fn begin(&mut self, start: impl FnOnce(&[Codes]) -> Vec<u8>) -> Writing {
        let codes: Vec<Codes> = self.often.iter().filter(|often| occurs(often)).map(Codes::of).collect();
        // Of a gray picture there are two.
        let classes: &[usize] = if codes.len() == 4 { &[0, 1, 2, 3] } else { &[0, 2] };
        let mut writing = Writing { out: start(&codes), bits: 0, count: 0, codes: Box::new([0; 1024]) };
        let mut bits = 0;
        for (class, codes) in classes.iter().zip(&codes) {
            for (symbol, code, length) in codes.each() {
                let rest = u32::from(symbol) & 15;
                writing.codes[class << CLASS_BITS | usize::from(symbol)] =
                    code << rest << LENGTH_BITS | (length + rest);
                bits += u64::from(self.often[*class][usize::from(symbol)]) * u64::from(length + rest);
            }
        }
        // A hundredth for what is stuffed.
        writing.out.reserve((bits / 8 + bits / 800) as usize + 64);
        writing.tokens(&std::mem::take(&mut self.waiting));
        writing
    }

    /// The file, with everything that was pushed.
    pub fn finish(mut self, start: impl FnOnce(&[Codes]) -> Vec<u8>) -> Vec<u8> {
        match self.writing.take() {
            Some(writing) => writing.finish(),
            None => self.begin(start).finish(),
        }
    }
}

fn occurs(often: &[u32; 256]) -> bool {
    often.iter().any(|count| *count > 0)
}

/// The symbols that a class may have, in 8-bit pictures.
fn possible(class: usize) -> impl Iterator<Item = usize> {
    (0..256).filter(move |symbol| {
        if class < 2 {
            *symbol < 12
        } else {
            *symbol == 0 || *symbol == ZEROS as usize || (1..=10).contains(&(symbol & 15))
        }
    })
}

struct Tokens {
    tokens: [Token; SYMBOLS_MAX],
    count: usize,
}

impl Tokens {
    #[inline(always)]
    fn block(&mut self, block: &Quantised, dc: Class, ac: Class, previous: &mut i32, often: &mut [[u32; 256]; 4]) {
        let level = i32::from(block.levels[0]);
        self.push(level - *previous, 0, dc, often);
        *previous = level;
        let mut some = block.some & !1;
        let mut last = 0;
        while some != 0 {
            let at = some.trailing_zeros();
            some &= some - 1;
            let mut zeros = at - last - 1;
            last = at;
            while zeros > 15 {
                self.put(ZEROS, ac, 0, often);
                zeros -= 16;
            }
            self.push(i32::from(block.levels[usize::from(PLACES[(at & 63) as usize])]), zeros, ac, often);
        }
        if last < 63 {
            self.put(0, ac, 0, often);
        }
    }

    /// A level after so many zeros: its length in bits, then the bits, those of a negative one less 1 (figure F.1).
    #[inline(always)]
    fn push(&mut self, level: i32, zeros: u32, class: Class, often: &mut [[u32; 256]; 4]) {
        let length = 32 - level.unsigned_abs().leading_zeros();
        let rest = (level + (level >> 31)) as u32 & ((1 << length) - 1);
        self.put(zeros << 4 | length, class, rest, often);
    }

    #[inline(always)]
    fn put(&mut self, symbol: u32, class: Class, rest: u32, often: &mut [[u32; 256]; 4]) {
        often[class as usize][(symbol & 255) as usize] += 1;
        if let Some(token) = self.tokens.get_mut(self.count) {
            *token = rest << REST_BITS | (class as u32) << CLASS_BITS | symbol;
        }
        self.count += 1;
    }
}

/// Bits for the length of a code and what follows it: at most 27.
const LENGTH_BITS: u32 = 5;

/// The file as it is written.
struct Writing {
    out: Vec<u8>,
    /// Bits that are not written yet, the last ones lowest, and how many.
    bits: u64,
    count: u32,
    /// For each class and symbol its code, moved to the left by what follows, and the length of both.
    codes: Box<[u32; 1024]>,
}

impl Writing {
    #[inline(always)]
    fn tokens(&mut self, tokens: &[Token]) {
        let (mut bits, mut count) = (self.bits, self.count);
        for token in tokens {
            let code = self.codes[(token & SYMBOL_MASK) as usize];
            let length = code & ((1 << LENGTH_BITS) - 1);
            bits = bits << length | u64::from(code >> LENGTH_BITS | token >> REST_BITS);
            count += length;
            if count >= 32 {
                count -= 32;
                self.put((bits >> count) as u32);
            }
        }
        (self.bits, self.count) = (bits, count);
    }

    #[inline(always)]
    fn put(&mut self, word: u32) {
        // A byte of ones is told from a marker by a 0 behind it; few words have one. Inverted it is 0, which borrows from above.
        let inverted = !word;
        if inverted.wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
            self.out.extend_from_slice(&word.to_be_bytes());
        } else {
            word.to_be_bytes().into_iter().for_each(|byte| self.byte(byte));
        }
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
        if byte == 0xff {
            self.out.push(0);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        // The last byte is filled with ones.
        let fill = (8 - self.count % 8) % 8;
        let bits = self.bits << fill | ((1 << fill) - 1);
        let mut count = self.count + fill;
        while count > 0 {
            count -= 8;
            self.byte((bits >> count) as u8);
        }
        self.out.extend_from_slice(&[0xff, 0xd9]);
        self.out
    }
}
