//! Resizing against a plain reference in f64, and the small and odd cases.

use std::time::Duration;

use super::*;
use crate::base::Deadline;
use crate::pixels::ColourSpace;

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

/// A picture with structure at every scale and some noise.
fn sample(width: u32, height: u32, layout: Layout) -> Picture {
    let mut random = fastrand::Rng::with_seed(3);
    let mut samples = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..layout.channels() {
                let (x, y, phase) = (f64::from(x), f64::from(y), channel as f64);
                let wave = (x * 0.11 + phase).sin() * (y * 0.07 - phase).cos() + (x * y * 0.000_3).sin() * 0.5;
                samples.push((127.0 + 80.0 * wave + f64::from(random.u8(0..12))).clamp(0.0, 255.0) as u8);
            }
        }
    }
    Picture::srgb8(Size::new(width, height), layout, samples)
}

/// Lanczos with three lobes in linear light, premultiplied, in f64, straight from the definition.
fn reference(picture: &Picture, window: [f64; 4], size: Size) -> Vec<u8> {
    let channels = picture.layout.channels();
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let kernel = |x: f64| {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
    };
    let weights = |from: f64, length: f64, out: u32, count: usize| -> Vec<Vec<f64>> {
        let scale = length / f64::from(out);
        (0..out)
            .map(|at| {
                let centre = from + (f64::from(at) + 0.5) * scale;
                let weights: Vec<f64> =
                    (0..count).map(|x| kernel((x as f64 + 0.5 - centre) / scale.max(1.0))).collect();
                let sum: f64 = weights.iter().sum();
                weights.into_iter().map(|weight| weight / sum).collect()
            })
            .collect()
    };
    let values = picture.as_u8().unwrap();
    let alpha = picture.layout.has_alpha();
    let light: Vec<f64> = values
        .chunks_exact(channels)
        .flat_map(|pixel| {
            let opacity = if alpha { f64::from(pixel[channels - 1]) / 255.0 } else { 1.0 };
            (0..channels).map(move |at| if alpha && at == channels - 1 { opacity } else { linear(pixel[at]) * opacity })
        })
        .collect();
    let (across, down) =
        (weights(window[0], window[2], size.width, width), weights(window[1], window[3], size.height, height));
    let mut out = Vec::new();
    for down in &down {
        let row: Vec<f64> = (0..width * channels)
            .map(|x| {
                down.iter()
                    .enumerate()
                    .filter(|(_, w)| **w != 0.0)
                    .map(|(y, w)| w * light[y * width * channels + x])
                    .sum()
            })
            .collect();
        for across in &across {
            let pixel: Vec<f64> = (0..channels)
                .map(|channel| across.iter().enumerate().map(|(x, w)| w * row[x * channels + channel]).sum())
                .collect();
            let opacity = if alpha { pixel[channels - 1].clamp(0.0, 1.0) } else { 1.0 };
            for (channel, value) in pixel.iter().enumerate() {
                if alpha && channel == channels - 1 {
                    out.push((opacity * 255.0).round() as u8);
                } else {
                    let value = (value / opacity).clamp(0.0, 1.0);
                    let value = if value <= 0.0031308 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
                    out.push((value * 255.0).round() as u8);
                }
            }
        }
    }
    out
}

fn whole(picture: &Picture) -> [f64; 4] {
    [0.0, 0.0, f64::from(picture.size.width), f64::from(picture.size.height)]
}

#[test]
fn is_the_reference_to_a_step() {
    for (layout, source, window, size) in [
        (Layout::Rgb, (211, 140), None, (80, 53)),
        (Layout::Rgb, (97, 61), Some([3.25, 1.5, 70.5, 41.0]), (23, 17)),
        (Layout::Gray, (97, 61), None, (11, 60)),
        (Layout::Rgba, (64, 64), None, (20, 20)),
        (Layout::GrayAlpha, (40, 90), None, (13, 7)),
        (Layout::Rgb, (300, 5), None, (7, 1)),
        (Layout::Rgb, (2, 2), None, (1, 1)),
    ] {
        let picture = sample(source.0, source.1, layout);
        let window = window.unwrap_or(whole(&picture));
        let size = Size::new(size.0, size.1);
        let right = reference(&picture, window, size);
        let found = resize(picture, window, size, Light::Linear, false, &work()).unwrap();
        assert_eq!(found.layout, layout);
        let worst = found.as_u8().unwrap().iter().zip(&right).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{layout:?} {source:?} to {size:?}: off by {worst}");
    }
}

#[test]
fn same_size_is_the_same_bytes() {
    for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
        for light in [Light::Linear, Light::Gamma] {
            let picture = sample(31, 17, layout);
            let found = resize(picture.clone(), whole(&picture), picture.size, light, false, &work()).unwrap();
            assert_eq!(found, picture);
            let part = resize(picture.clone(), [3.0, 2.0, 9.0, 5.0], Size::new(9, 5), light, false, &work()).unwrap();
            let channels = layout.channels();
            let rows: Vec<u8> = picture
                .as_u8()
                .unwrap()
                .chunks_exact(31 * channels)
                .skip(2)
                .take(5)
                .flat_map(|row| row[3 * channels..12 * channels].to_vec())
                .collect();
            assert_eq!(part.as_u8().unwrap(), rows);
        }
    }
}

