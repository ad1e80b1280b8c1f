//! Every format there and back through the decoders: lossless exactly, lossy by SSIMULACRA2.

use std::path::Path;
use std::time::Duration;

use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::*;
use crate::base::{Deadline, Limits};
use crate::decode::{self, Want};
use crate::pixels::{ColourSpace, Layout};

const LAYOUTS: [Layout; 4] = [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba];
const WRITABLE: [Format; 5] = [Format::Jpeg, Format::Png, Format::WebP, Format::Avif, Format::Gif];

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

fn settings(format: Format, quality: u8) -> Settings {
    Settings::new(format, quality)
}

fn lossless(format: Format) -> Settings {
    Settings { lossless: true, ..settings(format, 80) }
}

/// The first picture of a file, as 8-bit RGBA.
fn opened(file: &[u8]) -> (decode::Header, Vec<[u8; 4]>) {
    let limits = Limits::default();
    let header = decode::probe(file, &limits).unwrap();
    let picture = decode::decode(file, &header, &Want::all(&header), &limits, &work()).unwrap().picture;
    assert_eq!(picture.size, header.size);
    (header, wide(&picture))
}

fn wide(picture: &Picture) -> Vec<[u8; 4]> {
    samples8(picture)
        .chunks_exact(picture.layout.channels())
        .map(|pixel| palette::rgba(pixel, picture.layout))
        .collect()
}

fn photo() -> Picture {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/brushes.jpg")).unwrap();
    let limits = Limits::default();
    let header = decode::probe(&bytes, &limits).unwrap();
    let picture = decode::decode(&bytes, &header, &Want::all(&header), &limits, &work()).unwrap().picture;
    // A part of 301 x 201, so that no block is whole at the border.
    let (width, values) = (picture.size.width as usize, picture.as_u8().unwrap());
    let rows = values.chunks_exact(width * 3).skip(100).take(201);
    Picture::srgb8(Size::new(301, 201), Layout::Rgb, rows.flat_map(|row| row[300..300 + 903].to_vec()).collect())
}

/// Noise in every channel, alpha too; not a palette and not gray.
fn noise(width: u32, height: u32, layout: Layout) -> Picture {
    let mut random = fastrand::Rng::with_seed(u64::from(width * 31 + height));
    let count = width as usize * height as usize * layout.channels();
    Picture::srgb8(Size::new(width, height), layout, (0..count).map(|_| random.u8(..)).collect())
}

fn score(a: &[[u8; 4]], b: &[[u8; 4]], size: Size) -> f64 {
    let frame = |pixels: &[[u8; 4]]| {
        let pixels = pixels.iter().map(|p| [0, 1, 2].map(|at: usize| f32::from(p[at]) / 255.0)).collect();
        let (width, height) = (size.width as usize, size.height as usize);
        Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709).unwrap()
    };
    compute_frame_ssimulacra2(frame(a), frame(b)).unwrap()
}

/// The pixel without the colour of what cannot be seen.
fn seen(pixel: [u8; 4], alpha_max: u8) -> [u8; 4] {
    if pixel[3] <= alpha_max { [0; 4] } else { pixel }
}

#[test]
fn lossless_is_exact() {
    for layout in LAYOUTS {
        for (width, height) in [(1, 1), (1, 33), (33, 1), (17, 23), (64, 64)] {
            let picture = noise(width, height, layout);
            let right = wide(&picture);
            let (_, png) = opened(&still(&picture, &settings(Format::Png, 1), &work()).unwrap());
            assert_eq!(png, right, "PNG {layout:?} {width}x{height}");
            let (_, webp) = opened(&still(&picture, &lossless(Format::WebP), &work()).unwrap());
            let (webp, right): (Vec<_>, Vec<_>) =
                webp.into_iter().zip(right).map(|(a, b)| (seen(a, 0), seen(b, 0))).unzip();
            assert_eq!(webp, right, "WebP {layout:?} {width}x{height}");
        }
    }
}

