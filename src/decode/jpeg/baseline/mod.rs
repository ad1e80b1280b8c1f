//! Plain JPEGs, row by row and reduced while they are decoded: baseline Huffman coding, one scan, gray or YCbCr.
//!
//! Most of the time of decoding a photo goes into its Huffman codes. Here what a scale does not need of them is passed over
//! several symbols a look-up ([`huffman`]), stuffed bytes are taken out before the bits are read ([`bits`]), and the rest goes
//! through inverse DCTs of the reduced size, eight blocks at a time ([`idct`]). Reduced, a chroma block comes out at the size of the
//! luma that it belongs to; at full scale chroma is interpolated as libjpeg does ([`chroma`]). Rows leave as 8-bit samples or as
//! linear light ([`light`]), at half the scale averaged in it, which costs a third more than the DCT's half and keeps the light.
//! Beside libjpeg-turbo 3 (in brackets), CPU milliseconds, best of nine, one process; the others the same day on the same machine:
//!
//! | picture | 1/8 | 2/8 | 4/8 | 4/8 in light | 8/8 | 8/8 light |
//! |---|---|---|---|---|---|---|
//! | 12 MP, 4:2:0, 2.1 MB | 14.7 (23.0) | 17.9 (24.6) | 28.9 (28.6) | | | |
//! | the same, another day | 10.9 | 15.3 | 22.6 | 29.6 | 29.1 | 37.4 |
//! | 24 MP, 4:2:0, 4.0 MB | 21.4 | 30.1 | 45.1 | 61.4 | 58.6 | 74.7 |
//! | 2 MP, 4:2:0, 0.8 MB | 3.9 | 6.1 | 7.8 | 8.8 | 8.6 | 10.1 |
//!
//! Twelve megapixels took 54 ms at 8/8 by libjpeg-turbo where its halves took 30 (22 November 2026).
//!
//! Always true: whatever is not as it should be is [`Failure::Irregular`], and another decoder decides what can be saved.
#![allow(unsafe_code)]

mod ahead;
mod bits;
mod chroma;
mod colour;
mod frame;
mod huffman;
mod idct;
mod light;
mod rows;
#[cfg(test)]
mod tests;
mod vector;

use std::ops::Range;

pub use self::ahead::{AHEAD_BYTES_MAX, AHEAD_PIXELS_MIN, parted, together};
use self::bits::{Bits, Cursor, Window};
use self::frame::Component;
pub use self::frame::{Frame, open};
use self::huffman::{Ac, Dc};
use self::idct::{Batch, LANES, Points, Transform};
pub use self::rows::Form;
use self::rows::{Rows, Strip};
use super::Part;
use crate::base::{Stopped, Work};
use crate::pixels::Sink;

/// Not the kind of picture, or not the kind of data, that this decoder is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Irregular;

/// Why there is no picture.
#[derive(Debug)]
pub enum Failure {
    /// Another decoder has to have a look.
    Irregular,
    /// The work was stopped.
    Stopped(Stopped),
}

