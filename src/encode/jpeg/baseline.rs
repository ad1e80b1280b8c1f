//! From pixels to a file: MCU by MCU in one scan (baseline), or in several (progressive), with Huffman codes made for each and the divisors
//! of [`super::quantiser`].
//!
//! What it takes beside libjpeg-turbo 3, and what it gives for that, stands in `docs/engine.md`.
//!
//! Always true: equal pixels and settings give equal bytes on every machine.
#![allow(unsafe_code)]

use super::blocks::{self, Pixels, Quantised};
use super::huffman::Codes;
use super::lanes::{Lanes, PIXELS_BYTES, Portable};
use super::quantiser::Quantiser;
use super::scan::Scan;
use super::scans::Scans;
use super::write::{self, Frame};
use crate::base::{Size, Stopped, Work};
use crate::encode::planes::{self, Sampling, Strip};

/// Pixels on a side of an MCU that is copied.
const SIDE_MAX: usize = 8;

/// Bytes of an MCU's row that is copied, with what is read beyond it.
const STRIDE: usize = SIDE_MAX * 3 + PIXELS_BYTES;

/// Encodes.
pub fn encode(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    #[cfg(target_arch = "x86_64")]
    if crate::encode::has_vectors() {
        // SAFETY: the one requirement, that the machine has these, was just asked.
        return unsafe { encode_avx2(picture, work) };
    }
    encode_by::<Portable>(picture, work)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn encode_avx2(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    encode_by::<super::lanes::Avx2>(picture, work)
}

/// In how many scans a file comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One.
    Baseline,
    /// Several: a coarse picture early, and fewer bytes.
    Progressive,
}

/// What is encoded, and how.
pub struct Picture<'a> {
    /// Gray or RGB, as the frame says; rows without padding.
    pub samples: &'a [u8],
    /// What the samples are.
    pub frame: Frame,
    /// In which form.
    pub form: Form,
    /// From 1 to 100.
    pub quality: u8,
    /// What comes behind the file's first markers.
    pub markers: &'a [u8],
}

/// The same, with whatever vectors.
#[inline(always)]
pub fn encode_by<V: Lanes>(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    match picture.form {
        Form::Baseline => baseline::<V>(picture, work),
        Form::Progressive => progressive::<V>(picture, work),
    }
}

#[inline(always)]
fn baseline<V: Lanes>(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    let Frame { width, height, sampling } = picture.frame;
    let quantiser = Quantiser::of(picture.quality, sampling);
    let start = |codes: &[Codes]| write::start(picture.frame, &quantiser.tables, codes, picture.markers);
    // Photos have a symbol for two to eight pixels.
    let mut scan = Scan::new((width * height).max(1 << 12));
    let mut mcus = Mcus::new(picture.frame);
    for top in (0..height).step_by(mcus.side) {
        work.check()?;
        mcus.row::<V>(picture, top);
        for left in (0..width).step_by(mcus.side) {
            let luma = mcus.luma;
            scan.push(mcus.at::<V>(picture, &quantiser, left, top), luma, start);
        }
    }
    Ok(scan.finish(start))
}

#[inline(always)]
fn progressive<V: Lanes>(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    let Frame { width, height, sampling } = picture.frame;
    let quantiser = Quantiser::of(picture.quality, sampling);
    let mut scans = Scans::new(picture.frame);
    let mut mcus = Mcus::new(picture.frame);
    for top in (0..height).step_by(mcus.side) {
        work.check()?;
        mcus.row::<V>(picture, top);
        for left in (0..width).step_by(mcus.side) {
            let luma = mcus.luma;
            scans.push(mcus.at::<V>(picture, &quantiser, left, top), luma);
        }
        scans.end_row(top);
    }
    Ok(scans.finish(&quantiser.tables, picture.markers))
}

/// MCUs, one after another.
struct Mcus {
    /// Pixels on a side.
    side: usize,
    /// Blocks of luma.
    luma: usize,
    /// All its blocks.
    count: usize,
    blocks: [Quantised; 6],
    /// Their row, where colour is kept at half resolution.
    strip: Option<Strip<'static>>,
    /// Otherwise pixels at an edge, with what is not there.
    copy: [u8; STRIDE * SIDE_MAX],
}

impl Mcus {
    fn new(frame: Frame) -> Self {
        let (side, luma, count) = match frame.sampling {
            Sampling::None => (8, 1, 1),
            Sampling::Full => (8, 1, 3),
            Sampling::Half => (planes::ROWS, 4, 6),
        };
        let size = Size::new(frame.width as u32, frame.height as u32);
        let strip = (frame.sampling == Sampling::Half).then(|| Strip::full(size));
        Self { side, luma, count, blocks: [Quantised::EMPTY; 6], strip, copy: [0; STRIDE * SIDE_MAX] }
    }

    /// Takes the row of them from a row of pixels on.
    #[inline(always)]
    fn row<V: Lanes>(&mut self, picture: &Picture<'_>, top: usize) {
        if let Some(strip) = &mut self.strip {
            strip.fill::<V::Words>(picture.samples, top);
        }
    }

    /// The blocks of the one at a place.
    #[inline(always)]
    fn at<V: Lanes>(&mut self, picture: &Picture<'_>, quantiser: &Quantiser, left: usize, top: usize) -> &[Quantised] {
        let blocks = &mut self.blocks[..self.count];
        if let Some(strip) = &self.strip {
            blocks::halved::<V>(strip, left, &quantiser.levels, blocks);
            return blocks;
        }
        let pixels = picture.part(left, top, self.side, &mut self.copy);
        if picture.frame.sampling == Sampling::None {
            blocks::gray::<V>(pixels, &quantiser.levels, blocks);
        } else {
            blocks::whole::<V>(pixels, &quantiser.levels, blocks);
        }
        blocks
    }
}

impl Picture<'_> {
    /// The pixels of an MCU; at an edge copied, its last column and row again and again.
    #[inline(always)]
    fn part<'a>(&'a self, left: usize, top: usize, side: usize, copy: &'a mut [u8; STRIDE * SIDE_MAX]) -> Pixels<'a> {
        let channels = if self.frame.sampling == Sampling::None { 1 } else { 3 };
        let stride = self.frame.width * channels;
        let from = top * stride + left * channels;
        let enough = from + (side - 1) * stride + side * 3 + PIXELS_BYTES <= self.samples.len();
        if left + side <= self.frame.width && top + side <= self.frame.height && enough {
            return Pixels { samples: &self.samples[from..], stride };
        }
        self.copied(left, top, side, channels, copy);
        Pixels { samples: copy, stride: STRIDE }
    }

    #[inline(never)]
    fn copied(&self, left: usize, top: usize, side: usize, channels: usize, copy: &mut [u8]) {
        let Frame { width, height, .. } = self.frame;
        let there = side.min(width - left) * channels;
        for (row, out) in copy.chunks_exact_mut(STRIDE).take(side).enumerate() {
            let from = (top + row).min(height - 1) * width * channels + left * channels;
            out[..there].copy_from_slice(&self.samples[from..from + there]);
            for at in there..side * channels {
                out[at] = out[at - channels];
            }
        }
    }
}
