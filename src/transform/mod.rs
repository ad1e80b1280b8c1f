//! Ordered steps on a picture: cut and resize, turn, blur, sharpen, gray, flatten, pad, to sRGB.
//!
//! Enters: a [`Decoded`](crate::decode::Decoded) picture and a [`Geometry`] made from header and plan. Leaves: an 8-bit picture, upright.
//!
//! Always true: the result has exactly the size that [`geometry`] said before anything was decoded.

mod cpu;
mod geometry;
mod steps;

use crate::base::{Orientation, Rect, Size, Stopped, Work};
use crate::pixels::Picture;
use crate::plan::Plan;

pub use geometry::geometry;
pub use steps::Steps;

/// Where every pixel of the result comes from: decided from sizes alone, before anything is decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct Geometry {
    /// The part of the stored original that is used, in its full-scale pixels: x, y, width, height.
    pub region: [f64; 4],
    /// The size to which the region is resized, in stored orientation.
    pub scaled: Size,
    /// How the resized picture is then turned: EXIF orientation, `rot` and `flip` in one.
    pub turn: Orientation,
    /// Where the turned picture stands on the canvas: left, top.
    pub offset: (u32, u32),
    /// The result's size.
    pub canvas: Size,
}

impl Geometry {
    /// The region in whole pixels, rounded outwards, for the decoder.
    pub fn region_px(&self, stored: Size) -> Rect {
        let [x, y, width, height] = self.region;
        let (left, top) = (x.floor().max(0.0) as u32, y.floor().max(0.0) as u32);
        let right = ((x + width).ceil() as u32).min(stored.width);
        let bottom = ((y + height).ceil() as u32).min(stored.height);
        Rect { x: left, y: top, width: right.saturating_sub(left).max(1), height: bottom.saturating_sub(top).max(1) }
    }
}

/// The light in which a picture is resized.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Light {
    /// Linear light, 16 bits, premultiplied: what an eye at a distance would see.
    #[default]
    Linear,
    /// The samples as they are: faster, darkens fine light detail.
    Gamma,
}

/// What can go wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The crop region lies outside of the picture.
    #[error("the crop region lies outside of the {width}x{height} picture", width = .0.width, height = .0.height)]
    CropOutside(Size),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Runs the steps. `covers` is the part of the stored original that `picture` shows (see `decode::Decoded`).
/// `flatten` is the colour behind transparent pixels where the output holds no alpha (the plan's background goes first).
///
/// # Errors
/// [`Error::Stopped`] when the work's deadline passes or nobody waits for it any more.
pub fn apply(
    picture: Picture,
    covers: [f64; 4],
    geometry: &Geometry,
    plan: &Plan,
    light: Light,
    flatten: Option<[u8; 3]>,
    work: &Work,
) -> Result<Picture, Error> {
    let window = window(picture.size, covers, geometry.region);
    let picture = cpu::resize(picture, window, geometry.scaled, light, plan.keep_profile, work)?;
    finished(picture, geometry, plan, flatten, work)
}

/// The steps after the resize.
fn finished(
    mut picture: Picture,
    geometry: &Geometry,
    plan: &Plan,
    flatten: Option<[u8; 3]>,
    work: &Work,
) -> Result<Picture, Error> {
    work.check()?;
    picture = cpu::turn(picture, geometry.turn);
    if plan.blur > 0.0 {
        picture = cpu::blur(picture, plan.blur, work)?;
    }
    if plan.sharpen > 0.0 {
        picture = cpu::sharpen(picture, plan.sharpen, work)?;
    }
    if plan.gray {
        picture = cpu::gray(picture);
    }
    work.check()?;
    let backdrop = cpu::Backdrop { background: plan.background, flatten };
    Ok(cpu::canvas(picture, geometry.offset, geometry.canvas, backdrop))
}

/// The region in the decoded picture's own pixels, within its bounds.
fn window(size: Size, covers: [f64; 4], region: [f64; 4]) -> [f64; 4] {
    let side = |px: u32, from: f64, length: f64, start: f64, extent: f64| {
        let (px, scale) = (f64::from(px), f64::from(px) / length.max(f64::MIN_POSITIVE));
        // A decoder that gives less than it was asked for still leaves something to show.
        let start = ((start - from) * scale).clamp(0.0, (px - 1.0).max(0.0));
        (start, (extent * scale).clamp(1e-3, px - start))
    };
    let (x, width) = side(size.width, covers[0], covers[2], region[0], region[2]);
    let (y, height) = side(size.height, covers[1], covers[3], region[1], region[3]);
    [x, y, width, height]
}

/// An upper bound of the bytes that [`apply`] holds at once beside the picture it is given, and [`Steps`] beside the row, their
/// result included. `decoded` is the size of that picture or of the rows.
pub fn bytes_of_work(decoded: Size, channels: usize, geometry: &Geometry, light: Light) -> u64 {
    let whole = [0.0, 0.0, f64::from(decoded.width), f64::from(decoded.height)];
    let resize = match light {
        Light::Linear => cpu::bytes_of_scale(decoded, channels, whole, geometry.scaled),
        // Converted, widened or premultiplied, and resized in height: four channels each.
        Light::Gamma => decoded.pixels() * 12 + geometry.scaled.pixels() * 8,
    };
    let small = geometry.scaled.pixels() * channels as u64;
    let canvas = geometry.canvas.pixels() * 4;
    // Turning and sharpening hold the small picture twice, blurring its lines, the canvas itself and the picture on it.
    let lines = u64::from(geometry.scaled.width.max(geometry.scaled.height)) * 64 * 4 * 2;
    resize.max(small * 2 + lines).max(small + canvas)
}

#[cfg(test)]
mod tests;
