//! Originals that mean harm: bombs, and headers that lie, made of the fixtures.

use std::io::Write;

/// What may come of an original.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// A 4xx, or what could be saved, flagged.
    Refused,
    /// The same, or a picture: the lie is one that no reader has to notice.
    Anything,
}

/// A hostile original.
pub struct Hostile {
    pub name: String,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

fn hostile(name: impl Into<String>, bytes: Vec<u8>, expect: Expect) -> Hostile {
    Hostile { name: name.into(), bytes, expect }
}

/// A PNG of the given size: 1 bit gray, all black.
pub fn large_png(width: u32, height: u32) -> Vec<u8> {
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

/// A GIF of many one-pixel frames on a canvas of the given size.
pub fn many_frames_gif(frames: usize, width: u16, height: u16) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend_from_slice(&width.to_le_bytes());
    file.extend_from_slice(&height.to_le_bytes());
    file.extend_from_slice(b"\x80\x00\x00\x00\x00\x00\xff\xff\xff");
    for _ in 0..frames {
        file.extend_from_slice(
            b"\x21\xf9\x04\x00\x01\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00",
        );
    }
    file.push(b';');
    file
}

/// A JPEG whose frame header says another size than its scan holds.
pub fn lie_about_jpeg_size(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut lie = jpeg.to_vec();
    let at = jpeg_frame(jpeg);
    lie[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    lie[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    lie
}

/// Where a JPEG's frame header begins.
fn jpeg_frame(jpeg: &[u8]) -> usize {
    jpeg.windows(4).position(|at| at[0] == 0xff && matches!(at[1], 0xc0..=0xc2) && at[2] == 0).expect("a frame")
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("it is there")
}

/// A copy with some bytes exchanged.
fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    copy[at..at + other.len()].copy_from_slice(other);
    copy
}

/// A copy with some bytes put in.
fn insert(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    [&bytes[..at], other, &bytes[at..]].concat()
}

/// Headers of JPEGs, and what is hung into them.
pub fn jpegs(photo: &[u8], progressive: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    for (width, height) in [(20_000, 20_000), (65_535, 65_535), (10_000, 10_000), (8_000, 8_000), (4_000, 4_000)] {
        for (kind, jpeg) in [("baseline", photo), ("progressive", progressive)] {
            let lie = lie_about_jpeg_size(jpeg, width, height);
            all.push(hostile(format!("{kind}_{width}x{height}.jpg"), lie, Refused));
        }
    }
    all.push(hostile("zero.jpg", lie_about_jpeg_size(photo, 0, 0), Refused));
    all.push(hostile("tall.jpg", lie_about_jpeg_size(photo, 1, 65_500), Anything));
    let frame = jpeg_frame(photo);
    all.push(hostile("components.jpg", with(photo, frame + 9, &[255]), Refused));
    all.push(hostile("twelve_bits.jpg", with(photo, frame + 4, &[12]), Refused));
    all.push(hostile("sampling.jpg", with(photo, frame + 11, &[0xff]), Refused));
    all.push(hostile("arithmetic.jpg", with(photo, frame + 1, &[0xc9]), Anything));
    all.push(hostile("lossless.jpg", with(photo, frame + 1, &[0xc3]), Refused));
    for (name, marker) in [("quantisation", 0xdb), ("huffman", 0xc4), ("scan", 0xda)] {
        let at = position(photo, &[0xff, marker]);
        for length in [0_u16, 1, 2, 0xffff] {
            let lie = with(photo, at + 2, &length.to_be_bytes());
            // Some decoders pass over a short segment and know the usual tables by heart.
            all.push(hostile(format!("{name}_length_{length}.jpg"), lie, Anything));
        }
    }
    let huffman = position(photo, &[0xff, 0xc4]);
    all.push(hostile("codes.jpg", with(photo, huffman + 5, &[255; 16]), Refused));
    // Thousands of scans of a progressive picture, each with next to no data.
    let last = (0..progressive.len() - 1).rfind(|at| progressive[*at..*at + 2] == [0xff, 0xda]).expect("a scan");
    let scan = &progressive[last..progressive.len() - 2];
    let scans = [&progressive[..progressive.len() - 2], &scan.repeat(2_000), &[0xff, 0xd9]].concat();
    all.push(hostile("scans_large.jpg", lie_about_jpeg_size(&scans, 4_000, 4_000), Refused));
    all.push(hostile("scans.jpg", scans, Refused));
    // EXIF whose directories lead back to themselves, count more than there is, or point behind the end.
    for (name, block) in exif_blocks() {
        let length = u16::try_from(block.len() + 8).expect("it fits a segment").to_be_bytes();
        let segment = [&[0xff, 0xe1], &length[..], b"Exif\0\0", &block].concat();
        all.push(hostile(format!("exif_{name}.jpg"), insert(photo, 2, &segment), Anything));
    }
    for (name, profile) in profiles() {
        let length = u16::try_from(profile.len() + 16).expect("it fits a segment").to_be_bytes();
        let segment = [&[0xff, 0xe2], &length[..], b"ICC_PROFILE\0\x01\x01", &profile].concat();
        all.push(hostile(format!("icc_{name}.jpg"), insert(photo, 2, &segment), Anything));
        let lost = [&[0xff, 0xe2], &length[..], b"ICC_PROFILE\0\xff\xff", &profile].concat();
        all.push(hostile(format!("icc_lost_{name}.jpg"), insert(photo, 2, &lost), Anything));
    }
    let comments = [&[0xff, 0xfe, 0xff, 0xff][..], &[b'x'; 0xfffd]].concat().repeat(200);
    all.push(hostile("comments.jpg", insert(photo, 2, &comments), Anything));
    all
}

/// TIFF structures that lead nowhere or in circles.
fn exif_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value.to_be_bytes()].concat()
    };
    let block = |entries: &[Vec<u8>], next: u32| {
        let count = u16::try_from(entries.len()).expect("a few").to_be_bytes();
        [&b"MM\0*\0\0\0\x08"[..], &count, &entries.concat(), &next.to_be_bytes()].concat()
    };
    vec![
        ("next_is_itself", block(&[entry(0x0112, 3, 1, 6 << 16)], 8)),
        ("children_are_itself", block(&[entry(0x8769, 4, 1, 8), entry(0x8825, 4, 1, 8), entry(0xa005, 4, 1, 8)], 0)),
        ("counts", block(&[entry(0x010f, 2, u32::MAX, 8), entry(0x0110, 5, u32::MAX / 8 + 1, 8)], 0)),
        ("offsets", block(&[entry(0x010f, 2, 100, u32::MAX), entry(0x8769, 4, 1, u32::MAX - 1)], u32::MAX)),
        ("directory", b"MM\0*\0\0\0\x08\xff\xff".to_vec()),
        ("wide", block(&vec![entry(0x8769, 4, 1, 8); 5_000], 8)),
        ("orientation", block(&[entry(0x0112, 3, 1, 77 << 16)], 0)),
    ]
}

