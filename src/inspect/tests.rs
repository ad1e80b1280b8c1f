//! Facts about real pictures, and metadata good and bad.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::base::{Deadline, Limits, Work};
use crate::decode::{self, Want};

fn open(path: &Path) -> Picture {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let limits = Limits::default();
    let work = Work::until(Deadline::after(Duration::from_secs(20)));
    let header = decode::probe(&bytes, &limits).unwrap();
    decode::decode(&bytes, &header, &Want::all(&header), &limits, &work).unwrap().picture
}

fn sample(name: &str) -> Picture {
    open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name))
}

/// Reduced by whole steps, each pixel the mean of a square: what a resize leaves of edges and of noise.
fn reduced(picture: &Picture, side: u32) -> Picture {
    let step = picture.size.width.max(picture.size.height).div_ceil(side).max(1) as usize;
    let size = Size::new(picture.size.width / step as u32, picture.size.height / step as u32);
    let mut samples = Vec::new();
    for y in 0..size.height as usize {
        for x in 0..size.width as usize {
            let mut sum = [0u32; 4];
            for at in 0..step * step {
                let (dx, dy) = (at % step, at / step);
                let found = pixel(picture, (y * step + dy) * picture.size.width as usize + x * step + dx);
                sum.iter_mut().zip(found).for_each(|(sum, value)| *sum += u32::from(value));
            }
            samples.extend(sum.map(|sum| (sum / (step * step) as u32) as u8));
        }
    }
    Picture::srgb8(size, Layout::Rgba, samples)
}