impl From<Irregular> for Failure {
    fn from(_: Irregular) -> Self {
        Self::Irregular
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// Where coefficients stand in a block, in the order in which they are coded (ITU-T T.81, figure 5).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// How one component is decoded.
struct Channel<'a> {
    dc: &'a Dc,
    ac: &'a Ac,
    transform: Transform,
    /// Points of a block, across and down.
    points: (Points, Points),
    /// How much coarser than the result its plane is, across and down.
    upsampling: (usize, usize),
    /// Blocks of an MCU, across and down.
    blocks: (usize, usize),
    /// The last coefficient, in coding order, that the points need.
    last: usize,
    /// The DC value of the last block.
    previous: i32,
    /// Blocks that wait for their transform: a batch for each row of an MCU's blocks, and how many lanes are filled.
    batches: [Batch; 4],
    filled: usize,
    /// The column of the next batch, in samples.
    column: usize,
    /// The last row of the strip above, then a row of MCUs, in samples, with room for a whole batch at its end.
    samples: Vec<u8>,
    stride: usize,
}

/// A part of the picture, as it stands after reduction to `part.eighths` (1, 2, 4 or 8), row by row: gray or RGB by the frame's
/// components, in `form`. With `repairs` what is missing or broken becomes gray, unless that is the first row of MCUs; the
/// answer says whether anything was.
pub fn stream(
    bytes: &[u8],
    frame: &Frame,
    part: &Part,
    form: Form,
    repairs: bool,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Failure> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
        // SAFETY: the one requirement, that the machine has AVX2 and BMI2, was just asked.
        return unsafe { stream_avx2(bytes, frame, part, form, repairs, work, sink) };
    }
    stream_body(bytes, frame, part, form, repairs, work, sink)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn stream_avx2(
    bytes: &[u8],
    frame: &Frame,
    part: &Part,
    form: Form,
    repairs: bool,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Failure> {
    stream_body(bytes, frame, part, form, repairs, work, sink)
}

#[inline(always)]
fn stream_body(
    bytes: &[u8],
    frame: &Frame,
    part: &Part,
    form: Form,
    repairs: bool,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Failure> {
    let extent = Extent::of(frame, part)?;
    let tables = Tables::of(frame);
    let mut channels = tables.channels(frame, part.eighths, form, &extent)?;
    let mut scan = Scan::new(bytes, frame.data_at, frame.restart, 0);
    let mut rows = Rows::new(sink, form, extent.width);
    let mut damaged = false;
    for row in 0..extent.bottom {
        work.check()?;
        let repairs = repairs && row > 0;
        scan.row(&mut channels, &extent, row, &mut damaged, repairs)?;
        if row >= extent.top {
            rows.strip(&channels, extent.strip(row))?;
            channels.iter_mut().for_each(Channel::carry);
        }
    }
    Ok(damaged)
}

/// Where a part lies among a frame's MCUs.
#[derive(Debug)]
struct Extent {
    /// MCUs of the frame, across and down.
    mcus: (usize, usize),
    /// Those of the part.
    columns: Range<usize>,
    top: usize,
    bottom: usize,
    /// Rows of the part that an MCU makes.
    mcu_height: usize,
    /// The part's size.
    width: usize,
    height: usize,
}

impl Extent {
    fn of(frame: &Frame, part: &Part) -> Result<Self, Irregular> {
        let (across, down) = frame.sampling();
        let (mcu_width, mcu_height) = ((across * part.eighths) as usize, (down * part.eighths) as usize);
        let mcus = frame.mcus();
        let (left, top) = (part.at.0 as usize / mcu_width, part.at.1 as usize / mcu_height);
        let (width, height) = (part.size.width as usize, part.size.height as usize);
        let (right, bottom) = (left + width.div_ceil(mcu_width), top + height.div_ceil(mcu_height));
        let aligned = left * mcu_width == part.at.0 as usize && top * mcu_height == part.at.1 as usize;
        if !aligned || right > mcus.0 || bottom > mcus.1 {
            return Err(Irregular);
        }
        Ok(Self { mcus, columns: left..right, top, bottom, mcu_height, width, height })
    }

    /// The strip that a row of MCUs makes.
    fn strip(&self, row: usize) -> Strip {
        let done = (row - self.top) * self.mcu_height;
        let rows = self.mcu_height.min(self.height - done);
        Strip { rows, first: row == self.top, last: row + 1 == self.bottom }
    }
}

/// A frame's codes, made ready.
struct Tables {
    dcs: [Option<Dc>; 4],
    acs: [Option<Ac>; 4],
}

impl Tables {
    fn of(frame: &Frame) -> Self {
        Self { dcs: frame.dcs(), acs: frame.acs() }
    }

    fn channels(
        &self,
        frame: &Frame,
        eighths: u32,
        form: Form,
        extent: &Extent,
    ) -> Result<Vec<Channel<'_>>, Irregular> {
        let channel = |component: &Component| {
            let tables = (self.dcs[component.dc].as_ref(), self.acs[component.ac].as_ref());
            let (Some(dc), Some(ac)) = tables else { return Err(Irregular) };
            Channel::new(frame, component, (dc, ac), eighths, form, extent.columns.len())
        };
        frame.components.iter().map(channel).collect()
    }
}

impl<'a> Channel<'a> {
    fn new(
        frame: &Frame,
        component: &Component,
        (dc, ac): (&'a Dc, &'a Ac),
        eighths: u32,
        form: Form,
        mcus: usize,
    ) -> Result<Self, Irregular> {
        let (across, down) = frame.sampling();
        let factors = (across / component.sampling.0, down / component.sampling.1);
        // Four values of luma are averaged under one of chroma, which comes out at half size also where it is as fine as luma.
        let averaged = factors == (1, 1) && frame.components.first().is_some_and(|luma| std::ptr::eq(luma, component));
        // Reduced, a coarser block comes out at the size of the luma that it belongs to; whole, it is interpolated.
        let (points, upsampling) = match (eighths, form) {
            (8, _) => ((Points::Eight, Points::Eight), (factors.0 as usize, factors.1 as usize)),
            (_, Form::Halves) if averaged && eighths == 4 => ((Points::Eight, Points::Eight), (1, 1)),
            _ => {
                let points = |factor: u32| Points::of(eighths * factor).ok_or(Irregular);
                ((points(factors.0)?, points(factors.1)?), (1, 1))
            }
        };
        let blocks = (component.sampling.0 as usize, component.sampling.1 as usize);
        let stride = (mcus * blocks.0).next_multiple_of(LANES) * points.0 as usize;
        Ok(Channel {
            dc,
            ac,
            transform: Transform::new(frame.quanta[component.quanta].as_ref().ok_or(Irregular)?, points),
            points,
            upsampling,
            blocks,
            last: last(points),
            previous: 0,
            batches: [const { Batch::new() }; 4],
            filled: 0,
            column: 0,
            samples: vec![0; stride * (blocks.1 * points.1 as usize + 1)],
            stride,
        })
    }

    /// Forgets what came before, also where that broke off within a row.
    fn begin(&mut self) {
        (self.previous, self.filled, self.column) = (0, 0, 0);
        self.batches = [const { Batch::new() }; 4];
    }

    /// Keeps the strip's last row for the rows of the next strip.
    fn carry(&mut self) {
        let last = self.samples.len() - self.stride;
        self.samples.copy_within(last.., 0);
    }
}

/// The scan's data, an MCU at a time.
struct Scan<'a> {
    bits: Bits<'a>,
    /// MCUs between two restart markers, how many are left until the next, and how many markers there were.
    restart: u32,
    until: u32,
    restarts: u8,
}

impl<'a> Scan<'a> {
    /// From where coded data begins behind so many restart markers.
    fn new(bytes: &'a [u8], at: usize, restart: u32, restarts: usize) -> Self {
        Self { bits: Bits::new(bytes, at), restart, until: restart, restarts: (restarts & 7) as u8 }
    }

