//! Every format from real small files: most show four flat quarters whose colours are known (`tests/fixtures`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::base::Deadline;
use crate::pixels::{Layout, Row, Samples, Sink};

const RED: [u16; 4] = [200, 30, 40, 255];
const GREEN: [u16; 4] = [30, 160, 60, 255];
const BLUE: [u16; 4] = [40, 60, 200, 255];
const GRAY: [u16; 4] = [128, 128, 128, 255];
const QUARTERS: [[u16; 4]; 4] = [RED, GREEN, BLUE, GRAY];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(20)))
}

fn open(name: &str) -> (Vec<u8>, Header, Decoded) {
    let bytes = read(name);
    let limits = Limits::default();
    let header = probe(&bytes, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
    let decoded = decode(&bytes, &header, &Want::all(&header), &limits, &work());
    let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
    (bytes, header, decoded)
}

/// The values of one pixel.
fn pixel(picture: &Picture, x: u32, y: u32) -> Vec<u16> {
    let channels = picture.layout.channels();
    let at = (y as usize * picture.size.width as usize + x as usize) * channels;
    match &picture.samples {
        Samples::U8(values) => values[at..at + channels].iter().map(|value| u16::from(*value)).collect(),
        Samples::U16(values) => values[at..at + channels].to_vec(),
    }
}

/// The middle of each quarter.
fn middles(picture: &Picture) -> [Vec<u16>; 4] {
    let Size { width, height } = picture.size;
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| pixel(picture, width * x / 4, height * y / 4))
}

fn near(found: &[u16], expected: &[u16], tolerance: u16) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= tolerance)
}

/// Decodes a file and holds size, layout and the quarters' colours against what it should show.
fn check(name: &str, layout: Layout, quarters: &[&[u16]; 4], tolerance: u16) -> (Header, Decoded) {
    let (_, header, decoded) = open(name);
    let picture = &decoded.picture;
    assert_eq!(picture.layout, layout, "{name}");
    assert_eq!(header.size, picture.size, "{name}");
    assert_eq!(decoded.covers, whole(header.size), "{name}");
    assert_eq!(header.alpha, layout.has_alpha(), "{name}");
    assert!(!decoded.damaged, "{name}");
    assert!(bytes_of_work(&header, &Want::all(&header)) >= picture.samples.len() as u64, "{name}");
    for (found, expected) in middles(picture).iter().zip(quarters) {
        assert!(near(found, expected, tolerance), "{name}: {found:?} is not {expected:?}");
    }
    (header, decoded)
}

fn rgb(tolerance: u16, names: &[&str]) {
    for name in names {
        let (header, _) = check(name, Layout::Rgb, &QUARTERS.each_ref().map(|colour| &colour[..3]), tolerance);
        assert!(matches!(header.size, Size { width: 64, height: 48 } | Size { width: 48, height: 64 }), "{name}");
    }
}

#[test]
fn jpeg_kinds() {
    rgb(4, &["baseline_420.jpg", "baseline_422.jpg", "baseline_444.jpg", "restart.jpg", "progressive.jpg", "icc.jpg"]);
    check("gray.jpg", Layout::Gray, &[&[10], &[90], &[170], &[250]], 3);
    let inks: [&[u16]; 4] = [&[0, 0, 0, 0], &[255, 0, 0, 0], &[0, 255, 255, 0], &[0, 0, 0, 200]];
    let (header, decoded) = check("cmyk.jpg", Layout::Cmyk, &inks, 4);
    assert_eq!((header.model, decoded.picture.colour), (Model::Cmyk, ColourSpace::DeviceCmyk));
    let (header, decoded) = check("odd.jpg", Layout::Rgb, &QUARTERS.each_ref().map(|colour| &colour[..3]), 8);
    assert_eq!((header.size, decoded.picture.size), (Size::new(61, 47), Size::new(61, 47)));
    assert!(probe(&read("progressive.jpg"), &Limits::default()).unwrap().progressive);
    assert!(!probe(&read("baseline_420.jpg"), &Limits::default()).unwrap().progressive);
    let (_, header, decoded) = open("icc.jpg");
    let profile = header.icc.expect("the profile");
    assert_eq!(&profile[36..40], b"acsp");
    assert_eq!(decoded.picture.colour, ColourSpace::Icc(profile));
}

/// Gathers rows of samples into a picture.
#[derive(Default)]
struct Gathered {
    head: Option<Head>,
    narrow: Vec<u8>,
    wide: Vec<u16>,
}

impl Sink for Gathered {
    fn begin(&mut self, head: &Head) -> Result<(), Stopped> {
        *self = Self { head: Some(head.clone()), ..Self::default() };
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        match row {
            Row::U8(values) => self.narrow.extend_from_slice(values),
            Row::U16(values) => self.wide.extend_from_slice(values),
            Row::Light(_) => unreachable!("samples were asked for"),
        }
        Ok(())
    }
}

