//! One plain function a decoder for fuzzing: cargo-fuzz calls them, and the tests replay `tests/fuzz/corpus` through them.
//!
//! Always true: each returns, without a panic, for every input; what it returns is not looked at but for its consistency.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    Decoded, Form, Header, Want, bytes_of_stream, bytes_of_work, decode, frames, jpeg as jpegs, probe, stream,
};
use crate::base::{Deadline, Format, Idle, Limits, Part, Size, Stopped, Work};
use crate::pixels::{Depth, Head, Row, Sink};

/// Bounds small enough that an input is over in milliseconds.
const LIMITS: Limits = Limits {
    source_bytes_max: 1 << 20,
    pixels_max: 4 << 20,
    side_max: 16_384,
    frames_max: 8,
    animation_pixels_max: 8 << 20,
    metadata_bytes_max: 64 << 10,
};

/// A JPEG; with restart markers also by several threads.
pub fn jpeg(data: &[u8]) {
    run(data, Format::Jpeg);
    let bytes = Bytes::copy_from_slice(data);
    if let Some(header) = probe(data, &LIMITS).ok().filter(|header| header.format == Format::Jpeg) {
        parted(&bytes, &header);
    }
}

/// A PNG.
pub fn png(data: &[u8]) {
    run(data, Format::Png);
}

/// A WebP, still or animated.
pub fn webp(data: &[u8]) {
    run(data, Format::WebP);
}

/// An AVIF.
pub fn avif(data: &[u8]) {
    run(data, Format::Avif);
}

/// A GIF.
pub fn gif(data: &[u8]) {
    run(data, Format::Gif);
}

/// A TIFF.
pub fn tiff(data: &[u8]) {
    run(data, Format::Tiff);
}

/// A BMP.
pub fn bmp(data: &[u8]) {
    run(data, Format::Bmp);
}

/// An SVG.
pub fn svg(data: &[u8]) {
    run(data, Format::Svg);
}

/// Probes, then decodes whole, reduced and frame by frame, and holds each result to what its types promise.
fn run(data: &[u8], format: Format) {
    if Format::sniff(data) != Some(format) {
        return;
    }
    let Ok(header) = probe(data, &LIMITS) else { return };
    let all = Want::all(&header);
    let middle = Size::new(header.size.width.div_ceil(3), header.size.height.div_ceil(3));
    let mut region = middle.rect();
    (region.x, region.y) = (header.size.width / 3, header.size.height / 3);
    let (target, margin_percent) = (Size::new(middle.width.div_ceil(2), middle.height.div_ceil(2)), 150);
    let work = Work::until(Deadline::after(Duration::from_secs(10)));
    let bytes = Bytes::copy_from_slice(data);
    for want in [all, Want { region, target, margin_percent }] {
        assert!(bytes_of_work(&header, &want) > 0 && bytes_of_stream(&header, &want) > 0);
        for form in [Form::Samples, Form::Light(120)] {
            let mut counted = Counted::default();
            if stream(&bytes, &header, &want, form, &LIMITS, &work, &mut counted).is_ok() {
                assert_eq!(counted.rows, counted.expected);
            }
        }
        if let Ok(decoded) = decode(data, &header, &want, &LIMITS, &work) {
            consistent(&decoded);
        }
    }
    if let Ok(mut frames) = frames(data, &header, &LIMITS) {
        let mut shown = 0;
        while let Ok(Some(frame)) = frames.next(&work) {
            shown += 1;
            assert_eq!(frame.picture.size, header.size);
        }
        assert!(shown <= header.frames);
    }
}

/// Holds what several threads make of a JPEG against what one does.
///
/// # Panics
/// If they differ.
fn parted(bytes: &Bytes, header: &Header) {
    let Ok(cut) = jpegs::cut(bytes, header, &Want::all(header), Form::Light(0)) else { return };
    let work = Work::until(Deadline::after(Duration::from_secs(10)));
    let (mut alone, mut together) = (Hashed::default(), Hashed::default());
    let assisted = work.clone().with(Arc::new(Threads));
    let Some(found) = jpegs::stream_parted(bytes, header, &cut, &assisted, &mut together) else { return };
    let right = jpegs::stream_cut(bytes, header, &cut, &work, &mut alone);
    assert_eq!(found.as_ref().ok(), right.as_ref().ok());
    assert!(right.is_err() || alone.0.finish() == together.0.finish());
}

/// A thread for each part, two at most.
#[derive(Debug)]
struct Threads;

impl Idle for Threads {
    fn assist(&self, most: usize, part: &dyn Fn() -> Part) -> usize {
        (0..most.min(2)).for_each(|_| drop(std::thread::spawn(part())));
        most.min(2)
    }

    fn wanted(&self) -> bool {
        false
    }
}

/// Hashes rows.
#[derive(Default)]
struct Hashed(DefaultHasher);

impl Sink for Hashed {
    fn begin(&mut self, _: &Head) -> Result<(), Stopped> {
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        match row {
            Row::U8(values) => values.hash(&mut self.0),
            Row::U16(values) => values.hash(&mut self.0),
            Row::Light(planes) => planes.hash(&mut self.0),
        }
        Ok(())
    }
}

/// Counts rows, and holds each to the head.
#[derive(Default)]
struct Counted {
    head: Option<Head>,
    rows: u32,
    expected: u32,
}

impl Sink for Counted {
    fn begin(&mut self, head: &Head) -> Result<(), Stopped> {
        (self.head, self.rows, self.expected) = (Some(head.clone()), 0, head.size.height);
        Ok(())
    }

    /// # Panics
    /// If a row is not as the head said.
    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        self.rows += 1;
        if let Some(head) = &self.head {
            let (width, channels) = (head.size.width as usize, head.layout.channels());
            let right = match (head.depth, row) {
                (Depth::Eight, Row::U8(values)) => values.len() == width * channels,
                (Depth::Sixteen, Row::U16(values)) => values.len() == width * channels,
                (Depth::Light, Row::Light(planes)) => {
                    planes.len() == channels && planes.iter().all(|plane| plane.len() == width)
                }
                _ => false,
            };
            assert!(right, "{head:?}");
        }
        Ok(())
    }
}

/// # Panics
/// If a picture does not hold as many samples as it says.
fn consistent(decoded: &Decoded) {
    let picture = &decoded.picture;
    assert_eq!(picture.samples.len() as u64, picture.size.pixels() * picture.layout.channels() as u64);
    assert!(decoded.covers.iter().all(|side| side.is_finite() && *side >= 0.0));
}
