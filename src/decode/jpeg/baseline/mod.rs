//! Plain JPEGs, reduced while they are decoded: baseline Huffman coding, one scan, gray or YCbCr.
//!
//! Most of the time of decoding a photo goes into its Huffman codes. Here what a scale does not need of them is passed over
//! several symbols a look-up ([`huffman`]), stuffed bytes are taken out before the bits are read ([`bits`]), and the rest goes
//! through inverse DCTs of the reduced size, eight blocks at a time ([`idct`]). A chroma block comes out at the size of the
//! luma that it belongs to, so nothing is interpolated. Beside libjpeg-turbo 3, CPU milliseconds (best of nine, one process):
//!
//! | picture | 1/8 | 2/8 | 4/8 |
//! |---|---|---|---|
//! | 12 MP, 4:2:0, 2.1 MB | 14.7 (23.0) | 17.9 (24.6) | 28.9 (28.6) |
//! | 2 MP, 4:2:0, 0.8 MB | 4.9 (7.0) | 5.8 (7.5) | 8.0 (8.2) |
//! | 2 MP, 4:4:4, 1.0 MB | 6.9 (9.5) | 7.2 (13.4) | 10.7 (11.2) |
//!
//! Always true: whatever is not as it should be is [`Failure::Irregular`], and another decoder decides what can be saved.
#![allow(unsafe_code)]

mod bits;
mod frame;
mod huffman;
mod idct;
#[cfg(test)]
mod tests;

use self::bits::{Bits, Cursor, Window};
pub use self::frame::{Frame, open};
use self::huffman::{Ac, Dc};
use self::idct::{Batch, LANES, Points, Transform};
use super::Part;
use crate::base::{Stopped, Work};

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
    /// A row of MCUs, in samples, with room for a whole batch at its end.
    samples: Vec<u8>,
    stride: usize,
}

/// A part of the picture, as it stands after reduction to `part.eighths` (1, 2, 4 or 8): gray or RGB by the frame's
/// components.
pub fn decode(bytes: &[u8], frame: &Frame, part: &Part, work: &Work) -> Result<Vec<u8>, Failure> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
        // SAFETY: the one requirement, that the machine has AVX2 and BMI2, was just asked.
        return unsafe { decode_avx2(bytes, frame, part, work) };
    }
    decode_body(bytes, frame, part, work)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn decode_avx2(bytes: &[u8], frame: &Frame, part: &Part, work: &Work) -> Result<Vec<u8>, Failure> {
    decode_body(bytes, frame, part, work)
}

#[inline(always)]
fn decode_body(bytes: &[u8], frame: &Frame, part: &Part, work: &Work) -> Result<Vec<u8>, Failure> {
    let (across, down) = frame.sampling();
    let (mcu_width, mcu_height) = ((across * part.eighths) as usize, (down * part.eighths) as usize);
    let mcus = frame.mcus();
    let (left, top) = (part.at.0 as usize / mcu_width, part.at.1 as usize / mcu_height);
    let (width, height) = (part.size.width as usize, part.size.height as usize);
    let (right, bottom) = (left + width.div_ceil(mcu_width), top + height.div_ceil(mcu_height));
    let aligned = left * mcu_width == part.at.0 as usize && top * mcu_height == part.at.1 as usize;
    if !aligned || right > mcus.0 || bottom > mcus.1 {
        return Err(Failure::Irregular);
    }
    let dcs = frame.dcs();
    let acs = frame.acs();
    let mut channels = Vec::with_capacity(frame.components.len());
    for component in &frame.components {
        let points = |most: u32, factor: u32| Points::of(part.eighths * most / factor).ok_or(Irregular);
        let points = (points(across, component.sampling.0)?, points(down, component.sampling.1)?);
        let blocks = (component.sampling.0 as usize, component.sampling.1 as usize);
        let stride = ((right - left) * blocks.0).next_multiple_of(LANES) * points.0 as usize;
        channels.push(Channel {
            dc: dcs[component.dc].as_ref().ok_or(Irregular)?,
            ac: acs[component.ac].as_ref().ok_or(Irregular)?,
            transform: Transform::new(frame.quanta[component.quanta].as_ref().ok_or(Irregular)?, points),
            points,
            blocks,
            last: last(points),
            previous: 0,
            batches: [const { Batch::new() }; 4],
            filled: 0,
            column: 0,
            samples: vec![0; stride * blocks.1 * points.1 as usize],
            stride,
        });
    }
    let mut bits = Bits::new(bytes, frame.data_at);
    let mut out = vec![0; width * height * channels.len()];
    let mut strips = out.chunks_mut(width * channels.len() * mcu_height);
    let (mut until_restart, mut restarts) = (frame.restart, 0);
    for row in 0..bottom {
        work.check()?;
        for column in 0..mcus.0 {
            if frame.restart > 0 {
                if until_restart == 0 {
                    bits.restart(restarts)?;
                    (restarts, until_restart) = ((restarts + 1) & 7, frame.restart);
                    channels.iter_mut().for_each(|channel| channel.previous = 0);
                }
                until_restart -= 1;
            }
            let wanted = row >= top && (left..right).contains(&column);
            let (mut cursor, window) = bits.open();
            for channel in &mut channels {
                cursor = if wanted { take(cursor, window, channel)? } else { pass(cursor, window, channel)? };
            }
            bits.close(cursor);
        }
        bits.check()?;
        if row >= top
            && let Some(strip) = strips.next()
        {
            for channel in &mut channels {
                flush(channel);
                channel.column = 0;
            }
            colours(&channels, width, strip);
        }
    }
    Ok(out)
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
        let samples = &mut channel.samples[y * down * channel.stride + channel.column..];
        channel.transform.inverse(&mut channel.batches[y & 3], samples, channel.stride);
    }
    channel.column += LANES * channel.points.0 as usize;
    channel.filled = 0;
}

