//! A whole picture: macroblocks in rows, then what is known of all of them, then the frame.

// Loops over places by number are what is inlined wherever it is compiled.
#![allow(clippy::needless_range_loop)]

use super::arithmetic::{Coder, Decision, put_all};
use super::first::{self, Told};
use super::kernels::Kernels;
use super::macroblock::{self, Around, Coded, Luma, Samples, Surroundings};
use super::quantiser::Quantiser;
use super::segments;
use super::symbols::{Kind, Learned, NUMBERS, Often, Row, Writing};
use crate::base::{Stopped, Work};
use crate::encode::planes::Planes;

/// Why there is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failed {
    /// A part is longer than the format can say.
    #[error("a part of the frame is longer than the format can say")]
    TooLarge,
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Streams of coefficients in a frame, which rows of macroblocks go to in turn.
const STREAMS: usize = 4;

/// Rows from which there are so many: below, the bytes of each count for more than the time.
const ROWS_FOR_STREAMS: usize = 16;

/// Most bytes of the first part, whose length has 19 bits, and of a stream, which has 24.
const FIRST_MAX: usize = (1 << 19) - 1;
const STREAM_MAX: usize = (1 << 24) - 1;

/// What a macroblock needs at most in the first part beside luma's mode by blocks, in 256ths of a bit.
const OTHERS_MAX: u64 = 12 * 256;

/// Encodes, with whatever vectors.
#[inline(always)]
pub fn encode_by<K: Kernels>(planes: &Planes, quality: u8, work: &Work) -> Result<Vec<u8>, Failed> {
    let quantisers = Quantiser::all(quality);
    let mut picture = Picture::of::<K>(planes);
    let mut often: Box<Often> = Box::new([0; NUMBERS]);
    let mut rows = Vec::with_capacity(picture.rows);
    for row in 0..picture.rows {
        work.check()?;
        rows.push(picture.row::<K>(row, &quantisers, &mut often));
    }
    let learned = Learned::of(&often);
    let streams = if picture.rows < ROWS_FOR_STREAMS { 1 } else { STREAMS };
    let modes = first::part(&picture.told, picture.columns, &quantisers, &learned, streams);
    let writing = Writing::new(&learned.probabilities);
    if streams == 1 {
        frame(planes, &modes, &streams_of::<1>(rows, &writing, work)?)
    } else {
        frame(planes, &modes, &streams_of::<STREAMS>(rows, &writing, work)?)
    }
}

/// A picture, and how far it is coded.
struct Picture<'a> {
    planes: &'a Planes,
    columns: usize,
    rows: usize,
    kinds: Vec<u8>,
    told: Vec<Told>,
    /// What modes by blocks have cost, in 256ths of a bit.
    spent: u64,
    above: Vec<Above>,
    samples: Samples,
    made: Samples,
}

/// What a macroblock leaves for the one below it.
#[derive(Clone)]
struct Above {
    luma: [u8; 16],
    colours: [[u8; 8]; 2],
    modes: [u8; 4],
    /// Whether blocks have anything: luma, two of each colour, firsts.
    some: [bool; 9],
}

/// The same for the one to the right.
struct Beside {
    luma: [u8; 16],
    colours: [[u8; 8]; 2],
    corners: [u8; 3],
    modes: [u8; 4],
    some: [bool; 9],
}

