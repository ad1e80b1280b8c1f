//! Stripping: pixels the same, metadata gone, nothing broken that was whole.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::{Deadline, Limits, Orientation, Work};
use crate::decode::{self, Want};
use crate::encode::exif::{ExifKeep, exif_filtered};

/// A big-endian block: orientation 6, artist, EXIF directory with a user comment, GPS with a latitude.
pub fn exif_block() -> Vec<u8> {
    let mut out = b"MM\0*\0\0\0\x08".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
    };
    // Four entries: 8 + 2 + 48 + 4 = 62.
    out.extend_from_slice(&4u16.to_be_bytes());
    out.extend(entry(0x0112, 3, 1, [0, 6, 0, 0]));
    out.extend(entry(0x013b, 2, 9, 62u32.to_be_bytes()));
    out.extend(entry(0x8769, 4, 1, 72u32.to_be_bytes()));
    out.extend(entry(0x8825, 4, 1, 102u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(b"Ann Ames\0\0");
    // 72: two entries and the end: 102.
    out.extend_from_slice(&2u16.to_be_bytes());
    out.extend(entry(0x8827, 3, 1, [0, 200, 0, 0]));
    out.extend(entry(0xa002, 4, 1, 999u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    // 102: one entry; its rational follows at 120.
    out.extend_from_slice(&1u16.to_be_bytes());
    out.extend(entry(0x0002, 5, 1, 120u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[0, 0, 0, 47, 0, 0, 0, 1]);
    out
}

fn fields(block: &[u8]) -> Vec<(::exif::Tag, String)> {
    let block = ::exif::Reader::new().read_raw(block.to_vec()).unwrap();
    block.fields().map(|field| (field.tag, field.display_value().to_string())).collect()
}

fn has(fields: &[(::exif::Tag, String)], tag: ::exif::Tag) -> bool {
    fields.iter().any(|(found, _)| *found == tag)
}

#[test]
fn exif_keeps_what_may_stay() {
    use ::exif::Tag;
    let whole = exif_block();
    for little in [false, true] {
        let whole = if little { exif_filtered(&swapped(&whole), ExifKeep::All) } else { Some(whole.clone()) }.unwrap();
        let copyright = fields(&exif_filtered(&whole, ExifKeep::Copyright).unwrap());
        assert_eq!(copyright, [(Tag::Artist, "\"Ann Ames\"".to_owned())]);
        let no_place = fields(&exif_filtered(&whole, ExifKeep::AllButLocation).unwrap());
        assert!(!has(&no_place, Tag::GPSLatitude) && has(&no_place, Tag::PhotographicSensitivity));
        assert!(!has(&no_place, Tag::PixelXDimension), "the size is the old one");
        let all = fields(&exif_filtered(&whole, ExifKeep::All).unwrap());
        assert!(has(&all, Tag::GPSLatitude) && has(&all, Tag::Artist));
        assert!(all.contains(&(Tag::Orientation, "row 0 at top and column 0 at left".to_owned())), "{all:?}");
    }
    assert_eq!(exif_filtered(b"nonsense", ExifKeep::All), None);
}

/// The block with orientation 6 in little-endian order, by hand: only what the test above looks at.
fn swapped(whole: &[u8]) -> Vec<u8> {
    let block = ::exif::Reader::new().read_raw(whole.to_vec()).unwrap();
    let mut writer = ::exif::experimental::Writer::new();
    block.fields().for_each(|field| writer.push_field(field));
    let mut out = std::io::Cursor::new(Vec::new());
    writer.write(&mut out, true).unwrap();
    out.into_inner()
}

#[test]
fn no_block_makes_it_read_beyond_itself_or_grow() {
    let whole = exif_block();
    for cut in 0..whole.len() {
        for keep in [ExifKeep::Copyright, ExifKeep::AllButLocation, ExifKeep::All] {
            let _ = exif_filtered(&whole[..cut], keep);
        }
    }
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..20_000 {
        let mut block = whole.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(4..block.len());
            block[at] = random.u8(..);
        }
        if let Some(out) = exif_filtered(&block, ExifKeep::All) {
            assert!(out.len() <= block.len() * 4);
        }
    }
}

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(20)))
}

fn fixtures() -> impl Iterator<Item = (String, Vec<u8>, decode::Header)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_dir(dir).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).ok()?;
        let header = decode::probe(&bytes, &Limits::default()).ok()?;
        Some((path.file_name()?.to_string_lossy().into_owned(), bytes, header))
    })
}