/// Every fixture row by row shows what it shows whole; cut off too.
#[test]
fn rows_are_those_of_the_whole_picture() {
    let limits = Limits::default();
    let mut streamed = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let bytes = Bytes::from(bytes);
        for bytes in [&bytes, &bytes.slice(..bytes.len() * 3 / 4)] {
            let Ok(header) = probe(bytes, &limits) else { continue };
            let want = Want::all(&header);
            let Ok(whole) = decode(bytes, &header, &want, &limits, &work()) else { continue };
            let mut gathered = Gathered::default();
            let damaged = stream(bytes, &header, &want, Form::Samples, &limits, &work(), &mut gathered).unwrap();
            assert_eq!(damaged, whole.damaged, "{path:?}");
            let head = gathered.head.unwrap();
            assert_eq!((head.size, head.covers), (whole.picture.size, whole.covers), "{path:?}");
            assert_eq!((head.layout, &head.colour), (whole.picture.layout, &whole.picture.colour), "{path:?}");
            match (&whole.picture.samples, head.depth) {
                (Samples::U8(values), Depth::Eight) => assert!(*values == gathered.narrow, "{path:?}"),
                (Samples::U16(values), Depth::Sixteen) => assert!(*values == gathered.wide, "{path:?}"),
                // Whether 16 bits hold no more than 8 is seen when all are there.
                (Samples::U8(values), _) => {
                    assert!(values.iter().map(|value| u16::from(*value) * 257).eq(gathered.wide), "{path:?}");
                }
                _ => panic!("{path:?}"),
            }
            streamed += u32::from(header.streams);
        }
    }
    assert!(streamed > 40, "{streamed}");
}

#[test]
fn jpeg_orientations() {
    for orientation in 1..=8 {
        let (_, header, decoded) = open(&format!("orientation_{orientation}.jpg"));
        assert_eq!(header.orientation.exif(), orientation);
        assert_eq!(header.upright(), Size::new(64, 48));
        // Where the stored picture has what stands top left when upright.
        let corner = [0, 0, 1, 3, 2, 0, 2, 3, 1][orientation as usize];
        let found = &middles(&decoded.picture)[corner];
        assert!(near(found, &RED[..3], 8), "orientation {orientation}: {found:?}");
    }
}

/// A wanted size, and the size and eighths of the picture that comes back.
#[test]
fn jpeg_reduces_as_far_as_the_margin_allows() {
    let limits = Limits::default();
    for (name, target, margin_percent, eighths) in [
        ("smooth.jpg", (301, 203), 100, 8),
        ("smooth.jpg", (300, 202), 0, 8),
        ("smooth.jpg", (150, 101), 100, 4),
        ("smooth.jpg", (150, 102), 100, 5),
        ("smooth.jpg", (75, 50), 170, 4),
        ("smooth.jpg", (200, 135), 100, 8),
        ("smooth.jpg", (30, 20), 100, 1),
        ("smooth.jpg", (1, 1), 200, 1),
        ("smooth_progressive.jpg", (75, 50), 100, 2),
    ] {
        let bytes = read(name);
        let header = probe(&bytes, &limits).unwrap();
        let want = Want { target: Size::new(target.0, target.1), margin_percent, ..Want::all(&header) };
        let reduced = decode(&bytes, &header, &want, &limits, &work()).unwrap();
        let side = |side: u32| (side * eighths).div_ceil(8);
        assert_eq!(reduced.picture.size, Size::new(side(301), side(203)), "{name} {target:?}");
        assert_eq!(reduced.covers[2], f64::from(side(301)) * 8.0 / f64::from(eighths));
        // The gradient's value at a place follows from `covers`: red is x * 255 / 300, green y * 255 / 202.
        for (x, y) in [(0, 0), (side(301) / 2, side(203) / 2), (side(301) - 3, side(203) - 3)] {
            let found = pixel(&reduced.picture, x, y);
            let place = |at: u32| (f64::from(at) + 0.5) * 8.0 / f64::from(eighths) - 0.5;
            let expected = [(place(x) * 255.0 / 300.0) as u16, (place(y) * 255.0 / 202.0) as u16];
            assert!(near(&found[..2], &expected, 6), "{name} {target:?} at {x}, {y}: {found:?} is not {expected:?}");
        }
        assert!(bytes_of_work(&header, &want) > reduced.picture.samples.len() as u64);
    }
}

/// A segment with a reserved marker before the tables: libjpeg-turbo refuses such a file.
#[test]
fn jpeg_with_a_reserved_marker_is_rescued() {
    for (name, layout) in
        [("baseline_420.jpg", Layout::Rgb), ("progressive.jpg", Layout::Rgb), ("gray.jpg", Layout::Gray)]
    {
        let whole = open(name).2.picture;
        let mut bytes = read(name);
        bytes.splice(2..2, [0xff, 0x05, 0x00, 0x04, 1, 2]);
        let header = probe(&bytes, &Limits::default()).unwrap();
        let want = Want { target: Size::new(20, 15), margin_percent: 100, ..Want::all(&header) };
        let rescued = decode(&bytes, &header, &want, &Limits::default(), &work()).unwrap();
        assert!(rescued.damaged, "{name}");
        assert_eq!((rescued.picture.layout, rescued.picture.size), (layout, header.size));
        for (found, expected) in middles(&rescued.picture).iter().zip(middles(&whole)) {
            assert!(near(found, &expected, 4), "{name}: {found:?} is not {expected:?}");
        }
    }
}

