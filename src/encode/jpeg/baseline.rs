//! A baseline file: one scan, Huffman codes made for it, tables of [`super::quantiser`].
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
use super::write::{self, Frame, Sampling};
use crate::base::{Stopped, Work};

/// Pixels of an MCU on a side, at most.
const SIDE_MAX: usize = 16;

/// Bytes of an MCU's row that is copied, with what is read beyond it.
const STRIDE: usize = SIDE_MAX * 3 + PIXELS_BYTES;

/// Encodes samples, gray or RGB as the frame says. `markers` come behind the file's first.
pub fn encode(samples: &[u8], frame: Frame, quality: u8, markers: &[u8], work: &Work) -> Result<Vec<u8>, Stopped> {
    let quantiser = Quantiser::of(quality, frame.sampling);
    encode_with(&Picture { samples, frame, quantiser: &quantiser, markers }, work)
}

pub fn encode_with(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("bmi2")
        && std::arch::is_x86_feature_detected!("lzcnt")
    {
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

/// What is encoded.
pub struct Picture<'a> {
    pub samples: &'a [u8],
    pub frame: Frame,
    pub quantiser: &'a Quantiser,
    pub markers: &'a [u8],
}

#[inline(always)]
pub fn encode_by<V: Lanes>(picture: &Picture<'_>, work: &Work) -> Result<Vec<u8>, Stopped> {
    let Frame { width, height, sampling } = picture.frame;
    let (side, luma, count) = match sampling {
        Sampling::Gray => (8, 1, 1),
        Sampling::Full => (8, 1, 3),
        Sampling::Half => (16, 4, 6),
    };
    let start = |codes: &[Codes]| write::start(picture.frame, &picture.quantiser.tables, codes, picture.markers);
    let mut scan = Scan::new((width * height).max(1 << 12));
    let mut mcu = [Quantised::EMPTY; 6];
    let mcu = &mut mcu[..count];
    let mut copy = [0; STRIDE * SIDE_MAX];
    for top in (0..height).step_by(side) {
        work.check()?;
        for left in (0..width).step_by(side) {
            let pixels = picture.part(left, top, side, &mut copy);
            match sampling {
                Sampling::Gray => blocks::gray::<V>(pixels, &picture.quantiser.levels, mcu),
                Sampling::Full => blocks::whole::<V>(pixels, &picture.quantiser.levels, mcu),
                Sampling::Half => blocks::halved::<V>(pixels, &picture.quantiser.levels, mcu),
            }
            scan.push(mcu, luma, start);
        }
    }
    Ok(scan.finish(start))
}

impl Picture<'_> {
    /// The pixels of an MCU; at an edge copied, its last column and row again and again.
    #[inline(always)]
    fn part<'a>(&'a self, left: usize, top: usize, side: usize, copy: &'a mut [u8; STRIDE * SIDE_MAX]) -> Pixels<'a> {
        let channels = if self.frame.sampling == Sampling::Gray { 1 } else { 3 };
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