/// Pictures that are kept to make variants of: JPEG with all its chroma, WebP without loss, made quickly.
#[test]
fn what_is_read_back_keeps_its_colours() {
    // Red and blue columns of one pixel: half the chroma would make them one purple.
    let size = Size::new(64, 64);
    let columns = |red: [u8; 4], blue: [u8; 4]| {
        (0..64 * 64).flat_map(|at| if at % 2 == 0 { red } else { blue }).collect::<Vec<u8>>()
    };
    let picture = Picture::srgb8(size, Layout::Rgba, columns([220, 30, 40, 255], [40, 60, 230, 255]));
    let worst = |settings: &Settings| {
        let (_, found) = opened(&still(&picture, settings, &work()).unwrap());
        found.iter().zip(wide(&picture)).flat_map(|(a, b)| (0..3).map(move |at| a[at].abs_diff(b[at]))).max().unwrap()
    };
    let jpeg = settings(Format::Jpeg, 85);
    assert!(worst(&jpeg) > 60, "4:2:0: {}", worst(&jpeg));
    assert!(worst(&Settings { chroma: Chroma::Full, ..jpeg.clone() }) < 20, "4:4:4");

    // A photo with alpha.
    let mut photo = photo();
    photo.samples = Samples::U8(wide(&photo).into_iter().flat_map(|[r, g, b, _]| [r, g, b, g.max(1)]).collect());
    photo.layout = Layout::Rgba;
    let right = wide(&photo);
    let usual = still(&photo, &lossless(Format::WebP), &work()).unwrap();
    let quick = Settings { effort: Effort::Quick, ..lossless(Format::WebP) };
    let quick = still(&photo, &quick, &work()).unwrap();
    assert_eq!(opened(&quick).1, right);
    assert!(quick != usual && quick.len() * 100 < usual.len() * 130, "{} and {} bytes", quick.len(), usual.len());
}

#[test]
fn few_colours_make_a_small_exact_png() {
    for (colours, alpha, bytes_max) in
        [(2, false, 400), (4, true, 700), (16, true, 1200), (200, true, 6000), (256, false, 6000)]
    {
        let samples = (0..64 * 64u32)
            .flat_map(|at| {
                let index = (at / 8 + at / 640) % colours;
                let opacity = if alpha && index % 3 == 0 { (index * 7 % 250) as u8 } else { 255 };
                [(index * 37 % 256) as u8, index as u8, (255 - index) as u8, opacity]
            })
            .collect();
        let picture = Picture::srgb8(Size::new(64, 64), Layout::Rgba, samples);
        let file = still(&picture, &settings(Format::Png, 80), &work()).unwrap();
        assert_eq!(opened(&file).1, wide(&picture), "{colours}");
        assert_eq!(file[25], 3, "colour type of {colours} colours");
        assert!(file.len() < bytes_max, "{colours}: {} bytes", file.len());
        let small = Settings { effort: Effort::Small, ..settings(Format::Png, 80) };
        let small = still(&picture, &small, &work()).unwrap();
        assert_eq!(opened(&small).1, wide(&picture), "{colours}");
        assert!(small.len() <= file.len(), "{colours}: {} bytes, usually {}", small.len(), file.len());
    }
}

#[test]
fn a_photo_keeps_its_looks() {
    let photo = photo();
    let right = wide(&photo);
    for (format, quality, score_min, bytes_max) in [
        (Format::Jpeg, 80, 70.0, 40_000),
        (Format::Jpeg, 95, 85.0, 90_000),
        (Format::WebP, 80, 65.0, 32_000),
        (Format::Avif, 60, 70.0, 30_000),
        (Format::Avif, 80, 80.0, 45_000),
        (Format::Avif, 99, 86.0, 150_000),
        (Format::Gif, 80, 20.0, 70_000),
    ] {
        let file = still(&photo, &settings(format, quality), &work()).unwrap();
        let (header, found) = opened(&file);
        assert_eq!((header.format, header.alpha), (format, false));
        let score = score(&right, &found, photo.size);
        println!("{format:?} q{quality}: {} bytes, {score:.1}", file.len());
        assert!(score >= score_min, "{format:?} q{quality}: {score}");
        assert!(file.len() <= bytes_max, "{format:?} q{quality}: {} bytes", file.len());
    }
    let of = |progressive| still(&photo, &Settings { progressive, ..settings(Format::Jpeg, 80) }, &work()).unwrap();
    let (header, found) = opened(&of(true));
    assert!(header.progressive && !opened(&of(false)).0.progressive);
    // The two are read by different decoders, whose inverse transforms round differently.
    let plain = opened(&of(false)).1;
    assert!(found.iter().flatten().zip(plain.iter().flatten()).all(|(a, b)| a.abs_diff(*b) <= 4));
}

