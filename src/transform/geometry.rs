//! Where every pixel of the result comes from, decided from sizes and the plan alone.
//!
//! The order of meaning: EXIF orientation, then the crop region (in the upright original), then `rot`, `flip`, then the
//! box with its fit and gravity (in the turned picture), then the border. The result is mapped back to stored coordinates,
//! so that the small picture is turned and not the big one.

use super::{Error, Geometry};
use crate::base::{Orientation, Size};
use crate::plan::{Crop, Fit, Flip, Gravity, Plan, Width};

/// Decides the geometry. `stored` is the header's size; a vector may be enlarged without asking.
///
/// # Errors
/// [`Error::CropOutside`] where the crop region and the picture have no pixel in common.
pub fn geometry(stored: Size, orientation: Orientation, vector: bool, plan: &Plan) -> Result<Geometry, Error> {
    let upright = orientation.apply(stored);
    let crop = crop_region(upright, vector, plan.crop)?;
    let exif = Turn::of(orientation);
    let asked = Turn::rotation(plan.rotate).then(Turn::flip(plan.flip));
    let turned = asked.size((crop.width, crop.height));

    let dpr = f64::from(plan.dpr.0) / 100.0;
    let target = Box2 {
        width: match plan.width {
            Some(Width::Px(px)) => Some(scaled_px(px, dpr)),
            Some(Width::Auto) | None => None,
        },
        height: plan.height.map(|px| scaled_px(px, dpr)),
    };
    let placed = place(turned, target, plan.fit, plan.gravity, plan.enlarge || vector, vector);

    // Back through flip and rotation into the crop region, and from there through EXIF orientation into the file.
    let within = asked.undo(placed.part, turned);
    let part = Part { x: within.x + crop.x, y: within.y + crop.y, ..within };
    let region = exif.undo(part, (f64::from(upright.width), f64::from(upright.height)));
    let turn = exif.then(asked);
    let scaled = if turn.swaps { placed.size.transposed() } else { placed.size };

    let [top, right, bottom, left] = plan.pad.map(|px| if px == 0 { 0 } else { scaled_px(px, dpr) });
    let inner = placed.canvas.unwrap_or(placed.size);
    let canvas = Size::new(
        inner.width.saturating_add(left).saturating_add(right),
        inner.height.saturating_add(top).saturating_add(bottom),
    );
    let (fx, fy) = match plan.gravity {
        Gravity::Point(x, y) | Gravity::Focal(x, y) => (f64::from(x), f64::from(y)),
    };
    let free =
        |outer: u32, inner: u32, at: f64| (f64::from(outer.saturating_sub(inner)) * at.clamp(0.0, 1.0)).round() as u32;
    let offset = (
        left.saturating_add(free(inner.width, placed.size.width, fx)),
        top.saturating_add(free(inner.height, placed.size.height, fy)),
    );
    Ok(Geometry { region: region.clipped(stored), scaled, turn: turn.orientation(), offset, canvas })
}

/// A rectangle in pixels with fractions.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Part {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Part {
    /// As an array, within the bounds of a size (rounding errors may have left them by an ulp).
    fn clipped(self, bounds: Size) -> [f64; 4] {
        let (width, height) = (f64::from(bounds.width), f64::from(bounds.height));
        let x = self.x.clamp(0.0, width);
        let y = self.y.clamp(0.0, height);
        [x, y, self.width.min(width - x), self.height.min(height - y)]
    }
}

/// The box asked for, multiplied by the device pixel ratio.
#[derive(Clone, Copy, Debug)]
struct Box2 {
    width: Option<u32>,
    height: Option<u32>,
}

/// What part of the turned picture is shown, at which size, on which canvas.
#[derive(Debug)]
struct Placed {
    part: Part,
    size: Size,
    canvas: Option<Size>,
}