#[test]
fn jpeg_cut_is_the_same_as_whole() {
    let limits = Limits::default();
    for name in ["smooth.jpg", "smooth_progressive.jpg"] {
        let bytes = read(name);
        let header = probe(&bytes, &limits).unwrap();
        let regions = [
            (0, 0, 40, 30),
            (17, 33, 60, 50),
            (150, 100, 1, 1),
            (240, 0, 61, 203),
            (260, 170, 41, 33),
            (0, 150, 301, 53),
        ];
        for ((x, y, width, height), shrink) in regions.into_iter().flat_map(|region| [1, 2, 4, 8].map(|n| (region, n)))
        {
            let region = Rect { x, y, width, height };
            let target = Size::new((width / shrink).max(1), (height / shrink).max(1));
            let want = Want { region, target, margin_percent: 100 };
            let cut = decode(&bytes, &header, &want, &limits, &work()).unwrap();
            let all = Want { region: header.size.rect(), target: Size::new(301 / shrink, 203 / shrink), ..want };
            let all = decode(&bytes, &header, &all, &limits, &work()).unwrap();
            let [left, top, wide, high] = cut.covers;
            let full = [f64::from(x), f64::from(y), f64::from(x + width), f64::from(y + height)];
            assert!(
                left <= full[0] && top <= full[1] && left + wide >= full[2] && top + high >= full[3],
                "{name} {want:?}"
            );
            let scale = f64::from(cut.picture.size.width) / wide;
            if (scale - f64::from(all.picture.size.width) / all.covers[2]).abs() > 1e-9 {
                continue;
            }
            let (left, top) = ((left * scale).round() as u32, (top * scale).round() as u32);
            let inside =
                (f64::from(x) * scale) as u32 - left..((f64::from(x + width) * scale) as u32).max(left + 1) - left;
            let down = (f64::from(y) * scale) as u32 - top..((f64::from(y + height) * scale) as u32).max(top + 1) - top;
            for (across, down) in inside.flat_map(|across| down.clone().map(move |down| (across, down))) {
                let expected = pixel(&all.picture, left + across, top + down);
                assert_eq!(pixel(&cut.picture, across, down), expected, "{name} {want:?} at {across}, {down}");
            }
        }
    }
}

#[test]
fn png_kinds() {
    for suffix in ["", "_interlaced"] {
        for (depth, values) in
            [(1, [0, 0, 0, 255]), (2, [0, 85, 170, 255]), (4, [0, 85, 170, 255]), (8, [0, 85, 170, 255])]
        {
            let quarters = values.map(|value| [value]);
            let (header, _) = check(
                &format!("gray{depth}{suffix}.png"),
                Layout::Gray,
                &quarters.each_ref().map(|value| &value[..]),
                0,
            );
            assert_eq!((header.bits, header.progressive), (depth, !suffix.is_empty()));
        }
        check(&format!("gray16{suffix}.png"), Layout::Gray, &[&[1], &[20_000], &[40_001], &[65_535]], 0);
        for name in ["rgb8", "palette2", "palette4", "palette8"] {
            rgb(0, &[&format!("{name}{suffix}.png")]);
        }
        let deep = QUARTERS.map(|colour| colour.map(|value| value * 257 - u16::from(value > 100)));
        check(&format!("rgb16{suffix}.png"), Layout::Rgb, &deep.each_ref().map(|colour| &colour[..3]), 0);
        let mut deep_alpha = deep;
        (0..4).for_each(|at| deep_alpha[at][3] = 65_535 - 100 * at as u16);
        check(&format!("rgba16{suffix}.png"), Layout::Rgba, &deep_alpha.each_ref().map(|colour| &colour[..]), 0);
        for name in ["rgba8", "palette8_transparent"] {
            check(&format!("{name}{suffix}.png"), Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 0);
        }
    }
    check("gray_alpha8.png", Layout::GrayAlpha, &[&[10, 255], &[90, 128], &[170, 0], &[250, 255]], 0);
    check("gray_alpha16.png", Layout::GrayAlpha, &[&[10, 65_535], &[90, 128], &[170, 0], &[250, 255]], 0);
    check("gray8_transparent.png", Layout::GrayAlpha, &[&[10, 255], &[90, 0], &[170, 255], &[250, 255]], 0);
    rgb(0, &["rgb16_of_8_bits.png", "icc.png", "exif6.png"]);
    assert!(matches!(open("rgb16_of_8_bits.png").2.picture.samples, Samples::U8(_)));
    assert!(probe(&read("icc.png"), &Limits::default()).unwrap().icc.is_some());
    assert_eq!(probe(&read("exif6.png"), &Limits::default()).unwrap().orientation, Orientation::Rotate90);
    assert_eq!(probe(&read("palette4.png"), &Limits::default()).unwrap().model, Model::Palette(4));
}

