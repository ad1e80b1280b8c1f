//! A GIF's blocks, and a frame's data: LZW codes that become indices of a palette.

/// Indices unpacked at a time. A code stands for 4096 at most: the unpacker loses its place where the first code that it meets
/// in a call stands for more than there is room for.
const UNPACKED: usize = 8 << 10;

/// A frame's data on its way from codes to indices.
pub struct Codes<'a> {
    unpacker: weezl::decode::Decoder,
    /// Indices that were unpacked; those from `given` to `ready` are still to be given.
    unpacked: Box<[u8; UNPACKED]>,
    given: usize,
    ready: usize,
    /// What is left of the sub-block that is read.
    block: &'a [u8],
    rest: Cut<'a>,
}

impl<'a> Codes<'a> {
    /// Of the next frame; the reader then stands behind its data. What is cut off is none.
    pub fn next(reader: &mut Cut<'a>) -> Option<Self> {
        loop {
            match reader.take(1)?[0] {
                0x21 => {
                    reader.take(1)?;
                    while !reader.sub_block()?.is_empty() {}
                }
                0x2c => {
                    let local = colours(reader.take(9)?[8]);
                    reader.take(3 * usize::from(local));
                    // The widest code that the format allows is of 12 bits.
                    let bits = Some(reader.take(1)?[0]).filter(|bits| (1..=11).contains(bits))?;
                    let codes = Self {
                        unpacker: weezl::decode::Decoder::new(weezl::BitOrder::Lsb, bits),
                        unpacked: Box::new([0; UNPACKED]),
                        given: 0,
                        ready: 0,
                        block: &[],
                        rest: Cut(reader.0),
                    };
                    while reader.sub_block().is_some_and(|block| !block.is_empty()) {}
                    return Some(codes);
                }
                _ => return None,
            }
        }
    }

    /// Fills a row with indices.
    pub fn fill(&mut self, mut row: &mut [u8]) -> Result<(), String> {
        while !row.is_empty() {
            if self.given == self.ready {
                self.unpack()?;
            }
            let count = row.len().min(self.ready - self.given);
            let (filled, rest) = row.split_at_mut(count);
            filled.copy_from_slice(&self.unpacked[self.given..][..count]);
            self.given += count;
            row = rest;
        }
        Ok(())
    }

    /// Unpacks at least one index.
    fn unpack(&mut self) -> Result<(), String> {
        loop {
            if self.block.is_empty() {
                self.block = self.rest.sub_block_or_part();
            }
            let step = self.unpacker.decode_bytes(self.block, &mut self.unpacked[..]);
            step.status.map_err(|error| error.to_string())?;
            self.block = &self.block[step.consumed_in..];
            (self.given, self.ready) = (0, step.consumed_out);
            if step.consumed_out > 0 {
                return Ok(());
            }
            if step.consumed_in == 0 {
                return Err("a frame is cut off".to_owned());
            }
        }
    }
}

/// How many colours the table has that such flags announce.
pub const fn colours(flags: u8) -> u16 {
    if flags & 0x80 == 0 { 0 } else { 2 << (flags & 7) }
}

/// Takes bytes from the front; what is cut off is none.
pub struct Cut<'a>(pub &'a [u8]);

impl<'a> Cut<'a> {
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.0.split_at_checked(count);
        let (taken, rest) = taken.unwrap_or((&[], &[]));
        self.0 = rest;
        (taken.len() == count).then_some(taken)
    }

    /// A sub-block; the one that ends a sequence is empty.
    pub fn sub_block(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// A sub-block, or as much as there is of one that is cut off; empty at the end.
    fn sub_block_or_part(&mut self) -> &'a [u8] {
        let Some([length]) = self.take(1) else { return &[] };
        let length = usize::from(*length).min(self.0.len());
        self.take(length).unwrap_or_default()
    }
}
