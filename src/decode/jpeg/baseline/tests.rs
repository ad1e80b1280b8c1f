//! Held against a decoder that is written straight from ITU-T T.81, against libjpeg-turbo, and against the formula.
#![allow(unsafe_code)]

use std::f64::consts::PI;
use std::time::Duration;

use turbojpeg::raw;

use super::*;
use crate::base::{Deadline, Size};
use crate::pixels::Row;

pub(super) fn work() -> Work {
    Work::until(Deadline::after(Duration::from_secs(60)))
}

/// A picture with something of everything: gradients, edges, noise.
pub(super) fn pixels(size: Size, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let noise = random.i32(0..120);
    let mut pixels = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            let square = if (x / 13 + y / 9) % 3 == 0 { 90 } else { 0 };
            for channel in 0..3 {
                let value = (x * 3 + y * (channel + 1)) as i32 % 256 / 2 + square + random.i32(0..=noise);
                pixels.push(value.clamp(0, 255) as u8);
            }
        }
    }
    pixels
}

/// By libjpeg-turbo, with a restart marker after every `restart` MCUs.
pub(super) fn encoded(
    size: Size,
    pixels: &[u8],
    sampling: raw::TJSAMP,
    quality: i32,
    restart: i32,
    optimised: bool,
) -> Vec<u8> {
    let (mut bytes, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the handle and the buffer are the library's own and are freed once; the pixels are as many as is said.
    unsafe {
        let handle = raw::tj3Init(raw::TJINIT_TJINIT_COMPRESS as i32);
        for (parameter, value) in [
            (raw::TJPARAM_TJPARAM_QUALITY, quality),
            (raw::TJPARAM_TJPARAM_SUBSAMP, sampling),
            (raw::TJPARAM_TJPARAM_RESTARTBLOCKS, restart),
            (raw::TJPARAM_TJPARAM_OPTIMIZE, i32::from(optimised)),
        ] {
            assert_eq!(raw::tj3Set(handle, parameter as i32, value), 0);
        }
        let (width, height) = (size.width as i32, size.height as i32);
        let format = raw::TJPF_TJPF_RGB;
        assert_eq!(raw::tj3Compress8(handle, pixels.as_ptr(), width, 0, height, format, &mut bytes, &mut length), 0);
        let file = std::slice::from_raw_parts(bytes, length as usize).to_vec();
        raw::tj3Free(bytes.cast());
        raw::tj3Destroy(handle);
        file
    }
}

pub(super) const SAMPLINGS: [raw::TJSAMP; 6] = [
    raw::TJSAMP_TJSAMP_444,
    raw::TJSAMP_TJSAMP_422,
    raw::TJSAMP_TJSAMP_420,
    raw::TJSAMP_TJSAMP_GRAY,
    raw::TJSAMP_TJSAMP_440,
    raw::TJSAMP_TJSAMP_411,
];

/// Many files: every sampling, sizes that fill no MCU, all qualities, restarts, both kinds of tables.
fn files(count: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = Size::new(random.u32(1..300), random.u32(1..200));
        let sampling = SAMPLINGS[seed as usize % SAMPLINGS.len()];
        let restart = if random.bool() { 0 } else { random.i32(1..20) };
        encoded(size, &pixels(size, seed), sampling, random.i32(1..=100), restart, random.bool())
    })
}

/// The blocks of a scan in coding order, each in natural order, up to the coefficient `last`.
fn blocks(bytes: &[u8], last: usize) -> Result<Vec<[i16; 64]>, Irregular> {
    let frame = open(bytes)?;
    let (dcs, acs) = (frame.dcs(), frame.acs());
    let mut bits = Bits::new(bytes, frame.data_at);
    let mut previous = [0i32; 3];
    let mut blocks = Vec::new();
    let (across, down) = frame.mcus();
    for mcu in 0..across * down {
        let restart = frame.restart as usize;
        if restart > 0 && mcu > 0 && mcu % restart == 0 {
            bits.restart(((mcu / restart - 1) % 8) as u8)?;
            previous = [0; 3];
        }
        let (mut cursor, window) = bits.open();
        for (component, previous) in frame.components.iter().zip(&mut previous) {
            for _ in 0..component.sampling.0 * component.sampling.1 {
                let (dc, ac) =
                    (dcs[component.dc].as_ref().ok_or(Irregular)?, acs[component.ac].as_ref().ok_or(Irregular)?);
                let difference;
                (cursor, difference) = dc.read(cursor, window)?;
                *previous += difference;
                let mut batch = [[0; LANES]; 128];
                cursor = if last == 0 {
                    ac.pass(cursor, window, 1)?
                } else {
                    ac.read(cursor, window, &mut batch, 3, last)?.0
                };
                // Later ones may be stored too: nobody reads them.
                ZIGZAG[last + 1..].iter().for_each(|at| batch[usize::from(*at)] = [0; LANES]);
                batch[0][3] = *previous as i16;
                blocks.push(std::array::from_fn(|at| batch[at][3]));
            }
        }
        bits.close(cursor);
        bits.check()?;
    }
    Ok(blocks)
}

