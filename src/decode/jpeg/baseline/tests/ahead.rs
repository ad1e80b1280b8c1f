//! Held against the decoder that works alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::open;
use super::super::tests::{Gathered, SAMPLINGS, all, encoded, pixels, work};
use super::*;
use crate::base::{Deadline, Part as Task, Size, Stopped};
use crate::pixels::{Head, Row};

/// A thread for each part, up to so many in all; says that something else waits after so many looks.
#[derive(Debug)]
struct Threads {
    left: AtomicUsize,
    looks: AtomicUsize,
}

impl Threads {
    fn new(threads: usize, looks: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(threads), looks: AtomicUsize::new(looks) })
    }
}

impl Idle for Threads {
    fn assist(&self, most: usize, part: &dyn Fn() -> Task) -> usize {
        let count = self.left.load(Ordering::Relaxed).min(most);
        self.left.fetch_sub(count, Ordering::Relaxed);
        for _ in 0..count {
            std::thread::spawn(part());
        }
        count
    }

    fn wanted(&self) -> bool {
        self.looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |looks| looks.checked_sub(1)).is_err()
    }
}

/// What came out: whether it was damaged, or which kind of failure.
fn kind(result: Result<bool, Failure>) -> Result<bool, bool> {
    result.map_err(|failure| matches!(failure, Failure::Irregular))
}

/// A picture with markers that stand at the ends of rows now and then: after so many rows, or so many to a row.
fn file(random: &mut fastrand::Rng, seed: u64) -> Vec<u8> {
    let sampling = SAMPLINGS[seed as usize % SAMPLINGS.len()];
    let size = Size::new(random.u32(1..400), random.u32(60..400));
    let plain = encoded(size, &pixels(size, seed), sampling, 80, 0, false);
    let across = open(&plain).unwrap().mcus().0 as i32;
    let parts: Vec<i32> = (1..=across).filter(|parts| across % parts == 0).collect();
    let restart = match random.u8(..3) {
        0 => across * random.i32(1..4),
        1 => across / parts[random.usize(..parts.len())],
        _ => random.i32(1..20),
    };
    encoded(size, &pixels(size, seed), sampling, random.i32(20..=98), restart, random.bool())
}

/// Alone and together, at any scale, of a part or all of it, whole or damaged, with and without repairs.
fn check(file: &[u8], random: &mut fastrand::Rng) -> Option<bool> {
    let Ok(frame) = open(file) else { return None };
    let (form, eighths) =
        [(Form::Samples, 8), (Form::Samples, 2), (Form::Light, 8), (Form::Halves, 4)][random.usize(..4)];
    let mut part = all(&frame, eighths);
    let (mcu_width, mcu_height) = (frame.sampling().0 * eighths, frame.sampling().1 * eighths);
    if random.bool() {
        let at = (random.u32(..part.size.width) / mcu_width, random.u32(..part.size.height) / mcu_height);
        part.at = (at.0 * mcu_width, at.1 * mcu_height);
        let size = Size::new(part.size.width - part.at.0, part.size.height - part.at.1);
        part.size = Size::new(random.u32(1..=size.width), random.u32(1..=size.height));
    }
    let repairs = random.bool();
    let mut alone = Gathered::default();
    let right = kind(stream(file, &frame, &part, form, repairs, &work(), &mut alone));
    let threads = Threads::new(random.usize(..4), if random.bool() { random.usize(..6) } else { usize::MAX });
    let (work, mut together) = (work().with(threads), Gathered::default());
    let found = parted(&Bytes::copy_from_slice(file), &frame, &part, form, repairs, &work, &mut together)?;
    assert_eq!(kind(found), right, "{part:?} {form:?}");
    if right.is_ok() {
        assert!(together == alone, "{part:?} {form:?}");
    }
    Some(right == Ok(false))
}

#[test]
fn together_is_alone() {
    let mut parted = 0;
    for seed in 0..240 {
        let mut random = fastrand::Rng::with_seed(seed);
        let file = file(&mut random, seed);
        parted += usize::from(check(&file, &mut random).is_some_and(|whole| whole));
    }
    assert!(parted > 120, "{parted}");
}