/// What is pressed harder is smaller, is seen as well, and is the same every time.
#[test]
fn small_is_smaller_and_no_worse() {
    let photo = photo();
    let (_, right) = opened(&still(&photo, &settings(Format::Png, 0), &work()).unwrap());
    for (format, lossless) in [(Format::Jpeg, false), (Format::WebP, true), (Format::Png, true)] {
        let of = |effort| still(&photo, &Settings { effort, lossless, ..settings(format, 80) }, &work()).unwrap();
        let (usual, small) = (of(Effort::Usual), of(Effort::Small));
        let (ours, theirs) = (opened(&small), opened(&usual));
        println!("{format:?}, lossless {lossless}: {} bytes, usually {}", small.len(), usual.len());
        let no_more = usual.len() - usize::from(format != Format::WebP);
        assert!(small.len() <= no_more, "{format:?}: {} bytes, usually {}", small.len(), usual.len());
        assert_eq!(ours.0.progressive, format == Format::Jpeg, "{format:?}");
        if lossless {
            assert!(ours.1 == right, "{format:?} loses something");
        } else {
            let (ours, theirs) = (score(&right, &ours.1, photo.size), score(&right, &theirs.1, photo.size));
            assert!(ours > theirs - 0.5, "{format:?}: {ours:.1}, usually {theirs:.1}");
        }
        assert!(small == of(Effort::Small));
    }
}

/// Every layout keeps its pixels, those that nobody sees too; and gray ones with a profile for RGB stay RGB.
#[test]
fn small_pngs_lose_nothing() {
    let (icc, exif) = (moxcms::ColorProfile::new_display_p3().encode().unwrap(), strip::tests::exif_block());
    let small = Settings { effort: Effort::Small, ..settings(Format::Png, 80) };
    for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
        for (width, height) in [(1, 1), (33, 7), (64, 64)] {
            let picture = noise(width, height, layout);
            assert_eq!(
                opened(&still(&picture, &small, &work()).unwrap()).1,
                wide(&picture),
                "{layout:?} {width}x{height}"
            );
        }
    }
    let small = Settings { icc: Some(icc.into()), exif: Some(exif.into()), ..small };
    let samples = (0..64 * 64u32).flat_map(|at| [(at * at % 251) as u8; 3]).collect();
    let gray = Picture::srgb8(Size::new(64, 64), Layout::Rgb, samples);
    let (header, found) = opened(&still(&gray, &small, &work()).unwrap());
    assert_ne!(header.model, decode::Model::Gray);
    assert_eq!((header.icc, header.exif, found), (small.icc, small.exif, wide(&gray)));
}

