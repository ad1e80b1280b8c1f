//! The steps together, on real files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moxcms::ColorProfile;
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::*;
use crate::base::{Deadline, Limits};
use crate::decode::{self, Want};
use crate::pixels::{ColourSpace, Layout, Samples};
use crate::plan::{Colour, Crop, Fit, Width};

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

fn photo() -> Picture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/mountains.jpg");
    let bytes = std::fs::read(path).unwrap();
    let limits = Limits::default();
    let header = decode::probe(&bytes, &limits).unwrap();
    decode::decode(&bytes, &header, &Want::all(&header), &limits, &work()).unwrap().picture
}

fn run(picture: Picture, orientation: Orientation, plan: &Plan, flatten: Option<[u8; 3]>) -> Picture {
    let size = picture.size;
    let geometry = geometry(size, orientation, false, plan).unwrap();
    let covers = [0.0, 0.0, f64::from(size.width), f64::from(size.height)];
    let out = apply(picture, covers, &geometry, plan, Light::Linear, flatten, &work()).unwrap();
    assert_eq!(out.size, geometry.canvas);
    assert_eq!(out.samples.len() as u64, out.size.pixels() * out.layout.channels() as u64);
    out
}

/// SSIMULACRA2 between two 8-bit RGB pictures: 100 is the same, 90 is hardly told apart, below 50 is plainly worse.
fn score(a: &Picture, b: &Picture) -> f64 {
    let frame = |picture: &Picture| {
        let pixels =
            picture.as_u8().unwrap().chunks_exact(3).map(|p| [0, 1, 2].map(|at: usize| f32::from(p[at]) / 255.0));
        let (width, height) = (picture.size.width as usize, picture.size.height as usize);
        Rgb::new(pixels.collect(), width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709).unwrap()
    };
    compute_frame_ssimulacra2(frame(a), frame(b)).unwrap()
}

/// `fast_image_resize` on 16-bit linear light: another hand's Lanczos.
fn by_another_hand(picture: &Picture, size: Size) -> Picture {
    use fast_image_resize::images::TypedImage;
    use fast_image_resize::pixels::{InnerPixel, U16x3};
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        let light = if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        (light * 65_535.0).round() as u16
    };
    let pixels =
        picture.as_u8().unwrap().chunks_exact(3).map(|p| U16x3::new([linear(p[0]), linear(p[1]), linear(p[2])]));
    let source = TypedImage::from_pixels(picture.size.width, picture.size.height, pixels.collect()).unwrap();
    let mut out = TypedImage::<U16x3>::new(size.width, size.height);
    fast_image_resize::Resizer::new().resize_typed(&source, &mut out, None).unwrap();
    let back = |light: &u16| {
        let light = f64::from(*light) / 65_535.0;
        let value = if light <= 0.0031308 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        (value * 255.0).round() as u8
    };
    Picture::srgb8(size, Layout::Rgb, U16x3::components(out.pixels()).iter().map(back).collect())
}

#[test]
fn a_photo_is_resized_as_well_as_can_be() {
    let photo = photo();
    let plan = Plan { width: Some(Width::Px(320)), ..Plan::DEFAULT };
    let found = run(photo.clone(), Orientation::Upright, &plan, None);
    let right = by_another_hand(&photo, found.size);
    let score_linear = score(&right, &found);
    assert!(score_linear > 97.0, "{score_linear}");
    let geometry = geometry(photo.size, Orientation::Upright, false, &plan).unwrap();
    let covers = [0.0, 0.0, f64::from(photo.size.width), f64::from(photo.size.height)];
    let gamma = apply(photo, covers, &geometry, &plan, Light::Gamma, None, &work()).unwrap();
    let score_gamma = score(&right, &gamma);
    assert!(score_gamma < score_linear - 1.0, "{score_gamma} {score_linear}");
}