/// The same by the flow charts of ITU-T T.81, annex F.2, a bit at a time.
mod reference {
    use super::*;

    struct Reader<'a> {
        bytes: &'a [u8],
        at: usize,
        bit: u32,
    }

    impl Reader<'_> {
        fn bit(&mut self) -> i32 {
            let bit = self.bytes[self.at] >> (7 - self.bit) & 1;
            self.bit += 1;
            if self.bit == 8 {
                self.at += if self.bytes[self.at] == 0xff { 2 } else { 1 };
                self.bit = 0;
            }
            i32::from(bit)
        }

        /// F.16: DECODE.
        fn symbol(&mut self, table: &[(u8, u32, u8)]) -> u8 {
            let (mut code, mut length) = (0, 0);
            loop {
                (code, length) = (code << 1 | self.bit() as u32, length + 1);
                if let Some((_, _, symbol)) = table.iter().find(|(long, bits, _)| (*long, *bits) == (length, code)) {
                    return *symbol;
                }
            }
        }

        /// RECEIVE and EXTEND.
        fn value(&mut self, size: u8) -> i32 {
            let value = (0..size).fold(0, |value, _| value << 1 | self.bit());
            if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
        }
    }

    /// Codes of the DHT segments: length, bits, symbol; by class and slot.
    fn tables(bytes: &[u8]) -> std::collections::HashMap<u8, Vec<(u8, u32, u8)>> {
        let (mut tables, mut at) = (std::collections::HashMap::new(), 2);
        while bytes[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            let mut segment = &bytes[at + 4..end];
            while bytes[at + 1] == 0xc4 && !segment.is_empty() {
                let (mut code, mut symbol, mut table) = (0, 17, Vec::new());
                for length in 1..=16 {
                    for _ in 0..segment[length] {
                        table.push((length as u8, code, segment[symbol]));
                        (code, symbol) = (code + 1, symbol + 1);
                    }
                    code <<= 1;
                }
                tables.insert(segment[0], table);
                segment = &segment[symbol..];
            }
            at = end;
        }
        tables
    }

    pub fn blocks(bytes: &[u8]) -> Vec<[i16; 64]> {
        let frame = open(bytes).unwrap();
        let tables = tables(bytes);
        let mut reader = Reader { bytes, at: frame.data_at, bit: 0 };
        let (mut previous, mut blocks) = ([0; 3], Vec::new());
        let (across, down) = frame.mcus();
        for mcu in 0..across * down {
            if frame.restart > 0 && mcu > 0 && mcu % frame.restart as usize == 0 {
                reader.at += if reader.bit == 0 {
                    2
                } else if bytes[reader.at] == 0xff {
                    4
                } else {
                    3
                };
                reader.bit = 0;
                previous = [0; 3];
            }
            for (component, previous) in frame.components.iter().zip(&mut previous) {
                for _ in 0..component.sampling.0 * component.sampling.1 {
                    let mut block = [0; 64];
                    let size = reader.symbol(&tables[&(component.dc as u8)]);
                    *previous += reader.value(size);
                    block[0] = *previous as i16;
                    let mut at = 1;
                    while at < 64 {
                        let symbol = reader.symbol(&tables[&(0x10 | component.ac as u8)]);
                        match (symbol >> 4, symbol & 15) {
                            (15, 0) => at += 16,
                            (_, 0) => break,
                            (run, size) => {
                                at += usize::from(run);
                                block[usize::from(ZIGZAG[at])] = reader.value(size) as i16;
                                at += 1;
                            }
                        }
                    }
                    blocks.push(block);
                }
            }
        }
        blocks
    }
}

