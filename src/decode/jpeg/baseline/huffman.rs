//! Huffman tables that answer several symbols a look-up where only their length matters.

use std::sync::OnceLock;

use super::bits::{Cursor, Window};
use super::idct::LANES;
use super::{Irregular, ZIGZAG};

/// Bits that a look-up for values sees.
const VALUE_BITS: u32 = 11;

/// Bits that a look-up for lengths sees.
const SKIP_BITS: u32 = 13;

/// How far an entry's run goes that ends the block.
const END: u32 = 128;

/// A table as a DHT segment defines it (ITU-T T.81, B.2.4.2).
#[derive(Clone)]
pub struct Code {
    /// For each length from 1, one past its last code, shifted left to 16 bits.
    limits: [u32; 17],
    /// For each length, what to subtract from a code of that length to find its symbol; wraps.
    offsets: [u32; 17],
    /// The symbols in the order of their codes.
    symbols: [u8; 256],
}

impl Code {
    /// Of how many codes each length has, and their symbols.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut code = Self { limits: [0; 17], offsets: [0; 17], symbols: [0; 256] };
        code.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut next, mut symbol) = (0u32, 0u32);
        for length in 1..=16 {
            let count = u32::from(counts[length - 1]);
            code.offsets[length] = next.wrapping_sub(symbol);
            next += count;
            symbol += count;
            // A code of ones only is reserved, but encoders have used it; more codes than there can be are not a code.
            if next > 1 << length {
                return None;
            }
            code.limits[length] = next << (16 - length);
            next <<= 1;
        }
        Some(code)
    }

    /// The symbol that the next 16 bits begin with, and its length.
    #[inline(always)]
    fn symbol(&self, next: u32) -> Option<(u8, u32)> {
        let length = (1..=16).find(|length| next < self.limits[*length])?;
        let index = (next >> (16 - length)).wrapping_sub(self.offsets[length]);
        Some((self.symbols[index as usize & 255], length as u32))
    }
}

/// Decodes differences of DC values.
pub struct Dc {
    code: Code,
    /// `value << 16 | bits`, or 0.
    values: Box<[i32; 1 << VALUE_BITS]>,
}

impl Dc {
    /// For a code.
    pub fn new(code: Code) -> Self {
        let mut values = Box::new([0; 1 << VALUE_BITS]);
        for (next, entry) in values.iter_mut().enumerate() {
            if let Some((size, length)) = code.symbol((next as u32) << (16 - VALUE_BITS)) {
                let size = u32::from(size);
                if length + size <= VALUE_BITS {
                    *entry = value_of(next as u32, length, size) << 16 | (length + size) as i32;
                }
            }
        }
        Self { code, values }
    }

    /// Takes the next difference.
    #[inline(always)]
    pub fn read(&self, mut bits: Cursor, window: &Window) -> Result<(Cursor, i32), Irregular> {
        bits.refill(window);
        let entry = self.values[bits.peek(VALUE_BITS)];
        if entry != 0 {
            bits.skip(entry as u32 & 255);
            return Ok((bits, entry >> 16));
        }
        let (size, length) = self.code.symbol(bits.peek(16) as u32).ok_or(Irregular)?;
        bits.skip(length);
        if size > 15 {
            return Err(Irregular);
        }
        let value = bits.value(size.into());
        Ok((bits, value))
    }
}

/// Decodes a block's other coefficients, or passes them.
pub struct Ac {
    code: Code,
    /// One symbol and its value, or two: see [`pair`]; 0 where the bits hold none wholly.
    values: Box<[u64; 1 << VALUE_BITS]>,
    /// As many symbols as the bits hold wholly: `ends << 10 | coefficients passed << 4 | bits`, or 0.
    /// Made when the first is passed: most decodes at full scale pass none.
    skips: OnceLock<Box<[u16; 1 << SKIP_BITS]>>,
}

impl Ac {
    /// For a code.
    pub fn new(code: Code) -> Self {
        let mut values = Box::new([0; 1 << VALUE_BITS]);
        for (next, entry) in values.iter_mut().enumerate() {
            *entry = pair(&code, next as u32);
        }
        Self { code, values, skips: OnceLock::new() }
    }