#[test]
fn every_orientation_shows_the_same() {
    let photo = photo();
    let plan = Plan {
        width: Some(Width::Px(120)),
        height: Some(90),
        fit: Fit::Cover,
        crop: Some(Crop::Fraction(0.1, 0.05, 0.7, 0.8)),
        ..Plan::DEFAULT
    };
    let upright = run(photo.clone(), Orientation::Upright, &plan, None);
    for exif in 2..=8 {
        let orientation = Orientation::from_exif(exif);
        // Stored so that the orientation brings it upright again.
        let stored = match orientation {
            Orientation::Rotate90 => cpu::turn(photo.clone(), Orientation::Rotate270),
            Orientation::Rotate270 => cpu::turn(photo.clone(), Orientation::Rotate90),
            itself => cpu::turn(photo.clone(), itself),
        };
        let found = run(stored, orientation, &plan, None);
        let worst = upright.as_u8().unwrap().iter().zip(found.as_u8().unwrap()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{orientation:?}: {worst:?}");
    }
}

#[test]
fn a_reduced_decode_that_overhangs_is_cut_to_what_it_shows() {
    // 101 pixels at a quarter are 26, which cover 104: the last column is beyond the original.
    let samples = (0..26).map(|x| if x < 25 { 100 } else { 255 }).collect();
    let picture = Picture::srgb8(Size::new(26, 1), Layout::Gray, samples);
    let found = window(picture.size, [0.0, 0.0, 104.0, 4.0], [0.0, 0.0, 100.0, 4.0]);
    assert_eq!(found, [0.0, 0.0, 25.0, 1.0]);
    let geometry = Geometry {
        region: [0.0, 0.0, 100.0, 4.0],
        scaled: Size::new(25, 1),
        turn: Orientation::Upright,
        offset: (0, 0),
        canvas: Size::new(25, 1),
    };
    let out = apply(picture, [0.0, 0.0, 104.0, 4.0], &geometry, &Plan::DEFAULT, Light::Linear, None, &work()).unwrap();
    assert_eq!(out.as_u8().unwrap(), [100; 25]);
}

fn with_profile(profile: &ColorProfile, layout: Layout, samples: Samples) -> Picture {
    let icc: Arc<[u8]> = profile.encode().unwrap().into();
    let pixels = samples.len() / layout.channels();
    Picture { size: Size::new(pixels as u32, 1), layout, samples, colour: ColourSpace::Icc(icc) }
}

#[test]
fn profiles_become_srgb() {
    // Display P3's red lies outside of sRGB; this one inside: P3 (200, 100, 50) is about sRGB (214, 95, 27).
    let p3 = ColorProfile::new_display_p3();
    let found = run(
        with_profile(&p3, Layout::Rgb, Samples::U8(vec![200, 100, 50])),
        Orientation::Upright,
        &Plan::DEFAULT,
        None,
    );
    assert_eq!(found.colour, ColourSpace::Srgb);
    for (found, right) in found.as_u8().unwrap().iter().zip([213u8, 95, 28]) {
        assert!(found.abs_diff(right) <= 3, "{found} {right}");
    }
    let wide = Samples::U16(vec![200 * 257, 100 * 257, 50 * 257, 40_000]);
    let wide = run(with_profile(&p3, Layout::Rgba, wide), Orientation::Upright, &Plan::DEFAULT, None);
    let wide = wide.as_u8().unwrap();
    assert!(wide.iter().zip(found.as_u8().unwrap()).all(|(a, b)| a.abs_diff(*b) <= 1) && wide[3] == 156, "{wide:?}");
    // Kept when asked for, and then the samples too.
    let keep = Plan { keep_profile: true, ..Plan::DEFAULT };
    let kept = run(with_profile(&p3, Layout::Rgb, Samples::U8(vec![200, 100, 50])), Orientation::Upright, &keep, None);
    assert_eq!(kept.as_u8().unwrap(), [200, 100, 50]);
    assert!(matches!(kept.colour, ColourSpace::Icc(_)));
}

#[test]
fn srgb_by_name_and_broken_profiles_change_nothing() {
    let values: Vec<u8> = (0..=255).flat_map(|value| [value, 255 - value, value / 2]).collect();
    let srgb = with_profile(&ColorProfile::new_srgb(), Layout::Rgb, Samples::U8(values.clone()));
    let mut broken = srgb.clone();
    broken.colour = ColourSpace::Icc(Arc::from(&b"not a profile at all"[..]));
    let mut cut = srgb.clone();
    if let ColourSpace::Icc(icc) = &srgb.colour {
        cut.colour = ColourSpace::Icc(icc[..200].into());
    }
    let mut misfit = srgb.clone();
    misfit.colour = ColourSpace::Icc(ColorProfile::new_gray_with_gamma(1.0).encode().unwrap().into());
    for picture in [srgb, broken, cut, misfit] {
        let found = run(picture, Orientation::Upright, &Plan::DEFAULT, None);
        assert_eq!(found.as_u8().unwrap(), values.as_slice());
        assert_eq!(found.colour, ColourSpace::Srgb);
    }
}

#[test]
fn a_gray_profile_becomes_the_srgb_curve() {
    let linear =
        with_profile(&ColorProfile::new_gray_with_gamma(1.0), Layout::Gray, Samples::U8(vec![0, 55, 128, 255]));
    let found = run(linear, Orientation::Upright, &Plan::DEFAULT, None);
    for (found, right) in found.as_u8().unwrap().iter().zip([0u8, 128, 188, 255]) {
        assert!(found.abs_diff(right) <= 1, "{found} {right}");
    }
}

#[test]
fn steps_in_order() {
    let photo = photo();
    let plan = Plan {
        width: Some(Width::Px(100)),
        height: Some(100),
        fit: Fit::Pad,
        rotate: 90,
        gray: true,
        blur: 1.5,
        sharpen: 0.8,
        background: Some(Colour { rgba: [255, 0, 0, 255] }),
        pad: [1, 2, 3, 4],
        ..Plan::DEFAULT
    };
    let found = run(photo, Orientation::Rotate180, &plan, Some([255; 3]));
    assert_eq!((found.size, found.layout), (Size::new(106, 104), Layout::Rgb));
    let pixels = found.as_u8().unwrap();
    assert_eq!(&pixels[..3], [255, 0, 0]);
    let middle = (52 * 106 + 53) * 3;
    assert_eq!(pixels[middle], pixels[middle + 1], "the picture itself is gray");
}

#[test]
fn one_pixel() {
    for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
        let pixel = Picture::srgb8(Size::new(1, 1), layout, vec![200; layout.channels()]);
        let plan =
            Plan { width: Some(Width::Px(3)), enlarge: true, blur: 9.0, sharpen: 2.0, rotate: 270, ..Plan::DEFAULT };
        let found = run(pixel, Orientation::Transverse, &plan, None);
        assert_eq!(found.size, Size::new(3, 3));
        assert!(found.as_u8().unwrap().iter().all(|value| value.abs_diff(200) <= 1), "{layout:?} {found:?}");
    }
}