/// The quarters with alpha 255, 128, 0, 255.
fn transparent() -> [[u16; 4]; 4] {
    let mut quarters = QUARTERS;
    (quarters[1][3], quarters[2][3]) = (128, 0);
    quarters
}

#[test]
fn webp_kinds() {
    rgb(4, &["lossy.webp", "exif6_icc.webp"]);
    rgb(0, &["lossless.webp"]);
    check("lossless_alpha.webp", Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 0);
    check("lossy_alpha.webp", Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 10);
    let header = probe(&read("exif6_icc.webp"), &Limits::default()).unwrap();
    assert_eq!(header.orientation, Orientation::Rotate90);
    assert!(header.icc.is_some());
}

#[test]
fn avif_kinds() {
    rgb(
        6,
        &["rgb420.avif", "rgb422.avif", "rgb444.avif", "limited.avif", "icc.avif", "identity.avif", "p3_bt709.avif"],
    );
    rgb(6, &["sequence.avif"]);
    check("gray.avif", Layout::Gray, &[&[10], &[90], &[170], &[250]], 3);
    check("alpha.avif", Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 6);
    let (header, _) = check("odd.avif", Layout::Rgb, &QUARTERS.each_ref().map(|colour| &colour[..3]), 6);
    assert_eq!(header.size, Size::new(61, 47));
    let (header, _) = check("grid.avif", Layout::Rgb, &QUARTERS.each_ref().map(|colour| &colour[..3]), 6);
    assert_eq!(header.size, Size::new(128, 128));
    let deep = transparent().map(|colour| colour.map(|value| value * 257));
    for (name, bits) in [("ten_444.avif", 10), ("twelve_420.avif", 12), ("pq_bt2020.avif", 10)] {
        let (header, decoded) = check(name, Layout::Rgb, &deep.each_ref().map(|colour| &colour[..3]), 800);
        assert_eq!(header.bits, bits);
        assert!(matches!(decoded.picture.samples, Samples::U16(_)));
    }
    check("ten_alpha.avif", Layout::Rgba, &deep.each_ref().map(|colour| &colour[..]), 1000);
    // Where alpha is 0, dividing by it gives nothing back.
    let mut divided = transparent();
    divided[2] = [0; 4];
    check("premultiplied.avif", Layout::Rgba, &divided.each_ref().map(|colour| &colour[..]), 8);
    for (name, has) in [("icc.avif", true), ("p3_bt709.avif", true), ("pq_bt2020.avif", true), ("rgb420.avif", false)] {
        let header = probe(&read(name), &Limits::default()).unwrap();
        assert_eq!(header.icc.is_some(), has, "{name}");
        if let Some(profile) = header.icc {
            assert!(moxcms::ColorProfile::new_from_slice(&profile).is_ok(), "{name}");
        }
    }
}

#[test]
fn avif_orientations() {
    for orientation in 1..=8 {
        let header = probe(&read(&format!("orientation_{orientation}.avif")), &Limits::default()).unwrap();
        assert_eq!(header.orientation.exif(), orientation);
    }
}

fn play(name: &str) -> (Header, Vec<Frame>) {
    let bytes = read(name);
    let header = probe(&bytes, &Limits::default()).unwrap();
    let mut animation = frames(&bytes, &header, &Limits::default()).unwrap();
    let mut shown = Vec::new();
    while let Some(frame) = animation.next(&work()).unwrap() {
        shown.push(frame);
    }
    assert!(!animation.damaged());
    assert_eq!(shown.len() as u32, header.frames);
    (header, shown)
}

#[test]
fn webp_animation() {
    let (header, shown) = play("animated.webp");
    assert_eq!((header.frames, header.loops), (3, 3));
    assert_eq!(shown.iter().map(|frame| frame.delay_ms).collect::<Vec<_>>(), [120, 100, 250]);
    let first = |frame: &Frame| pixel(&frame.picture, 16, 12)[..3].to_vec();
    assert_eq!(first(&shown[0]), RED[..3]);
    assert_eq!(first(&shown[1]), GREEN[..3]);
    assert_eq!(first(&shown[2]), BLUE[..3]);
    rgb(0, &["animated.webp"]);
}

