//! Golden pictures: every source format in every output format, and every option, held against pictures that are kept in
//! `tests/golden`, one file a case. What is kept is without loss; lossless answers must match it but for rounding, lossy ones
//! by SSIMULACRA2, so that a better encoder or resizer need not renew them all.
//!
//! A failure writes expected | difference | actual side by side to `target/golden/NAME.png`. `FOVEA_GOLDEN=write` renews what is
//! kept; look at the pictures before you commit them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fovea::base::{Deadline, Limits, Size, Work};
use fovea::decode::{self, Want};
use fovea::pixels::{Layout, Picture, Samples};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use crate::support::fovea::Fovea;

/// How far one value of a lossless answer may be from what is kept: decoders of lossy sources round differently by processor.
const VALUE_OFF_MAX: u8 = 8;

/// How far values may be from it on average.
const MEAN_OFF_MAX: f64 = 0.6;

/// For each lossy format, at quality 90 (GIF: 256 colours): the lowest score of a photo in the matrix of formats, and how far
/// anything else may be from what is kept on average. Scores say nothing of pictures as small as the options', nor of hard
/// edges in colours, which halved chroma and hard alpha move.
const LOSSY: [(&str, f64, f64); 4] =
    [("jpg", 60.0, 8.0), ("webp", 55.0, 8.0), ("avif", 45.0, 14.0), ("gif", 40.0, 24.0)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

async fn server() -> Fovea {
    let server = Fovea::start("").await;
    for entry in std::fs::read_dir(folder().join("sources")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        std::fs::copy(&path, server.folder.path().join("originals").join(name)).unwrap();
    }
    server
}

/// A picture as 8-bit RGBA.
#[derive(Clone)]
struct Rgba {
    size: Size,
    values: Vec<u8>,
}

impl Rgba {
    fn read(bytes: &[u8], what: &str) -> Self {
        let limits = Limits::default();
        let header = decode::probe(bytes, &limits).unwrap_or_else(|error| panic!("{what}: {error}"));
        let work = Work::until(Deadline::after(Duration::from_secs(20)));
        let decoded = decode::decode(bytes, &header, &Want::all(&header), &limits, &work);
        let Picture { size, layout, samples, .. } = decoded.unwrap_or_else(|error| panic!("{what}: {error}")).picture;
        let samples = match samples {
            Samples::U8(samples) => samples,
            // AVIF has ten bits.
            Samples::U16(samples) => samples.into_iter().map(|value| ((u32::from(value) + 128) / 257) as u8).collect(),
        };
        let pixel = |pixel: &[u8]| match layout {
            Layout::Gray => [pixel[0], pixel[0], pixel[0], 255],
            Layout::GrayAlpha => [pixel[0], pixel[0], pixel[0], pixel[1]],
            Layout::Rgb => [pixel[0], pixel[1], pixel[2], 255],
            Layout::Rgba => [pixel[0], pixel[1], pixel[2], pixel[3]],
            Layout::Cmyk => panic!("{what} has inks"),
        };
        Self { size, values: samples.chunks_exact(layout.channels()).flat_map(pixel).collect() }
    }

    fn write(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), self.size.width, self.size.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_compression(png::Compression::High);
        encoder.write_header().unwrap().write_image_data(&self.values).unwrap();
    }

    /// On a white page, as a browser shows it.
    fn on_white(&self) -> Vec<[f32; 3]> {
        let shown = |pixel: &[u8]| {
            let alpha = f32::from(pixel[3]) / 255.0;
            [0, 1, 2].map(|channel| f32::from(pixel[channel]) / 255.0 * alpha + 1.0 - alpha)
        };
        self.values.chunks_exact(4).map(shown).collect()
    }

    fn score(&self, other: &Self) -> f64 {
        let frame = |picture: &Self| {
            let (width, height) = (picture.size.width as usize, picture.size.height as usize);
            let (curve, primaries) = (TransferCharacteristic::SRGB, ColorPrimaries::BT709);
            Rgb::new(picture.on_white(), width, height, curve, primaries).unwrap()
        };
        compute_frame_ssimulacra2(frame(self), frame(other)).unwrap()
    }

    /// How far values are apart, at most and on average; what is transparent has no colour.
    fn off(&self, other: &Self) -> (u8, f64) {
        let pixels = self.values.chunks_exact(4).zip(other.values.chunks_exact(4));
        let offs = pixels.flat_map(|(a, b)| {
            let alpha = a[3].max(b[3]);
            let off = |at: usize| (u16::from(a[at].abs_diff(b[at])) * u16::from(alpha) / 255) as u8;
            [off(0), off(1), off(2), a[3].abs_diff(b[3])]
        });
        let (most, sum) = offs.fold((0, 0.0), |(most, sum): (u8, f64), off| (most.max(off), sum + f64::from(off)));
        (most, sum / self.values.len() as f64)
    }

    /// How far values are apart on a white page, on average, in 0..=255.
    fn off_on_white(&self, other: &Self) -> f64 {
        let (mine, others) = (self.on_white(), other.on_white());
        let offs = mine.iter().flatten().zip(others.iter().flatten()).map(|(a, b)| f64::from((a - b).abs()));
        offs.sum::<f64>() * 255.0 / (mine.len() * 3) as f64
    }

    /// Expected | difference, eight times as large | actual.
    fn beside(&self, actual: &Self) -> Self {
        let gap = 4;
        let width = self.size.width.max(actual.size.width);
        let height = self.size.height.max(actual.size.height);
        let size = Size::new(width * 3 + gap * 2, height);
        let mut values = vec![255; size.pixels() as usize * 4];
        let at = |picture: &Self, x: u32, y: u32| {
            let inside = x < picture.size.width && y < picture.size.height;
            let from = ((y * picture.size.width + x) * 4) as usize;
            inside.then(|| <[u8; 4]>::try_from(&picture.values[from..from + 4]).unwrap())
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let (expected, actual) = (at(self, x, y), at(actual, x, y));
            let off = match (expected, actual) {
                (Some(a), Some(b)) => {
                    let off = |at: usize| a[at].abs_diff(b[at]).max(a[3].abs_diff(b[3])).saturating_mul(8);
                    Some([off(0), off(1), off(2), 255])
                }
                _ => Some([255, 0, 255, 255]),
            };
            for (column, pixel) in [expected, off, actual].into_iter().enumerate() {
                let from = ((y * size.width + column as u32 * (width + gap) + x) * 4) as usize;
                if let Some(pixel) = pixel {
                    values[from..from + 4].copy_from_slice(&pixel);
                }
            }
        }
        Self { size, values }
    }
}

