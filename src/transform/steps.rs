//! The steps on a picture that comes row by row.

use std::time::{Duration, Instant};

use super::{Error, Geometry, Light, cpu, finished, window};
use crate::base::{Size, Stopped, Work};
use crate::pixels::{Depth, Head, Layout, Picture, Row, Samples, Sink};
use crate::plan::Plan;

/// Rows between two looks at the deadline.
const ROWS_BETWEEN_CHECKS: u32 = 32;

/// Takes a picture's rows and runs the steps of [`apply`](super::apply): the resize while rows come, the others at the end. In gamma
/// light, and where nothing is resized, the rows are gathered first.
pub struct Steps<'a> {
    geometry: &'a Geometry,
    plan: &'a Plan,
    light: Light,
    work: &'a Work,
    state: State,
    rows: u32,
    time: Duration,
}

enum State {
    Waiting,
    Resizing { scale: Box<cpu::Scale>, colours: cpu::Colours, from: Layout },
    Gathering { head: Head, samples: Samples },
}

impl<'a> Steps<'a> {
    /// Of what will be done.
    pub const fn new(geometry: &'a Geometry, plan: &'a Plan, light: Light, work: &'a Work) -> Self {
        Self { geometry, plan, light, work, state: State::Waiting, rows: 0, time: Duration::ZERO }
    }

    /// Whether rows of linear light serve as well as samples: where they are resized in it.
    pub fn take_light(geometry: &Geometry, light: Light) -> bool {
        let [x, y, width, height] = geometry.region;
        let [right, bottom] = [x + f64::from(geometry.scaled.width), y + f64::from(geometry.scaled.height)];
        // Never less than the window that is copied: a source as large as the region reaches may be of any size.
        let source = Size::new(right.ceil() as u32, bottom.ceil() as u32);
        light == Light::Linear && cpu::exact([x, y, width, height], geometry.scaled, source).is_none()
    }

    /// The time that it took so far; the rest of a decode's time is the decoder's.
    pub const fn time(&self) -> Duration {
        self.time
    }

    /// The result. `flatten` is the colour behind transparent pixels where the output holds no alpha (the plan's background
    /// goes first).
    ///
    /// # Errors
    /// [`Error::Stopped`] when the work's deadline passes or nobody waits for it any more.
    pub fn finish(self, flatten: Option<[u8; 3]>) -> Result<Picture, Error> {
        let (geometry, plan, work) = (self.geometry, self.plan, self.work);
        let picture = match self.state {
            State::Resizing { scale, colours, .. } => Picture {
                size: geometry.scaled,
                layout: colours.layout,
                samples: Samples::U8(scale.into_samples()),
                colour: colours.colour,
            },
            State::Gathering { head, mut samples } => {
                let length = head.size.pixels() as usize * head.layout.channels();
                // A decoder that broke off leaves nothing.
                match &mut samples {
                    Samples::U8(values) => values.resize(length, 0),
                    Samples::U16(values) => values.resize(length, 0),
                }
                let picture = Picture { size: head.size, layout: head.layout, samples, colour: head.colour };
                let window = window(picture.size, head.covers, geometry.region);
                cpu::resize(picture, window, geometry.scaled, self.light, plan.keep_profile, work)?
            }
            // A decode that succeeded has begun.
            State::Waiting => return Err(Error::Stopped(Stopped::Cancelled)),
        };
        finished(picture, geometry, plan, flatten, work)
    }
}

impl Sink for Steps<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), Stopped> {
        self.work.check()?;
        let begun = Instant::now();
        let window = window(head.size, head.covers, self.geometry.region);
        let light = head.depth == Depth::Light;
        let exact = cpu::exact(window, self.geometry.scaled, head.size).is_some();
        self.state = if light || (self.light == Light::Linear && !exact) {
            let colours = cpu::Colours::new(head.layout, &head.colour, head.depth, self.plan.keep_profile);
            let scale = Box::new(cpu::Scale::new(head.size, colours.layout, window, self.geometry.scaled));
            State::Resizing { scale, colours, from: head.layout }
        } else {
            let length = head.size.pixels() as usize * head.layout.channels();
            let samples = match head.depth {
                Depth::Sixteen => Samples::U16(Vec::with_capacity(length)),
                _ => Samples::U8(Vec::with_capacity(length)),
            };
            State::Gathering { head: head.clone(), samples }
        };
        self.rows = 0;
        self.time += begun.elapsed();
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        if self.rows.is_multiple_of(ROWS_BETWEEN_CHECKS) {
            self.work.check()?;
        }
        self.rows += 1;
        let begun = Instant::now();
        match &mut self.state {
            State::Waiting => {}
            State::Resizing { scale, colours, from } => {
                if scale.wants() {
                    let row = cpu::columns(row, from.channels(), scale.columns);
                    scale.push(colours.row(row, scale.columns));
                } else {
                    scale.pass();
                }
            }
            State::Gathering { samples, .. } => match (samples, row) {
                (Samples::U8(values), Row::U8(row)) => values.extend_from_slice(row),
                (Samples::U16(values), Row::U16(row)) => values.extend_from_slice(row),
                _ => {}
            },
        }
        self.time += begun.elapsed();
        Ok(())
    }

    fn done(&self) -> bool {
        matches!(&self.state, State::Resizing { scale, .. } if scale.done())
    }
}
