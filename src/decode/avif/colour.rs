//! From planes of luma and chroma to rows of gray or RGB (ITU-T H.273), in any depth and subsampling.

use super::av1::{Chroma, Planes, Row};
use super::container::Cicp;
use crate::base::{Format, Size, Work};
use crate::decode::Error;
use crate::decode::samples::Sample;

/// Rows between two looks at the deadline.
const ROWS_A_CHECK: u32 = 64;

/// How samples become red, green and blue.
#[derive(Clone, Copy, Debug)]
pub enum Matrix {
    /// Red and blue's share of luma.
    Luma { red: f32, blue: f32 },
    /// The planes are green, blue, red.
    Identity,
    /// Luma, green difference, orange difference.
    YCgCo,
}

impl Matrix {
    /// The matrix of coded points; what is unspecified is BT.601, as for JPEG and as libavif takes it.
    pub fn of(cicp: Cicp) -> Result<Self, Error> {
        let luma = |red, blue| Ok(Self::Luma { red, blue });
        match cicp.matrix {
            0 => Ok(Self::Identity),
            1 => luma(0.2126, 0.0722),
            2 | 5 | 6 => luma(0.299, 0.114),
            4 => luma(0.30, 0.11),
            7 => luma(0.212, 0.087),
            8 => Ok(Self::YCgCo),
            9 => luma(0.2627, 0.0593),
            12 => match cicp.primaries {
                1 => luma(0.2126, 0.0722),
                9 => luma(0.2627, 0.0593),
                12 => luma(0.2290, 0.0793),
                _ => luma(0.299, 0.114),
            },
            other => Err(Error::kind(Format::Avif, format!("matrix coefficients {other}"))),
        }
    }
}

/// The picture that tiles are written into.
pub struct Canvas<'a, T> {
    /// Its samples, interleaved.
    pub samples: &'a mut [T],
    /// Its size.
    pub size: Size,
    /// Values a pixel: gray or RGB, alpha after them.
    pub channels: usize,
}

impl<T: Sample> Canvas<'_, T> {
    /// The pixels of a row from a column on, and how many rows and columns of a tile at a place are inside.
    fn room(&self, at: (u32, u32), tile: Size) -> Size {
        let inside = |side: u32, at: u32, tile: u32| side.saturating_sub(at).min(tile);
        Size::new(inside(self.size.width, at.0, tile.width), inside(self.size.height, at.1, tile.height))
    }

    fn row(&mut self, at: (u32, u32), y: u32, width: u32) -> &mut [T] {
        let start = ((at.1 + y) as usize * self.size.width as usize + at.0 as usize) * self.channels;
        &mut self.samples[start..start + width as usize * self.channels]
    }

    /// Writes a tile's colour.
    pub fn paint(&mut self, planes: &Planes, at: (u32, u32), cicp: Cicp, work: &Work) -> Result<(), Error> {
        let matrix = Matrix::of(cicp)?;
        let room = self.room(at, planes.size);
        let range = Range::of(planes.bits, cicp.full_range);
        let mut luma = vec![0.0; planes.size.width as usize];
        let mut chroma = [Upsampler::new(planes, 1), Upsampler::new(planes, 2)];
        for y in 0..room.height {
            if y % ROWS_A_CHECK == 0 {
                work.check()?;
            }
            read(planes.row(0, y), &mut luma, |value| (value - range.black) * range.luma);
            let channels = self.channels;
            let row = self.row(at, y, room.width);
            if channels < 3 || planes.chroma == Chroma::None {
                let colours = if channels < 3 { 1 } else { 3 };
                for (pixel, luma) in row.chunks_exact_mut(channels).zip(&luma) {
                    pixel[..colours].fill(T::of(*luma));
                }
                continue;
            }
            let [first, second] = &mut chroma;
            let scale = if matches!(matrix, Matrix::Identity) {
                (range.black, range.luma)
            } else {
                (range.middle, range.chroma)
            };
            let pixels = row.chunks_exact_mut(channels).zip(&luma);
            let pixels = pixels.zip(first.row(planes, y, scale).iter().zip(second.row(planes, y, scale)));
            match matrix {
                Matrix::Identity => pixels.for_each(|((pixel, green), (blue, red))| {
                    pixel[..3].copy_from_slice(&[T::of(*red), T::of(*green), T::of(*blue)]);
                }),
                Matrix::YCgCo => pixels.for_each(|((pixel, luma), (green, orange))| {
                    let rest = luma - green;
                    pixel[..3].copy_from_slice(&[T::of(rest + orange), T::of(luma + green), T::of(rest - orange)]);
                }),
                Matrix::Luma { red: kr, blue: kb } => {
                    let (to_red, to_blue) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
                    let (from_red, from_blue) = (to_red * kr / (1.0 - kr - kb), to_blue * kb / (1.0 - kr - kb));
                    pixels.for_each(|((pixel, luma), (cb, cr))| {
                        let green = luma - from_blue * cb - from_red * cr;
                        pixel[..3].copy_from_slice(&[
                            T::of(luma + to_red * cr),
                            T::of(green),
                            T::of(luma + to_blue * cb),
                        ]);
                    });
                }
            }
        }
        Ok(())
    }

    /// Writes a tile's luma as alpha.
    pub fn paint_alpha(&mut self, planes: &Planes, at: (u32, u32)) {
        let room = self.room(at, planes.size);
        let range = Range::of(planes.bits, planes.cicp.full_range);
        let mut luma = vec![0.0; planes.size.width as usize];
        for y in 0..room.height {
            read(planes.row(0, y), &mut luma, |value| (value - range.black) * range.luma);
            let channels = self.channels;
            for (pixel, alpha) in self.row(at, y, room.width).chunks_exact_mut(channels).zip(&luma) {
                pixel[channels - 1] = T::of(*alpha);
            }
        }
    }
}