#[test]
fn coefficients_are_those_of_the_standards_flow_charts() {
    for file in files(120) {
        let right = reference::blocks(&file);
        assert!(blocks(&file, 63).unwrap() == right);
        for last in [0, 1, 4, 9, 24, 40] {
            let kept = |block: &[i16; 64]| -> [i16; 64] {
                let mut kept = [0; 64];
                ZIGZAG[..=last].iter().for_each(|at| kept[usize::from(*at)] = block[usize::from(*at)]);
                kept
            };
            assert!(blocks(&file, last).unwrap() == right.iter().map(kept).collect::<Vec<_>>(), "up to {last}");
        }
    }
}

/// libjpeg-turbo reads the coefficients and writes them anew with other tables.
#[test]
fn coefficients_are_those_of_libjpeg_turbo() {
    for file in files(60) {
        let mut optimised = turbojpeg::Transform::default();
        optimised.optimize = true;
        let again = turbojpeg::transform(&optimised, &file).unwrap();
        assert!(blocks(&again, 63).unwrap() == blocks(&file, 63).unwrap());
    }
}

#[test]
fn inverse_transforms_are_the_formula() {
    let all = [Points::One, Points::Two, Points::Four, Points::Eight];
    let mut random = fastrand::Rng::with_seed(3);
    let quanta: [u16; 64] = std::array::from_fn(|at| 1 + at as u16 / 3);
    let pairs = all.iter().flat_map(|n| all.iter().map(move |m| (*n, *m)));
    for (n, m) in pairs.cycle().take(96).chain([(Points::Eight, Points::Eight); 40]) {
        let (across, down) = (n as usize, m as usize);
        if across.max(down) == 8 && across.min(down) == 1 {
            continue;
        }
        // How many coefficients decides which of the transforms does it.
        let count = random.choice([2, 10, 11, 36, 37, 64]).unwrap();
        let mut batch = Batch::new();
        for lane in 0..LANES {
            for at in ZIGZAG.iter().take(count) {
                batch.coefficients[usize::from(*at)][lane] = random.i16(-30..30);
            }
            batch.coefficients[0][lane] = random.i16(-900..900);
        }
        batch.last = count - 1;
        let blocks = batch.coefficients;
        let mut samples = vec![0u8; 8 * LANES * 8];
        Transform::new(&quanta, (n, m)).inverse(&mut batch, &mut samples, 8 * LANES);
        assert_eq!((batch.last, batch.coefficients), (0, [[0; LANES]; 128]), "a batch is left empty");
        for (lane, y, x) in
            (0..LANES).flat_map(|lane| (0..down).flat_map(move |y| (0..across).map(move |x| (lane, y, x))))
        {
            let wave = |frequency: usize, at: usize, points: usize| {
                let weight = if frequency == 0 { 1.0 } else { 2f64.sqrt() };
                weight * ((2 * at + 1) as f64 * frequency as f64 * PI / (2 * points) as f64).cos()
            };
            let mut right = 128.0;
            for (v, u) in (0..down).flat_map(|v| (0..across).map(move |u| (v, u))) {
                let coefficient = f64::from(blocks[8 * v + u][lane]) * f64::from(quanta[8 * v + u]);
                right += coefficient / 8.0 * wave(u, x, across) * wave(v, y, down);
            }
            let found = f64::from(samples[y * 8 * LANES + lane * across + x]);
            assert!((found - right.clamp(0.0, 255.0)).abs() < 0.51, "{n:?} x {m:?} at {x}, {y}: {found}, not {right}");
        }
    }
}

/// Gathers rows.
#[derive(Default, PartialEq)]
pub(super) struct Gathered {
    pub samples: Vec<u8>,
    pub light: Vec<Vec<i16>>,
}

impl Sink for Gathered {
    fn begin(&mut self, _: &crate::pixels::Head) -> Result<(), Stopped> {
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        match row {
            Row::U8(values) => self.samples.extend_from_slice(values),
            Row::Light(planes) => self.light.push(planes.concat()),
            Row::U16(_) => unreachable!("a JPEG has 8 bits"),
        }
        Ok(())
    }
}

fn decode(bytes: &[u8], frame: &Frame, part: &Part, work: &Work) -> Result<Vec<u8>, Failure> {
    let mut gathered = Gathered::default();
    stream(bytes, frame, part, Form::Samples, false, work, &mut gathered).map(|_| gathered.samples)
}

/// All of the picture, as it stands after reduction.
pub(super) fn all(frame: &Frame, eighths: u32) -> Part {
    let side = |side: u32| (side * eighths).div_ceil(8);
    let size = Size::new(side(frame.size().width), side(frame.size().height));
    Part { eighths, at: (0, 0), size, whole: true }
}

