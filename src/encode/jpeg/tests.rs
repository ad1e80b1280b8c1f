//! The encoder against decoders that know nothing of it, its vectors against plain loops, its tables against what they promise.

use std::time::Duration;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::baseline::{self, Form, Picture as Source};
use super::huffman::Codes;
use super::lanes::Portable;
use super::quantiser::Quantiser;
use super::write::Frame;
use crate::base::{Deadline, Work};
use crate::encode::planes::Sampling;

const SAMPLINGS: [Sampling; 3] = [Sampling::None, Sampling::Half, Sampling::Full];

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

fn channels(sampling: Sampling) -> usize {
    if sampling == Sampling::None { 1 } else { 3 }
}

/// A baseline file; and it is the same without vectors, and has the same pixels in several scans.
fn encoded(samples: &[u8], width: usize, height: usize, sampling: Sampling, quality: u8) -> Vec<u8> {
    let frame = Frame { width, height, sampling };
    let [file, scans] = [Form::Baseline, Form::Progressive].map(|form| {
        let picture = Source { samples, frame, form, quality, markers: &[] };
        let file = baseline::encode(&picture, &work()).unwrap();
        assert!(file == baseline::encode_by::<Portable>(&picture, &work()).unwrap(), "{sampling:?} {width}x{height}");
        file
    });
    // Both have the same coefficients.
    assert!(by_turbo(&file, sampling) == by_turbo(&scans, sampling), "{sampling:?} {width}x{height} {quality}");
    file
}

/// Waves of several lengths in each channel, so that every frequency is there; smooth enough for 4:2:0.
fn waves(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let at = |x: usize, y: usize, channel: usize| {
        let (x, y, phase) = (x as f32, y as f32, channel as f32 * 2.0);
        let sum = (x / 9.0 + phase).sin() * 45.0 + (y / 13.0 - phase).sin() * 40.0 + ((x + y) / 5.0).sin() * 20.0;
        (128.0 + sum).clamp(0.0, 255.0) as u8
    };
    (0..width * height * channels).map(|i| at(i / channels % width, i / channels / width, i % channels)).collect()
}

fn noise(width: usize, height: usize, channels: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..width * height * channels).map(|_| random.u8(..)).collect()
}

/// Black and white, in blocks, columns and single pixels: the largest coefficients there are.
fn extremes(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let white = |x: usize, y: usize, channel: usize| match x / 16 % 4 {
        0 => x.is_multiple_of(2),
        1 => (x + y) % 2 == channel % 2,
        2 => (y / 8).is_multiple_of(2),
        _ => ((x + y) / 3).is_multiple_of(2),
    };
    let at = |i: usize| white(i / channels % width, i / channels / width, i % channels);
    (0..width * height * channels).map(|i| if at(i) { 255 } else { 0 }).collect()
}

fn by_turbo(file: &[u8], sampling: Sampling) -> (usize, usize, Vec<u8>) {
    let format = if sampling == Sampling::None { turbojpeg::PixelFormat::GRAY } else { turbojpeg::PixelFormat::RGB };
    let image = turbojpeg::decompress(file, format).unwrap();
    let row = image.width * channels(sampling);
    let pixels = image.pixels.chunks(image.pitch).flat_map(|line| line[..row].to_vec()).collect();
    (image.width, image.height, pixels)
}

fn by_zune(file: &[u8], sampling: Sampling) -> (usize, usize, Vec<u8>) {
    let colours = if sampling == Sampling::None { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default().jpeg_set_out_colorspace(colours);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options);
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    (width, height, pixels)
}

/// Decibels.
fn psnr(one: &[u8], two: &[u8]) -> f64 {
    assert_eq!(one.len(), two.len());
    let squares: f64 = one.iter().zip(two).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * one.len() as f64 / squares.max(1e-9)).log10()
}

#[test]
fn two_decoders_read_every_size() {
    let sizes = [(1, 1), (1, 40), (40, 1), (7, 9), (8, 8), (16, 16), (17, 15), (31, 33), (64, 48), (129, 65)];
    for (width, height) in sizes {
        for sampling in SAMPLINGS {
            let right = waves(width, height, channels(sampling));
            let file = encoded(&right, width, height, sampling, 92);
            for (name, found) in [("libjpeg-turbo", by_turbo(&file, sampling)), ("zune-jpeg", by_zune(&file, sampling))]
            {
                assert_eq!((found.0, found.1), (width, height), "{name} {sampling:?}");
                let psnr = psnr(&found.2, &right);
                assert!(psnr > 33.0, "{name} {width}x{height} {sampling:?}: {psnr:.1} dB");
            }
        }
    }
}

#[test]
fn the_largest_coefficients_are_coded() {
    for sampling in SAMPLINGS {
        let right = extremes(128, 96, channels(sampling));
        let file = encoded(&right, 128, 96, sampling, 100);
        let (_, _, found) = by_turbo(&file, sampling);
        if sampling == Sampling::Half {
            continue;
        }
        let psnr = psnr(&found, &right);
        assert!(psnr > 45.0, "{sampling:?}: {psnr:.1} dB");
        assert_eq!(by_zune(&file, sampling).2.len(), right.len());
    }
}

