//! Ordered steps on a picture: cut and resize, turn, blur, sharpen, gray, flatten, pad, to sRGB.
//!
//! Enters: a [`Decoded`] picture and a [`Geometry`] made from header and plan. Leaves: an 8-bit picture, upright.
//!
//! Always true: the result has exactly the size that [`geometry`] said before anything was decoded.

use crate::base::{Orientation, Rect, Size, Stopped, Work};
use crate::pixels::Picture;
use crate::plan::Plan;

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

/// Decides the geometry. `stored` is the header's size; a vector may be enlarged without asking.
pub fn geometry(stored: Size, orientation: Orientation, vector: bool, plan: &Plan) -> Result<Geometry, Error> {
    todo!("{stored:?} {orientation:?} {vector} {plan:?}")
}

/// Runs the steps. `covers` is the part of the stored original that `picture` shows (see `decode::Decoded`).
/// `flatten` is the colour behind transparent pixels where the output holds no alpha (the plan's background goes first).
pub fn apply(
    picture: Picture,
    covers: [f64; 4],
    geometry: &Geometry,
    plan: &Plan,
    light: Light,
    flatten: Option<[u8; 3]>,
    work: &Work,
) -> Result<Picture, Error> {
    todo!("{picture:?} {covers:?} {geometry:?} {plan:?} {light:?} {flatten:?} {work:?}")
}

/// An upper bound of the bytes that [`apply`] holds at once beside the picture it is given, its result included.
pub fn bytes_of_work(decoded: Size, channels: usize, geometry: &Geometry) -> u64 {
    todo!("{decoded:?} {channels} {geometry:?}")
}
