//! A scan with restart markers, decoded by several threads: what stands behind a marker needs nothing of what came before it.
//!
//! Rows of MCUs are parted into chunks that each begin behind a marker. Threads that have nothing else to do decode chunks ahead of
//! the one whose rows are due; who wants the rows decodes too, and gives them out in order.
//!
//! Always true: rows and answer are those of [`stream`], whoever decodes; what was damaged is gray from the same MCU on. What is
//! decoded and not given out yet takes at most [`AHEAD_BYTES_MAX`].

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Channel, Extent, Failure, Form, Frame, Irregular, Rows, Scan, Tables, stream};
use crate::base::{Idle, Work};
use crate::decode::jpeg::part::Part;
use crate::pixels::Sink;

/// The most bytes of chunks that wait to be given out, and of the threads that decode them.
pub const AHEAD_BYTES_MAX: usize = 2 << 20;

/// Smaller pictures are decoded in a few milliseconds, by one thread.
pub const AHEAD_PIXELS_MIN: u64 = 1 << 20;

/// From how many pixels on a picture is parted, and how many MCUs a chunk has at least: to wake a thread takes as long as some of them.
#[derive(Clone, Copy)]
struct Worth {
    pixels: u64,
    chunk_mcus: usize,
}

const WORTH: Worth = Worth { pixels: AHEAD_PIXELS_MIN, chunk_mcus: 128 };

/// What a thread holds beside samples: its window of coded data and its batches of coefficients.
const THREAD_BYTES: usize = 48 << 10;

/// How long a chunk is waited for between two looks at whether to go on.
const WAIT: Duration = Duration::from_millis(10);

/// As [`stream`], by several threads where the scan can be parted and `work` has threads that are idle.
pub fn together(
    bytes: &Bytes,
    frame: &Frame,
    part: &Part,
    form: Form,
    repairs: bool,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<bool, Failure> {
    let parted = work.idle().and_then(|idle| Some((idle, Parted::of(bytes, frame, part, form, repairs, WORTH)?)));
    match parted {
        Some((idle, parted)) => Arc::new(parted).give(idle, work, sink),
        None => stream(bytes, frame, part, form, repairs, work, sink),
    }
}

/// As [`together`], of pictures however small, in parts however small; none where the scan cannot be parted. For fuzzing and tests.
pub fn parted(
    bytes: &Bytes,
    frame: &Frame,
    part: &Part,
    form: Form,
    repairs: bool,
    work: &Work,
    sink: &mut dyn Sink,
) -> Option<Result<bool, Failure>> {
    let worth = Worth { pixels: 0, chunk_mcus: 1 };
    let parted = Parted::of(bytes, frame, part, form, repairs, worth)?;
    Some(Arc::new(parted).give(work.idle()?, work, sink))
}

/// A scan whose chunks are decoded by several threads.
struct Parted {
    bytes: Bytes,
    frame: Frame,
    tables: Tables,
    form: Form,
    eighths: u32,
    repairs: bool,
    extent: Extent,
    /// Rows of MCUs of a chunk, and restart markers from one chunk to the next.
    rows: usize,
    markers: usize,
    /// How many chunks there may be at a time, decoded or in decoding.
    window: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The first chunk that nobody has taken, and where it begins, unless the scan is damaged before it.
    next: usize,
    at: Option<usize>,
    /// The chunks before it that have not been given out.
    slots: VecDeque<Slot>,
    /// Strips that may be filled anew.
    spare: Vec<Strip>,
    /// Threads that were asked to take part and have not left, and those of them that have begun.
    asked: usize,
    begun: usize,
    closed: bool,
}

/// The samples of a strip, a plane a channel.
type Strip = Vec<Vec<u8>>;

enum Slot {
    /// Somebody decodes it.
    Taken,
    /// Somebody began and did not come to an end.
    Left(Option<usize>),
    Made(Result<Made, Irregular>),
}

/// A chunk that was decoded.
struct Made {
    strips: Vec<Strip>,
    /// Whether the scan is damaged here, or at the marker behind.
    damaged: bool,
}

/// A chunk to decode, by who took it.
struct Taken<'p> {
    parted: &'p Parted,
    number: usize,
    /// Where its coded data begins; none where the scan is damaged before it.
    at: Option<usize>,
}