/// The whole picture, reduced.
fn whole(bytes: &[u8], eighths: u32) -> Result<Vec<u8>, Failure> {
    let frame = open(bytes)?;
    decode(bytes, &frame, &all(&frame, eighths), &work())
}

/// At full scale a picture is libjpeg-turbo's up to the rounding of its integers, interpolated chroma and odd sizes included.
#[test]
fn full_scale_is_libjpeg_turbos() {
    for (seed, sampling) in (0..24).zip(SAMPLINGS.iter().cycle()) {
        let size = Size::new(203 - seed as u32 * 7, 117 - seed as u32 * 3);
        let file = encoded(size, &pixels(size, seed), *sampling, 85, if seed % 3 == 0 { 5 } else { 0 }, false);
        let mut ours = whole(&file, 8).unwrap();
        if *sampling == raw::TJSAMP_TJSAMP_GRAY {
            ours = ours.iter().flat_map(|gray| [*gray; 3]).collect();
        }
        let theirs = turbojpeg::decompress(&file, turbojpeg::PixelFormat::RGB).unwrap().pixels;
        assert_eq!(ours.len(), theirs.len());
        let worst = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(4), "{sampling} of {size:?}: {worst:?}");
    }
}

/// Linear light at full scale is that of the samples; halved it is the mean of four, up to what chroma's interpolation does.
#[test]
fn light_is_that_of_the_samples() {
    let curve = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let size = Size::new(203, 118);
    for sampling in [raw::TJSAMP_TJSAMP_444, raw::TJSAMP_TJSAMP_422, raw::TJSAMP_TJSAMP_420, raw::TJSAMP_TJSAMP_GRAY] {
        let mut smooth = pixels(size, 3);
        for (at, value) in smooth.iter_mut().enumerate() {
            let (x, y) = (at / 3 % 203, at / 3 / 203);
            // Green falls where the others rise, so that chroma that lies at another place is seen.
            let across = if at % 3 == 1 { 202 - x } else { x };
            *value = ((across * 200 / 203 + y * 40 / 118) + (x * 7 + y * 5) % 12) as u8;
        }
        let file = encoded(size, &smooth, sampling, 95, 0, false);
        let frame = open(&file).unwrap();
        let channels = frame.channels();
        let samples = whole(&file, 8).unwrap();
        let at =
            |x: usize, y: usize, channel: usize| curve(samples[(y.min(117) * 203 + x.min(202)) * channels + channel]);
        for (form, eighths) in [(Form::Light, 8), (Form::Halves, 4)] {
            let mut gathered = Gathered::default();
            let part = all(&frame, eighths);
            stream(&file, &frame, &part, form, false, &work(), &mut gathered).unwrap();
            assert_eq!(gathered.light.len(), part.size.height as usize);
            let width = part.size.width as usize;
            for (y, row) in gathered.light.iter().enumerate() {
                for (x, channel) in (0..width - 1).flat_map(|x| (0..channels).map(move |channel| (x, channel))) {
                    let right = match form {
                        Form::Halves => {
                            let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
                            four.iter().map(|(dx, dy)| at(2 * x + dx, 2 * y + dy, channel)).sum::<f64>() / 4.0
                        }
                        _ => at(x, y, channel),
                    };
                    let found = f64::from(row[channel * width + x]) / f64::from(crate::pixels::LIGHT_FULL);
                    assert!((found - right).abs() < 0.012, "{sampling} {form:?} at {x}, {y}: {found}, not {right}");
                }
            }
        }
    }
}

/// What is missing of a large picture becomes gray, and what came before it stays.
#[test]
fn what_is_missing_is_repaired() {
    let size = Size::new(333, 257);
    for restart in [0, 7] {
        let file = encoded(size, &pixels(size, 1), raw::TJSAMP_TJSAMP_420, 80, restart, false);
        let frame = open(&file).unwrap();
        let part = all(&frame, 8);
        let right = whole(&file, 8).unwrap();
        let cut = &file[..file.len() / 2];
        let mut gathered = Gathered::default();
        assert!(stream(cut, &frame, &part, Form::Samples, true, &work(), &mut gathered).unwrap());
        assert_eq!(gathered.samples.len(), right.len());
        let same = gathered.samples.iter().zip(&right).take_while(|(a, b)| a == b).count();
        assert!(same > right.len() / 4, "{same} of {}", right.len());
        assert!(gathered.samples[right.len() - 3000..].iter().all(|value| *value == 128));
        let mut gathered = Gathered::default();
        let nothing = &file[..frame.data_at + 3];
        assert!(stream(nothing, &frame, &part, Form::Samples, true, &work(), &mut gathered).is_err());
    }
}