impl<'a> Picture<'a> {
    #[inline(always)]
    fn of<K: Kernels>(planes: &'a Planes) -> Self {
        let (columns, rows) = (planes.size.width.div_ceil(16) as usize, planes.size.height.div_ceil(16) as usize);
        let mut samples = Samples::EMPTY;
        let mut busy = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                read_luma(planes, column, row, &mut samples);
                busy.push(segments::busy::<K>(&samples));
            }
        }
        // What is not there (RFC 6386, section 12.2).
        let blank = Above { luma: [127; 16], colours: [[127; 8]; 2], modes: [0; 4], some: [false; 9] };
        Self {
            planes,
            columns,
            rows,
            kinds: segments::of(&busy),
            told: Vec::with_capacity(columns * rows),
            spent: 0,
            above: vec![blank; columns],
            samples,
            made: Samples::EMPTY,
        }
    }

    /// Codes a row of macroblocks.
    #[inline(always)]
    fn row<K: Kernels>(&mut self, row: usize, quantisers: &[Quantiser], often: &mut Often) -> Row {
        let corner = if row > 0 { 129 } else { 127 };
        let mut beside =
            Beside { luma: [129; 16], colours: [[129; 8]; 2], corners: [corner; 3], modes: [0; 4], some: [false; 9] };
        let mut symbols = Row::default();
        for column in 0..self.columns {
            read_luma(self.planes, column, row, &mut self.samples);
            read_colours(self.planes, column, row, &mut self.samples);
            let around = surroundings(&self.above, &beside, column, row);
            let kind = self.kinds[self.told.len()];
            let quantiser = &quantisers[usize::from(kind)];
            let most = self.modes_max();
            let coded = macroblock::code::<K>(&self.samples, &around, quantiser, most, &mut self.made);
            symbols.ready();
            let above = &mut self.above[column];
            let empty = push(&coded, &mut symbols, &mut above.some, &mut beside.some, often);
            leave(&self.made, &coded, above, &mut beside);
            if matches!(coded.luma, Luma::ByBlocks(_)) {
                self.spent += u64::from(coded.luma_cost);
            }
            self.told.push(Told { luma: coded.luma, colour: coded.colour, empty, kind });
        }
        symbols.end();
        symbols
    }

    /// What the next macroblock's modes may cost, so that the first part stays within its bound: of what is left beside the rest, the
    /// share of those until now, and a sixteenth ahead.
    #[inline(always)]
    fn modes_max(&self) -> u32 {
        let count = (self.columns * self.rows) as u64;
        // A part has 4096 bytes of what is said of the whole picture at most.
        let all = ((FIRST_MAX - 4096) as u64 * 8 * 256).saturating_sub(count * OTHERS_MAX);
        let share = (all * (self.told.len() as u64 + 1) / count + all / 16).min(all);
        share.saturating_sub(self.spent).min(u64::from(u32::MAX)) as u32
    }
}

#[inline(always)]
fn read_luma(planes: &Planes, column: usize, row: usize, out: &mut Samples) {
    let (width, height) = (planes.size.width as usize, planes.size.height as usize);
    blocks::<16>(&planes.values[0], width, height, column, row, &mut out.luma);
}

#[inline(always)]
fn read_colours(planes: &Planes, column: usize, row: usize, out: &mut Samples) {
    let (width, height) = (planes.size.width.div_ceil(2) as usize, planes.size.height.div_ceil(2) as usize);
    for (plane, out) in planes.values[1..].iter().zip(&mut out.colours) {
        blocks::<8>(plane, width, height, column, row, out);
    }
}

/// The samples of a macroblock in a plane; past an edge its last ones again.
#[inline(always)]
fn blocks<const SIDE: usize>(
    plane: &[u8],
    width: usize,
    height: usize,
    column: usize,
    row: usize,
    out: &mut [[u8; 16]],
) {
    let (left, top) = (column * SIDE, row * SIDE);
    for y in 0..SIDE {
        let line = &plane[(top + y).min(height - 1) * width..][..width];
        let mut samples = [0; SIDE];
        if left + SIDE <= width {
            samples.copy_from_slice(&line[left..left + SIDE]);
        } else {
            for (x, sample) in samples.iter_mut().enumerate() {
                *sample = line[(left + x).min(width - 1)];
            }
        }
        for x in 0..SIDE / 4 {
            out[y / 4 * (SIDE / 4) + x][y % 4 * 4..y % 4 * 4 + 4].copy_from_slice(&samples[x * 4..x * 4 + 4]);
        }
    }
}

#[inline(always)]
fn surroundings(above: &[Above], beside: &Beside, column: usize, row: usize) -> Surroundings {
    let here = &above[column];
    let there = [row > 0, column > 0];
    let next = match above.get(column + 1) {
        Some(next) => [next.luma[0], next.luma[1], next.luma[2], next.luma[3]],
        None => [here.luma[15]; 4],
    };
    let [luma, first, second] = beside.corners;
    Surroundings {
        luma: Around { above: here.luma, left: beside.luma, corner: luma, there },
        colours: [
            Around { above: here.colours[0], left: beside.colours[0], corner: first, there },
            Around { above: here.colours[1], left: beside.colours[1], corner: second, there },
        ],
        next,
        above: here.modes,
        left: beside.modes,
    }
}