/// How an answer is held against what is kept.
enum By {
    Pixels,
    Score(f64),
    Mean(f64),
}

/// Compares; the error says what is wrong, and where the two lie side by side.
fn compare(name: &str, expected: &Rgba, actual: &Rgba, by: &By) -> Result<(), String> {
    let wrong = if expected.size != actual.size {
        Some(format!("{:?} is not {:?}", actual.size, expected.size))
    } else {
        match by {
            By::Pixels => {
                let (most, mean) = expected.off(actual);
                (most > VALUE_OFF_MAX || mean > MEAN_OFF_MAX).then(|| format!("off by {most}, {mean:.3} on average"))
            }
            By::Mean(most) => {
                let mean = expected.off_on_white(actual);
                (mean > *most).then(|| format!("off by {mean:.1} on average, more than {most}"))
            }
            By::Score(least) => {
                let score = expected.score(actual);
                (score < *least).then(|| format!("scores {score:.1}, less than {least}"))
            }
        }
    };
    let Some(wrong) = wrong else { return Ok(()) };
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/golden/{name}.png"));
    expected.beside(actual).write(&beside);
    Err(format!("{name}: {wrong}; see {}", beside.display()))
}

/// The answer to a path, as a picture, and its media type.
async fn picture(server: &Fovea, path: &str) -> (Rgba, String) {
    let mut answer = server.get(path).await;
    if answer.status == 308 {
        // Unsigned options in another order or spelling.
        answer = server.get(answer.header("location")).await;
    }
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    (Rgba::read(&answer.body, path), answer.header("content-type").to_owned())
}