/// Gives a picture's rows, as samples or as linear light.
fn feed(picture: &Picture, depth: crate::pixels::Depth, steps: &mut Steps) {
    use crate::pixels::{Depth, Head, Row, Sink};
    let (width, channels) = (picture.size.width as usize, picture.layout.channels());
    let covers = [0.0, 0.0, f64::from(picture.size.width), f64::from(picture.size.height)];
    let colour = picture.colour.clone();
    steps.begin(&Head { size: picture.size, layout: picture.layout, colour, depth, covers }).unwrap();
    for row in picture.as_u8().unwrap().chunks_exact(width * channels) {
        if depth == Depth::Eight {
            steps.row(Row::U8(row)).unwrap();
            continue;
        }
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            let light = if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
            (light * f64::from(crate::pixels::LIGHT_FULL)).round() as i16
        };
        let planes: Vec<Vec<i16>> = (0..channels)
            .map(|channel| row.iter().skip(channel).step_by(channels).map(|value| linear(*value)).collect())
            .collect();
        let planes: Vec<&[i16]> = planes.iter().map(Vec::as_slice).collect();
        steps.row(Row::Light(&planes)).unwrap();
    }
}

#[test]
fn rows_make_the_same_picture() {
    use crate::pixels::Depth;
    let (photo, work) = (photo(), work());
    let whole = Plan { crop: Some(Crop::Fraction(0.2, 0.1, 0.5, 0.5)), ..Plan::DEFAULT };
    for plan in [
        Plan { width: Some(Width::Px(160)), ..Plan::DEFAULT },
        Plan { width: Some(Width::Px(90)), height: Some(90), fit: Fit::Cover, blur: 1.5, ..Plan::DEFAULT },
        whole,
    ] {
        for light in [Light::Linear, Light::Gamma] {
            let geometry = geometry(photo.size, Orientation::Rotate90, false, &plan).unwrap();
            let covers = [0.0, 0.0, f64::from(photo.size.width), f64::from(photo.size.height)];
            let right = apply(photo.clone(), covers, &geometry, &plan, light, None, &work).unwrap();
            let mut steps = Steps::new(&geometry, &plan, light, &work);
            feed(&photo, Depth::Eight, &mut steps);
            assert!(steps.finish(None).unwrap() == right, "{plan:?} {light:?}");
            if Steps::take_light(&geometry, light) {
                let mut steps = Steps::new(&geometry, &plan, light, &work);
                feed(&photo, Depth::Light, &mut steps);
                let found = steps.finish(None).unwrap();
                let pairs = found.as_u8().unwrap().iter().zip(right.as_u8().unwrap());
                assert!(pairs.map(|(a, b)| a.abs_diff(*b)).max() <= Some(1), "{plan:?}");
            }
        }
    }
}