    /// A row of MCUs; all of it is gray where the scan is damaged, and what is left of it where it turns out to be, with `repairs`.
    #[inline(always)]
    fn row(
        &mut self,
        channels: &mut [Channel],
        extent: &Extent,
        row: usize,
        damaged: &mut bool,
        repairs: bool,
    ) -> Result<(), Irregular> {
        let wanted = if row >= extent.top { extent.columns.clone() } else { 0..0 };
        for column in 0..extent.mcus.0 {
            let wanted = wanted.contains(&column);
            if *damaged || self.mcu(channels, wanted).is_err() {
                if !repairs {
                    return Err(Irregular);
                }
                *damaged = true;
                if wanted {
                    channels.iter_mut().for_each(blank);
                }
            }
        }
        for channel in channels {
            flush(channel);
            channel.column = 0;
        }
        Ok(())
    }

    /// The next MCU, into its channels if it is wanted.
    #[inline(always)]
    fn mcu(&mut self, channels: &mut [Channel], wanted: bool) -> Result<(), Irregular> {
        if self.restart > 0 {
            if self.until == 0 {
                self.bits.restart(self.restarts)?;
                (self.restarts, self.until) = ((self.restarts + 1) & 7, self.restart);
                channels.iter_mut().for_each(|channel| channel.previous = 0);
            }
            self.until -= 1;
        }
        let (mut cursor, window) = self.bits.open();
        for channel in channels {
            cursor = if wanted { take(cursor, window, channel)? } else { pass(cursor, window, channel)? };
        }
        self.bits.close(cursor);
        self.bits.check()
    }
}

/// Gray in the place of an MCU that is missing.
fn blank(channel: &mut Channel) {
    for y in 0..channel.blocks.1 {
        for x in 0..channel.blocks.0 {
            let lane = (channel.filled + x) & (LANES - 1);
            channel.batches[y & 3].coefficients.iter_mut().for_each(|lanes| lanes[lane] = 0);
        }
    }
    channel.filled += channel.blocks.0;
    if channel.filled == LANES {
        flush(channel);
    }
}

/// The last coefficient in coding order that so many points need.
fn last((across, down): (Points, Points)) -> usize {
    let needed = |at: &u8| usize::from(*at) % 8 < across as usize && usize::from(*at) / 8 < down as usize;
    ZIGZAG.iter().rposition(needed).unwrap_or(0)
}

/// One MCU's blocks of a component.
#[inline(always)]
fn take(mut cursor: Cursor, window: &Window, channel: &mut Channel) -> Result<Cursor, Irregular> {
    for y in 0..channel.blocks.1 {
        let batch = &mut channel.batches[y & 3];
        for x in 0..channel.blocks.0 {
            let (difference, stored);
            (cursor, difference) = channel.dc.read(cursor, window)?;
            channel.previous = channel.previous.wrapping_add(difference);
            let lane = (channel.filled + x) & (LANES - 1);
            batch.coefficients[0][lane] = channel.previous as i16;
            (cursor, stored) = channel.ac.read(cursor, window, &mut batch.coefficients, lane, channel.last)?;
            batch.last = batch.last.max(stored);
        }
    }
    channel.filled += channel.blocks.0;
    if channel.filled == LANES {
        flush(channel);
    }
    Ok(cursor)
}

/// As [`take`] outside of the wanted part: only the DC values count, since later ones build on them.
#[inline(always)]
fn pass(mut cursor: Cursor, window: &Window, channel: &mut Channel) -> Result<Cursor, Irregular> {
    for _ in 0..channel.blocks.0 * channel.blocks.1 {
        let difference;
        (cursor, difference) = channel.dc.read(cursor, window)?;
        channel.previous = channel.previous.wrapping_add(difference);
        cursor = channel.ac.pass(cursor, window, 1)?;
    }
    Ok(cursor)
}

/// Transforms the blocks that wait.
#[inline(always)]
fn flush(channel: &mut Channel) {
    if channel.filled == 0 {
        return;
    }
    let down = channel.points.1 as usize;
    for y in 0..channel.blocks.1 {
        let samples = &mut channel.samples[(y * down + 1) * channel.stride + channel.column..];
        channel.transform.inverse(&mut channel.batches[y & 3], samples, channel.stride);
    }
    channel.column += LANES * channel.points.0 as usize;
    channel.filled = 0;
}