#[test]
fn gif_composes_and_disposes() {
    let (header, shown) = play("disposal.gif");
    assert_eq!((header.frames, header.loops, header.size), (4, 3, Size::new(16, 12)));
    assert_eq!(shown.iter().map(|frame| frame.delay_ms).collect::<Vec<_>>(), [100, 100, 200, 20]);
    let clear = [0, 0, 0, 0];
    // Frame by frame, what stands at (1, 1), (5, 4), (9, 7) and (15, 11).
    let expected =
        [[RED, RED, RED, RED], [RED, GREEN, GREEN, RED], [BLUE, BLUE, clear, RED], [RED, clear, GREEN, GREEN]];
    for (number, (frame, expected)) in shown.iter().zip(expected).enumerate() {
        assert_eq!(frame.picture.layout, Layout::Rgba);
        for ((x, y), expected) in [(1, 1), (5, 4), (9, 7), (15, 11)].into_iter().zip(expected) {
            // The fourth frame ends at column 15, row 11.
            assert_eq!(pixel(&frame.picture, x, y), expected, "frame {number} at {x}, {y}");
        }
    }
    rgb(3, &["still.gif"]);
    let first = open("disposal.gif").2.picture;
    assert_eq!(first, shown[0].picture);
}

#[test]
fn animations_are_cut_at_the_limits() {
    for (name, limits, expected) in [
        ("disposal.gif", Limits { frames_max: 2, ..Limits::default() }, 2),
        ("animated.webp", Limits { frames_max: 1, ..Limits::default() }, 1),
    ] {
        let bytes = read(name);
        let header = probe(&bytes, &limits).unwrap();
        assert_eq!(header.frames, expected, "{name}");
        let mut animation = frames(&bytes, &header, &limits).unwrap();
        let shown = std::iter::from_fn(|| animation.next(&work()).unwrap()).count();
        assert_eq!(shown as u32, expected, "{name}");
    }
}

#[test]
fn limits_are_held_before_anything_is_decoded() {
    for name in
        ["baseline_420.jpg", "rgb8.png", "lossy.webp", "disposal.gif", "rgb420.avif", "rgb24.bmp", "rgb8_raw.tiff"]
    {
        let bytes = read(name);
        for limits in [
            Limits { pixels_max: 16 * 12 - 1, ..Limits::default() },
            Limits { side_max: 15, ..Limits::default() },
            Limits { source_bytes_max: 100, ..Limits::default() },
        ] {
            assert!(matches!(probe(&bytes, &limits), Err(Error::TooLarge(_))), "{name} {limits:?}");
        }
    }
    let tight = Limits { metadata_bytes_max: 300, ..Limits::default() };
    for name in ["icc.jpg", "icc.png", "exif6_icc.webp", "icc.avif"] {
        assert!(matches!(probe(&read(name), &tight), Err(Error::TooLarge(_))), "{name}");
    }
}

#[test]
fn work_that_nobody_waits_for_is_not_begun() {
    let bytes = read("baseline_420.jpg");
    let header = probe(&bytes, &Limits::default()).unwrap();
    let work = work();
    work.cancel();
    let stopped = decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work);
    assert!(matches!(stopped, Err(Error::Stopped(Stopped::Cancelled))));
}

#[test]
fn tiff_kinds() {
    rgb(0, &["rgb8_raw.tiff", "rgb8_lzw.tiff", "rgb8_deflate.tiff", "orientation_6.tiff", "rgb8_tiled.tiff"]);
    rgb(0, &["rgb8_planar.tiff", "rgb8_planar_tiled.tiff", "rgb8_extra.tiff"]);
    rgb(6, &["rgb8_jpeg.tiff", "rgb8_jpeg_tiled.tiff"]);
    let wide = QUARTERS.map(|colour| [colour[0] * 257, colour[1] * 257, colour[2] * 257]);
    check("rgb16.tiff", Layout::Rgb, &wide.each_ref().map(|colour| &colour[..]), 0);
    check("rgba8.tiff", Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 0);
    check("gray8.tiff", Layout::Gray, &[&[10], &[90], &[170], &[250]], 0);
    check("gray1.tiff", Layout::Gray, &[&[0], &[0], &[255], &[255]], 0);
    check("gray16.tiff", Layout::Gray, &[&[1], &[20_000], &[40_001], &[65_535]], 0);
    check("gray8_white_is_zero.tiff", Layout::Gray, &[&[10], &[90], &[170], &[250]], 0);
    check("gray1_white_is_zero.tiff", Layout::Gray, &[&[255], &[0], &[255], &[0]], 0);
    let shades = [[10, 255], [90, 128], [170, 64], [250, 255]];
    check("gray_alpha8.tiff", Layout::GrayAlpha, &shades.each_ref().map(|shade| &shade[..]), 0);
    let wide = shades.map(|shade| shade.map(|value| value * 257));
    check("gray_alpha16_planar.tiff", Layout::GrayAlpha, &wide.each_ref().map(|shade| &shade[..]), 0);
    let inks = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 200]];
    let wide = inks.map(|ink| ink.map(|value| value * 257));
    check("cmyk16.tiff", Layout::Cmyk, &wide.each_ref().map(|ink| &ink[..]), 0);
    let inks = inks.each_ref().map(|ink| &ink[..]);
    let (header, decoded) = check("cmyk.tiff", Layout::Cmyk, &inks, 0);
    assert_eq!((header.model, decoded.picture.colour), (Model::Cmyk, ColourSpace::DeviceCmyk));
    let limits = Limits::default();
    assert_eq!(probe(&read("orientation_6.tiff"), &limits).unwrap().orientation, Orientation::Rotate90);
    assert!(probe(&read("rgb8_deflate.tiff"), &limits).unwrap().icc.is_some());
    for (name, colours) in
        [("palette8.tiff", 256), ("palette8_lzw.tiff", 256), ("palette8_narrow_map.tiff", 256), ("palette4.tiff", 16)]
    {
        rgb(0, &[name]);
        assert_eq!(probe(&read(name), &limits).unwrap().model, Model::Palette(colours), "{name}");
    }
    let striped = [&RED[..3], &GREEN[..3], &RED[..3], &GREEN[..3]];
    check("palette1_tiled.tiff", Layout::Rgb, &striped, 0);
}