/// The region of the upright picture; whole pixels but for a vector, so that a cut without resizing stays exact.
fn crop_region(upright: Size, vector: bool, crop: Option<Crop>) -> Result<Part, Error> {
    let (width, height) = (f64::from(upright.width), f64::from(upright.height));
    let (x, y, w, h) = match crop {
        None => return Ok(Part { x: 0.0, y: 0.0, width, height }),
        Some(Crop::Px(x, y, w, h)) => (f64::from(x), f64::from(y), f64::from(w), f64::from(h)),
        Some(Crop::Fraction(x, y, w, h)) => {
            (f64::from(x) * width, f64::from(y) * height, f64::from(w) * width, f64::from(h) * height)
        }
    };
    let outside = || Error::CropOutside(upright);
    let round = |value: f64| if vector { value } else { value.round() };
    let span = |at: f64, length: f64, whole: f64| {
        let start = round(at).max(0.0);
        let end = round(at + length).max(if vector { 0.0 } else { start + 1.0 }).min(whole);
        (end > start).then_some((start, end - start))
    };
    // A region of no extent asks for nothing, wherever it lies (NaN included).
    if !(w > 0.0 && h > 0.0) {
        return Err(outside());
    }
    let (x, width) = span(x, w, width).ok_or_else(outside)?;
    let (y, height) = span(y, h, height).ok_or_else(outside)?;
    Ok(Part { x, y, width, height })
}

fn scaled_px(px: u32, dpr: f64) -> u32 {
    (f64::from(px) * dpr).round().max(1.0) as u32
}

/// Rounds a length to whole pixels, at least one.
fn whole(length: f64) -> u32 {
    length.round().max(1.0) as u32
}

/// Meets the picture with the box.
fn place(turned: (f64, f64), target: Box2, fit: Fit, gravity: Gravity, enlarge: bool, vector: bool) -> Placed {
    let (tw, th) = turned;
    let all = Part { x: 0.0, y: 0.0, width: tw, height: th };
    let bound = |scale: f64| if enlarge { scale } else { scale.min(1.0) };
    let cut = |width: f64, height: f64, size: Size| {
        let width = width.min(tw);
        let height = height.min(th);
        // A cut without resizing is at whole pixels, so that its pixels are the original's.
        let exact = !vector && width == f64::from(size.width) && height == f64::from(size.height);
        let at = |free: f64, length: f64, point: f64, focal: Option<f64>| {
            let start = match focal {
                None => free * point.clamp(0.0, 1.0),
                Some(centre) => (centre.clamp(0.0, 1.0) * (free + length) - length / 2.0).clamp(0.0, free.max(0.0)),
            };
            if exact { start.round() } else { start }
        };
        let (x, y) = match gravity {
            Gravity::Point(x, y) => {
                (at(tw - width, width, f64::from(x), None), at(th - height, height, f64::from(y), None))
            }
            Gravity::Focal(x, y) => {
                (at(tw - width, width, 0.0, Some(f64::from(x))), at(th - height, height, 0.0, Some(f64::from(y))))
            }
        };
        Placed { part: Part { x, y, width, height }, size, canvas: None }
    };
    let contain = || {
        let scale = match (target.width, target.height) {
            (None, None) => 1.0,
            (Some(w), None) => bound(f64::from(w) / tw),
            (None, Some(h)) => bound(f64::from(h) / th),
            (Some(w), Some(h)) => bound((f64::from(w) / tw).min(f64::from(h) / th)),
        };
        let size = Size::new(
            whole(tw * scale).min(target.width.unwrap_or(u32::MAX)),
            whole(th * scale).min(target.height.unwrap_or(u32::MAX)),
        );
        Placed { part: all, size, canvas: None }
    };
    match (fit, target.width, target.height) {
        (Fit::Crop, w, h) => {
            let width = w.map_or(tw, |w| f64::from(w).min(tw));
            let height = h.map_or(th, |h| f64::from(h).min(th));
            cut(width, height, Size::new(whole(width), whole(height)))
        }
        (Fit::Cover, Some(w), Some(h)) => {
            let (w, h) = (f64::from(w), f64::from(h));
            let scale = (w / tw).max(h / th);
            if scale <= 1.0 || enlarge {
                cut(w / scale, h / scale, Size::new(w as u32, h as u32))
            } else {
                // Smaller than the box: cut to its ratio, at the picture's own scale.
                let size = Size::new(whole(w / scale), whole(h / scale));
                cut(f64::from(size.width), f64::from(size.height), size)
            }
        }
        (Fit::Fill, Some(w), Some(h)) => {
            let scale = if enlarge { 1.0 } else { (tw / f64::from(w)).min(th / f64::from(h)).min(1.0) };
            Placed {
                part: all,
                size: Size::new(whole(f64::from(w) * scale), whole(f64::from(h) * scale)),
                canvas: None,
            }
        }
        (Fit::Pad, Some(w), Some(h)) => Placed { canvas: Some(Size::new(w, h)), ..contain() },
        (Fit::Contain | Fit::Cover | Fit::Fill | Fit::Pad, _, _) => contain(),
    }
}