fn pixels(bytes: &[u8], header: &decode::Header) -> decode::Decoded {
    decode::decode(bytes, header, &Want::all(header), &Limits::default(), &work()).unwrap()
}

#[test]
fn every_fixture_keeps_its_pixels() {
    let mut stripped_files = 0;
    for (name, bytes, header) in fixtures() {
        let Some(stripped) = strip(&bytes, header.format, Keep::Appearance) else {
            let taken_apart = matches!(header.format, Format::Jpeg | Format::Png | Format::WebP | Format::Gif);
            assert!(!taken_apart, "{name} is whole, and was not stripped");
            continue;
        };
        stripped_files += 1;
        let found = decode::probe(&stripped, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (found.size, found.orientation, found.frames, found.loops, &found.icc, found.alpha),
            (header.size, header.orientation, header.frames, header.loops, &header.icc, header.alpha),
            "{name}"
        );
        assert_eq!(pixels(&stripped, &found), pixels(&bytes, &header), "{name}");
        assert!(stripped.len() <= bytes.len() + 64, "{name}");
        assert_eq!(
            strip(&stripped, header.format, Keep::Appearance).as_deref(),
            Some(&*stripped),
            "{name}: twice is once"
        );
    }
    assert!(stripped_files > 50, "{stripped_files}");
}

#[test]
fn metadata_goes_and_orientation_stays() {
    let block: std::sync::Arc<[u8]> = exif_block().into();
    let picture =
        crate::pixels::Picture::srgb8(crate::base::Size::new(8, 8), crate::pixels::Layout::Rgb, vec![90; 192]);
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        let settings =
            crate::encode::Settings { exif: Some(block.clone()), ..crate::encode::Settings::new(format, 80) };
        let file = crate::encode::still(&picture, &settings, &work()).unwrap();
        let bare = strip(&file, format, Keep::Appearance).unwrap();
        let header = decode::probe(&bare, &Limits::default()).unwrap();
        assert_eq!(header.orientation, Orientation::Rotate90, "{format:?}");
        assert_eq!(fields(header.exif.as_deref().unwrap()).len(), 1, "{format:?}");
        let filtered = exif_filtered(&block, ExifKeep::AllButLocation).unwrap();
        let no_place = strip(&file, format, Keep::Exif(&filtered)).unwrap();
        let header = decode::probe(&no_place, &Limits::default()).unwrap();
        assert_eq!(header.exif.as_deref(), Some(&*filtered), "{format:?}");
        let fields = fields(&filtered);
        assert!(has(&fields, ::exif::Tag::Artist) && !has(&fields, ::exif::Tag::GPSLatitude), "{format:?}");
        assert!(
            !no_place.windows(8).any(|window| window == [0, 0, 0, 47, 0, 0, 0, 1]),
            "the latitude's bytes are gone"
        );
    }
}

#[test]
fn what_trails_a_jpeg_goes() {
    let (_, bytes, _) = fixtures().find(|(name, ..)| name == "baseline_420.jpg").unwrap();
    let clean = strip(&bytes, Format::Jpeg, Keep::Appearance).unwrap();
    let mut trailed = bytes.clone();
    trailed.extend_from_slice(b"\xff\xd8 a motion photo's film");
    // Application markers and a comment behind SOI.
    let marked =
        [&trailed[..2], b"\xff\xe1\0\x10http://ns.adob", b"\xff\xe2\0\x06MPF\0", b"\xff\xfe\0\x04hi", &trailed[2..]]
            .concat();
    assert_eq!(strip(&marked, Format::Jpeg, Keep::Appearance), Some(clean));
}

#[test]
fn doubt_is_none() {
    for (name, bytes, header) in fixtures() {
        if !matches!(header.format, Format::Jpeg | Format::Png | Format::WebP | Format::Gif) {
            continue;
        }
        for part in 0..16 {
            let cut = &bytes[..bytes.len() * part / 16];
            if let Some(stripped) = strip(cut, header.format, Keep::Appearance) {
                // A GIF's or JPEG's terminator may stand before trailing bytes; then the file is whole.
                let whole = strip(&bytes, header.format, Keep::Appearance).unwrap();
                assert_eq!(stripped, whole, "{name} cut to {part}/16");
            }
        }
    }
}