/// A strip's planes to gray or RGB.
#[inline(always)]
fn colours(channels: &[Channel], width: usize, strip: &mut [u8]) {
    match channels {
        [luma, blue, red] => {
            for (row, out) in strip.chunks_exact_mut(width * 3).enumerate() {
                rgb_row(luma.row(row, width), blue.row(row, width), red.row(row, width), out);
            }
        }
        [gray, ..] => {
            for (row, out) in strip.chunks_exact_mut(width).enumerate() {
                out.copy_from_slice(gray.row(row, width));
            }
        }
        [] => {}
    }
}

impl Channel<'_> {
    #[inline(always)]
    fn row(&self, row: usize, width: usize) -> &[u8] {
        &self.samples[row * self.stride..][..width]
    }
}

/// Pixels that are converted together.
const PIXELS: usize = 32;

#[inline(always)]
fn rgb_row(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<PIXELS>();
    let (blue, blue_rest) = blue.as_chunks::<PIXELS>();
    let (red, red_rest) = red.as_chunks::<PIXELS>();
    let (out, out_rest) = out.as_chunks_mut::<{ 3 * PIXELS }>();
    for at in 0..out.len() {
        rgb(&luma[at], &blue[at], &red[at], &mut out[at]);
    }
    let (mut y, mut b, mut r) = ([0; PIXELS], [0; PIXELS], [0; PIXELS]);
    y[..luma_rest.len()].copy_from_slice(luma_rest);
    b[..blue_rest.len()].copy_from_slice(blue_rest);
    r[..red_rest.len()].copy_from_slice(red_rest);
    let mut pixels = [0; 3 * PIXELS];
    rgb(&y, &b, &r, &mut pixels);
    out_rest.copy_from_slice(&pixels[..out_rest.len()]);
}

/// YCbCr of JFIF (ITU-R BT.601, full range) to RGB, in 16 bits of fraction.
#[inline(always)]
fn rgb(luma: &[u8; PIXELS], blue: &[u8; PIXELS], red: &[u8; PIXELS], pixels: &mut [u8; 3 * PIXELS]) {
    for lane in 0..PIXELS {
        let luma = (i32::from(luma[lane]) << 16) + (1 << 15);
        let (blue, red) = (i32::from(blue[lane]) - 128, i32::from(red[lane]) - 128);
        pixels[3 * lane] = ((luma + 91_881 * red) >> 16).clamp(0, 255) as u8;
        pixels[3 * lane + 1] = ((luma - 22_554 * blue - 46_802 * red) >> 16).clamp(0, 255) as u8;
        pixels[3 * lane + 2] = ((luma + 116_130 * blue) >> 16).clamp(0, 255) as u8;
    }
}
