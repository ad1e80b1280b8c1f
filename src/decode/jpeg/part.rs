//! Which part of a JPEG is decoded, and how far it is reduced on the way.

use crate::base::Size;
use crate::decode::Want;

/// The scales that are worth it; see the table of [`super`].
const EIGHTHS: [u32; 5] = [1, 2, 3, 4, 5];

/// The smallest scale that keeps the region `margin_percent` of the target in both directions; 0 forbids reducing.
pub fn eighths(want: &Want, margin_percent: u32) -> u32 {
    let keeps = |eighths: u32, side: u32, target: u32| {
        u64::from(side) * u64::from(eighths) * 100 >= u64::from(target) * u64::from(margin_percent) * 8
    };
    let enough = |eighths: &u32| {
        keeps(*eighths, want.region.width, want.target.width) && keeps(*eighths, want.region.height, want.target.height)
    };
    if margin_percent == 0 { 8 } else { EIGHTHS.into_iter().find(enough).unwrap_or(8) }
}

/// The part of the scaled picture that is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The scale of each side.
    pub eighths: u32,
    /// Left and top in scaled pixels.
    pub at: (u32, u32),
    /// Its size in scaled pixels.
    pub size: Size,
    /// Whether it is all of the scaled picture.
    pub whole: bool,
}

impl Part {
    /// The whole picture at full scale.
    pub const fn all(size: Size) -> Self {
        Self { eighths: 8, at: (0, 0), size, whole: true }
    }

    /// The wanted region with one MCU around it, so that chroma at its edges is interpolated from the right neighbours; the
    /// whole picture where that is not much more.
    pub fn of(full: Size, want: &Want, eighths: u32, sampling: (u32, u32)) -> Self {
        let scaled = |side: u32| (u64::from(side) * u64::from(eighths)).div_ceil(8) as u32;
        let all = Size::new(scaled(full.width), scaled(full.height));
        let span = |start: u32, length: u32, factor: u32, side: u32| {
            let mcu = factor * eighths;
            let first = (u64::from(start) * u64::from(eighths) / 8) as u32 / mcu;
            let end = scaled(start.saturating_add(length)).div_ceil(mcu).saturating_add(1).saturating_mul(mcu);
            let begin = (first.saturating_sub(1) * mcu).min((side - 1) / mcu * mcu);
            (begin, end.min(side) - begin)
        };
        let (left, width) = span(want.region.x, want.region.width, sampling.0, all.width);
        let (top, height) = span(want.region.y, want.region.height, sampling.1, all.height);
        let size = Size::new(width, height);
        if size.pixels() * 4 > all.pixels() * 3 {
            Self { eighths, at: (0, 0), size: all, whole: true }
        } else {
            Self { eighths, at: (left, top), size, whole: false }
        }
    }

    /// The part that both are in, where they have the same rows at the same scale.
    pub fn beside(&self, other: &Self) -> Option<Self> {
        let same = |part: &Self| (part.eighths, part.at.1, part.size.height);
        if self.whole != other.whole || same(self) != same(other) {
            return None;
        }
        let left = self.at.0.min(other.at.0);
        let right = (self.at.0 + self.size.width).max(other.at.0 + other.size.width);
        Some(Self { at: (left, self.at.1), size: Size::new(right - left, self.size.height), ..self.clone() })
    }

    /// A scaled pixel is `8 / eighths` full-scale ones wide, so the last may overhang the picture.
    pub fn covers(&self) -> [f64; 4] {
        [self.at.0, self.at.1, self.size.width, self.size.height]
            .map(|side| f64::from(side) * 8.0 / f64::from(self.eighths))
    }
}