/// A reduced picture is close to the mean of the pixels that it stands for, whatever the sampling.
#[test]
fn reduced_pictures_show_the_same() {
    let size = Size::new(640, 320);
    let smooth: Vec<u8> = (0..size.height)
        .flat_map(|y| (0..size.width).map(move |x| (x, y)))
        .flat_map(|(x, y)| [(x * 255 / 640) as u8, (y * 255 / 320) as u8, (255 - (x + y) * 255 / 960) as u8])
        .collect();
    for (sampling, eighths) in SAMPLINGS.iter().flat_map(|sampling| [1, 2, 4].map(|eighths| (*sampling, eighths))) {
        let file = encoded(size, &smooth, sampling, 95, 0, false);
        let ours = match whole(&file, eighths) {
            // Chroma of 4:1:1 would need sixteen points across.
            Err(Failure::Irregular) if sampling == raw::TJSAMP_TJSAMP_411 && eighths == 4 => continue,
            ours => ours.unwrap_or_else(|what| panic!("{sampling}, {eighths}/8: {what:?}")),
        };
        let channels = if sampling == raw::TJSAMP_TJSAMP_GRAY { 1 } else { 3 };
        let (width, step) = ((size.width * eighths / 8) as usize, (8 / eighths) as usize);
        for (at, found) in ours.chunks_exact(channels).enumerate() {
            let (x, y) = (at % width * step + step / 2, at / width * step + step / 2);
            let there = &smooth[(y * 640 + x) * 3..][..3];
            let luma = 0.299 * f64::from(there[0]) + 0.587 * f64::from(there[1]) + 0.114 * f64::from(there[2]);
            for (channel, found) in found.iter().enumerate() {
                let right = if channels == 1 { luma } else { f64::from(there[channel]) };
                assert!((f64::from(*found) - right).abs() < 6.0, "{eighths}/8 at {x}, {y}: {found}, not {right}");
            }
        }
    }
}

#[test]
fn a_part_is_cut_from_the_whole() {
    for (seed, sampling) in SAMPLINGS.iter().enumerate() {
        let size = Size::new(333, 257);
        let file = encoded(size, &pixels(size, seed as u64), *sampling, 80, if seed % 2 == 0 { 7 } else { 0 }, false);
        let frame = open(&file).unwrap();
        for eighths in [1, 2] {
            let uncut = whole(&file, eighths).unwrap();
            let channels = frame.components.len();
            let (width, (across, down)) = ((333 * eighths).div_ceil(8), frame.sampling());
            let at = (2 * across * eighths, 3 * down * eighths);
            let part = Part { eighths, at, size: Size::new(4 * across * eighths, 2 * down * eighths), whole: false };
            let cut = decode(&file, &frame, &part, &work()).unwrap();
            let row = part.size.width as usize * channels;
            for (y, found) in cut.chunks_exact(row).enumerate() {
                let start = ((at.1 as usize + y) * width as usize + at.0 as usize) * channels;
                assert!(found == &uncut[start..][..row], "{sampling}, {eighths}/8, row {y}");
            }
        }
    }
}

/// Whatever the bytes: an answer, no panic, and nothing that a whole picture must have is made up.
#[test]
fn broken_files_are_irregular() {
    let size = Size::new(160, 120);
    let file = encoded(size, &pixels(size, 9), raw::TJSAMP_TJSAMP_420, 90, 5, false);
    for length in (2..file.len() - 40).step_by(97) {
        assert!(matches!(whole(&file[..length], 2), Err(Failure::Irregular)), "cut at {length}");
    }
    let mut random = fastrand::Rng::with_seed(4);
    let mut irregular = 0;
    for _ in 0..3000 {
        let mut file = file.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(2..file.len());
            file[at] = random.u8(..);
        }
        irregular += usize::from(whole(&file, [1, 2, 4][random.usize(..3)]).is_err());
    }
    assert!(irregular > 1000, "{irregular}");
}

#[test]
fn a_stopped_work_stops() {
    let size = Size::new(64, 640);
    let file = encoded(size, &pixels(size, 9), raw::TJSAMP_TJSAMP_420, 90, 0, false);
    let frame = open(&file).unwrap();
    let part = Part { eighths: 2, at: (0, 0), size: Size::new(16, 160), whole: true };
    let late = Work::until(Deadline::after(Duration::ZERO));
    assert!(matches!(decode(&file, &frame, &part, &late), Err(Failure::Stopped(_))));
}