/// Takes what was made to where the next ones find it.
#[inline(always)]
fn leave(made: &Samples, coded: &Coded, above: &mut Above, beside: &mut Beside) {
    // The corner of the next macroblock is the end of what stands above this one.
    beside.corners = [above.luma[15], above.colours[0][7], above.colours[1][7]];
    for at in 0..4 {
        above.luma[at * 4..at * 4 + 4].copy_from_slice(&made.luma[12 + at][12..]);
        for line in 0..4 {
            beside.luma[at * 4 + line] = made.luma[at * 4 + 3][line * 4 + 3];
        }
    }
    for colour in 0..2 {
        for at in 0..2 {
            above.colours[colour][at * 4..at * 4 + 4].copy_from_slice(&made.colours[colour][2 + at][12..]);
            for line in 0..4 {
                beside.colours[colour][at * 4 + line] = made.colours[colour][at * 2 + 1][line * 4 + 3];
            }
        }
    }
    (above.modes, beside.modes) = coded.luma.edges();
}

/// Writes down the coefficients of a macroblock; whether it has none.
#[inline(always)]
fn push(coded: &Coded, out: &mut Row, above: &mut [bool; 9], left: &mut [bool; 9], often: &mut Often) -> bool {
    let whole = matches!(coded.luma, Luma::Whole(_));
    let mut some = coded.firsts.some;
    for block in &coded.blocks {
        some |= block.some;
    }
    for block in coded.colours.as_flattened() {
        some |= block.some;
    }
    if some == 0 {
        for side in [above, left] {
            // One by blocks says nothing of first coefficients.
            *side = [false, false, false, false, false, false, false, false, side[8] && !whole];
        }
        return true;
    }
    let before = |above: bool, left: bool| u8::from(above) + u8::from(left);
    let kind = if whole {
        let some = out.push(&coded.firsts, Kind::LumaFirst, before(above[8], left[8]), often);
        (above[8], left[8]) = (some, some);
        Kind::LumaRest
    } else {
        Kind::Luma
    };
    for row in 0..4 {
        for column in 0..4 {
            let some = out.push(&coded.blocks[row * 4 + column], kind, before(above[column], left[row]), often);
            (above[column], left[row]) = (some, some);
        }
    }
    for colour in 0..2 {
        for row in 0..2 {
            for column in 0..2 {
                let block = &coded.colours[colour][row * 2 + column];
                let (column, row) = (4 + colour * 2 + column, 4 + colour * 2 + row);
                let some = out.push(block, Kind::Colour, before(above[column], left[row]), often);
                (above[column], left[row]) = (some, some);
            }
        }
    }
    false
}

/// Coefficients in streams; each row is let go when it is written.
#[inline(always)]
fn streams_of<const N: usize>(mut rows: Vec<Row>, writing: &Writing, work: &Work) -> Result<[Vec<u8>; N], Failed> {
    let mut coders: [Coder; N] = std::array::from_fn(|_| Coder::new(1 << 12));
    let mut decisions: [Vec<Decision>; N] = std::array::from_fn(|_| Vec::new());
    for rows in rows.chunks_mut(N) {
        work.check()?;
        let mut counts = [0; N];
        for (at, row) in rows.iter_mut().enumerate() {
            counts[at] = writing.decisions(&std::mem::take(row), &mut decisions[at]);
        }
        put_all(&mut coders, std::array::from_fn(|at| &decisions[at][..counts[at]]));
    }
    Ok(coders.map(Coder::finish))
}

/// The frame: its header (RFC 6386, section 9.1), the first part, the lengths of all streams but the last, the streams.
fn frame(planes: &Planes, modes: &[u8], streams: &[Vec<u8>]) -> Result<Vec<u8>, Failed> {
    if modes.len() > FIRST_MAX || streams.iter().any(|stream| stream.len() > STREAM_MAX) {
        return Err(Failed::TooLarge);
    }
    let mut out = Vec::with_capacity(32 + modes.len() + streams.iter().map(Vec::len).sum::<usize>());
    // A key frame that is shown, of version 0.
    out.extend_from_slice(&((modes.len() as u32) << 5 | 1 << 4).to_le_bytes()[..3]);
    out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
    for side in [planes.size.width, planes.size.height] {
        out.extend_from_slice(&(side as u16).to_le_bytes());
    }
    out.extend_from_slice(modes);
    for stream in &streams[..streams.len() - 1] {
        out.extend_from_slice(&(stream.len() as u32).to_le_bytes()[..3]);
    }
    for stream in streams {
        out.extend_from_slice(stream);
    }
    Ok(out)
}