#[test]
fn what_is_damaged_is_damaged_alike() {
    let (mut parted, mut broken) = (0, 0);
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(1000 + seed);
        let file = file(&mut random, seed);
        let data = open(&file).unwrap().data_at;
        let markers: Vec<usize> =
            (data..file.len() - 1).filter(|at| file[*at] == 0xff && (0xd0..0xd8).contains(&file[at + 1])).collect();
        for _ in 0..12 {
            let mut file = file.clone();
            match random.choice(&markers).filter(|_| random.bool()) {
                // Another number, a marker that is not there or stands twice, a segment that is not there.
                Some(at) => match random.u8(..4) {
                    0 => file[at + 1] = 0xd0 + random.u8(..8),
                    1 => drop(file.drain(*at..at + 2)),
                    2 => file.insert(*at, 0xff),
                    _ => drop(file.drain(*at..(at + random.usize(2..200)).min(file.len()))),
                },
                None if random.bool() => file.truncate(random.usize(data..file.len())),
                None => (0..random.usize(1..4)).for_each(|_| {
                    let at = random.usize(data..file.len());
                    file[at] = random.u8(..);
                }),
            }
            let found = check(&file, &mut random);
            parted += usize::from(found.is_some());
            broken += usize::from(found == Some(false));
        }
    }
    assert!(parted > 200 && broken > 100, "{parted} {broken}");
}

#[test]
fn a_thread_goes_on_behind_a_broken_chunk() {
    let size = Size::new(8 * 64, 8 * 60);
    let mut file = encoded(size, &pixels(size, 3), SAMPLINGS[0], 90, 64, false);
    let frame = open(&file).unwrap();
    let is_marker = |at: &usize| file[*at] == 0xff && (0xd0..0xd8).contains(&file[at + 1]);
    let markers: Vec<usize> = (frame.data_at..file.len() - 1).filter(is_marker).collect();
    for at in markers[..5].iter().rev() {
        file.drain(at - 40..*at);
    }
    let worth = Worth { pixels: 0, chunk_mcus: 1 };
    let parted =
        Parted::of(&Bytes::from(file), &frame, &all(&frame, 8), Form::Samples, false, worth).expect("it has markers");
    let (mut channels, mut fresh) = (parted.channels().unwrap(), parted.channels().unwrap());
    for number in 0..8 {
        let taken = parted.take(&mut parted.state.lock()).expect("there is room");
        let made = parted.decode(number, taken.at, &mut channels);
        assert_eq!(made.is_err(), number < 5, "{number}");
        if let Ok(made) = made {
            let right = parted.decode(number, taken.at, &mut fresh).expect("it is whole");
            assert!(
                made.strips
                    .iter()
                    .zip(&right.strips)
                    .all(|(a, b)| a[0][channels[0].stride..] == b[0][fresh[0].stride..])
            );
        }
    }
}

/// Counts rows, and has enough after some.
struct Enough {
    rows: usize,
    work: Work,
}

impl Sink for Enough {
    fn begin(&mut self, _: &Head) -> Result<(), Stopped> {
        Ok(())
    }

    fn row(&mut self, _: Row<'_>) -> Result<(), Stopped> {
        self.rows += 1;
        if self.rows == 40 {
            self.work.cancel();
        }
        Ok(())
    }
}

#[test]
fn who_has_left_is_decoded_for_no_more_and_what_is_ahead_is_bounded() {
    let size = Size::new(320, 8 * 500);
    let file = Bytes::from(encoded(size, &pixels(size, 3), SAMPLINGS[0], 90, 40, false));
    let frame = open(&file).unwrap();
    let part = all(&frame, 8);
    let work = Work::until(Deadline::after(Duration::from_secs(60))).with(Threads::new(8, usize::MAX));
    let worth = Worth { pixels: 0, chunk_mcus: 1 };
    let parted = Arc::new(Parted::of(&file, &frame, &part, Form::Samples, false, worth).unwrap());
    let strips =
        parted.window * parted.rows * parted.channels().unwrap().iter().map(|c| c.samples.len()).sum::<usize>();
    assert!(parted.window > 20 && strips <= AHEAD_BYTES_MAX, "{} {strips}", parted.window);
    let mut sink = Enough { rows: 0, work: work.clone() };
    let result = parted.clone().give(work.idle().unwrap(), &work, &mut sink);
    assert!(matches!(result, Err(Failure::Stopped(Stopped::Cancelled))));
    let state = parted.state.lock();
    assert!(state.closed && state.begun == 0 && state.next <= 5 + parted.window, "{}", state.next);
    assert_eq!(sink.rows, 40);
}

#[test]
fn what_cannot_be_parted_is_decoded_alone() {
    let size = Size::new(8 * 41, 200);
    for (restart, parts) in [(0, false), (41, true), (82, true), (41 * 20, false), (7, true), (40, false)] {
        let file = Bytes::from(encoded(size, &pixels(size, 3), SAMPLINGS[0], 90, restart, false));
        let (frame, work) = (open(&file).unwrap(), work().with(Threads::new(2, usize::MAX)));
        let (part, mut rows) = (all(&frame, 8), Gathered::default());
        let found = parted(&file, &frame, &part, Form::Samples, false, &work, &mut rows);
        assert_eq!(found.is_some(), parts, "{restart}");
    }
}
