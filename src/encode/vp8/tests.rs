//! The encoder against a decoder that knows nothing of it, its vectors against plain loops, its parts against what they promise.

use std::time::Duration;

use libwebp_sys as ffi;

use super::arithmetic::{Coder, decision, put_all};
use super::kernels::{Kernels, Portable};
use super::quantiser::Quantiser;
use super::{Failed, encode, encode_plainly, modes, segments, symbols};
use crate::base::{Deadline, Size, Stopped, Work};
use crate::encode::planes::Planes;
use crate::encode::riff::{self, Chunk};

fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

/// A file of it; and it is the same without vectors.
fn encoded(planes: &Planes, quality: u8) -> Vec<u8> {
    let frame = encode(planes, quality, &work()).unwrap();
    assert!(frame == encode_plainly(planes, quality, &work()).unwrap(), "{:?} {quality}", planes.size);
    riff::file(&[Chunk { name: *b"VP8 ", data: &frame }]).unwrap()
}

/// The planes that libwebp reads, as the encoder has them: edges are not smoothed.
#[allow(unsafe_code)]
fn decoded(file: &[u8]) -> (Size, [Vec<u8>; 3]) {
    // SAFETY: libwebp fills the structure, decodes into memory of its own, which is copied out row by row and freed once.
    unsafe {
        let mut config: ffi::WebPDecoderConfig = std::mem::zeroed();
        assert!(ffi::WebPInitDecoderConfig(&mut config));
        config.options.bypass_filtering = 1;
        config.output.colorspace = ffi::WEBP_CSP_MODE::MODE_YUV;
        assert_eq!(ffi::WebPDecode(file.as_ptr(), file.len(), &mut config), ffi::VP8StatusCode::VP8_STATUS_OK);
        let (width, height) = (config.output.width as usize, config.output.height as usize);
        let yuv = config.output.u.YUVA;
        let plane = |from: *const u8, stride: i32, width: usize, height: usize| {
            (0..height)
                .flat_map(|row| std::slice::from_raw_parts(from.add(row * stride as usize), width).to_vec())
                .collect::<Vec<u8>>()
        };
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let planes = [
            plane(yuv.y, yuv.y_stride, width, height),
            plane(yuv.u, yuv.u_stride, half_width, half_height),
            plane(yuv.v, yuv.v_stride, half_width, half_height),
        ];
        ffi::WebPFreeDecBuffer(&mut config.output);
        (Size::new(width as u32, height as u32), planes)
    }
}

fn picture(width: usize, height: usize, of: impl Fn(usize, usize, usize) -> u8) -> Planes {
    let rgb: Vec<u8> = (0..width * height * 3).map(|i| of(i / 3 % width, i / 3 / width, i % 3)).collect();
    Planes::video(&rgb, Size::new(width as u32, height as u32))
}

/// Waves of several lengths in each channel.
fn waves(width: usize, height: usize) -> Planes {
    picture(width, height, |x, y, channel| {
        let (x, y, phase) = (x as f32, y as f32, channel as f32 * 2.0);
        let sum = (x / 9.0 + phase).sin() * 45.0 + (y / 13.0 - phase).sin() * 40.0 + ((x + y) / 5.0).sin() * 20.0;
        (128.0 + sum).clamp(0.0, 255.0) as u8
    })
}

fn noise(width: usize, height: usize, seed: u64) -> Planes {
    let mut random = fastrand::Rng::with_seed(seed);
    let rgb: Vec<u8> = (0..width * height * 3).map(|_| random.u8(..)).collect();
    Planes::video(&rgb, Size::new(width as u32, height as u32))
}

/// Black and white, in blocks, columns and single pixels: the largest coefficients there are.
fn extremes(width: usize, height: usize) -> Planes {
    picture(width, height, |x, y, _| {
        let white = match x / 16 % 4 {
            0 => x.is_multiple_of(2),
            1 => (x + y).is_multiple_of(2),
            2 => (y / 8).is_multiple_of(2),
            _ => (x / 32 + y / 16).is_multiple_of(2),
        };
        if white { 255 } else { 0 }
    })
}