/// One of the eight turns: exchange the axes, then mirror.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    /// Whether width and height are exchanged, first of all.
    pub swaps: bool,
    /// Whether the result is mirrored left to right.
    pub mirrors_x: bool,
    /// Whether the result is mirrored top to bottom.
    pub mirrors_y: bool,
}

impl Turn {
    /// What brings a picture of this EXIF orientation upright.
    pub const fn of(orientation: Orientation) -> Self {
        let (swaps, mirrors_x, mirrors_y) = match orientation {
            Orientation::Upright => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Transpose => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Transverse => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Self { swaps, mirrors_x, mirrors_y }
    }

    /// Clockwise, in degrees.
    const fn rotation(degrees: u16) -> Self {
        Self::of(match degrees % 360 {
            90 => Orientation::Rotate90,
            180 => Orientation::Rotate180,
            270 => Orientation::Rotate270,
            _ => Orientation::Upright,
        })
    }

    const fn flip(flip: Flip) -> Self {
        Self { swaps: false, mirrors_x: flip.horizontal, mirrors_y: flip.vertical }
    }

    /// This turn and then another, as one.
    const fn then(self, next: Self) -> Self {
        let (x, y) = if next.swaps { (self.mirrors_y, self.mirrors_x) } else { (self.mirrors_x, self.mirrors_y) };
        Self { swaps: self.swaps != next.swaps, mirrors_x: x != next.mirrors_x, mirrors_y: y != next.mirrors_y }
    }

    const fn orientation(self) -> Orientation {
        match (self.swaps, self.mirrors_x, self.mirrors_y) {
            (false, false, false) => Orientation::Upright,
            (false, true, false) => Orientation::FlipHorizontal,
            (false, true, true) => Orientation::Rotate180,
            (false, false, true) => Orientation::FlipVertical,
            (true, false, false) => Orientation::Transpose,
            (true, true, false) => Orientation::Rotate90,
            (true, true, true) => Orientation::Transverse,
            (true, false, true) => Orientation::Rotate270,
        }
    }

    const fn size(self, size: (f64, f64)) -> (f64, f64) {
        if self.swaps { (size.1, size.0) } else { size }
    }

    /// Where a part of the turned picture (whose size is given) was before the turn.
    fn undo(self, part: Part, turned: (f64, f64)) -> Part {
        let x = if self.mirrors_x { turned.0 - part.x - part.width } else { part.x };
        let y = if self.mirrors_y { turned.1 - part.y - part.height } else { part.y };
        if self.swaps { Part { x: y, y: x, width: part.height, height: part.width } } else { Part { x, y, ..part } }
    }
}

#[cfg(test)]
#[path = "tests/geometry.rs"]
mod tests;
