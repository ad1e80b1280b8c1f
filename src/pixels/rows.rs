//! A picture on its way, row by row, from a decoder to whoever makes something of it, so that nobody holds it whole.

use super::{ColourSpace, Layout};
use crate::base::{Size, Stopped};

/// What the rows will show.
#[derive(Clone, PartialEq, Debug)]
pub struct Head {
    /// How many rows come, and how many pixels each has.
    pub size: Size,
    /// What the channels are.
    pub layout: Layout,
    /// What the values mean.
    pub colour: ColourSpace,
    /// How the values are given.
    pub depth: Depth,
    /// The part of the stored original that the rows cover, in its full-scale pixels: x, y, width, height. It may overhang.
    pub covers: [f64; 4],
}

impl Head {
    /// How many bytes all rows take together.
    pub const fn bytes(&self) -> u64 {
        let value = match self.depth {
            Depth::Eight => 1,
            Depth::Sixteen | Depth::Light => 2,
        };
        self.size.pixels() * self.layout.channels() as u64 * value
    }
}

/// How values are given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Depth {
    /// [`Row::U8`].
    Eight,
    /// [`Row::U16`].
    Sixteen,
    /// [`Row::Light`].
    Light,
}

/// One row of pixels.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// 8 bits a value, channels interleaved.
    U8(&'a [u8]),
    /// 16 bits a value, channels interleaved.
    U16(&'a [u16]),
    /// Linear light by sRGB's curve, 0..=[`LIGHT_FULL`], a plane a channel (gray, or red, green, blue).
    Light(&'a [&'a [i16]]),
}

/// Full light.
pub const LIGHT_FULL: i16 = i16::MAX;

/// Takes rows, from the top.
pub trait Sink {
    /// Before the first row. May come again when a decoder gives up and another begins anew: what came before is void.
    fn begin(&mut self, head: &Head) -> Result<(), Stopped>;
    /// The next row.
    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped>;
    /// Whether what is still to come is of no use.
    fn done(&self) -> bool {
        false
    }
}