/// Profiles with a sound header and rubbish behind it.
fn profiles() -> Vec<(&'static str, Vec<u8>)> {
    let mut head = vec![0; 128];
    head[12..24].copy_from_slice(b"mntrRGB XYZ ");
    head[36..40].copy_from_slice(b"acsp");
    head[8] = 4;
    let tag = |name: &[u8; 4], at: u32, length: u32| [&name[..], &at.to_be_bytes(), &length.to_be_bytes()].concat();
    let profile = |count: u32, tags: &[Vec<u8>], data: &[u8]| {
        let mut all = [&head[..], &count.to_be_bytes(), &tags.concat(), data].concat();
        let length = u32::try_from(all.len()).expect("short").to_be_bytes();
        all[..4].copy_from_slice(&length);
        all
    };
    // A table of four billion entries, and one with 255^3 points.
    let curve = [&b"curv\0\0\0\0"[..], &u32::MAX.to_be_bytes()].concat();
    let table = [&b"mft2\0\0\0\0\x03\x03\xff\0"[..], &[0; 36], &[0xff; 4], &[0x55; 400]].concat();
    vec![
        ("empty", profile(0, &[], &[])),
        ("many_tags", profile(u32::MAX, &[], &[])),
        ("beyond", profile(2, &[tag(b"rTRC", u32::MAX, u32::MAX), tag(b"A2B0", 0x7fff_ffff, 1 << 30)], &[])),
        ("curve", profile(1, &[tag(b"rTRC", 144, 12)], &curve)),
        ("table", profile(1, &[tag(b"A2B0", 144, table.len() as u32)], &table)),
        ("noise", profile(3, &[tag(b"rXYZ", 168, 500), tag(b"gTRC", 168, 500), tag(b"A2B0", 168, 500)], &[0xa7; 500])),
    ]
}