#[test]
fn a_plain_colour_stays_itself_at_every_size() {
    for (source, size) in [
        ((1, 1), (1, 9)),
        ((1, 300), (1, 7)),
        ((300, 1), (7, 1)),
        ((5, 5), (64, 3)),
        ((33, 65), (32, 64)),
        ((1000, 3), (1, 3)),
    ] {
        for (layout, pixel) in [
            (Layout::Gray, &[77u8][..]),
            (Layout::Rgb, &[1, 128, 250]),
            (Layout::Rgba, &[9, 200, 30, 128]),
            (Layout::GrayAlpha, &[60, 255]),
        ] {
            for light in [Light::Linear, Light::Gamma] {
                let picture =
                    Picture::srgb8(Size::new(source.0, source.1), layout, pixel.repeat((source.0 * source.1) as usize));
                let window = whole(&picture);
                let found = resize(picture, window, Size::new(size.0, size.1), light, false, &work()).unwrap();
                for found in found.as_u8().unwrap().chunks_exact(pixel.len()) {
                    let worst = found.iter().zip(pixel).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                    // Premultiplied 8-bit samples lose a step at half alpha.
                    assert!(worst <= u8::from(light == Light::Gamma), "{source:?} {size:?} {layout:?} {found:?}");
                }
            }
        }
    }
}

#[test]
fn edges_of_alpha_get_no_dark_fringe() {
    // White left, fully transparent black right.
    let samples = (0..40).flat_map(|_| (0..40).flat_map(|x| if x < 17 { [255; 4] } else { [0; 4] })).collect();
    let picture = Picture::srgb8(Size::new(40, 40), Layout::Rgba, samples);
    for light in [Light::Linear, Light::Gamma] {
        let found = resize(picture.clone(), whole(&picture), Size::new(13, 13), light, false, &work()).unwrap();
        let seen: Vec<&[u8]> = found.as_u8().unwrap().chunks_exact(4).filter(|pixel| pixel[3] > 2).collect();
        assert!(seen.iter().any(|pixel| pixel[3] < 250), "the edge is soft");
        assert!(seen.iter().all(|pixel| pixel[..3].iter().all(|value| *value >= 250)), "{light:?}");
    }
}

#[test]
fn light_is_kept() {
    // A fine checkerboard of black and white is, from afar, half the light: 188, not 128.
    let samples = (0..64 * 64).map(|at| if (at / 64 + at % 64) % 2 == 0 { 255 } else { 0 }).collect();
    let picture = Picture::srgb8(Size::new(64, 64), Layout::Gray, samples);
    let of = |light| {
        resize(picture.clone(), whole(&picture), Size::new(8, 8), light, false, &work()).unwrap().as_u8().unwrap()[27]
    };
    assert!(of(Light::Linear).abs_diff(188) <= 1, "{}", of(Light::Linear));
    assert!(of(Light::Gamma).abs_diff(128) <= 1, "{}", of(Light::Gamma));
}

#[test]
fn sixteen_bits_and_inks_come_down_to_eight() {
    let wide = Picture {
        size: Size::new(2, 1),
        layout: Layout::Rgb,
        samples: Samples::U16(vec![0, 32_896, 65_535, 257, 128, 129]),
        colour: ColourSpace::Srgb,
    };
    let found = resize(wide.clone(), whole(&wide), wide.size, Light::Linear, false, &work()).unwrap();
    assert_eq!(found.as_u8().unwrap(), [0, 128, 255, 1, 0, 1]);
    let inks = Picture {
        size: Size::new(3, 1),
        layout: Layout::Cmyk,
        samples: Samples::U8(vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255]),
        colour: ColourSpace::DeviceCmyk,
    };
    for keep_profile in [false, true] {
        let found = resize(inks.clone(), whole(&inks), inks.size, Light::Linear, keep_profile, &work()).unwrap();
        assert_eq!(found.layout, Layout::Rgb);
        assert_eq!(found.as_u8().unwrap(), [255, 255, 255, 0, 255, 255, 0, 0, 0]);
    }
}

#[test]
fn stops_when_nobody_waits() {
    let work = work();
    work.cancel();
    let picture = sample(50, 50, Layout::Rgb);
    let window = whole(&picture);
    assert_eq!(resize(picture, window, Size::new(10, 10), Light::Linear, false, &work), Err(Stopped::Cancelled));
}

#[test]
fn holds_no_more_than_it_says() {
    // A tall filter on a wide picture: the ring of rows is what counts.
    let bytes = crate::transform::cpu::bytes_of_scale(
        Size::new(4000, 3000),
        3,
        [0.0, 0.0, 4000.0, 3000.0],
        Size::new(400, 300),
    );
    let ring = 62 * 4000 * 3 * 2;
    assert!((ring..4 * ring).contains(&bytes), "{bytes}");
}
