//! A scan's bits: byte stuffing is taken out a window at a time, so that the reader never looks for markers.

use super::Irregular;

/// Coded bytes that are made ready at a time.
const WINDOW: usize = 8 << 10;

/// The most bytes an MCU can take: ten blocks of 64 coefficients with a code of 16 bits and a value of 15 each; and what the
/// reader is ahead of the bits that it has given.
const MCU_BYTES_MAX: usize = 10 * 64 * 31 / 8 + 16;

/// Reads bits from entropy-coded data.
pub struct Bits<'a> {
    /// The file.
    source: &'a [u8],
    /// Where the next byte is taken from.
    at: usize,
    /// Whether `at` stands at a marker or at the end of the file.
    ended: bool,
    /// Coded bytes without stuffing, and zeros behind them.
    window: Box<Window>,
    /// How many bytes of the window are coded data.
    filled: usize,
    /// Where the reader is.
    cursor: Cursor,
}

/// Coded bytes without stuffing.
pub type Window = [u8; WINDOW];

/// A place in the window. Small, and passed by value, so that it stays in registers.
#[derive(Clone, Copy, Default)]
pub struct Cursor {
    /// The next byte of the window that goes into `buffer`.
    next: usize,
    /// The next bits, from the top. Below the first `count` there may be bits that will be read again.
    buffer: u64,
    /// How many bits of `buffer` count.
    count: u32,
}

impl Cursor {
    /// At least 56 bits follow.
    #[inline(always)]
    pub fn refill(&mut self, window: &Window) {
        let word = match window.get(self.next..) {
            Some([a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            _ => 0,
        };
        self.buffer |= word >> self.count;
        self.next += (63 - self.count as usize) >> 3;
        self.count |= 56;
    }

    /// The next `count` (1 to 32) bits, which stay.
    #[inline(always)]
    pub fn peek(self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    /// Takes bits, of those that [`Cursor::refill`] made ready.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Takes the `size` (0 to 15) bits of a value, and extends its sign (ITU-T T.81, F.2.2.1).
    #[inline(always)]
    pub fn value(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = self.peek(size) as i32;
        self.skip(size);
        if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
    }
}

/// Bytes that are looked at together: of 0xff there is about one in a hundred.
const BLOCK: usize = 32;

/// Copies what stands before the first 0xff, as far as there is room, and says how much that is. What is behind it in `out` may have
/// been written to.
fn plain(coded: &[u8], out: &mut [u8]) -> usize {
    let length = coded.len().min(out.len());
    let (blocks, rest) = coded[..length].as_chunks::<BLOCK>();
    for (at, (block, out)) in blocks.iter().zip(out.as_chunks_mut::<BLOCK>().0).enumerate() {
        *out = *block;
        let stuffed = block.iter().fold(0, |any, byte| any | u8::from(*byte == 0xff));
        if stuffed != 0 {
            return at * BLOCK + block.iter().position(|byte| *byte == 0xff).unwrap_or(BLOCK);
        }
    }
    let found = rest.iter().position(|byte| *byte == 0xff).unwrap_or(rest.len());
    let from = length - rest.len();
    out[from..from + found].copy_from_slice(&rest[..found]);
    from + found
}

impl<'a> Bits<'a> {
    /// From where the scan's coded data begins.
    pub fn new(source: &'a [u8], at: usize) -> Self {
        Self { source, at, ended: false, window: Box::new([0; WINDOW]), filled: 0, cursor: Cursor::default() }
    }

    /// The place and the window, in which the next MCU's bits are, or the data ends. Called before every MCU.
    #[inline(always)]
    pub fn open(&mut self) -> (Cursor, &Window) {
        if self.cursor.next + MCU_BYTES_MAX > self.filled && !self.ended {
            self.fill();
        }
        (self.cursor, &self.window)
    }

    /// Goes on from a place that was reached.
    #[inline(always)]
    pub fn close(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    #[cold]
    fn fill(&mut self) {
        let kept = self.filled - self.cursor.next;
        self.window.copy_within(self.cursor.next..self.filled, 0);
        (self.cursor.next, self.filled) = (0, kept);
        while self.filled < WINDOW && !self.ended {
            match &self.source[self.at..] {
                [0xff, 0, ..] => {
                    self.window[self.filled] = 0xff;
                    (self.filled, self.at) = (self.filled + 1, self.at + 2);
                }
                [] | [0xff, ..] => self.ended = true,
                coded => {
                    let plain = plain(coded, &mut self.window[self.filled..]);
                    (self.filled, self.at) = (self.filled + plain, self.at + plain);
                }
            }
        }
        self.window[self.filled..].fill(0);
    }

    /// Fails where more bits were read than there are.
    pub fn check(&self) -> Result<(), Irregular> {
        let overrun = self.ended && self.cursor.next * 8 > self.filled * 8 + self.cursor.count as usize;
        if overrun { Err(Irregular) } else { Ok(()) }
    }

    /// Passes the restart marker of a number (0 to 7), which must be next.
    pub fn restart(&mut self, number: u8) -> Result<(), Irregular> {
        if !self.ended {
            self.fill();
        }
        let left = (self.filled * 8 + self.cursor.count as usize).checked_sub(self.cursor.next * 8).ok_or(Irregular)?;
        let marker = [0xff, 0xd0 + number];
        if !self.ended || left >= 8 || self.source.get(self.at..self.at + 2) != Some(&marker[..]) {
            return Err(Irregular);
        }
        (self.at, self.ended, self.filled) = (self.at + 2, false, 0);
        self.cursor = Cursor::default();
        Ok(())
    }
}