#[test]
fn a_tiff_palette_without_its_colours_is_broken() {
    let whole = read("palette8_lzw.tiff");
    let tag = whole.windows(4).position(|entry| entry == [0x40, 1, 3, 0]).expect("a colour map");
    for count in [0_u32, 1, 767] {
        let mut cut = whole.clone();
        cut[tag + 4..tag + 8].copy_from_slice(&count.to_le_bytes());
        let header = probe(&cut, &Limits::default()).unwrap();
        let decoded = decode(&cut, &header, &Want::all(&header), &Limits::default(), &work());
        assert!(matches!(decoded, Err(Error::Broken { .. })), "{count} values: {decoded:?}");
    }
}

#[test]
fn bmp_kinds() {
    rgb(0, &["rgb24.bmp"]);
    rgb(3, &["palette8.bmp"]);
    assert!(matches!(probe(&read("palette8.bmp"), &Limits::default()).unwrap().model, Model::Palette(_)));
    let (_, header, decoded) = open("gray1.bmp");
    assert_eq!((header.size, pixel(&decoded.picture, 63, 47)), (Size::new(64, 48), vec![255, 255, 255]));
    check("rgba32.bmp", Layout::Rgba, &transparent().each_ref().map(|colour| &colour[..]), 0);
}

#[test]
fn svg_is_drawn_at_the_wanted_size() {
    let mut quarters = transparent();
    quarters[2] = [0; 4];
    let (_, header, decoded) = open("quarters.svg");
    assert_eq!((header.size, header.model), (Size::new(64, 48), Model::Vector));
    let found = middles(&decoded.picture);
    assert!(found.iter().zip(&quarters).all(|(found, expected)| near(found, expected, 2)), "{found:?}");
    let bytes = read("quarters.svg");
    let region = Rect { x: 16, y: 12, width: 32, height: 24 };
    let want = Want { region, target: Size::new(320, 120), margin_percent: 170 };
    let decoded = decode(&bytes, &header, &want, &Limits::default(), &work()).unwrap();
    assert_eq!((decoded.picture.size, decoded.covers), (want.target, [16.0, 12.0, 32.0, 24.0]));
    let found = middles(&decoded.picture);
    assert!(found.iter().zip(&quarters).all(|(found, expected)| near(found, expected, 2)), "{found:?}");
    assert_eq!(pixel(&decoded.picture, 159, 59)[..3], RED[..3]);
    assert_eq!(pixel(&decoded.picture, 160, 60)[..3], GRAY[..3]);
}

#[test]
fn svg_text_is_drawn_without_system_fonts() {
    let (_, header, decoded) = open("text.svg");
    assert_eq!(header.size, Size::new(100, 40));
    let dark = decoded.picture.as_u8().unwrap().chunks_exact(4).filter(|pixel| pixel[3] > 200).count();
    assert!((200..2_000).contains(&dark), "{dark} pixels of ink");
}

fn svg(inside: &str) -> Vec<u8> {
    format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="400" height="400">{inside}</svg>"#).into_bytes()
}

