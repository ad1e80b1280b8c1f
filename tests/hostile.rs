//! Hostile originals, through the server: a 4xx, or what could be saved and flagged; in under two seconds, and little memory.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::fovea::{Fovea, fixtures};

/// How long an answer to a hostile original may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How much memory more than before it may leave the process at.
const MEMORY_MORE_MAX: u64 = 64 << 20;

async fn check(server: &Fovea, name: &str, path: &str) -> u16 {
    let before = server.resident_bytes();
    let begun = Instant::now();
    let answer = server.get(path).await;
    let took = begun.elapsed();
    assert!(took < ANSWER_WITHIN, "{name} took {took:?}");
    let more = server.resident_bytes_peak().saturating_sub(before);
    assert!(more < MEMORY_MORE_MAX, "{name} took {} MiB more", more >> 20);
    let damaged = answer.status == 200 && answer.header("fovea-damaged") == "1";
    let refused = answer.status.is_client_error();
    assert!(damaged || refused, "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    answer.status.as_u16()
}

/// A PNG of the given size: 1 bit gray, all black.
fn large_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    let mut rows = writer.stream_writer().unwrap();
    let row = vec![0; (width as usize).div_ceil(8)];
    for _ in 0..height {
        rows.write_all(&row).unwrap();
    }
    rows.finish().unwrap();
    writer.finish().unwrap();
    file
}

/// A GIF of many one-pixel frames.
fn many_frames_gif(frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a\x40\x01\xf0\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    for _ in 0..frames {
        file.extend_from_slice(
            b"\x21\xf9\x04\x00\x01\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00",
        );
    }
    file.push(b';');
    file
}

#[tokio::test]
async fn bombs_and_lies_are_answered_quickly_and_cheaply() {
    let server = Fovea::start("").await;
    let originals = server.folder.path().join("originals");
    let put = |name: &str, bytes: &[u8]| std::fs::write(originals.join(name), bytes).unwrap();
    put("bomb.png", &large_png(30_000, 30_000));
    put("empty.jpg", b"");
    put("text.png", &b"nothing to see here\n".repeat(50));
    let photo = std::fs::read(originals.join("baseline_420.jpg")).unwrap();
    put("lying.jpg", &lie_about_jpeg_size(&photo, 20_000, 20_000));
    let mut graphic = std::fs::read(originals.join("palette8.png")).unwrap();
    graphic[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    put("lying.png", &graphic);
    put("xml.svg", b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>\
        <!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;'>]><svg xmlns='http://www.w3.org/2000/svg' \
        width='10' height='10'><text>&d;&d;&d;&d;</text></svg>");
    put(
        "large.svg",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1e9' height='1e9'><rect width='9' height='9'/></svg>",
    );
    // One of each first, so that what a first use costs is not laid on a hostile file.
    for format in ["jpg", "png", "webp"] {
        assert_eq!(server.get(&format!("/pics/mountains.jpg/v1/w_900.{format}")).await.status, 200);
    }
    for name in ["bomb.png", "empty.jpg", "text.png", "lying.jpg", "lying.png", "xml.svg"] {
        check(&server, name, &format!("/pics/{name}/v1/w_200.jpg")).await;
    }
    assert_eq!(server.get("/pics/bomb.png/v1/w_200.jpg").await.status, 413);
    assert_eq!(server.get("/pics/empty.jpg/v1/w_200.jpg").await.status, 415);
}

#[tokio::test]
async fn ten_thousand_frames_are_bounded() {
    let server = Fovea::start("").await;
    std::fs::write(server.folder.path().join("originals/long.gif"), many_frames_gif(10_000)).unwrap();
    assert_eq!(server.get("/pics/disposal.gif/v1/w_20.webp").await.status, 200);
    let before = server.resident_bytes();
    let begun = Instant::now();
    let answer = server.get("/pics/long.gif/v1/w_20.webp").await;
    assert!(begun.elapsed() < ANSWER_WITHIN, "{:?}", begun.elapsed());
    assert!(server.resident_bytes_peak().saturating_sub(before) < MEMORY_MORE_MAX);
    assert_eq!(answer.status, 413);
    let still = server.get("/pics/long.gif/v1/w_20,anim_0.webp").await;
    assert_eq!(still.status, 200);
}

#[tokio::test]
async fn truncations_never_crash_the_server() {
    let server = Fovea::start("").await;
    let originals = server.folder.path().join("originals");
    for name in [
        "baseline_420.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "palette8.png",
        "rgb16_interlaced.png",
        "lossy.webp",
        "lossless_alpha.webp",
        "animated.webp",
        "alpha.avif",
        "disposal.gif",
        "gray16.tiff",
        "rgb24.bmp",
    ] {
        let whole = std::fs::read(fixtures().join(name)).unwrap();
        let picture = server.get(&format!("/pics/{name}/v1/w_30.png")).await.body;
        for at in 0..16 {
            let cut = format!("cut_{at}_{name}");
            std::fs::write(originals.join(&cut), &whole[..whole.len() * at / 16]).unwrap();
            let begun = Instant::now();
            let answer = server.get(&format!("/pics/{cut}/v1/w_30.png")).await;
            assert!(begun.elapsed() < ANSWER_WITHIN, "{cut}");
            // What is cut off behind the last pixel takes nothing from the picture.
            let whole = answer.body == picture;
            let saved = answer.status == 200 && (whole || answer.header("fovea-damaged") == "1");
            assert!(saved || answer.status.is_client_error(), "{cut}: {} {:?}", answer.status, answer.headers);
        }
    }
    assert_eq!(server.get("/pics/baseline_420.jpg/v1/w_30.png").await.status, 200, "the server lives");
}

/// A JPEG whose frame header says another size than its scan holds.
fn lie_about_jpeg_size(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut lie = jpeg.to_vec();
    let at = lie.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a baseline frame");
    lie[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    lie[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    lie
}
