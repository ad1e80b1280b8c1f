//! SVG by resvg: drawn at the size that is wanted, in a font that is part of the program. Nothing outside of the file is
//! looked at, nor are pictures inside of it.
//!
//! Drawing cannot be stopped on its way, so it is bounded before: by the file's length, by what its references expand to
//! ([`expansion`]) and by what the parsed tree will cost ([`cost`]).

mod cost;
mod expansion;

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb, roxmltree};

use super::{Decoded, Error, Header, Model, Want, check_size};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{ColourSpace, Layout, Picture, Samples};

/// Longest file.
const BYTES_MAX: usize = 4 << 20;

/// Most nodes of the XML, text and comments included.
const NODES_MAX: u32 = 100_000;

/// What a parsed document within these bounds takes.
const TREE_BYTES: u64 = 48 << 20;

/// Layers beside the result may take this many times its bytes, and so many more.
const LAYERS_MAX: u64 = 8;
const LAYERS_EXTRA_BYTES: u64 = 16 << 20;

/// The size where a document says none (CSS 2.1, 10.3.2).
const SIZE_DEFAULT: (f64, f64) = (300.0, 150.0);

/// The one font: DejaVu Sans, whatever family is asked for.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    const FAMILY: &str = "DejaVu Sans";
    let mut fonts = fontdb::Database::new();
    let font: &'static [u8] = include_bytes!("../../../config/fonts/DejaVuSans.ttf");
    fonts.load_font_source(fontdb::Source::Binary(Arc::new(font)));
    fonts.set_serif_family(FAMILY);
    fonts.set_sans_serif_family(FAMILY);
    fonts.set_cursive_family(FAMILY);
    fonts.set_fantasy_family(FAMILY);
    fonts.set_monospace_family(FAMILY);
    Arc::new(fonts)
});

/// Reads the XML, and the size that the root element says. One beyond the limits is reduced to them: shapes have no pixels.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let document = parse(text(bytes)?)?;
    let (width, height) = natural_size(&document);
    let shrink =
        (f64::from(limits.side_max) / width.max(height)).min((limits.pixels_max as f64 / (width * height)).sqrt());
    let side = |side: f64| (side * shrink.min(1.0)).floor().max(1.0) as u32;
    let rounded = |side: f64| side.round().max(1.0) as u32;
    let size =
        if shrink < 1.0 { Size::new(side(width), side(height)) } else { Size::new(rounded(width), rounded(height)) };
    check_size(size, limits)?;
    Ok(Header {
        format: Format::Svg,
        size,
        orientation: Orientation::Upright,
        alpha: true,
        frames: 1,
        loops: 0,
        bits: 8,
        model: Model::Vector,
        progressive: false,
        streams: false,
        icc: None,
        exif: None,
    })
}

/// Draws the wanted region so that it has exactly the wanted size.
pub fn decode(bytes: &[u8], header: &Header, want: &Want, limits: &Limits, work: &Work) -> Result<Decoded, Error> {
    check_size(want.target, limits)?;
    let (region, target) = (want.region, want.target);
    let document = parse(text(bytes)?)?;
    work.check()?;
    let tree = usvg::Tree::from_xmltree(&document, &options()).map_err(broken)?;
    work.check()?;
    let across = f64::from(target.width) / f64::from(region.width.max(1));
    let down = f64::from(target.height) / f64::from(region.height.max(1));
    // From the document's units to the header's pixels, and from these to the result's.
    let scale = (
        f64::from(header.size.width) / f64::from(tree.size().width()) * across,
        f64::from(header.size.height) / f64::from(tree.size().height()) * down,
    );
    let layers = layer_bytes_max(target);
    let cost = cost::Cost::new(scale.0.max(scale.1), (target.width, target.height), layers);
    cost.check(tree.root()).map_err(|what| Error::kind(Format::Svg, what))?;
    let mut pixmap = Pixmap::new(target.width, target.height).ok_or_else(|| broken("it is wanted at no size"))?;
    let (left, top) = (f64::from(region.x) * across, f64::from(region.y) * down);
    let transform = Transform::from_row(scale.0 as f32, 0.0, 0.0, scale.1 as f32, -left as f32, -top as f32);
    resvg::render(&tree, transform, &mut pixmap.as_mut());
    work.check()?;
    let samples = Samples::U8(pixmap.take_demultiplied());
    let picture = Picture { size: target, layout: Layout::Rgba, samples, colour: ColourSpace::Srgb };
    let covers = [region.x, region.y, region.width, region.height].map(f64::from);
    Ok(Decoded { picture, covers, damaged: false })
}

