//! Symbols that wait until there are codes for them, and how they are written.

use super::blocks::{PLACES, Quantised};
use super::huffman::Codes;

/// A symbol with the bits that follow its code: 8 bits of symbol, 2 of class, from the 16th on what follows.
pub type Token = u32;

const CLASS_BITS: u32 = 8;
const REST_BITS: u32 = 16;
const TABLE: usize = 1 << 10;

/// Sixteen zeros.
const ZEROS: u32 = 0xf0;

/// Zeros that [`ZEROS`] stands for.
const ZEROS_RUN: u32 = 16;

/// How often each symbol of a class comes.
pub type Often = [u32; 256];

/// Whether any does.
pub fn occurs(often: &Often) -> bool {
    often.iter().any(|count| *count > 0)
}

/// The most symbols at once: those of an MCU of six blocks, one for each coefficient.
const TOKENS_MAX: usize = 6 * 64;

/// A few tokens, as they are made.
pub struct Few {
    tokens: [Token; TOKENS_MAX],
    count: usize,
}

impl Few {
    /// None.
    pub const fn none() -> Self {
        Self { tokens: [0; TOKENS_MAX], count: 0 }
    }

    /// Starts anew.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// What was put since.
    #[inline(always)]
    pub fn all(&self) -> &[Token] {
        &self.tokens[..self.count.min(TOKENS_MAX)]
    }

    /// The coefficients of a block from one to another, `after` zeros at their end.
    #[inline(always)]
    pub fn coefficients(&mut self, block: &Quantised, from: u32, to: u32, class: usize, often: &mut Often) -> u32 {
        let mut some = block.some & (u64::MAX >> (63 - to)) & (u64::MAX << from);
        let mut next = from;
        while some != 0 {
            let at = some.trailing_zeros();
            some &= some - 1;
            let mut zeros = at - next;
            next = at + 1;
            while zeros >= ZEROS_RUN {
                self.put(ZEROS, 0, class, often);
                zeros -= ZEROS_RUN;
            }
            self.level(i32::from(block.levels[usize::from(PLACES[(at & 63) as usize])]), zeros, class, often);
        }
        to + 1 - next
    }

    /// A level after so many zeros: its length in bits, then the bits, those of a negative one less 1 (figure F.1).
    #[inline(always)]
    pub fn level(&mut self, level: i32, zeros: u32, class: usize, often: &mut Often) {
        let length = 32 - level.unsigned_abs().leading_zeros();
        let rest = (level + (level >> 31)) as u32 & ((1 << length) - 1);
        self.put(zeros << 4 | length, rest, class, often);
    }

    /// A symbol and what follows it.
    #[inline(always)]
    pub fn put(&mut self, symbol: u32, rest: u32, class: usize, often: &mut Often) {
        often[(symbol & 255) as usize] += 1;
        if let Some(token) = self.tokens.get_mut(self.count) {
            *token = rest << REST_BITS | (class as u32) << CLASS_BITS | symbol;
        }
        self.count += 1;
    }
}

/// How many bits follow a symbol's code: those of a level, or of how many blocks end (T.81, G.1.2.2), which baseline files have one by one.
const fn rest_of(symbol: u8) -> u32 {
    let (zeros, length) = (symbol as u32 >> 4, symbol as u32 & 15);
    if length == 0 && zeros < 15 { zeros } else { length }
}

/// Bits for the length of a code and what follows it: at most 27.
const LENGTH_BITS: u32 = 5;

/// The file as it is written.
pub struct Writing {
    out: Vec<u8>,
    /// Bits that are not written yet, the last ones lowest, and how many.
    bits: u64,
    count: u32,
    /// For each class and symbol its code, moved to the left by what follows, and the length of both.
    codes: Box<[u32; TABLE]>,
}

impl Writing {
    /// After what stands already.
    pub fn after(out: Vec<u8>) -> Self {
        Self { out, bits: 0, count: 0, codes: Box::new([0; TABLE]) }
    }

    /// What is written so far; between scans, for what precedes the next.
    pub const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Takes the codes of a class, for symbols that come so often.
    pub fn learn(&mut self, class: usize, codes: &Codes, often: &Often) {
        let mut bits = 0;
        for (symbol, code, length) in codes.each() {
            let rest = rest_of(symbol);
            self.codes[class << CLASS_BITS | usize::from(symbol)] = code << rest << LENGTH_BITS | (length + rest);
            bits += u64::from(often[usize::from(symbol)]) * u64::from(length + rest);
        }
        // A hundredth for what is stuffed.
        self.out.reserve((bits / 8 + bits / 800) as usize + 64);
    }

    /// Writes symbols.
    #[inline(always)]
    pub fn tokens(&mut self, tokens: &[Token]) {
        let (mut bits, mut count) = (self.bits, self.count);
        for token in tokens {
            let code = self.codes[*token as usize % TABLE];
            let length = code & ((1 << LENGTH_BITS) - 1);
            bits = bits << length | u64::from(code >> LENGTH_BITS | token >> REST_BITS);
            count += length;
            if count >= 32 {
                count -= 32;
                self.word((bits >> count) as u32);
            }
        }
        (self.bits, self.count) = (bits, count);
    }

    #[inline(always)]
    fn word(&mut self, word: u32) {
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

    /// Ends a scan: the last byte is filled with ones.
    pub fn end(&mut self) {
        let fill = (8 - self.count % 8) % 8;
        let bits = self.bits << fill | ((1 << fill) - 1);
        let mut count = self.count + fill;
        while count > 0 {
            count -= 8;
            self.byte((bits >> count) as u8);
        }
        (self.bits, self.count) = (0, 0);
    }

    /// The file, whose last scan has ended.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&[0xff, 0xd9]);
        self.out
    }
}