/// Where samples lie in their range.
struct Range {
    black: f32,
    luma: f32,
    middle: f32,
    chroma: f32,
}

impl Range {
    fn of(bits: u8, full: bool) -> Self {
        let step = (1_u32 << (bits - 8)) as f32;
        let most = ((1_u32 << bits) - 1) as f32;
        let middle = 128.0 * step;
        if full {
            Self { black: 0.0, luma: 1.0 / most, middle, chroma: 1.0 / most }
        } else {
            Self { black: 16.0 * step, luma: 1.0 / (219.0 * step), middle, chroma: 1.0 / (224.0 * step) }
        }
    }
}

/// Reads a row of either width.
fn read(row: Row<'_>, into: &mut [f32], scale: impl Fn(f32) -> f32) {
    match row {
        Row::Narrow(row) => into.iter_mut().zip(row).for_each(|(to, value)| *to = scale(f32::from(*value))),
        Row::Wide(row) => into.iter_mut().zip(row).for_each(|(to, value)| *to = scale(f32::from(*value))),
    }
}

/// Brings a chroma plane to the size of luma: each sample is three parts of the nearest and one of the next nearest in
/// each direction, as JPEG decoders do ("fancy upsampling"), taking chroma to lie between the luma samples.
struct Upsampler {
    plane: usize,
    near: Vec<f32>,
    far: Vec<f32>,
    row: Vec<f32>,
}

impl Upsampler {
    fn new(planes: &Planes, plane: usize) -> Self {
        let Chroma::Shifted(across, _) = planes.chroma else {
            return Self { plane, near: Vec::new(), far: Vec::new(), row: Vec::new() };
        };
        let width = (planes.size.width as usize).div_ceil(1 << across);
        Self { plane, near: vec![0.0; width], far: vec![0.0; width], row: vec![0.0; planes.size.width as usize] }
    }

    /// The row at the height of a luma row, scaled by (zero point, factor).
    fn row(&mut self, planes: &Planes, y: u32, (zero, factor): (f32, f32)) -> &[f32] {
        let Chroma::Shifted(across, down) = planes.chroma else { return &self.row };
        let scale = |value: f32| (value - zero) * factor;
        read(planes.row(self.plane, y >> down), &mut self.near, scale);
        if down > 0 {
            let last = (planes.size.height - 1) >> 1;
            let next = if y & 1 == 0 { (y >> 1).saturating_sub(1) } else { ((y >> 1) + 1).min(last) };
            read(planes.row(self.plane, next), &mut self.far, scale);
            self.near.iter_mut().zip(&self.far).for_each(|(near, far)| *near = 0.75 * *near + 0.25 * far);
        }
        if across == 0 {
            self.row.copy_from_slice(&self.near);
            return &self.row;
        }
        let last = self.near.len() - 1;
        for (at, pair) in self.row.chunks_mut(2).enumerate() {
            let (before, here, after) = (self.near[at.saturating_sub(1)], self.near[at], self.near[(at + 1).min(last)]);
            pair[0] = 0.75 * here + 0.25 * before;
            if let Some(second) = pair.get_mut(1) {
                *second = 0.75 * here + 0.25 * after;
            }
        }
        &self.row
    }
}