#[test]
fn alpha_and_odd_sizes_survive() {
    for format in WRITABLE {
        for (width, height) in [(1, 1), (1, 7), (9, 1), (2, 3), (15, 17), (65, 33)] {
            for layout in LAYOUTS {
                // Smooth, left half opaque, right half transparent.
                let picture = noise(width, height, layout);
                let mut samples = vec![140u8; picture.samples.len()];
                let channels = layout.channels();
                if layout.has_alpha() {
                    for (at, pixel) in samples.chunks_exact_mut(channels).enumerate() {
                        pixel[channels - 1] = if (at as u32 % width) * 2 < width { 255 } else { 0 };
                    }
                }
                let picture = Picture::srgb8(picture.size, layout, samples);
                let file = still(&picture, &settings(format, 85), &work())
                    .unwrap_or_else(|error| panic!("{format:?} {layout:?} {width}x{height}: {error}"));
                let (header, found) = opened(&file);
                assert_eq!(header.size, picture.size);
                for (found, right) in found.iter().zip(wide(&picture)) {
                    let right = match (format, right[3]) {
                        (Format::Jpeg, 0) => [255; 4],
                        _ => right,
                    };
                    let worst = seen(*found, 2).iter().zip(seen(right, 2)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                    let most = if format == Format::Jpeg && layout.has_alpha() { 40 } else { 8 };
                    assert!(worst <= most, "{format:?} {layout:?} {width}x{height}: {found:?} {right:?}");
                }
            }
        }
    }
}

/// In lossy WebP too, whether it is kept as it is or as what it is off its gradient.
#[test]
fn alpha_is_exact_in_lossy_webp() {
    let shapes: [(&str, fn(u32, u32) -> u8); 4] = [
        ("few values", |x, y| if (x / 5 + y / 3) % 2 == 0 { 255 } else { (x / 5 % 3 * 60) as u8 }),
        ("soft", |x, y| ((x * 3 + y * 2) / 4).min(255) as u8),
        ("steep", |x, y| (x * 37 + y * 91) as u8),
        ("one pixel", |x, y| if (x, y) == (2, 0) { 7 } else { 255 }),
    ];
    for (width, height) in [(1, 1), (1, 40), (40, 1), (3, 2), (97, 61), (300, 200)] {
        for (name, alpha) in shapes {
            let pixel = |at: u32| [90, 120, 200, alpha(at % width, at / width)];
            let samples = (0..width * height).flat_map(pixel).collect();
            let picture = Picture::srgb8(Size::new(width, height), Layout::Rgba, samples);
            let (_, found) = opened(&still(&picture, &settings(Format::WebP, 60), &work()).unwrap());
            let of = |pixels: &[[u8; 4]]| pixels.iter().map(|pixel| pixel[3]).collect::<Vec<u8>>();
            assert!(of(&found) == of(&wide(&picture)), "{name} {width}x{height}");
        }
    }
}

#[test]
fn equal_input_makes_equal_bytes() {
    let photo = photo();
    for format in WRITABLE {
        let file = || still(&photo, &settings(format, 70), &work()).unwrap();
        assert!(file() == file(), "{format:?}");
    }
}

#[test]
fn metadata_arrives() {
    let exif: Arc<[u8]> = strip::tests::exif_block().into();
    let icc: Arc<[u8]> = moxcms::ColorProfile::new_display_p3().encode().unwrap().into();
    let picture = noise(20, 20, Layout::Rgba);
    for (format, lossless, holds_icc) in [
        (Format::Jpeg, false, true),
        (Format::Png, false, true),
        (Format::WebP, false, true),
        (Format::WebP, true, true),
        (Format::Avif, false, false),
    ] {
        let plain = Settings { lossless, ..settings(format, 80) };
        let with = Settings { exif: Some(exif.clone()), icc: Some(icc.clone()), ..plain.clone() };
        let (header, found) = opened(&still(&picture, &with, &work()).unwrap());
        assert_eq!(header.exif.as_deref(), Some(&*exif), "{format:?}");
        if holds_icc {
            assert_eq!(header.icc.as_deref(), Some(&*icc), "{format:?}");
        }
        let (header, same) = opened(&still(&picture, &plain, &work()).unwrap());
        assert_eq!((header.exif, header.icc, found == same), (None, None, true), "{format:?}");
        assert_eq!(header.alpha, format != Format::Jpeg, "{format:?}");
    }
    // A profile of several markers.
    let long: Arc<[u8]> = icc.iter().copied().chain((0..200_000u32).map(|at| (at % 251) as u8)).collect();
    let file = still(&picture, &Settings { icc: Some(long.clone()), ..settings(Format::Jpeg, 80) }, &work()).unwrap();
    assert!(opened(&file).0.icc.as_deref() == Some(&*long));
}

#[test]
fn animations_come_back() {
    let size = Size::new(24, 18);
    // A square that moves over a transparent ground and leaves holes behind it, then an opaque frame.
    let frames: Vec<Frame> = (0..6u32)
        .map(|step| {
            let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y))).flat_map(|(x, y)| {
                let inside = (step * 3..step * 3 + 6).contains(&x) && (4..12).contains(&y);
                if inside {
                    [200, 10 * step as u8, 30, 255]
                } else if step == 5 {
                    [0, 0, 255, 255]
                } else {
                    [0; 4]
                }
            });
            let picture = Picture::srgb8(size, Layout::Rgba, pixels.collect());
            Frame { picture, delay_ms: 33 + step * 10 }
        })
        .collect();
    for format in [Format::Gif, Format::WebP] {
        for loops in [0, 1, 5] {
            let mut animation = animation(size, loops, &lossless(format)).unwrap();
            for frame in &frames {
                animation.push(frame, &work()).unwrap();
            }
            let file = animation.finish().unwrap();
            let limits = Limits::default();
            let header = decode::probe(&file, &limits).unwrap();
            assert_eq!((header.size, header.frames, header.loops), (size, 6, loops), "{format:?}");
            let mut found = decode::frames(&file, &header, &limits).unwrap();
            let mut total_ms = 0;
            for frame in &frames {
                let back = found.next(&work()).unwrap().unwrap();
                let (back_pixels, right): (Vec<_>, Vec<_>) = wide(&back.picture)
                    .into_iter()
                    .zip(wide(&frame.picture))
                    .map(|(a, b)| (seen(a, 0), seen(b, 0)))
                    .unzip();
                assert_eq!(back_pixels, right, "{format:?}");
                assert!(back.delay_ms.abs_diff(frame.delay_ms) <= 10, "{format:?} {}", back.delay_ms);
                total_ms += back.delay_ms;
            }
            assert!(found.next(&work()).unwrap().is_none() && !found.damaged());
            // Hundredths of a second are rounded, but not each time in the same direction.
            assert!(total_ms.abs_diff(frames.iter().map(|frame| frame.delay_ms).sum()) <= 5, "{format:?} {total_ms}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for format in WRITABLE {
        let side = side_max(format).saturating_add(1);
        let found = animation(Size::new(side, 1), 0, &settings(format, 80));
        assert!(matches!(found, Err(Error::TooLarge { .. })), "{format:?}");
    }
    let wide = Picture::srgb8(Size::new(16_384, 1), Layout::Gray, vec![0; 16_384]);
    assert!(matches!(
        still(&wide, &settings(Format::WebP, 80), &work()),
        Err(Error::TooLarge { side_max: 16_383, .. })
    ));
    assert!(still(&wide, &settings(Format::Jpeg, 80), &work()).is_ok());
    let pixel = noise(1, 1, Layout::Rgb);
    assert!(matches!(still(&pixel, &settings(Format::Tiff, 80), &work()), Err(Error::Encoder { .. })));
    let cancelled = work();
    cancelled.cancel();
    for format in WRITABLE {
        let found = still(&pixel, &settings(format, 80), &cancelled);
        assert!(matches!(found, Err(Error::Stopped(Stopped::Cancelled))), "{format:?}");
    }
    assert_eq!(pixel.colour, ColourSpace::Srgb);
}

/// What a fuzzer would try first.
#[test]
fn encoders_of_our_own_take_what_comes() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..400 {
        let mut data: Vec<u8> = (0..random.usize(0..3000)).map(|_| random.u8(..)).collect();
        if round % 3 == 0 {
            data.iter_mut().skip(4).for_each(|value| *value = if *value > 127 { 255 } else { 0 });
        }
        super::fuzz::picture(&data);
    }
}