/// One case: the PNG against what is kept, then every lossy format against it. Tells all that is wrong.
async fn case(server: &Fovea, name: &str, source: &str, options: &str, wrong: &mut Vec<String>) {
    let kept = folder().join(format!("{name}.png"));
    let (actual, _) = picture(server, &format!("/pics/{source}/v1/{options}.png")).await;
    if std::env::var("FOVEA_GOLDEN").is_ok_and(|what| what == "write") {
        actual.write(&kept);
    }
    let bytes = std::fs::read(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
    let expected = Rgba::read(&bytes, name);
    wrong.extend(compare(name, &expected, &actual, &By::Pixels).err());
    for (format, score_min, mean_max) in LOSSY {
        let (anim, quality) = if format == "gif" { (",anim_0", "") } else { ("", ",q_90") };
        let path = format!("/pics/{source}/v1/{options}{anim}{quality}.{format}");
        let (actual, media_type) = picture(server, &path).await;
        let expected_type = if format == "jpg" { "image/jpeg".to_owned() } else { format!("image/{format}") };
        assert_eq!(media_type, expected_type, "{path}");
        let by = if name.starts_with("format_photo") { By::Score(score_min) } else { By::Mean(mean_max) };
        wrong.extend(compare(&format!("{name}.{format}"), &expected, &actual, &by).err());
    }
}

#[tokio::test]
async fn every_format_in_and_out() {
    let server = server().await;
    let mut names: Vec<String> = std::fs::read_dir(folder().join("sources"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 12, "the sources are there");
    let mut wrong = Vec::new();
    for source in names {
        case(&server, &format!("format_{}", source.replace('.', "_")), &source, "w_80", &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_option() {
    let server = server().await;
    let mut wrong = Vec::new();
    for (source, options) in [
        ("photo.png", "h_45"),
        ("photo.png", "w_60,h_60,fit_cover"),
        ("photo.png", "w_60,h_60,fit_fill"),
        ("photo.png", "w_60,h_60,fit_pad,bg_336699"),
        ("photo.png", "w_60,h_60,fit_crop"),
        ("photo.png", "w_60,blur_2"),
        ("photo.png", "w_60,sharp_0.5"),
        ("photo.png", "w_60,gray"),
        ("photo.png", "w_160,up_1"),
        ("photo.png", "w_30,dpr_2"),
        ("photo_gray.jpg", "w_60,blur_1.5"),
        ("emblem.png", "w_60,h_60"),
        ("emblem.png", "w_60,h_60,fit_pad"),
        ("emblem.png", "w_60,bg_f80"),
        ("emblem.png", "w_60,bg_0000ff88"),
        ("emblem.png", "w_40,pad_4:8:12:16"),
        ("emblem.png", "w_40,dpr_1.5,bg_ff0,pad_4"),
        ("emblem.png", "w_60,gray"),
        ("emblem.png", "w_60,blur_1"),
        ("emblem.png", "w_60,crop_10:5:60:60"),
        ("emblem.png", "w_60,crop_0.5:0:0.5:0.5"),
        ("emblem.png", "w_60,rot_90"),
        ("emblem.png", "w_60,rot_180"),
        ("emblem.png", "w_60,rot_270"),
        ("emblem.png", "w_60,flip_h"),
        ("emblem.png", "w_60,flip_v"),
        ("emblem.png", "w_60,flip_hv"),
        ("emblem.png", "w_60,rot_90,flip_h"),
        ("drawing.svg", "w_200"),
        ("drawing.svg", "w_40,h_60,fit_cover,g_w"),
    ] {
        let name = format!("option_{}_{options}", source.split('.').next().unwrap());
        case(&server, &name.replace([',', ':', '.'], "-"), source, options, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_gravity() {
    let server = server().await;
    let mut wrong = Vec::new();
    for gravity in ["c", "n", "s", "e", "w", "ne", "nw", "se", "sw", "0.3:0.4"] {
        // Two shapes, so that both directions are cut.
        for (width, height) in [(36, 60), (60, 24)] {
            let options = if gravity == "c" {
                format!("w_{width},h_{height},fit_cover")
            } else {
                format!("w_{width},h_{height},fit_cover,g_{gravity}")
            };
            let name = format!("gravity_{}_{width}x{height}", gravity.replace([':', '.'], "-"));
            case(&server, &name, "emblem.png", &options, &mut wrong).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