/// The largest difference of all samples.
fn farthest(one: &[Vec<u8>; 3], two: &[Vec<u8>; 3]) -> u8 {
    one.iter().flatten().zip(two.iter().flatten()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn libwebp_reads_every_size() {
    let sizes = [(1, 1), (1, 40), (40, 1), (15, 16), (16, 16), (17, 33), (64, 48), (129, 65), (250, 300), (33, 515)];
    for (width, height) in sizes {
        for quality in [1, 60, 100] {
            let planes = waves(width, height);
            let (size, found) = decoded(&encoded(&planes, quality));
            assert_eq!(size, planes.size);
            // Whoever predicts from other samples than the decoder has goes farther astray with each block.
            let far = farthest(&found, &planes.values);
            let most = [110, 40, 6][usize::from(quality / 50)];
            assert!(far <= most, "{width}x{height} q{quality}: {far}");
        }
    }
}

#[test]
fn the_largest_coefficients_are_coded() {
    for (name, planes) in [("extremes", extremes(320, 240)), ("noise", noise(320, 240, 7))] {
        let (_, found) = decoded(&encoded(&planes, 100));
        let far = farthest(&found, &planes.values);
        assert!(far <= 9, "{name}: {far}");
        for quality in [1, 30, 80] {
            assert_eq!(decoded(&encoded(&planes, quality)).0, planes.size, "{name} {quality}");
        }
    }
}

#[test]
fn a_flat_picture_takes_next_to_nothing() {
    let file = encoded(&picture(640, 480, |_, _, channel| [200, 90, 30][channel]), 80);
    let (_, found) = decoded(&file);
    assert!(file.len() < 700, "{} bytes", file.len());
    let planes = picture(1, 1, |_, _, channel| [200, 90, 30][channel]);
    for (found, right) in found.iter().zip(&planes.values) {
        assert!(found.iter().all(|value| value.abs_diff(right[0]) <= 2));
    }
}

/// More pixels than bits for a mode of each block: noise wants another in every one.
#[test]
fn the_first_part_stays_within_its_length() {
    let planes = noise(4096, 4096, 3);
    let frame = encode(&planes, 60, &work()).unwrap();
    let first = u32::from_le_bytes([frame[0], frame[1], frame[2], 0]) >> 5;
    assert!((400_000..1 << 19).contains(&first), "{first} bytes");
    let file = riff::file(&[Chunk { name: *b"VP8 ", data: &frame }]).unwrap();
    assert_eq!(decoded(&file).0, planes.size);
}

#[test]
fn it_stops_at_the_next_row() {
    let (planes, cancelled) = (waves(200, 200), work());
    cancelled.cancel();
    assert_eq!(encode(&planes, 80, &cancelled), Err(Failed::Stopped(Stopped::Cancelled)));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_do_what_plain_loops_do() {
    use super::avx2::Avx2;
    if !is_x86_feature_detected!("avx2") {
        return;
    }
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..20_000 {
        let mut samples = || -> [u8; 16] {
            std::array::from_fn(|_| if round % 2 == 0 { random.u8(..) } else { 255 * random.u8(0..2) })
        };
        let (one, two) = (samples(), samples());
        let coefficients = Portable::forward(&one, &two);
        assert_eq!(coefficients, Avx2::forward(&one, &two));
        let [quantiser, ..] = Quantiser::all(random.u8(1..=100));
        for divisors in [&quantiser.luma, &quantiser.firsts, &quantiser.colour] {
            let (levels, back) = Portable::quantise(&coefficients, divisors);
            assert_eq!((levels, back), Avx2::quantise(&coefficients, divisors));
            assert_eq!(Portable::inverse(&back, &two), Avx2::inverse(&back, &two));
        }
        assert_eq!(Portable::predict(&one), Avx2::predict(&one));
        assert_eq!(Portable::off(&one, [&two, &one]), Avx2::off(&one, [&two, &one]));
        let (above, left) = ([one[0], one[1], one[2], one[3]], [two[0], two[1], two[2], two[3]]);
        assert_eq!(Portable::whole(above, left, one[9], two[9]), Avx2::whole(above, left, one[9], two[9]));
    }
}

/// The decoder of section 7.3, as plainly as it stands there.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    value: u32,
    range: u32,
    bits: u32,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        Self { bytes, at: 2, value: byte(0) << 8 | byte(1), range: 255, bits: 0 }
    }

    fn take(&mut self, likely: u8) -> bool {
        let split = 1 + (((self.range - 1) * u32::from(likely)) >> 8);
        let one = self.value >= split << 8;
        if one {
            self.range -= split;
            self.value -= split << 8;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.value <<= 1;
            self.range <<= 1;
            self.bits += 1;
            if self.bits == 8 {
                self.bits = 0;
                self.value |= u32::from(self.bytes.get(self.at).copied().unwrap_or(0));
                self.at += 1;
            }
        }
        one
    }
}

#[test]
fn decisions_come_back() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..300 {
        // Of unlike lengths, and where ones are rare or usual long rows of 255 are carried over.
        let mut stream = || -> Vec<(u8, bool)> {
            let share = [1, 128, 255][round % 3];
            (0..random.usize(0..3000))
                .map(|_| {
                    let likely = if round % 2 == 0 { random.u8(1..=255) } else { share };
                    (likely, random.u8(..) >= likely.saturating_add((round % 5) as u8))
                })
                .collect()
        };
        let streams: [Vec<(u8, bool)>; 4] = std::array::from_fn(|_| stream());
        let decisions = streams.each_ref().map(|all| all.iter().map(|(a, b)| decision(*a, *b)).collect::<Vec<_>>());
        let mut coders: [Coder; 4] = std::array::from_fn(|_| Coder::new(16));
        put_all(&mut coders, decisions.each_ref().map(Vec::as_slice));
        for (coder, stream) in coders.into_iter().zip(&streams) {
            let bytes = coder.finish();
            let mut decoder = Decoder::new(&bytes);
            for (at, (likely, one)) in stream.iter().enumerate() {
                assert_eq!(decoder.take(*likely), *one, "round {round}, {at} of {}", stream.len());
            }
        }
    }
}

