//! What drawing a parsed SVG will cost, in time and in memory. The renderer cannot be stopped on its way, so it is not
//! begun where it would take too long.

use resvg::usvg::{Group, Node, Paint, Path, filter};

/// Most work, in units of about a nanosecond (a pixel filled, an edge stepped down a row).
const WORK_MAX: f64 = 1.5e9;

/// What any node costs.
const NODE_WORK: f64 = 200.0;

/// The renderer's layers are at most this many canvases large: two canvases' room on every side.
const LAYER_CANVASES_MAX: f64 = 25.0;

/// Rows of antialiasing in a row of pixels.
const SUBROWS: f64 = 4.0;

/// Work of an edge in each row of pixels that it crosses.
const EDGE_WORK: f64 = 16.0;

/// Memory of a point of a path while that is drawn.
const POINT_BYTES: f64 = 120.0;

/// Bytes a pixel.
const PIXEL_BYTES: f64 = 4.0;

/// Adds up the cost of a tree that is drawn at a scale onto a canvas.
pub struct Cost {
    scale: f64,
    canvas: (f64, f64),
    work: f64,
    layer_bytes_max: f64,
}

impl Cost {
    /// For a canvas of so many pixels; `scale` is pixels per unit of the document.
    pub fn new(scale: f64, canvas: (u32, u32), layer_bytes_max: u64) -> Self {
        let canvas = (f64::from(canvas.0), f64::from(canvas.1));
        Self { scale, canvas, work: canvas.0 * canvas.1, layer_bytes_max: layer_bytes_max as f64 }
    }

    /// Measures a tree; the error says which bound it passes.
    pub fn check(mut self, root: &Group) -> Result<(), &'static str> {
        let bytes = self.group(root)?;
        if bytes > self.layer_bytes_max { Err("it needs too much memory to draw") } else { Ok(()) }
    }

    fn spend(&mut self, work: f64) -> Result<(), &'static str> {
        self.work += work;
        // Not a number counts as too much.
        if self.work < WORK_MAX { Ok(()) } else { Err("it takes too long to draw") }
    }

    /// The pixels of a rectangle of the document on a layer.
    fn area(&self, width: f32, height: f32) -> f64 {
        let side = |side: f32| f64::from(side) * self.scale + 4.0;
        (side(width) * side(height)).min(self.canvas.0 * self.canvas.1 * LAYER_CANVASES_MAX)
    }

    /// Adds a group's work; gives the bytes of the layers that are held at once while it is drawn.
    fn group(&mut self, group: &Group) -> Result<f64, &'static str> {
        self.spend(NODE_WORK)?;
        let mut inner: f64 = 0.0;
        for child in group.children() {
            inner = inner.max(match child {
                Node::Group(group) => self.group(group)?,
                Node::Path(path) => self.path(path)?,
                Node::Text(text) => self.group(text.flattened())?,
                Node::Image(_) => 0.0,
            });
        }
        if !group.should_isolate() {
            return Ok(inner);
        }
        let bounds = group.abs_layer_bounding_box();
        let area = self.area(bounds.width(), bounds.height());
        let (mut layers, mut work) = (1.0, 3.0);
        let mut clip = group.clip_path();
        while let Some(path) = clip {
            inner = inner.max(self.group(path.root())?);
            (layers, work, clip) = (layers + 2.0, work + 3.0, path.clip_path());
        }
        let mut mask = group.mask();
        while let Some(part) = mask {
            inner = inner.max(self.group(part.root())?);
            (layers, work, mask) = (layers + 2.0, work + 4.0, part.mask());
        }
        for filter in group.filters() {
            layers += filter.primitives().len() as f64 + 2.0;
            for primitive in filter.primitives() {
                work += effort(primitive.kind());
                if let filter::Kind::Image(image) = primitive.kind() {
                    inner = inner.max(self.group(image.root())?);
                }
            }
        }
        self.spend(area * work)?;
        Ok(inner + area * layers * PIXEL_BYTES)
    }

    fn path(&mut self, path: &Path) -> Result<f64, &'static str> {
        let bounds = path.abs_stroke_bounding_box();
        let width = (f64::from(bounds.width()) * self.scale).min(self.canvas.0);
        let height = (f64::from(bounds.height()) * self.scale).min(self.canvas.1);
        let transform = path.abs_transform();
        let (across, down) = (f64::from(transform.sx.hypot(transform.ky)), f64::from(transform.kx.hypot(transform.sy)));
        let points = path.data().points();
        let mut rows = 0.0;
        let mut length = 0.0;
        for pair in points.windows(2) {
            let (dx, dy) = (f64::from(pair[1].x - pair[0].x).abs(), f64::from(pair[1].y - pair[0].y).abs());
            let step = (dx * across + dy * down) * self.scale;
            rows += step.min(self.canvas.1 * SUBROWS);
            length += dx + dy;
        }
        let points = points.len() as f64;
        self.spend(NODE_WORK + width * height + points * 50.0 + rows * EDGE_WORK)?;
        // Edges, and copies of the path on the way to them.
        let mut bytes = points * POINT_BYTES;
        if let Some(stroke) = path.stroke() {
            let dashes = match stroke.dasharray() {
                Some(dashes) => length / f64::from(dashes.iter().sum::<f32>()),
                None => 0.0,
            };
            self.spend(width * height + (points + dashes) * 300.0 + rows * EDGE_WORK * 4.0)?;
            bytes = bytes.max(self.paint(stroke.paint(), across.max(down))? + (points + dashes) * 200.0);
        }
        if let Some(fill) = path.fill() {
            bytes = bytes.max(self.paint(fill.paint(), across.max(down))?);
        }
        Ok(bytes)
    }

    /// A pattern is drawn once for each path that it paints.
    fn paint(&mut self, paint: &Paint, scale: f64) -> Result<f64, &'static str> {
        let Paint::Pattern(pattern) = paint else { return Ok(0.0) };
        let own = pattern.transform();
        let own = f64::from(own.sx.hypot(own.ky).max(own.kx.hypot(own.sy)));
        let side = |side: f32| f64::from(side) * scale * own * self.scale + 2.0;
        let area = side(pattern.rect().width()) * side(pattern.rect().height());
        self.spend(area * 2.0)?;
        Ok(self.group(pattern.root())? + area * PIXEL_BYTES)
    }
}

/// Work of a filter's step for each pixel.
fn effort(kind: &filter::Kind) -> f64 {
    match kind {
        filter::Kind::Turbulence(turbulence) => 100.0 * f64::from(turbulence.num_octaves()),
        filter::Kind::ConvolveMatrix(convolve) => {
            10.0 + 5.0 * f64::from(convolve.matrix().columns()) * f64::from(convolve.matrix().rows())
        }
        filter::Kind::Morphology(morphology) => {
            let (across, down) = (f64::from(morphology.radius_x().get()), f64::from(morphology.radius_y().get()));
            10.0 + 4.0 * (2.0 * across + 1.0) * (2.0 * down + 1.0)
        }
        filter::Kind::GaussianBlur(_) | filter::Kind::DropShadow(_) => 40.0,
        filter::Kind::DiffuseLighting(_) | filter::Kind::SpecularLighting(_) => 60.0,
        _ => 15.0,
    }
}