/// The result, its layers and the parsed document.
pub fn bytes_of_work(_: &Header, want: &Want) -> u64 {
    want.target.pixels() * 4 + layer_bytes_max(want.target) + TREE_BYTES
}

fn layer_bytes_max(target: Size) -> u64 {
    target.pixels() * 4 * LAYERS_MAX + LAYERS_EXTRA_BYTES
}

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Svg, what)
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLarge(format!("an SVG of {} bytes, of at most {BYTES_MAX}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(broken)?;
    // Entities can expand without end, and nothing that the web shows needs them.
    if text.contains("<!ENTITY") { Err(Error::kind(Format::Svg, "entities")) } else { Ok(text) }
}

fn parse(text: &str) -> Result<roxmltree::Document<'_>, Error> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => Error::TooLarge(format!("more than {NODES_MAX} nodes")),
        other => broken(other),
    })?;
    expansion::check(&document).map_err(|what| Error::kind(Format::Svg, what))?;
    Ok(document)
}

fn options() -> usvg::Options<'static> {
    usvg::Options {
        font_family: "DejaVu Sans".to_owned(),
        fontdb: Arc::clone(&FONTS),
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        default_size: usvg::Size::from_wh(SIZE_DEFAULT.0 as f32, SIZE_DEFAULT.1 as f32).expect("positive constants"),
        ..usvg::Options::default()
    }
}

/// The root's width and height in CSS pixels; a side that is missing or relative is the view box's, with the ratio kept.
fn natural_size(document: &roxmltree::Document<'_>) -> (f64, f64) {
    let root = document.root_element();
    let side = |name: &str| root.attribute(name).and_then(css_pixels).filter(|side| *side > 0.0 && side.is_finite());
    let numbers = root.attribute("viewBox").unwrap_or_default();
    let numbers: Vec<f64> =
        numbers.split([' ', ',', '\n', '\t', '\r']).filter_map(|number| f64::from_str(number).ok()).take(5).collect();
    let view = match numbers[..] {
        [_, _, width, height] if width > 0.0 && height > 0.0 && (width * height).is_finite() => Some((width, height)),
        _ => None,
    };
    match (side("width"), side("height"), view) {
        (Some(width), Some(height), _) => (width, height),
        (Some(width), None, Some(view)) => (width, width * view.1 / view.0),
        (None, Some(height), Some(view)) => (height * view.0 / view.1, height),
        (None, None, Some(view)) => view,
        (width, height, None) => (width.unwrap_or(SIZE_DEFAULT.0), height.unwrap_or(SIZE_DEFAULT.1)),
    }
}

/// A CSS length, if it is absolute; an em is 12 pixels, as the renderer takes it.
fn css_pixels(length: &str) -> Option<f64> {
    let length = length.trim();
    let unit_at = length.find(|at: char| at.is_ascii_alphabetic() && at != 'e' && at != 'E' || at == '%');
    // `1e3` has an exponent, `1em` a unit.
    let unit_at = if length.ends_with("em") || length.ends_with("ex") { Some(length.len() - 2) } else { unit_at };
    let (number, unit) = length.split_at(unit_at.unwrap_or(length.len()));
    let factor = match unit {
        "" | "px" => 1.0,
        "pt" => 96.0 / 72.0,
        "pc" => 16.0,
        "in" => 96.0,
        "cm" => 96.0 / 2.54,
        "mm" => 96.0 / 25.4,
        "em" => 12.0,
        "ex" => 6.0,
        _ => return None,
    };
    Some(f64::from_str(number.trim()).ok()? * factor)
}