#[test]
fn costs_are_logarithms() {
    for likely in 1..=255u8 {
        let bits = -(f64::from(likely) / 256.0).log2() * 256.0;
        let found = f64::from(symbols::cost(likely, false));
        assert!((found - bits).abs() <= 1.0, "{likely}: {found}, {bits:.2}");
        assert_eq!(symbols::cost(likely, true), symbols::cost((256 - u16::from(likely)) as u8, false));
    }
    // Of each tree the chances add up to one.
    for costs in modes::COSTS.as_flattened() {
        let sum: f64 = costs.iter().map(|cost| (-f64::from(*cost) / 256.0).exp2()).sum();
        assert!((sum - 1.0).abs() < 0.02, "{sum}");
    }
}

#[test]
fn quality_is_fineness() {
    let index = |quality| Quantiser::all(quality).map(|quantiser| quantiser.index);
    for quality in 1..100 {
        let (coarse, fine) = (index(quality), index(quality + 1));
        assert!(coarse.iter().zip(&fine).all(|(coarse, fine)| coarse >= fine), "{quality}: {coarse:?} {fine:?}");
        assert!(coarse.is_sorted(), "{quality}: {coarse:?}");
    }
    let planes = waves(160, 160);
    let bytes: Vec<usize> = [1, 25, 50, 75, 90, 100].map(|quality| encoded(&planes, quality).len()).into();
    assert!(bytes.is_sorted(), "{bytes:?}");
}

#[test]
fn calm_and_busy_are_told_apart() {
    // Left gray, right noise, in one picture of two macroblocks a row.
    let mut random = fastrand::Rng::with_seed(2);
    let values: Vec<u8> = (0..128).map(|_| random.u8(..)).collect();
    let busy = |amount: i32| -> u16 {
        let mut samples = super::macroblock::Samples::EMPTY;
        for (at, block) in samples.luma.iter_mut().enumerate() {
            for (place, sample) in block.iter_mut().enumerate() {
                *sample = (128 + (i32::from(values[(at * 16 + place) % 128]) - 128) * amount / 128) as u8;
            }
        }
        segments::busy::<Portable>(&samples)
    };
    let measured: Vec<u16> = [0, 1, 4, 20, 100].into_iter().map(busy).collect();
    assert!(measured.is_sorted() && measured[0] == 0, "{measured:?}");
    assert_eq!(segments::of(&measured)[0], 0);
    assert_eq!(segments::of(&measured)[4], 3);
    assert!(segments::of(&[3000; 9]).iter().all(|kind| *kind == 2));
    // A page with little on it: what is there is neither calm nor busy, however much is flat.
    let page: Vec<u16> = (0..100).map(|at| if at % 10 == 0 { 3000 } else { 0 }).collect();
    assert_eq!((segments::of(&page)[0], segments::of(&page)[1]), (2, 0));
}