#[test]
fn graphics_are_flat_and_photos_are_not() {
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    for (name, flat) in [
        ("shapes.png", true),
        ("chart.svg", true),
        ("orbits.gif", true),
        ("brushes.jpg", false),
        ("dandelion.jpg", false),
        ("dogs.jpg", false),
        ("mountains.jpg", false),
        ("stream.jpg", false),
    ] {
        files.push((samples.join(name), flat));
    }
    // The larger corpus, where this machine has it.
    if let Some(corpus) = std::env::var_os("FOVEA_CORPUS").map(PathBuf::from) {
        for (name, flat) in [
            ("g2_graphics_alpha.png", true),
            ("g3_icon_palette.png", true),
            ("s2_screenshot.png", true),
            ("v_chart.svg", true),
            ("x16_wine.png", false),
            ("p05_picos.jpg", false),
            ("p05_seeding.jpg", false),
            ("p05_sunset.jpg", false),
            ("p2_brushes.jpg", false),
            ("p2_friends.jpg", false),
            ("p2_life.jpg", false),
            ("p2_picos.jpg", false),
            ("p12_seeding.jpg", false),
            ("p12_sunset.jpg", false),
        ] {
            files.push((corpus.join(name), flat));
        }
    }
    let mut wrong = Vec::new();
    for (path, flat) in files {
        let picture = open(&path);
        for side in [u32::MAX, 400, 100] {
            let picture = if side == u32::MAX { picture.clone() } else { reduced(&picture, side) };
            // Text of a whole screen in 100 pixels is noise.
            let unreadable = side == 100 && path.ends_with("s2_screenshot.png");
            if is_flat(&picture) != flat && !unreadable {
                wrong.push(format!("{} at {:?}: {:?}", path.display(), picture.size, flat::measured(&picture)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_product_on_white_is_a_photo_and_a_smooth_gradient_too() {
    let mut random = fastrand::Rng::with_seed(1);
    let photo = (0..300 * 300)
        .flat_map(|at| {
            let (x, y) = (at % 300, at / 300);
            let inside = (90..210).contains(&x) && (90..210).contains(&y);
            if inside { [x as u8, y as u8, random.u8(90..130)] } else { [255; 3] }
        })
        .collect();
    assert!(!is_flat(&Picture::srgb8(Size::new(300, 300), Layout::Rgb, photo)));
    let gradient = (0..300 * 300).flat_map(|at| [(at % 300) as u8, (at / 300) as u8, random.u8(0..8)]).collect();
    assert!(!is_flat(&Picture::srgb8(Size::new(300, 300), Layout::Rgb, gradient)));
}

#[test]
fn facts_of_two_halves() {
    let samples =
        (0..60 * 40).flat_map(|at| if at % 60 < 40 { [200, 30, 40, 255] } else { [30, 60, 200, 255] }).collect();
    let facts = facts(&Picture::srgb8(Size::new(60, 40), Layout::Rgba, samples));
    assert_eq!(facts.dominant_colours.len(), 2);
    assert_eq!(facts.dominant_colours[0].rgb, [200, 30, 40]);
    assert!((facts.dominant_colours[0].share - 2.0 / 3.0).abs() < 1e-6);
    assert_eq!(facts.dominant_colours[1].rgb, [30, 60, 200]);
    assert!(facts.flat);
    let shown = blurhash::decode(&facts.blurhash, 6, 4, 1.0).unwrap();
    assert!(shown[0] > 120 && shown[5 * 4 + 2] > 120, "{shown:?}");
    use base64::Engine;
    let hash = base64::engine::general_purpose::STANDARD.decode(&facts.thumbhash).unwrap();
    assert!((thumbhash::thumb_hash_to_approximate_aspect_ratio(&hash).unwrap() - 1.5).abs() < 0.3);
}

#[test]
fn facts_of_odd_pictures() {
    for (width, height) in [(1, 1), (1, 500), (500, 1), (101, 99)] {
        for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
            for value in [0, 200] {
                let samples = vec![value; (width * height) as usize * layout.channels()];
                let facts = facts(&Picture::srgb8(Size::new(width, height), layout, samples));
                let invisible = layout.has_alpha() && value == 0;
                assert_eq!(facts.dominant_colours.len(), usize::from(!invisible), "{width}x{height} {layout:?}");
                assert!(facts.flat && !facts.blurhash.is_empty() && !facts.thumbhash.is_empty());
            }
        }
    }
    let dominant = facts(&sample("dogs.jpg")).dominant_colours;
    assert!((2..=5).contains(&dominant.len()), "{dominant:?}");
    assert!(dominant.is_sorted_by(|a, b| a.share >= b.share) && dominant.iter().map(|d| d.share).sum::<f32>() <= 1.001);
}

#[test]
fn profiles_have_names() {
    assert_eq!(icc_name(&ColorProfile::new_display_p3().encode().unwrap()).as_deref(), Some("Display P3"));
    assert_eq!(icc_name(b"nothing"), None);
    assert_eq!(icc_name(&[0; 200]), None);
}

#[test]
fn exif_tells_how_and_where_only_when_asked() {
    use ::exif::{Field, In, Rational, Tag, Value};
    let ratio = |num, denom| Rational { num, denom };
    let fields = [
        (Tag::Make, Value::Ascii(vec![b"Fovea ".to_vec()])),
        (Tag::Model, Value::Ascii(vec![b"One\x07".to_vec()])),
        (Tag::LensModel, Value::Ascii(vec![b"".to_vec()])),
        (Tag::DateTimeOriginal, Value::Ascii(vec![b"2024:06:01 12:30:05".to_vec()])),
        (Tag::OffsetTimeOriginal, Value::Ascii(vec![b"+02:00".to_vec()])),
        (Tag::ExposureTime, Value::Rational(vec![ratio(1, 250)])),
        (Tag::FNumber, Value::Rational(vec![ratio(28, 10)])),
        (Tag::PhotographicSensitivity, Value::Short(vec![400])),
        (Tag::FocalLength, Value::Rational(vec![ratio(35, 0)])),
        (Tag::GPSLatitudeRef, Value::Ascii(vec![b"S".to_vec()])),
        (Tag::GPSLatitude, Value::Rational(vec![ratio(47, 1), ratio(30, 1), ratio(0, 1)])),
        (Tag::GPSLongitudeRef, Value::Ascii(vec![b"E".to_vec()])),
        (Tag::GPSLongitude, Value::Rational(vec![ratio(8, 1), ratio(15, 1), ratio(0, 1)])),
    ]
    .map(|(tag, value)| Field { tag, ifd_num: In::PRIMARY, value });
    let mut writer = ::exif::experimental::Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    let mut block = std::io::Cursor::new(Vec::new());
    writer.write(&mut block, false).unwrap();
    let block = block.into_inner();
    let right = ExifFacts {
        make: Some("Fovea".into()),
        model: Some("One".into()),
        lens: None,
        taken_at: Some("2024-06-01T12:30:05+02:00".into()),
        exposure: Some(0.004),
        f_number: Some(2.8),
        iso: Some(400),
        focal_length: None,
        gps: None,
    };
    assert_eq!(exif_facts(&block, false), right);
    assert_eq!(exif_facts(&block, true).gps, Some((-47.5, 8.25)));
    assert_eq!(exif_facts(b"nonsense", true), ExifFacts::default());
    for cut in 0..block.len() {
        let _ = exif_facts(&block[..cut], true);
    }
}