    /// Takes a block's coefficients from `ZIGZAG[1]` on: those up to `ZIGZAG[last]` are stored, of the others some and the rest
    /// passed. Says up to where coefficients were stored.
    #[inline(always)]
    pub fn read(
        &self,
        mut bits: Cursor,
        window: &Window,
        blocks: &mut [[i16; LANES]; 128],
        lane: usize,
        last: usize,
    ) -> Result<(Cursor, usize), Irregular> {
        let mut at = 1;
        'block: while at <= last {
            bits.refill(window);
            // At least 56 bits: five times what an entry holds, or one symbol of any length.
            for turn in 0..5 {
                let entry = self.values[bits.peek(VALUE_BITS)];
                if entry == 0 {
                    if turn == 0 {
                        let (run, value);
                        (bits, run, value) = self.long(bits)?;
                        blocks[usize::from(PLACES[(at + run) & 255]) & 127][lane & (LANES - 1)] = value as i16;
                        at += if run == END as usize { run } else { run + 1 };
                    }
                    break;
                }
                let before = bits;
                bits.skip(entry as u32 & 255);
                // No branch says whether there are two, or the end of the block: what there is not is a zero at a place that
                // holds none but zeros yet.
                let first = at + (entry >> 8 & 255) as usize;
                let second = first + (entry >> 16 & 255) as usize;
                blocks[usize::from(PLACES[first & 255]) & 127][lane & (LANES - 1)] = (entry >> 32) as i16;
                blocks[usize::from(PLACES[second & 255]) & 127][lane & (LANES - 1)] = (entry >> 48) as i16;
                at = first + (entry >> 24 & 255) as usize;
                if at > last {
                    if first == 63 {
                        // What the entry has behind the last coefficient is the next block's.
                        let run;
                        (bits, run, _) = self.long(before)?;
                        at = if run == END as usize { first + run } else { 64 };
                    }
                    break 'block;
                }
            }
        }
        match at {
            0..64 => self.pass(bits, window, at).map(|bits| (bits, at - 1)),
            64 => Ok((bits, 63)),
            // The end of the block behind its last coefficient.
            _ => match at.checked_sub(END as usize + 1) {
                Some(stored @ 0..64) => Ok((bits, stored)),
                _ => Err(Irregular),
            },
        }
    }

    /// Passes a block's coefficients from `ZIGZAG[at]` on.
    #[inline(always)]
    pub fn pass(&self, mut bits: Cursor, window: &Window, mut at: usize) -> Result<Cursor, Irregular> {
        if at == 64 {
            return Ok(bits);
        }
        let skips = self.skips.get_or_init(|| skips(&self.code));
        while at < 64 {
            bits.refill(window);
            for turn in 0..3 {
                let entry = u32::from(skips[bits.peek(SKIP_BITS)]);
                let passed = (entry >> 4 & 63) as usize;
                if entry != 0 && at + passed < 64 {
                    bits.skip(entry & 15);
                    if entry >> 10 != 0 {
                        return Ok(bits);
                    }
                    at += passed;
                } else if turn == 0 {
                    let run;
                    (bits, run, _) = self.long(bits)?;
                    if run == END as usize {
                        return Ok(bits);
                    }
                    at += run + 1;
                    break;
                } else {
                    break;
                }
            }
        }
        if at == 64 { Ok(bits) } else { Err(Irregular) }
    }

    /// One symbol of any length: its run and value.
    #[inline(never)]
    fn long(&self, mut bits: Cursor) -> Result<(Cursor, usize, i32), Irregular> {
        let (symbol, length) = self.code.symbol(bits.peek(16) as u32).ok_or(Irregular)?;
        bits.skip(length);
        let (run, size) = run_and_size(symbol);
        let value = bits.value(size);
        Ok((bits, run as usize, value))
    }
}

/// As many symbols as each place's bits hold wholly.
fn skips(code: &Code) -> Box<[u16; 1 << SKIP_BITS]> {
    let mut skips = Box::new([0; 1 << SKIP_BITS]);
    for (next, entry) in skips.iter_mut().enumerate() {
        let (mut used, mut passed, mut ends) = (0, 0, 0);
        while let Some((symbol, length)) = code.symbol((next << (16 - SKIP_BITS) << used) as u32 & 0xffff) {
            let (run, size) = run_and_size(symbol);
            let (end, step) = if run == END { (1, 0) } else { (0, run + 1) };
            if used + length + size > SKIP_BITS || passed + step > 63 {
                break;
            }
            (used, passed, ends) = (used + length + size, passed + step, end);
            if ends == 1 {
                break;
            }
        }
        *entry = (ends << 10 | passed << 4 | used) as u16;
    }
    skips
}

/// Where coefficients stand in a block, in the order in which they are coded; behind the last one a place that nobody reads.
const PLACES: [u8; 256] = {
    let mut places = [64; 256];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at];
        at += 1;
    }
    places
};

/// What the next bits hold wholly, from the lowest bits up: how many bits it takes (8 bits), zeros before the first value (8),
/// how far behind it the second stands (8), how far behind the first the next symbol's zeros begin (8), and the values (16 each). The
/// end of the block is [`END`] zeros without a value.
fn pair(code: &Code, next: u32) -> u64 {
    let symbol = |used: u32| {
        let (symbol, length) = code.symbol(next << (16 - VALUE_BITS) << used & 0xffff)?;
        let (run, size) = run_and_size(symbol);
        let bits = length + size;
        (used + bits <= VALUE_BITS).then(|| (run, bits, value_of(next, used + length, size)))
    };
    let entry = |bits: u32, run: u32, second: u32, step: u32, values: [i32; 2]| {
        let values = values.map(|value| u64::from(value as u16));
        u64::from(bits | run << 8 | second << 16 | step << 24) | values[0] << 32 | values[1] << 48
    };
    let Some((run, bits, value)) = symbol(0) else { return 0 };
    if run == END {
        return entry(bits, 0, 1, END, [0, 0]);
    }
    match symbol(bits) {
        None => entry(bits, run, 1, 1, [value, 0]),
        Some((END, more, _)) => entry(bits + more, run, 1, END + 1, [value, 0]),
        Some((second, more, other)) => entry(bits + more, run, second + 1, second + 2, [value, other]),
    }
}

/// An AC symbol's zeros before its value and the bits of the value. A run of 16 zeros is 15 and a zero.
const fn run_and_size(symbol: u8) -> (u32, u32) {
    match (symbol >> 4, symbol & 15) {
        (15, 0) => (15, 0),
        (_, 0) => (END, 0),
        (run, size) => (run as u32, size as u32),
    }
}

/// The value of `size` bits behind a code, in a look-up's index.
fn value_of(next: u32, length: u32, size: u32) -> i32 {
    if size == 0 {
        return 0;
    }
    let bits = (next >> (VALUE_BITS - length - size) & ((1 << size) - 1)) as i32;
    if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
}