impl Parted {
    /// None where the scan has no markers at the ends of rows, is small, or where too few of its chunks fit.
    fn of(bytes: &Bytes, frame: &Frame, part: &Part, form: Form, repairs: bool, worth: Worth) -> Option<Self> {
        let restart = frame.restart as usize;
        let extent = Extent::of(frame, part).ok()?;
        let across = extent.mcus.0;
        if restart == 0 || frame.size().pixels() < worth.pixels {
            return None;
        }
        let rows = restart / greatest_common_divisor(restart, across);
        let rows = rows * worth.chunk_mcus.div_ceil(rows * across);
        let tables = Tables::of(frame);
        let strip: usize =
            tables.channels(frame, part.eighths, form, &extent).ok()?.iter().map(|c| c.samples.len()).sum();
        let window = AHEAD_BYTES_MAX / ((rows + 1) * strip + THREAD_BYTES);
        if window < 2 || rows * 2 > extent.bottom {
            return None;
        }
        let state = State { at: Some(frame.data_at), ..State::default() };
        Some(Self {
            bytes: bytes.clone(),
            frame: frame.clone(),
            tables,
            form,
            eighths: part.eighths,
            repairs,
            extent,
            rows,
            markers: rows * across / restart,
            window,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn chunks(&self) -> usize {
        self.extent.bottom.div_ceil(self.rows)
    }

    fn channels(&self) -> Result<Vec<Channel<'_>>, Irregular> {
        self.tables.channels(&self.frame, self.eighths, self.form, &self.extent)
    }

    /// Gives out the rows, and decodes what nobody else does.
    fn give(self: Arc<Self>, idle: &Arc<dyn Idle>, work: &Work, sink: &mut dyn Sink) -> Result<bool, Failure> {
        let _closing = Closing(&self);
        let mut decoding = self.channels()?;
        let mut giving = self.channels()?;
        // The last row of each plane of the strip before.
        let mut above: Vec<Vec<u8>> = giving.iter().map(|channel| vec![0; channel.stride]).collect();
        giving.iter_mut().for_each(|channel| channel.samples = Vec::new());
        let mut rows = Rows::new(sink, self.form, self.extent.width);
        let mut damaged = false;
        for number in 0..self.chunks() {
            let made = if damaged {
                self.decode(number, None, &mut decoding)?
            } else {
                self.ask(idle);
                self.made(number, &mut decoding, work)?
            };
            if made.damaged {
                damaged = true;
                // What others decode behind it counts no more.
                self.state.lock().closed = true;
            }
            let first = self.extent.top.max(number * self.rows);
            for (row, mut strip) in (first..).zip(made.strips) {
                work.check()?;
                for ((channel, samples), above) in giving.iter_mut().zip(&mut strip).zip(&above) {
                    samples[..channel.stride].copy_from_slice(above);
                    std::mem::swap(&mut channel.samples, samples);
                }
                rows.strip(&giving, self.extent.strip(row))?;
                for ((channel, samples), above) in giving.iter_mut().zip(&mut strip).zip(&mut above) {
                    std::mem::swap(&mut channel.samples, samples);
                    above.copy_from_slice(&samples[samples.len() - channel.stride..]);
                }
                self.state.lock().spare.push(strip);
            }
            work.check()?;
        }
        Ok(damaged)
    }

    /// Asks idle threads to take part, where there is something to take.
    fn ask(self: &Arc<Self>, idle: &Arc<dyn Idle>) {
        let mut state = self.state.lock();
        let left = self.chunks() - state.next;
        let most = (self.window - 1).min(left.saturating_sub(1)).saturating_sub(state.asked);
        // One that waits for its chunk would have to be asked again.
        if most > 0 && state.slots.len() < self.window {
            let part = || -> crate::base::Part {
                let (parted, idle) = (Arc::downgrade(self), idle.clone());
                Box::new(move || assist(&parted, &*idle))
            };
            state.asked += idle.assist(most, &part);
        }
    }

    /// The chunk that is due, taken out.
    fn made(&self, number: usize, channels: &mut [Channel<'_>], work: &Work) -> Result<Made, Failure> {
        let mut state = self.state.lock();
        loop {
            let mine = match state.slots.front_mut() {
                Some(Slot::Made(_)) => match state.slots.pop_front() {
                    Some(Slot::Made(made)) => return Ok(made?),
                    _ => return Err(Failure::Irregular),
                },
                Some(slot @ Slot::Left(_)) => match std::mem::replace(slot, Slot::Taken) {
                    Slot::Left(at) => Some(Taken { parted: self, number, at }),
                    _ => None,
                },
                // Somebody is at it; meanwhile there may be another.
                _ => self.take(&mut state),
            };
            match mine {
                Some(taken) => MutexGuard::unlocked(&mut state, || taken.decode(channels)),
                None => {
                    self.changed.wait_for(&mut state, WAIT);
                    work.check()?;
                }
            }
        }
    }

    /// Takes the next chunk, where there is room for it.
    fn take<'p>(&'p self, state: &mut State) -> Option<Taken<'p>> {
        if state.closed || state.next == self.chunks() || state.slots.len() >= self.window {
            return None;
        }
        let (number, at) = (state.next, state.at);
        state.next += 1;
        state.at = at.and_then(|at| self.behind(at, number * self.markers));
        state.slots.push_back(Slot::Taken);
        Some(Taken { parted: self, number, at })
    }

    /// Where the chunk behind one begins; none where its markers are not those that must follow so many.
    fn behind(&self, mut at: usize, passed: usize) -> Option<usize> {
        for marker in passed..passed + self.markers {
            loop {
                at += memchr::memchr(0xff, self.bytes.get(at..)?)?;
                match self.bytes.get(at + 1)? {
                    0 => at += 2,
                    found if usize::from(*found) == 0xd0 + (marker & 7) => break,
                    _ => return None,
                }
            }
            at += 2;
        }
        Some(at)
    }

    /// Decodes a chunk.
    fn decode(&self, number: usize, at: Option<usize>, channels: &mut [Channel<'_>]) -> Result<Made, Irregular> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
            // SAFETY: the one requirement, that the machine has AVX2 and BMI2, was just asked.
            return unsafe { self.decode_avx2(number, at, channels) };
        }
        self.decode_body(number, at, channels)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi2")]
    fn decode_avx2(&self, number: usize, at: Option<usize>, channels: &mut [Channel<'_>]) -> Result<Made, Irregular> {
        self.decode_body(number, at, channels)
    }

    #[inline(always)]
    fn decode_body(&self, number: usize, at: Option<usize>, channels: &mut [Channel<'_>]) -> Result<Made, Irregular> {
        let passed = number * self.markers;
        let mut damaged = at.is_none();
        let mut scan = Scan::new(&self.bytes, at.unwrap_or(self.frame.data_at), self.frame.restart, passed);
        channels.iter_mut().for_each(Channel::begin);
        let first = number * self.rows;
        let last = (first + self.rows).min(self.extent.bottom);
        let mut strips = Vec::with_capacity(self.rows);
        for row in first..last {
            scan.row(channels, &self.extent, row, &mut damaged, self.repairs && row > 0)?;
            if row >= self.extent.top {
                let spare = self.state.lock().spare.pop();
                let mut strip =
                    spare.unwrap_or_else(|| channels.iter().map(|channel| vec![0; channel.samples.len()]).collect());
                for (channel, samples) in channels.iter_mut().zip(&mut strip) {
                    std::mem::swap(&mut channel.samples, samples);
                }
                strips.push(strip);
            }
        }
        // What follows begins behind a marker, which has to be there.
        damaged |= !damaged && last < self.extent.bottom && scan.bits.restart(scan.restarts).is_err();
        Ok(Made { strips, damaged })
    }
}

impl Taken<'_> {
    fn decode(self, channels: &mut [Channel<'_>]) {
        let made = self.parted.decode(self.number, self.at, channels);
        self.end(Slot::Made(made));
        std::mem::forget(self);
    }

    fn end(&self, slot: Slot) {
        let mut state = self.parted.state.lock();
        let first = state.next - state.slots.len();
        if let Some(place) = self.number.checked_sub(first).and_then(|at| state.slots.get_mut(at))
            && matches!(place, Slot::Taken)
        {
            *place = slot;
        }
        self.parted.changed.notify_all();
    }
}

impl Drop for Taken<'_> {
    /// By a panic; who gives out the rows then does it, and meets the same.
    fn drop(&mut self) {
        self.end(Slot::Left(self.at));
    }
}

/// Takes part: decodes chunks for as long as there is room for them and nothing else to do.
fn assist(parted: &Weak<Parted>, idle: &dyn Idle) {
    let Some(parted) = parted.upgrade() else { return };
    let mut state = parted.state.lock();
    if state.closed {
        return;
    }
    state.begun += 1;
    drop(state);
    let seat = Seat(&parted);
    let Ok(mut channels) = parted.channels() else { return };
    while !idle.wanted() {
        let Some(taken) = seat.0.take(&mut seat.0.state.lock()) else { return };
        taken.decode(&mut channels);
    }
}

/// One that takes part.
struct Seat<'p>(&'p Parted);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.begun, state.asked) = (state.begun - 1, state.asked - 1);
        self.0.changed.notify_all();
    }
}

/// Ends the work, and waits for the chunks that others are at: what they take is charged to who gives out the rows.
struct Closing<'p>(&'p Parted);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        while state.begun > 0 {
            self.0.changed.wait(&mut state);
        }
    }
}

fn greatest_common_divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
#[path = "tests/ahead.rs"]
mod tests;