#[test]
fn noise_stays_within_bounds_and_comes_back() {
    for sampling in SAMPLINGS {
        // More symbols than wait: codes are made before all are known.
        let (width, height) = (200, 150);
        let right = noise(width, height, channels(sampling), 3);
        for quality in [1, 50, 95, 100] {
            let file = encoded(&right, width, height, sampling, quality);
            let bytes_max = 1024 + width * height * channels(sampling) * 3 / 2;
            assert!(file.len() < bytes_max, "{sampling:?} {quality}: {} bytes of {bytes_max}", file.len());
            let (_, _, found) = by_turbo(&file, sampling);
            if quality == 100 && sampling != Sampling::Half {
                let psnr = psnr(&found, &right);
                assert!(psnr > 44.0, "{sampling:?}: {psnr:.1} dB");
            }
            assert_eq!(by_zune(&file, sampling).2.len(), right.len());
        }
    }
}

#[test]
fn qualities_rise() {
    for sampling in SAMPLINGS {
        let (width, height) = (160, 120);
        let mut right = waves(width, height, channels(sampling));
        for (value, noise) in right.iter_mut().zip(noise(width, height, channels(sampling), 5)) {
            *value = value.saturating_add(noise / 16);
        }
        let (mut bytes, mut decibels) = (0, 0.0);
        for quality in 1..=100 {
            let file = encoded(&right, width, height, sampling, quality);
            let psnr = psnr(&by_turbo(&file, sampling).2, &right);
            // Two qualities next to each other may have one table but for a few divisors.
            assert!(file.len() * 1000 >= bytes * 995, "{sampling:?} {quality}: {} after {bytes} bytes", file.len());
            assert!(psnr > decibels - 0.1, "{sampling:?} {quality}: {psnr:.2} after {decibels:.2} dB");
            (bytes, decibels) = (file.len().max(bytes), psnr.max(decibels));
            let tables = Quantiser::of(quality, sampling).tables;
            if quality > 1 {
                let before = Quantiser::of(quality - 1, sampling).tables;
                assert!(
                    tables.iter().flatten().zip(before.iter().flatten()).all(|(now, before)| now <= before),
                    "{quality}"
                );
            }
        }
        assert!(Quantiser::of(100, sampling).tables.iter().flatten().all(|divisor| *divisor == 1));
    }
}

/// One flat colour: little more than the headers.
#[test]
fn flat_pictures_are_small() {
    for (sampling, bytes_max) in [(Sampling::None, 450), (Sampling::Half, 900), (Sampling::Full, 1800)] {
        let file = encoded(&vec![90; 256 * 256 * channels(sampling)], 256, 256, sampling, 80);
        assert!(file.len() < bytes_max, "{sampling:?}: {} bytes", file.len());
        assert!(by_turbo(&file, sampling).2.iter().all(|value| value.abs_diff(90) < 2));
    }
}

#[test]
fn work_is_stopped() {
    let work = Work::until(Deadline::after(Duration::ZERO));
    let frame = Frame { width: 64, height: 64, sampling: Sampling::Half };
    for form in [Form::Baseline, Form::Progressive] {
        let picture = Source { samples: &waves(64, 64, 3), frame, form, quality: 80, markers: &[] };
        baseline::encode(&picture, &work).unwrap_err();
    }
}

/// Sums up a table as a decoder does: every code is longer than its beginning, none is of ones alone, none longer than 16 bits.
#[test]
fn codes_are_short_and_whole() {
    let mut random = fastrand::Rng::with_seed(11);
    let fibonacci = || {
        let mut pair = (1u32, 1u32);
        std::iter::repeat_with(move || {
            pair = (pair.1, pair.0.saturating_add(pair.1));
            pair.0
        })
    };
    let mut tables: Vec<[u32; 256]> = vec![[0; 256]; 3];
    tables[0][7] = 5;
    tables[1].fill(1);
    // The deepest tree: each symbol as often as all rarer ones together.
    tables[2].iter_mut().zip(fibonacci()).take(44).for_each(|(often, number)| *often = number);
    for _ in 0..50 {
        let bits = random.u32(1..30);
        tables.push(std::array::from_fn(|_| if random.bool() { random.u32(..1 << bits) } else { 0 }));
    }
    for often in &tables {
        let codes = Codes::of(often);
        let all: Vec<(u8, u32, u32)> = codes.each().collect();
        assert_eq!(all.len(), often.iter().filter(|count| **count > 0).count());
        let mut filled = 0u64;
        for (symbol, code, bits) in &all {
            assert!(often[usize::from(*symbol)] > 0 && *bits <= 16 && *code < (1 << bits) - 1, "{code:b}");
            assert!(u64::from(*code) << (16 - bits) >= filled, "codes do not overlap");
            filled = (u64::from(*code) + 1) << (16 - bits);
        }
        // Rarer symbols never have shorter codes.
        for pair in all.windows(2) {
            assert!(often[usize::from(pair[0].0)] >= often[usize::from(pair[1].0)]);
        }
    }
}
