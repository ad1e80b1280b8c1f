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
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use fovea::base::{Deadline, Format, Limits, Size, Stopped, Work};
use fovea::decode::{self, Form, Header, Want};
use fovea::pixels::{Head, Row, Sink};
use fovea::plan::{Plan, Width};
use fovea::render::order::{self, Look, Order, Target};
use fovea::render::{Job, Pool, Urgency};
use fovea::transform::{self, Light};
use turbojpeg::raw;

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

/// Photos with a restart marker after every row of MCUs, decoded in linear light by one thread and by two: milliseconds, and CPU
/// milliseconds of both threads, medians of rounds by turns.
fn restarts(_: &mut Criterion) {
    const ROUNDS: usize = 15;
    let pool = Pool::start(1, 16).expect("a thread starts");
    let photos = photos().into_iter().filter(|photo| photo.header.format == Format::Jpeg);
    for photo in photos.filter_map(restarted) {
        let Size { width, height } = photo.header.size;
        for (name, parts, form) in [("light", 1, Form::Light(0)), ("half in light", 2, Form::Light(100))] {
            let want = Want { target: Size::new(width / parts, height / parts), ..Want::all(&photo.header) };
            let mut times = [const { Vec::new() }; 4];
            for round in 0..2 * ROUNDS {
                let work = if round % 2 == 0 { work() } else { work().with(pool.spare(Urgency::Live)) };
                let (begun, used) = (Instant::now(), cpu());
                let limits = Limits { source_bytes_max: u64::MAX, ..Limits::default() };
                decode::stream(&photo.bytes, &photo.header, &want, form, &limits, &work, &mut Nothing(0))
                    .expect("it decodes");
                times[round % 2].push(begun.elapsed());
                times[2 + round % 2].push(cpu() - used);
            }
            let [alone, two, alone_cpu, two_cpu] = times.map(|mut times| {
                times.sort_unstable();
                times[ROUNDS / 2].as_secs_f64() * 1e3
            });
            println!(
                "restart markers, {} {name}: {alone:.1} ms ({alone_cpu:.1} of CPU) alone, {two:.1} ({two_cpu:.1}) by two",
                photo.name
            );
        }
    }
}

/// The same photo with restart markers, by libjpeg-turbo.
fn restarted(photo: Photo) -> Option<Photo> {
    let image = turbojpeg::decompress(&photo.bytes, turbojpeg::PixelFormat::RGB).ok()?;
    let (mut bytes, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the handle and the buffer are the library's own and are freed once; the pixels are as many as is said.
    let bytes = unsafe {
        let handle = raw::tj3Init(raw::TJINIT_TJINIT_COMPRESS as i32);
        for (parameter, value) in [
            (raw::TJPARAM_TJPARAM_QUALITY, 85),
            (raw::TJPARAM_TJPARAM_SUBSAMP, raw::TJSAMP_TJSAMP_420),
            (raw::TJPARAM_TJPARAM_RESTARTROWS, 1),
        ] {
            raw::tj3Set(handle, parameter as i32, value);
        }
        let (width, height, format) = (image.width as i32, image.height as i32, raw::TJPF_TJPF_RGB);
        raw::tj3Compress8(handle, image.pixels.as_ptr(), width, 0, height, format, &mut bytes, &mut length);
        let file = Bytes::copy_from_slice(std::slice::from_raw_parts(bytes, length as usize));
        raw::tj3Free(bytes.cast());
        raw::tj3Destroy(handle);
        file
    };
    let header = Arc::new(decode::probe(&bytes, &Limits { source_bytes_max: u64::MAX, ..Limits::default() }).ok()?);
    Some(Photo { bytes, header, ..photo })
}

/// What this process has used.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written into what stands here.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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

criterion_group!(benches, restarts, decoding, resizing, tasks);
criterion_main!(benches);
