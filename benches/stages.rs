//! Each stage of a still picture by itself, and whole tasks: decode by format and scale, resize, whole variants. The memory of each
//! task is held against the bytes that were estimated for it first.
//!
//! Photos are the samples, or those of the folder FOVEA_BENCH_PHOTOS (files of any format that is read).
#![allow(unsafe_code, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use fovea::base::{Deadline, Format, Limits, Size, Stopped, Work};
use fovea::decode::{self, Form, Header, Want};
use fovea::pixels::{Head, Row, Sink};
use fovea::plan::{Plan, Width};
use fovea::render::Job;
use fovea::render::order::{self, Look, Order, Target};
use fovea::transform::{self, Light};

/// Counts what is held, so that a task's peak is known. What C libraries hold is not seen here.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

struct Photo {
    name: String,
    bytes: Bytes,
    header: Arc<Header>,
}

fn photos() -> Vec<Photo> {
    let folder = std::env::var_os("FOVEA_BENCH_PHOTOS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples"), PathBuf::from);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = Bytes::from(std::fs::read(&path).ok()?);
        let header = Arc::new(decode::probe(&bytes, &Limits::default()).ok()?);
        let name = path.file_name()?.to_string_lossy().into_owned();
        (header.frames == 1 && header.format != Format::Svg).then_some(Photo { name, bytes, header })
    };
    paths.into_iter().filter_map(read).collect()
}

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(600)))
}

/// Takes rows and makes nothing of them.
struct Nothing(usize);

impl Sink for Nothing {
    fn begin(&mut self, _: &Head) -> Result<(), Stopped> {
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        self.0 += black_box(row).channels_or_values();
        Ok(())
    }
}

/// Something of a row, so that it is made.
trait Looked {
    fn channels_or_values(&self) -> usize;
}

impl Looked for Row<'_> {
    fn channels_or_values(&self) -> usize {
        match self {
            Row::U8(values) => values.len(),
            Row::U16(values) => values.len(),
            Row::Light(planes) => planes.len(),
        }
    }
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.sample_size(10);
    for photo in photos() {
        for (name, parts, form) in [
            ("full", 1, Form::Samples),
            ("light", 1, Form::Light(0)),
            ("half in light", 2, Form::Light(100)),
            ("eighth", 8, Form::Samples),
        ] {
            let Size { width, height } = photo.header.size;
            let target = Size::new((width / parts).max(1), (height / parts).max(1));
            let margin_percent = if parts == 8 { 100 } else { 0 };
            let want = Want { target, margin_percent, ..Want::all(&photo.header) };
            group.bench_function(format!("{} {name}", photo.name), |b| {
                b.iter(|| {
                    let mut sink = Nothing(0);
                    let limits = Limits::default();
                    decode::stream(&photo.bytes, &photo.header, &want, form, &limits, &work(), &mut sink)
                        .expect("it decodes")
                });
            });
        }
    }
}

fn resizing(c: &mut Criterion) {
    let mut group = c.benchmark_group("resize");
    group.sample_size(10);
    for photo in photos() {
        let limits = Limits::default();
        let decoded = decode::decode(&photo.bytes, &photo.header, &Want::all(&photo.header), &limits, &work());
        let decoded = decoded.expect("it decodes");
        for (name, light) in [("linear", Light::Linear), ("gamma", Light::Gamma)] {
            let plan = Plan { width: Some(Width::Px(300)), ..Plan::DEFAULT };
            let geometry = order::geometry(&photo.header, &plan).expect("a geometry");
            group.bench_function(format!("{} to 300 {name}", photo.name), |b| {
                b.iter(|| {
                    let picture = decoded.picture.clone();
                    transform::apply(picture, decoded.covers, &geometry, &plan, light, None, &work())
                        .expect("it resizes")
                });
            });
        }
    }
}

/// Whole variants, and how much memory each takes of what was estimated.
fn tasks(c: &mut Criterion) {
    let mut group = c.benchmark_group("task");
    group.sample_size(10);
    for photo in photos() {
        for (width, format) in [(300, Format::Jpeg), (800, Format::Jpeg), (300, Format::WebP), (300, Format::Png)] {
            let order = Order {
                source: photo.bytes.clone(),
                header: photo.header.clone(),
                original: photo.header.clone(),
                plan: Arc::new(Plan { width: Some(Width::Px(width)), ..Plan::DEFAULT }),
                target: Target::Format(format),
                look: Arc::new(Look::default()),
                limits: Limits::default(),
            };
            let name = format!("{} to {width} {}", photo.name, format.extension());
            order::run(&order, &work()).expect("it renders");
            let held = HELD.load(Relaxed);
            PEAK.store(held, Relaxed);
            order::run(&order, &work()).expect("it renders");
            let (took, said) = (PEAK.load(Relaxed) - held, order.bytes_of_work().expect("an estimate"));
            println!("{name}: {took} bytes held, {said} estimated");
            assert!(took as f64 <= 1.25 * said as f64, "{name} takes {took} bytes, estimated {said}");
            group.bench_function(name, |b| b.iter(|| order::run(&order, &work()).expect("it renders")));
        }
    }
}

criterion_group!(benches, decoding, resizing, tasks);
criterion_main!(benches);
