use std::time::Duration;

use super::*;
use crate::base::{Deadline, Limits, Size};
use crate::decode::{self, Want};
use crate::pixels::{Layout, Samples};

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

fn made(picture: &Picture, quality: u8) -> Vec<u8> {
    encode(picture, &Settings::new(Format::Avif, quality), &work()).unwrap()
}

fn opened(file: &[u8]) -> Picture {
    let limits = Limits::default();
    let header = decode::probe(file, &limits).unwrap();
    decode::decode(file, &header, &Want::all(&header), &limits, &work()).unwrap().picture
}

fn filled(size: Size, colour: [u8; 4]) -> Picture {
    let samples = colour.iter().copied().cycle().take(size.pixels() as usize * 4).collect();
    Picture::srgb8(size, Layout::Rgba, samples)
}

/// What stands in the container's first `colr` box: primaries, transfer, matrix, full range.
fn colr(file: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(file, b"colrnclx")? + 8;
    file.get(at..at + 7)
}

#[test]
fn patches_of_one_colour_keep_it() {
    let levels = [0, 51, 128, 204, 255];
    for red in levels {
        for green in levels {
            for blue in levels {
                let colour = [red, green, blue, 255];
                let picture = opened(&made(&filled(Size::new(16, 16), colour), 80));
                let channels = picture.layout.channels();
                for pixel in picture.as_u8().unwrap().chunks_exact(channels) {
                    let found = crate::encode::palette::rgba(pixel, picture.layout);
                    let worst = found.iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                    assert!(worst <= 4, "{colour:?} became {found:?}");
                }
            }
        }
    }
}

#[test]
fn colour_is_told_in_bitstream_and_container() {
    let file = made(&filled(Size::new(20, 10), [200, 100, 50, 90]), 60);
    assert_eq!(colr(&file), Some(&[0, 1, 0, 13, 0, 6, 0x80][..]));
    // The sequence header of libaom: profile 0, still, reduced, the level; then 8 bits, not monochrome, colours described.
    let stream = memchr::memmem::find(&file, &[0x0a, 0x0a]).or_else(|| memchr::memmem::find(&file, &[0x0a, 0x09]));
    assert!(stream.is_some(), "a sequence header of the usual length");
    // Two items, the second the alpha of the first, each with the level that its bitstream claims.
    let levels: Vec<u8> = memchr::memmem::find_iter(&file, b"av1C").map(|at| file[at + 5] & 0x1f).collect();
    assert_eq!(levels.len(), 2);
    assert!(levels.iter().all(|level| *level < 31), "{levels:?}");
    assert!(memchr::memmem::find(&file, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha").is_some());
    assert!(memchr::memmem::find(&file, b"prem").is_none());
}

#[test]
fn coloured_detail_keeps_its_brightness() {
    // Columns of one pixel, reddish and bluish.
    let (red, blue) = ([190, 100, 80], [80, 110, 170]);
    let samples = (0..64 * 64).flat_map(|at| if at % 2 == 0 { red } else { blue }).collect();
    let found = opened(&made(&Picture::srgb8(Size::new(64, 64), Layout::Rgb, samples), 80));
    let light = |pixel: &[u8]| {
        let [red, green, blue] = [0, 1, 2].map(|channel| (f64::from(pixel[channel]) / 255.0).powf(2.2));
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    for (at, pixel) in found.as_u8().unwrap().chunks_exact(found.layout.channels()).enumerate() {
        let (found, wanted) = (light(pixel), light(if at % 2 == 0 { &red } else { &blue }));
        assert!((found - wanted).abs() < 0.02, "{at}: {found} for {wanted}");
    }
}

#[test]
fn hidden_colours_neither_cost_nor_bleed() {
    // A gray disc on transparent noise; the same on transparent black must come out alike in size and looks.
    let size = Size::new(96, 96);
    let mut random = fastrand::Rng::with_seed(7);
    let disc = |hidden: &mut dyn FnMut() -> [u8; 3]| {
        let samples = (0..96 * 96i32).flat_map(|at| {
            let inside = (at % 96 - 48).pow(2) + (at / 96 - 48).pow(2) < 1000;
            let [red, green, blue] = if inside { [150; 3] } else { hidden() };
            [red, green, blue, if inside { 255 } else { 0 }]
        });
        Picture::srgb8(size, Layout::Rgba, samples.collect())
    };
    let noisy = made(&disc(&mut || [random.u8(..), random.u8(..), random.u8(..)]), 60);
    let black = made(&disc(&mut || [0; 3]), 60);
    assert_eq!(noisy, black);
    let picture = opened(&noisy);
    for pixel in picture.as_u8().unwrap().chunks_exact(4).filter(|pixel| pixel[3] > 250) {
        assert!(pixel[..3].iter().all(|value| value.abs_diff(150) <= 4), "{pixel:?}");
    }
}

#[test]
fn quality_is_monotonous_and_ends_at_ten_bits() {
    let quantizers: Vec<u32> = (1..=100).map(quantizer).collect();
    assert!(quantizers.is_sorted_by(|a, b| a >= b), "{quantizers:?}");
    assert_eq!((quantizers[0], quantizers[59], quantizers[99]), (63, 18, 0));
    // A slow gradient: at the top 10 bits hold it closely, and such a file says so.
    let samples = (0..256 * 64u32).flat_map(|at| [(at % 256 / 4) as u8 + 60, 90, 120]).collect();
    let gradient = Picture::srgb8(Size::new(256, 64), Layout::Rgb, samples);
    let (eight, ten) = (made(&gradient, TEN_BITS_FROM - 1), made(&gradient, 100));
    let bits = |file: &[u8]| {
        let at = memchr::memmem::find(file, b"pixi").unwrap();
        file[at + 9]
    };
    assert_eq!((bits(&eight), bits(&ten)), (8, 10));
    let found = opened(&ten);
    let found: Vec<u8> = match &found.samples {
        Samples::U8(values) => values.clone(),
        Samples::U16(values) => values.iter().map(|value| ((u32::from(*value) + 128) / 257) as u8).collect(),
    };
    let worst = found.iter().zip(gradient.as_u8().unwrap()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 2, "{worst}");
}

#[test]
fn alpha_loses_nothing() {
    let mut random = fastrand::Rng::with_seed(3);
    for (width, height) in [(1, 1), (5, 3), (64, 48), (97, 31)] {
        let samples = (0..width * height).flat_map(|at| [90, 120, 30, if at % 3 == 0 { 0 } else { random.u8(..) }]);
        let picture = Picture::srgb8(Size::new(width, height), Layout::Rgba, samples.collect());
        let alphas =
            |picture: &Picture| -> Vec<u8> { picture.as_u8().unwrap().chunks_exact(4).map(|pixel| pixel[3]).collect() };
        assert_eq!(alphas(&opened(&made(&picture, 40))), alphas(&picture), "{width}x{height}");
    }
}

#[test]
fn a_stop_between_colour_and_alpha_is_heard() {
    let stopped = work();
    stopped.cancel();
    let picture = filled(Size::new(8, 8), [1, 2, 3, 4]);
    let found = encode(&picture, &Settings::new(Format::Avif, 60), &stopped);
    assert!(matches!(found, Err(Error::Stopped(_))));
}