#[test]
fn svg_that_would_take_long_or_much_is_refused() {
    let circle = r#"<circle cx="200" cy="200" r="190" opacity="0.5"/>"#;
    let layers =
        |count: usize, inside: &str| svg(&(r#"<g opacity="0.9">"#.repeat(count) + inside + &"</g>".repeat(count)));
    for (name, bytes) in [
        (
            "turbulence",
            svg(
                r##"<filter id="f" width="5" height="5"><feTurbulence numOctaves="900"/></filter><rect width="400" height="400" filter="url(#f)"/>"##,
            ),
        ),
        (
            "morphology",
            svg(
                r##"<filter id="f"><feMorphology radius="90"/></filter><rect width="400" height="400" filter="url(#f)"/>"##,
            ),
        ),
        ("dashes", svg(r#"<path d="M0 0H400V400" stroke="red" stroke-dasharray="0.00001"/>"#)),
        (
            "pattern",
            svg(
                r##"<pattern id="p" width="1" height="1"><rect width="1" height="1"/></pattern><g transform="scale(1e5)"><rect width="1e4" height="1e4" fill="url(#p)"/></g>"##,
            ),
        ),
        ("layers", layers(80, circle)),
        ("entities", b"<svg xmlns='http://www.w3.org/2000/svg'><!-- <!ENTITY a 'aa'> --></svg>".to_vec()),
        ("many", svg(&circle.repeat(30_000))),
    ] {
        let limits = Limits::default();
        let begun = Instant::now();
        let result =
            probe(&bytes, &limits).and_then(|header| decode(&bytes, &header, &Want::all(&header), &limits, &work()));
        assert!(matches!(result, Err(Error::UnsupportedKind { .. })), "{name}: {result:?}", result = result.err());
        assert!(begun.elapsed() < Duration::from_secs(2), "{name}");
    }
    let bytes = layers(3, circle);
    let header = probe(&bytes, &Limits::default()).unwrap();
    assert!(decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work()).is_ok());
}

/// At the deepest nesting that is let through, on a stack half as large as a thread's.
#[test]
fn svg_nesting_does_not_exhaust_the_stack() {
    let deepest = (1..200).rev().map(|count| {
        svg(&(r#"<g opacity="0.99">"#.repeat(count) + "<rect width='4' height='4'/>" + &"</g>".repeat(count)))
    });
    let bytes = deepest.into_iter().find(|bytes| probe(bytes, &Limits::default()).is_ok()).unwrap();
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let header = probe(&bytes, &Limits::default()).unwrap();
        decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work()).is_ok()
    });
    assert!(thread.unwrap().join().unwrap());
}

#[test]
fn svg_sizes() {
    for (root, size) in [
        (r#"width="10mm" height="1in""#, (38, 96)),
        (r#"viewBox="0 0 30 60" width="100%""#, (30, 60)),
        (r#"viewBox="0 0 30 60" height="20""#, (10, 20)),
        ("", (300, 150)),
        (r#"width="1e9" height="5e8""#, (14_142, 7_071)),
    ] {
        let bytes = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" {root}><rect width="9" height="9"/></svg>"#);
        let header = probe(bytes.as_bytes(), &Limits::default()).unwrap();
        assert_eq!((header.size.width, header.size.height), size, "{root}");
    }
}

/// Overwrites bytes of a fixture.
fn patched(name: &str, at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = read(name);
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[test]
fn headers_that_lie_are_refused_at_once() {
    let frame = find(&read("baseline_420.jpg"), &[0xff, 0xc0]) + 5;
    let ispe = |width: u32| {
        let at = find(&read("rgb420.avif"), b"ispe") + 8;
        patched("rgb420.avif", at, &width.to_be_bytes())
    };
    for (name, bytes) in [
        ("a JPEG of 65 500 squared", read("hostile/lying_dims.jpg")),
        ("a JPEG of 9 000 squared", patched("baseline_420.jpg", frame, &[0x23, 0x28, 0x23, 0x28])),
        ("a PNG of 30 000 squared", read("hostile/bomb30k_1bit.png")),
        ("a PNG of 9 000 squared", patched("rgb8.png", 16, &[0, 0, 0x23, 0x28, 0, 0, 0x23, 0x28])),
        ("an AVIF 60 000 wide", ispe(60_000)),
        ("an AVIF 60 wide", ispe(60)),
        ("a BMP of 9 000 squared", patched("rgb24.bmp", 18, &[0x28, 0x23, 0, 0, 0x28, 0x23, 0, 0])),
        ("a WebP of 16 383 squared", patched("lossy.webp", 26, &[0xff, 0x3f, 0xff, 0x3f])),
    ] {
        let begun = Instant::now();
        let result = probe(&bytes, &Limits::default())
            .and_then(|header| decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work()));
        assert!(matches!(result, Err(Error::TooLarge(_) | Error::Broken { .. })), "{name}: {:?}", result.err());
        assert!(begun.elapsed() < Duration::from_secs(1), "{name}");
    }
}

#[test]
fn a_bomb_of_scans_is_refused() {
    let mut bytes = read("smooth_progressive.jpg");
    let last = (0..bytes.len() - 1).rfind(|at| bytes[*at..*at + 2] == [0xff, 0xda]).unwrap();
    let scan = bytes[last..bytes.len() - 2].to_vec();
    bytes.truncate(bytes.len() - 2);
    (0..200).for_each(|_| bytes.extend_from_slice(&scan));
    bytes.extend_from_slice(&[0xff, 0xd9]);
    let header = probe(&bytes, &Limits::default()).unwrap();
    let refused = decode(&bytes, &header, &Want::all(&header), &Limits::default(), &work());
    assert!(matches!(refused, Err(Error::TooLarge(_))));
}

#[test]
fn ten_thousand_frames_are_counted_without_unpacking() {
    let gif = read("disposal.gif");
    let first = find(&gif, &[0x21, 0xf9]);
    let second = first + 1 + find(&gif[first + 1..], &[0x21, 0xf9]);
    let mut bytes = gif[..first].to_vec();
    (0..10_000).for_each(|_| bytes.extend_from_slice(&gif[first..second]));
    bytes.push(b';');
    let begun = Instant::now();
    let header = probe(&bytes, &Limits::default()).unwrap();
    assert_eq!(header.frames, Limits::default().frames_max);
    assert!(begun.elapsed() < Duration::from_millis(200));
    let all = probe(&bytes, &Limits { frames_max: 50_000, ..Limits::default() }).unwrap();
    assert_eq!(all.frames, 10_000);
    let mut animation = frames(&bytes, &header, &Limits::default()).unwrap();
    assert_eq!(std::iter::from_fn(|| animation.next(&work()).unwrap()).count(), 1_000);
}

/// The decoders by the names of their folders under `tests/fuzz/corpus`.
const FUZZ: [(&str, fn(&[u8])); 8] = [
    ("jpeg", fuzz::jpeg),
    ("png", fuzz::png),
    ("webp", fuzz::webp),
    ("avif", fuzz::avif),
    ("gif", fuzz::gif),
    ("tiff", fuzz::tiff),
    ("bmp", fuzz::bmp),
    ("svg", fuzz::svg),
];

#[test]
fn fuzz_corpus_and_mutants_of_it() {
    // FOVEA_MUTANTS=5000 looks longer.
    let mutants = std::env::var("FOVEA_MUTANTS").ok().and_then(|count| count.parse().ok()).unwrap_or(12);
    for (folder, decoder) in FUZZ {
        let mut random = fastrand::Rng::with_seed(7);
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(folder);
        let mut files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{folder}");
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            decoder(&bytes);
            for _ in 0..mutants {
                let mut mutant = bytes.clone();
                for _ in 0..random.usize(1..6) {
                    let at = random.usize(..mutant.len());
                    match random.u8(..4) {
                        0 => mutant[at] ^= 1 << random.u8(..8),
                        1 => mutant[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
                        2 => mutant[at] = random.u8(..),
                        _ => {
                            let to = random.usize(..mutant.len());
                            mutant.copy_within(at..(at + 8).min(bytes.len()), to.min(bytes.len() - 8));
                        }
                    }
                }
                decoder(&mutant);
            }
        }
    }
}

/// Every fixture, cut off at 16 points: no panic, fast, and what comes back is flagged or an error.
#[test]
fn truncations() {
    let mut saved = std::collections::BTreeMap::<Format, u32>::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Some(format) = Format::sniff(&bytes) else { continue };
        for sixteenth in 0..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            let begun = Instant::now();
            if let Ok(header) = probe(cut, &Limits::default()) {
                let decoded = decode(cut, &header, &Want::all(&header), &Limits::default(), &work());
                if let Ok(decoded) = &decoded {
                    assert_eq!(decoded.picture.size, header.size, "{path:?} cut at {sixteenth}/16");
                    *saved.entry(format).or_default() += u32::from(decoded.damaged);
                }
                if let Ok(mut animation) = frames(cut, &header, &Limits::default()) {
                    while let Ok(Some(_)) = animation.next(&work()) {}
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{path:?} cut at {sixteenth}/16");
        }
    }
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        assert!(saved.get(&format).is_some_and(|count| *count >= 5), "{format:?}: {saved:?}");
    }
}

#[test]
fn rubbish_is_unsupported() {
    for bytes in [&b""[..], b"hello", &[0; 64]] {
        assert!(matches!(probe(bytes, &Limits::default()), Err(Error::Unsupported)));
    }
}

/// Flat areas end codes at the end of rows, where an unpacker that is asked for rows may lose its place.
#[test]
fn flat_gifs_are_whole_at_every_width() {
    for (width, height) in (1..60).map(|width| (width, 40)).chain([(2500, 2000)]) {
        let mut file = Vec::new();
        let mut encoder = ::gif::Encoder::new(&mut file, width, height, &[9, 9, 9, 200, 100, 50]).unwrap();
        let indices = vec![1; usize::from(width) * usize::from(height)];
        encoder.write_frame(&::gif::Frame::from_indexed_pixels(width, height, indices, None)).unwrap();
        drop(encoder);
        let limits = Limits::default();
        let header = probe(&file, &limits).unwrap();
        let decoded = decode(&file, &header, &Want::all(&header), &limits, &work()).unwrap();
        let channels = decoded.picture.layout.channels();
        let samples = decoded.picture.as_u8().unwrap();
        assert!(!decoded.damaged, "{width}x{height}");
        assert!(samples.chunks_exact(channels).all(|pixel| pixel[..3] == [200, 100, 50]), "{width}x{height}");
    }
}
