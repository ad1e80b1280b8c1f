//! `info.json` of every format, and what of an original's metadata comes through: nothing, copyright, or all but the place.

use fovea::base::{Format, Limits};
use fovea::decode;
use tiff::tags::Tag;

use crate::support::fovea::{Fovea, fixtures};

/// An EXIF block, big end first: maker, artist, date, a place at 47 degrees north, 8 east.
fn exif() -> Vec<u8> {
    let mut out = b"MM\0*\0\0\0\x08".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
    };
    // Directory at 8: five entries end at 74; texts follow.
    let texts: [&[u8]; 2] = [b"Ann Ames\0\0", b"Lens & Co\0"];
    out.extend_from_slice(&5_u16.to_be_bytes());
    out.extend(entry(0x010f, 2, 10, 84_u32.to_be_bytes()));
    out.extend(entry(0x0112, 3, 1, [0, 1, 0, 0]));
    out.extend(entry(0x013b, 2, 9, 74_u32.to_be_bytes()));
    out.extend(entry(0x8769, 4, 1, 94_u32.to_be_bytes()));
    out.extend(entry(0x8825, 4, 1, 132_u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&texts.concat());
    // 94: one entry; its text at 112.
    out.extend_from_slice(&1_u16.to_be_bytes());
    out.extend(entry(0x9003, 2, 20, 112_u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(b"2024:05:06 07:08:09\0");
    // 132: four entries; their numbers at 186.
    out.extend_from_slice(&4_u16.to_be_bytes());
    out.extend(entry(1, 2, 2, *b"N\0\0\0"));
    out.extend(entry(2, 5, 3, 186_u32.to_be_bytes()));
    out.extend(entry(3, 2, 2, *b"E\0\0\0"));
    out.extend(entry(4, 5, 3, 210_u32.to_be_bytes()));
    out.extend_from_slice(&[0; 4]);
    for degrees in [47_u32, 8] {
        for number in [degrees, 1, 30, 1, 0, 1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    out
}

fn photo_with_exif() -> Vec<u8> {
    let photo = std::fs::read(fixtures().join("smooth.jpg")).unwrap();
    let block = exif();
    let length = u16::try_from(block.len() + 8).unwrap().to_be_bytes();
    [&photo[..2], &[0xff, 0xe1], &length, b"Exif\0\0", &block, &photo[2..]].concat()
}

#[tokio::test]
async fn every_fixture_has_its_facts() {
    let server = Fovea::start("").await;
    let mut formats = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Ok(header) = decode::probe(&bytes, &Limits::default()) else { continue };
        let answer = server.get(&format!("/pics/{name}/v1/info.json")).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"), "{name}");
        let facts = answer.json();
        let upright = header.upright();
        assert_eq!(facts["format"], header.format.extension(), "{name}");
        assert_eq!((&facts["width"], &facts["height"]), (&upright.width.into(), &upright.height.into()), "{name}");
        assert_eq!(facts["orientation"], header.orientation.exif(), "{name}");
        assert_eq!((&facts["alpha"], &facts["frames"]), (&header.alpha.into(), &header.frames.into()), "{name}");
        assert_eq!(
            (&facts["bytes"], &facts["blake3"]),
            (&bytes.len().into(), &blake3::hash(&bytes).to_hex().as_str().into())
        );
        for hash in ["blurhash", "thumbhash"] {
            assert!(facts[hash].as_str().is_some_and(|hash| hash.len() >= 6), "{name}: {hash} {}", facts[hash]);
        }
        let colours = facts["dominant_colours"].as_array().unwrap();
        assert!(!colours.is_empty() && colours[0]["hex"].as_str().unwrap().starts_with('#'), "{name}");
        if name.contains("icc") {
            assert!(
                facts["icc_profile"].as_str().is_some_and(|name| name.contains("sRGB")),
                "{name}: {}",
                facts["icc_profile"]
            );
        }
        formats.insert(header.format);
    }
    assert_eq!(formats.len(), Format::ALL.len(), "{formats:?}");
}

#[tokio::test]
async fn where_a_picture_was_taken_is_nobodys_business_unless_the_category_says_so() {
    let place = 47_u32.to_be_bytes();
    for (location, more) in [(false, ""), (true, "exif_location = true\n")] {
        let config = format!(
            "[category.pics]\nsource = \"file:originals\"\nunsigned = \"options\"\noriginals = \"public\"\n{more}"
        );
        let server = Fovea::start(&config).await;
        std::fs::write(server.folder.path().join("originals/trip.jpg"), photo_with_exif()).unwrap();
        let facts = server.get("/pics/trip.jpg/v1/info.json").await.json();
        assert_eq!(
            (&facts["exif"]["make"], &facts["exif"]["taken_at"]),
            (&"Lens & Co".into(), &"2024-05-06T07:08:09".into()),
            "{facts}"
        );
        assert_eq!(facts["exif"]["location"].is_object(), location, "{facts}");
        for format in ["jpg", "png", "webp"] {
            for (meta, artist, maker) in
                [("", false, false), (",meta_copyright", true, false), (",meta_all", true, true)]
            {
                let path = format!("/pics/trip.jpg/v1/w_60{meta}.{format}");
                let answer = server.get(&path).await;
                assert_eq!(answer.status, 200, "{path}");
                let holds = |what: &[u8]| answer.body.windows(what.len()).any(|window| window == what);
                assert_eq!((holds(b"Ann Ames"), holds(b"Lens & Co")), (artist, maker), "{path}");
                let gps = [&place[..], &1_u32.to_be_bytes()].concat();
                assert_eq!(holds(&gps), maker && location, "{path}: the place");
            }
        }
    }
}

/// EXIF is a TIFF's own structure: what a camera or scanner says stands in its first directory.
#[tokio::test]
async fn the_directories_of_a_tiff_are_its_exif() {
    let server = Fovea::start("").await;
    let file = std::fs::File::create(server.folder.path().join("originals/scan.tif")).unwrap();
    let mut writer = tiff::encoder::TiffEncoder::new(file).unwrap();
    let mut image = writer.new_image::<tiff::encoder::colortype::RGB8>(40, 30).unwrap();
    for (tag, text) in [(Tag::Make, "Lens & Co"), (Tag::Model, "Flatbed 3"), (Tag::DateTime, "2024:05:06 07:08:09")] {
        image.encoder().write_tag(tag, text).unwrap();
    }
    image.write_data(&[90; 40 * 30 * 3]).unwrap();
    let facts = server.get("/pics/scan.tif/v1/info.json").await.json();
    let said = ["make", "model", "taken_at"].map(|name| facts["exif"][name].as_str().unwrap_or_default().to_owned());
    assert_eq!(said, ["Lens & Co", "Flatbed 3", "2024-05-06T07:08:09"], "{facts}");
}

/// The original's bytes stand in for a larger answer whatever is kept of the metadata, and bring no more of it.
#[tokio::test]
async fn kept_metadata_makes_no_answer_larger_than_its_original() {
    let server = Fovea::start("").await;
    let original = photo_with_exif();
    std::fs::write(server.folder.path().join("originals/trip.jpg"), &original).unwrap();
    for meta in ["", "meta_copyright,", "meta_all,"] {
        let answer = server.get(&format!("/pics/trip.jpg/v1/w_8000,{meta}q_100.jpg")).await;
        assert_eq!(answer.status, 200, "{meta}: {}", String::from_utf8_lossy(&answer.body));
        assert!(answer.body.len() <= original.len(), "{meta}: {} of {}", answer.body.len(), original.len());
        let holds = |what: &[u8]| answer.body.windows(what.len()).any(|window| window == what);
        assert_eq!(holds(b"Ann Ames"), !meta.is_empty(), "{meta}");
        assert_eq!(holds(b"Lens & Co"), meta == "meta_all,", "{meta}");
        assert!(!holds(&[0, 0, 0, 47, 0, 0, 0, 1]), "{meta}: the place");
    }
}