#[test]
fn webp_stops_on_the_way() {
    let big = noise(1500, 1500, Layout::Rgb);
    let work = Work::until(Deadline::after(Duration::from_millis(60)));
    let begun = std::time::Instant::now();
    let found = still(&big, &settings(Format::WebP, 90), &work);
    assert!(matches!(found, Err(Error::Stopped(Stopped::Deadline))));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// The table of `docs/qualities.md`. Reads a folder of JPEGs named by FOVEA_PHOTOS, reduces each to 800 pixels in linear light,
/// and prints for every format and quality the mean and worst SSIMULACRA2 against that, bytes, and milliseconds.
#[test]
#[ignore = "takes minutes, and photos that the project does not ship"]
fn qualities_table() {
    use crate::base::Orientation;
    use crate::plan::Plan;
    use crate::transform::{self, Light};

    let folder = std::env::var("FOVEA_PHOTOS").expect("FOVEA_PHOTOS names a folder of JPEGs");
    let mut photos = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let header = decode::probe(&bytes, &Limits::default()).unwrap();
        let decoded = decode::decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work()).unwrap();
        let plan = Plan::within(800, 20_000);
        let geometry = transform::geometry(header.size, Orientation::Upright, false, &plan).unwrap();
        photos.push(
            transform::apply(decoded.picture, decoded.covers, &geometry, &plan, Light::Linear, None, &work()).unwrap(),
        );
    }
    println!("| format | quality | mean | worst | bytes | ms |");
    for (format, qualities) in [
        (Format::Jpeg, vec![45, 55, 65, 68, 69, 70, 75, 80, 85, 90, 95]),
        (Format::WebP, vec![45, 55, 65, 70, 75, 78, 79, 80, 85, 90, 95]),
        (Format::Avif, vec![30, 40, 45, 50, 55, 60, 63, 65, 70, 75, 80, 90, 95, 97, 98]),
    ] {
        for quality in qualities {
            let (mut scores, mut bytes, mut took) = (Vec::new(), 0, Duration::ZERO);
            for photo in &photos {
                let begun = std::time::Instant::now();
                let file = still(photo, &settings(format, quality), &work()).unwrap();
                took += begun.elapsed();
                bytes += file.len();
                scores.push(score(&wide(photo), &opened(&file).1, photo.size));
            }
            let count = scores.len();
            let mean = scores.iter().sum::<f64>() / count as f64;
            let worst = scores.iter().copied().fold(f64::INFINITY, f64::min);
            let ms = took.as_secs_f64() * 1000.0 / count as f64;
            println!("| {format:?} | {quality} | {mean:.1} | {worst:.1} | {} | {ms:.1} |", bytes / count);
        }
    }
}