/// CRC-32 as PNG wants it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    [&u32::try_from(data.len()).expect("it fits").to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

/// A zlib stream of some 110 MB of zeros in about 110 kB: the packed rows of a large black picture.
fn zlib_bomb() -> Vec<u8> {
    let png = large_png(30_000, 30_000);
    let (mut at, mut stream) = (8, Vec::new());
    while let Some(head) = png.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if &head[4..] == b"IDAT" {
            stream.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    stream
}

/// A PNG with another header, its checksum put right.
fn png_header(png: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut header = png[16..29].to_vec();
    change(&mut header);
    [&png[..8], &chunk(b"IHDR", &header), &png[33..]].concat()
}

/// Headers of PNGs, and what is hung into them.
pub fn pngs(picture: &[u8], palette: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = vec![hostile("bomb.png", large_png(30_000, 30_000), Refused)];
    for (width, height) in
        [(0, 0), (1 << 31, 1), (30_000, 30_000), (32_768, 3_000), (10_000, 10_000), (5_000, 5_000), (4_000, 4_000)]
    {
        for (kind, png) in [("rgba", picture), ("palette", palette)] {
            let lie = png_header(png, |header| {
                header[..4].copy_from_slice(&u32::to_be_bytes(width));
                header[4..8].copy_from_slice(&u32::to_be_bytes(height));
            });
            all.push(hostile(format!("{kind}_{width}x{height}.png"), lie, Refused));
        }
        let deep = png_header(picture, |header| {
            header[..4].copy_from_slice(&u32::to_be_bytes(width));
            header[4..8].copy_from_slice(&u32::to_be_bytes(height));
            header[8] = 16;
        });
        all.push(hostile(format!("deep_{width}x{height}.png"), deep, Refused));
    }
    for (name, at, value) in
        [("depth", 8, 3), ("colour", 9, 5), ("packing", 10, 1), ("filter", 11, 1), ("passes", 12, 2)]
    {
        all.push(hostile(format!("{name}.png"), png_header(picture, |header| header[at] = value), Refused));
    }
    let data = position(picture, b"IDAT") - 4;
    // A piece that is longer than the file may hold the whole picture all the same.
    for (length, expect) in [(0_u32, Refused), (1, Refused), (0x7fff_ffff, Anything), (u32::MAX, Anything)] {
        let lie = with(picture, data, &length.to_be_bytes());
        all.push(hostile(format!("data_length_{length}.png"), lie, expect));
    }
    let bomb = zlib_bomb();
    for (name, kind, head) in [
        ("iccp_bomb", b"iCCP", &b"x\0\0"[..]),
        ("ztxt_bomb", b"zTXt", b"x\0\0"),
        ("itxt_bomb", b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0"),
    ] {
        let bomb = chunk(kind, &[head, &bomb].concat());
        all.push(hostile(format!("{name}.png"), insert(picture, 33, &bomb), Anything));
        all.push(hostile(format!("{name}s.png"), insert(picture, 33, &bomb.repeat(20)), Anything));
    }
    for (name, block) in exif_blocks() {
        all.push(hostile(format!("exif_{name}.png"), insert(picture, 33, &chunk(b"eXIf", &block)), Anything));
    }
    let texts = chunk(b"tEXt", b"a\0b").repeat(100_000);
    all.push(hostile("texts.png", insert(picture, 33, &texts), Anything));
    let frames = chunk(b"acTL", &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    all.push(hostile("frames.png", insert(picture, 33, &frames), Anything));
    let colours = position(palette, b"PLTE") - 4;
    let length = u32::from_be_bytes(palette[colours..colours + 4].try_into().unwrap()) as usize;
    let without = [&palette[..colours], &palette[colours + 12 + length..]].concat();
    all.push(hostile("no_palette.png", without, Refused));
    all.push(hostile("palette_length.png", with(palette, colours, &u32::MAX.to_be_bytes()), Refused));
    all
}

/// Containers of WebPs that lie.
pub fn webps(lossy: &[u8], lossless: &[u8], animated: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    let canvas = |side: u32| [&(side - 1).to_le_bytes()[..3], &(side - 1).to_le_bytes()[..3]].concat();
    let at = position(animated, b"VP8X") + 12;
    for side in [16_384, 10_000, 5_000, 4_000, 2_000] {
        all.push(hostile(format!("canvas_{side}.webp"), with(animated, at, &canvas(side)), Anything));
        let frame = lossy[12..].to_vec();
        let header = [&b"VP8X\x0a\0\0\0\0\0\0\0"[..], &canvas(side)].concat();
        all.push(hostile(format!("still_{side}.webp"), riff(&[header, frame].concat()), Refused));
        let size = (side - 1) & 0x3fff;
        let bits = size | size << 14;
        let body = position(lossless, b"VP8L") + 9;
        all.push(hostile(format!("lossless_{side}.webp"), with(lossless, body, &bits.to_le_bytes()), Refused));
        let body = position(lossy, &[0x9d, 0x01, 0x2a]) + 3;
        let sides = (side as u16 & 0x3fff).to_le_bytes().repeat(2);
        all.push(hostile(format!("lossy_{side}.webp"), with(lossy, body, &sides), Refused));
    }
    for (name, webp) in [("lossy", lossy), ("lossless", lossless), ("animated", animated)] {
        for length in [0_u32, 3, 0x7fff_ffff, u32::MAX] {
            all.push(hostile(format!("{name}_file_{length}.webp"), with(webp, 4, &length.to_le_bytes()), Anything));
            all.push(hostile(format!("{name}_chunk_{length}.webp"), with(webp, 16, &length.to_le_bytes()), Refused));
        }
    }
    let frame = position(animated, b"ANMF");
    let length = u32::from_le_bytes(animated[frame + 4..frame + 8].try_into().unwrap()) as usize + 8;
    all.push(hostile("frame_off_canvas.webp", with(animated, frame + 8, &[0xff; 6]), Refused));
    all.push(hostile("frame_size.webp", with(animated, frame + 14, &[0xff; 6]), Refused));
    let many = [&animated[12..frame], &animated[frame..frame + length].repeat(10_000)].concat();
    all.push(hostile("frames.webp", riff(&many), Anything));
    let empty = animated[12..frame].to_vec();
    all.push(hostile("no_frame.webp", riff(&empty), Refused));
    all
}

fn riff(body: &[u8]) -> Vec<u8> {
    [&b"RIFF"[..], &u32::try_from(body.len() + 4).expect("it fits").to_le_bytes(), b"WEBP", body].concat()
}

/// Screens and frames of GIFs that lie.
pub fn gifs(animated: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    for (width, height) in [(65_535_u16, 65_535_u16), (10_000, 10_000), (5_000, 5_000), (4_000, 4_000), (30_000, 2)] {
        let screen = [width.to_le_bytes(), height.to_le_bytes()].concat();
        all.push(hostile(format!("screen_{width}x{height}.gif"), with(animated, 6, &screen), Anything));
        let frame = position(animated, &[0x2c]);
        let whole = with(&with(animated, 6, &screen), frame + 5, &screen);
        all.push(hostile(format!("frame_{width}x{height}.gif"), whole, Refused));
        all.push(hostile(format!("only_frame_{width}x{height}.gif"), with(animated, frame + 5, &screen), Anything));
    }
    all.push(hostile("screen_0.gif", with(animated, 6, &[0; 4]), Refused));
    all.push(hostile("frames.gif", many_frames_gif(10_000, 320, 240), Anything));
    all.push(hostile("frames_wide.gif", many_frames_gif(10_000, 2_000, 2_000), Anything));
    all.push(hostile("frames_few_wide.gif", many_frames_gif(900, 2_000, 2_000), Anything));
    all.push(hostile("colours.gif", with(animated, 10, &[0x00]), Anything));
    // One comment of a hundred thousand sub-blocks, and a frame whose code size is wrong.
    let comment = [&[0x21, 0xfe][..], &b"\x01x".repeat(100_000), &[0]].concat();
    let first = position(animated, &[0x21]);
    all.push(hostile("comment.gif", insert(animated, first, &comment), Anything));
    let frame = position(animated, &[0x2c]);
    for size in [0_u8, 1, 12, 13, 255] {
        let expect = if size == 1 { Anything } else { Refused };
        all.push(hostile(format!("code_size_{size}.gif"), with(animated, frame + 10, &[size]), expect));
    }
    all
}

/// Directories of TIFFs that lie.
pub fn tiffs(picture: &[u8], palette: &[u8], jpeg: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    for (kind, tiff) in [("rgb", picture), ("palette", palette), ("jpeg", jpeg)] {
        let entry = |tag: u16| {
            let found = first_directory(tiff).find(|at| tiff[*at..*at + 2] == tag.to_le_bytes());
            found.map(|at| (at, u16::from_le_bytes([tiff[at + 2], tiff[at + 3]])))
        };
        // As a LONG, whatever it was.
        let lie = |tag: u16, value: u32| {
            entry(tag).map(|(at, _)| with(tiff, at + 2, &[&[4, 0, 1, 0, 0, 0][..], &value.to_le_bytes()].concat()))
        };
        for side in [0, 4_000, 10_000, 30_000, u32::MAX] {
            let Some(wide) = lie(256, side) else { continue };
            let (height, _) = entry(257).expect("a height");
            let both = with(&wide, height + 2, &[&[4, 0, 1, 0, 0, 0][..], &side.to_le_bytes()].concat());
            all.push(hostile(format!("{kind}_{side}.tiff"), both, Refused));
        }
        for (name, tag) in [
            ("bits", 258),
            ("compression", 259),
            ("meaning", 262),
            ("offset", 273),
            ("samples", 277),
            ("rows", 278),
            ("bytes", 279),
            ("planes", 284),
            ("predictor", 317),
            ("tile_width", 322),
            ("tile_height", 323),
            ("tile_offset", 324),
        ] {
            for value in [0, 3, 77, 0x7fff_ffff, u32::MAX] {
                if let Some(lying) = lie(tag, value) {
                    all.push(hostile(format!("{kind}_{name}_{value}.tiff"), lying, Anything));
                }
            }
            if let Some((at, _)) = entry(tag) {
                let counted = with(tiff, at + 4, &u32::MAX.to_le_bytes());
                all.push(hostile(format!("{kind}_{name}_count.tiff"), counted, Anything));
            }
        }
        let first = u32::from_le_bytes(tiff[4..8].try_into().unwrap());
        let entries = u16::from_le_bytes([tiff[first as usize], tiff[first as usize + 1]]) as usize;
        let next = first as usize + 2 + 12 * entries;
        all.push(hostile(format!("{kind}_loop.tiff"), with(tiff, next, &first.to_le_bytes()), Anything));
        all.push(hostile(format!("{kind}_directory.tiff"), with(tiff, 4, &u32::MAX.to_le_bytes()), Refused));
        all.push(hostile(format!("{kind}_entries.tiff"), with(tiff, first as usize, &[0xff; 2]), Anything));
    }
    all
}

/// Where the entries of a little-endian TIFF's first directory begin.
fn first_directory(tiff: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let first = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let count = usize::from(u16::from_le_bytes([tiff[first], tiff[first + 1]]));
    (first + 2..).step_by(12).take(count)
}

/// Headers of BMPs that lie.
pub fn bmps(picture: &[u8], palette: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    for (kind, bmp) in [("rgb", picture), ("palette", palette)] {
        for side in [0_i32, 4_000, -4_000, 10_000, 30_000, i32::MAX, i32::MIN] {
            let lie = with(bmp, 18, &[side.to_le_bytes(), side.to_le_bytes()].concat());
            all.push(hostile(format!("{kind}_{side}.bmp"), lie, Refused));
            let tall = with(bmp, 22, &side.to_le_bytes());
            all.push(hostile(format!("{kind}_tall_{side}.bmp"), tall, Anything));
        }
        for (name, at, length) in
            [("data", 10, 4), ("header", 14, 4), ("bits", 28, 2), ("packing", 30, 4), ("colours", 46, 4)]
        {
            for value in [0_u32, 3, 77, 0x7fff_ffff, u32::MAX] {
                let lie = with(bmp, at, &value.to_le_bytes()[..length]);
                all.push(hostile(format!("{kind}_{name}_{value}.bmp"), lie, Anything));
            }
        }
    }
    all
}

/// Boxes of AVIFs that lie.
pub fn avifs(picture: &[u8], grid: &[u8]) -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    let mut all = Vec::new();
    for (kind, avif) in [("still", picture), ("grid", grid)] {
        for side in [0_u32, 4_000, 10_000, 30_000, u32::MAX] {
            let sizes: Vec<usize> =
                avif.windows(4).enumerate().filter(|(_, at)| at == b"ispe").map(|(at, _)| at).collect();
            let mut lie = avif.to_vec();
            for at in sizes {
                lie[at + 8..at + 16].copy_from_slice(&side.to_be_bytes().repeat(2));
            }
            all.push(hostile(format!("{kind}_{side}.avif"), lie, Refused));
        }
        for name in [b"ftyp", b"meta", b"iinf", b"iloc", b"iprp", b"ipco", b"ipma", b"mdat", b"av1C", b"pitm"] {
            let at = position(avif, name);
            for length in [0_u32, 1, 7, 0x7fff_ffff, u32::MAX] {
                let lie = with(avif, at - 4, &length.to_be_bytes());
                let name = String::from_utf8_lossy(name);
                all.push(hostile(format!("{kind}_{name}_{length}.avif"), lie, Anything));
            }
        }
        let places = position(avif, b"iloc");
        for at in (4..24).step_by(2) {
            all.push(hostile(format!("{kind}_place_{at}.avif"), with(avif, places + at, &[0xff; 2]), Anything));
        }
    }
    // The grid's own description: rows, columns, width, height.
    let size = grid.windows(8).position(|at| at[0] == 0 && at[1] == 0 && at[2] == 1 && at[3] == 1).expect("2x2");
    for (name, lie) in [("rows", [255_u8, 1]), ("columns", [1, 255]), ("both", [255, 255]), ("none", [0, 0])] {
        all.push(hostile(format!("grid_{name}.avif"), with(grid, size + 2, &lie), Refused));
    }
    all.push(hostile("grid_size.avif", with(grid, size + 4, &[0xff; 4]), Refused));
    all
}

/// Documents that expand, nest, reach out or take for ever.
pub fn svgs() -> Vec<Hostile> {
    use Expect::{Anything, Refused};
    const OPEN: &str =
        "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' width='200' height='200'>";
    let doc = |body: &str| format!("{OPEN}{body}</svg>").into_bytes();
    let mut entities = "<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY e0 'aaaaaaaaaa'>".to_owned();
    for level in 1..12 {
        entities += &format!("<!ENTITY e{level} '{}'>", format!("&e{};", level - 1).repeat(10));
    }
    entities += &format!("]>{OPEN}<text y='20'>&e11;</text></svg>");
    let mut uses = "<g id='g0'><rect width='3' height='3'/></g>".to_owned();
    for level in 1..30 {
        uses += &format!("<g id='g{level}'>{}</g>", format!("<use xlink:href='#g{}'/>", level - 1).repeat(10));
    }
    let external = "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>";
    vec![
        hostile("entities.svg", entities.into_bytes(), Refused),
        hostile("external_entity.svg", format!("{external}{OPEN}<text y='20'>&x;</text></svg>").into_bytes(), Refused),
        hostile("uses.svg", doc(&format!("<defs>{uses}</defs><use xlink:href='#g29'/>")), Refused),
        hostile("use_of_itself.svg", doc("<g id='a'><use xlink:href='#a'/></g>"), Anything),
        hostile("deep.svg", doc(&format!("{}<rect/>{}", "<g>".repeat(40_000), "</g>".repeat(40_000))), Refused),
        hostile("deep_open.svg", format!("{OPEN}{}", "<g>".repeat(90_000)).into_bytes(), Refused),
        hostile(
            "deep_opaque.svg",
            doc(&format!("{}<rect width='200' height='200'/>{}", "<g opacity='.9'>".repeat(900), "</g>".repeat(900))),
            Anything,
        ),
        hostile(
            "blur.svg",
            doc(
                "<filter id='f' width='9' height='9'><feGaussianBlur stdDeviation='900'/></filter><rect width='200' height='200' filter='url(#f)'/>",
            ),
            Anything,
        ),
        hostile(
            "filters.svg",
            doc(&format!(
                "<filter id='f'>{}</filter><rect width='200' height='200' filter='url(#f)'/>",
                "<feTurbulence baseFrequency='.9' numOctaves='900000'/><feMorphology operator='dilate' radius='9000'/>"
                    .repeat(200)
            )),
            Refused,
        ),
        hostile(
            "pattern.svg",
            doc(
                "<pattern id='p' width='.0001' height='.0001' patternUnits='userSpaceOnUse'><rect width='1' height='1'/></pattern><rect width='200' height='200' fill='url(#p)'/>",
            ),
            Anything,
        ),
        hostile(
            "paths.svg",
            doc(&"<path d='M0 0L200 200Z' stroke='red' stroke-dasharray='.00001'/>".repeat(500)),
            Anything,
        ),
        hostile("points.svg", doc(&format!("<polygon points='{}'/>", "0 0 200 200 ".repeat(200_000))), Anything),
        hostile(
            "huge.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' width='1e9' height='1e9'><rect width='9' height='9'/></svg>"
                .to_vec(),
            Anything,
        ),
        hostile(
            "no_size.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' width='NaN' height='-1' viewBox='0 0 1e300 1e300'/>".to_vec(),
            Anything,
        ),
        hostile(
            "script.svg",
            doc(
                "<script>for(;;);</script><rect width='9' height='9' onload='for(;;);'/><foreignObject><iframe xmlns='http://www.w3.org/1999/xhtml' src='http://127.0.0.1/'/></foreignObject>",
            ),
            Anything,
        ),
        hostile(
            "nested_svg.svg",
            doc(&format!("{}{}", format!("{OPEN}<g>").repeat(300), "</g></svg>".repeat(300))),
            Anything,
        ),
        hostile(
            "texts.svg",
            doc(&"<text y='20' font-size='900' textLength='1e9'>%%%%%%%%%</text>".repeat(3_000)),
            Anything,
        ),
        hostile(
            "css.svg",
            doc(&format!(
                "<style>{}</style>{}",
                "g g g g g g rect{fill:red}".repeat(1_000),
                "<g><rect/></g>".repeat(1_000)
            )),
            Anything,
        ),
    ]
}
