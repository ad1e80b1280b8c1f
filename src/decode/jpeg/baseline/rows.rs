//! From a strip of planes to rows: chroma at the size of its luma, then 8-bit samples or linear light.

use super::Channel;
use super::chroma::upsampled;
use super::colour::rgb_row;
use super::light;
use crate::base::Stopped;
use crate::pixels::{Row, Sink};

/// How rows leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// 8-bit samples.
    Samples,
    /// Linear light.
    Light,
    /// Linear light, each value the mean of 2×2 pixels. The part is then one of 4 eighths.
    Halves,
}

/// Which of the strips of a part.
#[derive(Clone, Copy)]
pub struct Strip {
    /// How many of its rows count.
    pub rows: usize,
    /// Whether it is the first.
    pub first: bool,
    /// Whether it is the last.
    pub last: bool,
}

/// Makes rows of strips.
pub struct Rows<'s> {
    sink: &'s mut dyn Sink,
    form: Form,
    width: usize,
    samples: Vec<u8>,
    planes: [Vec<i16>; 3],
    chroma: [Vec<u8>; 2],
    scratch: Vec<u16>,
}

impl<'s> Rows<'s> {
    pub fn new(sink: &'s mut dyn Sink, form: Form, width: usize) -> Self {
        let light = if form == Form::Samples { 0 } else { width };
        Self {
            sink,
            form,
            width,
            samples: vec![0; width * 3],
            planes: [vec![0; light], vec![0; light], vec![0; light]],
            chroma: [vec![0; width], vec![0; width]],
            scratch: Vec::new(),
        }
    }

    /// The rows of one strip. Where chroma is interpolated between rows, the last one waits for the strip below.
    #[inline(always)]
    pub fn strip(&mut self, channels: &[Channel], strip: Strip) -> Result<(), Stopped> {
        let lags = channels.iter().any(|channel| channel.upsampling.1 == 2);
        let begin = if lags && !strip.first { -1 } else { 0 };
        let end = if lags && !strip.last { strip.rows - 1 } else { strip.rows };
        for y in begin..end as isize {
            self.row(channels, y, strip)?;
        }
        Ok(())
    }

    /// One row of a strip; -1 is the last one of the strip above.
    #[inline(always)]
    fn row(&mut self, channels: &[Channel], y: isize, strip: Strip) -> Result<(), Stopped> {
        let width = self.width;
        match channels {
            [luma, blue, red] => {
                if self.form == Form::Halves {
                    let pair = [luma.row(2 * y), luma.row(2 * y + 1)];
                    let [one, two, three] = &mut self.planes;
                    light::quads(pair, &blue.row(y)[..width], &red.row(y)[..width], [one, two, three]);
                } else {
                    for (plane, out) in [blue, red].into_iter().zip(&mut self.chroma) {
                        let (near, far) = plane.neighbours(y, strip);
                        let count = width.div_ceil(plane.upsampling.0);
                        let out = out.as_mut_slice();
                        upsampled(plane.row(near), plane.row(far), count, plane.upsampling, &mut self.scratch, out);
                    }
                    let [blue, red] = &self.chroma;
                    let luma = &luma.row(y)[..width];
                    if self.form == Form::Samples {
                        rgb_row(luma, blue, red, &mut self.samples);
                        return self.sink.row(Row::U8(&self.samples));
                    }
                    let [one, two, three] = &mut self.planes;
                    light::pixels(luma, blue, red, [one, two, three]);
                }
                let [one, two, three] = &self.planes;
                self.sink.row(Row::Light(&[one, two, three]))
            }
            [gray, ..] => match self.form {
                Form::Samples => self.sink.row(Row::U8(&gray.row(y)[..width])),
                Form::Light => {
                    light::gray(&gray.row(y)[..width], &mut self.planes[0]);
                    self.sink.row(Row::Light(&[&self.planes[0]]))
                }
                Form::Halves => {
                    light::gray_quads([gray.row(2 * y), gray.row(2 * y + 1)], &mut self.planes[0]);
                    self.sink.row(Row::Light(&[&self.planes[0]]))
                }
            },
            [] => Ok(()),
        }
    }
}

impl Channel<'_> {
    /// A row of the strip's plane; -1 is the last one of the strip above.
    #[inline(always)]
    fn row(&self, row: isize) -> &[u8] {
        &self.samples[(row + 1) as usize * self.stride..][..self.stride]
    }

    /// The rows of a coarser plane that a row lies in and next to.
    #[inline(always)]
    fn neighbours(&self, y: isize, strip: Strip) -> (isize, isize) {
        let down = self.upsampling.1 as isize;
        let near = y.div_euclid(down);
        if down != 2 {
            return (near, near);
        }
        let far = if y.rem_euclid(2) == 0 { near - 1 } else { near + 1 };
        (near, far.clamp(if strip.first { 0 } else { -1 }, (strip.rows as isize - 1) / 2))
    }
}
