//! How each option's value is read and spelled: one pair of functions an option, in the table's order.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::numbers::{
    Bad, FRACTION_ONE, FRACTION_PLACES, fraction, from_millionths, hundredths, numbers, push, push_fractions,
    push_list, push_units, sigma, units, whole,
};
use super::{Colour, Crop, Dpr, Fit, Flip, Gravity, Metadata, Plan, Quality, QualityStep, Width};

/// Largest number of pixels a URL can name, whatever the category allows.
pub(super) const SIDE_MAX: u32 = 65_535;
/// Largest coordinate or side of a crop in pixels.
const CROP_MAX: u32 = 1_000_000;
/// Most bytes that `maxb` takes.
const BYTES_MAX: u32 = 1_000_000_000;
/// Most bytes of a file name.
const NAME_BYTES_MAX: usize = 255;
/// Smallest and largest sigma, in hundredths.
const BLUR: [u32; 2] = [10, 10_000];
const SHARPEN: [u32; 2] = [10, 1_000];

pub(super) fn read_width(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.width = Some(if text == "auto" { Width::Auto } else { Width::Px(whole(text, 1, SIDE_MAX)?) });
    Ok(())
}

pub(super) fn write_width(plan: &Plan, out: &mut String) {
    match plan.width {
        Some(Width::Px(px)) => push(px, out),
        Some(Width::Auto) => out.push_str("auto"),
        None => {}
    }
}

pub(super) fn read_height(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.height = Some(whole(text, 1, SIDE_MAX)?);
    Ok(())
}

pub(super) fn write_height(plan: &Plan, out: &mut String) {
    push(plan.height.unwrap_or_default(), out);
}

const FITS: [(&str, Fit); 5] =
    [("contain", Fit::Contain), ("cover", Fit::Cover), ("fill", Fit::Fill), ("pad", Fit::Pad), ("crop", Fit::Crop)];

pub(super) fn read_fit(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.fit = word(text, &FITS)?;
    Ok(())
}

pub(super) fn write_fit(plan: &Plan, out: &mut String) {
    out.push_str(name(plan.fit, &FITS));
}

const POINTS: [(&str, Gravity); 9] = [
    ("c", Gravity::Point(0.5, 0.5)),
    ("n", Gravity::Point(0.5, 0.0)),
    ("s", Gravity::Point(0.5, 1.0)),
    ("e", Gravity::Point(1.0, 0.5)),
    ("w", Gravity::Point(0.0, 0.5)),
    ("ne", Gravity::Point(1.0, 0.0)),
    ("nw", Gravity::Point(0.0, 0.0)),
    ("se", Gravity::Point(1.0, 1.0)),
    ("sw", Gravity::Point(0.0, 1.0)),
];

pub(super) fn read_gravity(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    if matches!(text, "smart" | "face") {
        return Err(Bad::Later);
    }
    plan.gravity = match text.split_once(':') {
        Some((x, y)) => Gravity::Focal(fraction(x)?, fraction(y)?),
        None => word(text, &POINTS)?,
    };
    Ok(())
}

pub(super) fn write_gravity(plan: &Plan, out: &mut String) {
    match plan.gravity {
        point @ Gravity::Point(..) => out.push_str(name(point, &POINTS)),
        Gravity::Focal(x, y) => push_fractions(&[x, y], out),
    }
}

/// The crop that a plan says; the whole picture is none.
pub(super) fn crop(plan: &Plan) -> Option<Crop> {
    plan.crop.filter(|crop| *crop != Crop::Fraction(0.0, 0.0, 1.0, 1.0))
}

/// Four fractions where any of them has a dot or none is over 1, else pixels; so `0:0:1:1` is the whole picture, which undoes
/// a preset's crop.
pub(super) fn read_crop(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    let mut parts = text.split(':');
    let mut next = || parts.next().ok_or(Bad::Value);
    let four = [next()?, next()?, next()?, next()?];
    if parts.next().is_some() {
        return Err(Bad::Value);
    }
    let dotted = four.iter().any(|part| part.contains('.'));
    if !dotted {
        let [x, y, width, height] = numbers(four, |part| whole(part, 0, CROP_MAX))?;
        if [x, y, width, height].iter().any(|value| *value > 1) {
            if width == 0 || height == 0 {
                return Err(Bad::Value);
            }
            plan.crop = Some(Crop::Px(x, y, width, height));
            return Ok(());
        }
    }
    let [x, y, width, height] = numbers(four, |part| units(part, FRACTION_PLACES))?;
    if width == 0 || height == 0 || x.saturating_add(width) > FRACTION_ONE || y.saturating_add(height) > FRACTION_ONE {
        return Err(Bad::Value);
    }
    let [x, y, width, height] = [x, y, width, height].map(from_millionths);
    plan.crop = Some(Crop::Fraction(x, y, width, height));
    plan.crop = crop(plan);
    Ok(())
}

pub(super) fn write_crop(plan: &Plan, out: &mut String) {
    match plan.crop {
        Some(Crop::Px(x, y, width, height)) => push_list(&[x, y, width, height], out),
        Some(Crop::Fraction(x, y, width, height)) => push_fractions(&[x, y, width, height], out),
        None => out.push_str("0:0:1:1"),
    }
}

pub(super) fn read_rotate(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.rotate = match text {
        "0" => 0,
        "90" => 90,
        "180" => 180,
        "270" => 270,
        _ => return Err(Bad::Value),
    };
    Ok(())
}

pub(super) fn write_rotate(plan: &Plan, out: &mut String) {
    push(plan.rotate, out);
}

pub(super) fn read_flip(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.flip = match text {
        "h" => Flip { horizontal: true, vertical: false },
        "v" => Flip { horizontal: false, vertical: true },
        "hv" | "vh" => Flip { horizontal: true, vertical: true },
        _ => return Err(Bad::Value),
    };
    Ok(())
}

pub(super) fn write_flip(plan: &Plan, out: &mut String) {
    if plan.flip.horizontal {
        out.push('h');
    }
    if plan.flip.vertical {
        out.push('v');
    }
}

pub(super) fn read_dpr(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    match units(text, 2)? {
        hundredths @ 100..=800 => plan.dpr = Dpr(hundredths as u16),
        _ => return Err(Bad::Value),
    }
    Ok(())
}

pub(super) fn write_dpr(plan: &Plan, out: &mut String) {
    push_units(plan.dpr.0.into(), 2, out);
}

pub(super) fn read_background(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    if !matches!(text.len(), 3 | 6 | 8) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Bad::Value);
    }
    let value = u32::from_str_radix(text, 16).map_err(|_| Bad::Value)?;
    let rgba = match text.len() {
        3 => [value >> 8, value >> 4 & 15, value & 15, 15].map(|digit| digit as u8 * 17),
        6 => (value << 8 | 255).to_be_bytes(),
        _ => value.to_be_bytes(),
    };
    plan.background = Some(Colour { rgba });
    Ok(())
}

pub(super) fn write_background(plan: &Plan, out: &mut String) {
    let Some(Colour { rgba }) = plan.background else { return };
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("a nibble is a hex digit");
    let short = rgba.iter().all(|byte| byte % 17 == 0);
    let shown = if rgba[3] == 255 { &rgba[..3] } else { &rgba[..] };
    for byte in shown {
        out.push(digit(byte >> 4));
        if !(short && rgba[3] == 255) {
            out.push(digit(byte & 15));
        }
    }
}

pub(super) fn read_pad(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    let mut sides = [0; 4];
    let mut count = 0;
    for part in text.split(':') {
        *sides.get_mut(count).ok_or(Bad::Value)? = whole(part, 0, SIDE_MAX)?;
        count += 1;
    }
    let [a, b, c, d] = sides;
    plan.pad = match count {
        1 => [a, a, a, a],
        2 => [a, b, a, b],
        3 => [a, b, c, b],
        _ => [a, b, c, d],
    };
    Ok(())
}

pub(super) fn write_pad(plan: &Plan, out: &mut String) {
    let [top, right, bottom, left] = plan.pad;
    let shown = match (left == right, top == bottom, top == right) {
        (true, true, true) => 1,
        (true, true, false) => 2,
        (true, false, _) => 3,
        (false, ..) => 4,
    };
    push_list(&plan.pad[..shown], out);
}

pub(super) fn read_blur(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.blur = sigma(text, BLUR)?;
    Ok(())
}

pub(super) fn write_blur(plan: &Plan, out: &mut String) {
    push_units(hundredths(plan.blur), 2, out);
}

pub(super) fn read_sharpen(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.sharpen = sigma(text, SHARPEN)?;
    Ok(())
}

pub(super) fn write_sharpen(plan: &Plan, out: &mut String) {
    push_units(hundredths(plan.sharpen), 2, out);
}

pub(super) fn read_bool(text: &str, value: &mut bool) -> Result<(), Bad> {
    *value = match text {
        "0" => false,
        "1" => true,
        _ => return Err(Bad::Value),
    };
    Ok(())
}

pub(super) fn write_bool(value: bool, out: &mut String) {
    out.push(if value { '1' } else { '0' });
}

const METADATA: [(&str, Metadata); 3] =
    [("none", Metadata::None), ("copyright", Metadata::Copyright), ("all", Metadata::All)];

pub(super) fn read_metadata(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.metadata = word(text, &METADATA)?;
    Ok(())
}

pub(super) fn write_metadata(plan: &Plan, out: &mut String) {
    out.push_str(name(plan.metadata, &METADATA));
}

pub(super) fn read_icc(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    if text != "keep" {
        return Err(Bad::Value);
    }
    plan.keep_profile = true;
    Ok(())
}

const STEPS: [(&str, QualityStep); 4] = [
    ("low", QualityStep::Low),
    ("medium-low", QualityStep::MediumLow),
    ("medium-high", QualityStep::MediumHigh),
    ("high", QualityStep::High),
];

pub(super) fn read_quality(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.quality = Some(match text {
        "auto" => return Err(Bad::Later),
        _ if text.starts_with(|first: char| first.is_ascii_digit()) => Quality::Level(whole(text, 1, 100)? as u8),
        _ => Quality::Step(word(text, &STEPS)?),
    });
    Ok(())
}

pub(super) fn write_quality(plan: &Plan, out: &mut String) {
    match plan.quality {
        Some(Quality::Level(level)) => push(level, out),
        Some(Quality::Step(step)) => out.push_str(name(step, &STEPS)),
        None => {}
    }
}

pub(super) fn read_bytes_max(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    plan.bytes_max = Some(whole(text, 1, BYTES_MAX)?);
    Ok(())
}

pub(super) fn write_bytes_max(plan: &Plan, out: &mut String) {
    push(plan.bytes_max.unwrap_or_default(), out);
}

pub(super) fn read_download(text: &str, plan: &mut Plan) -> Result<(), Bad> {
    // Four characters are three bytes.
    if text.len() > NAME_BYTES_MAX.div_ceil(3) * 4 {
        return Err(Bad::Value);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Bad::Value)?;
    let name = file_name(std::str::from_utf8(&bytes).map_err(|_| Bad::Value)?);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Bad::Value);
    }
    plan.download = Some(name);
    Ok(())
}

pub(super) fn write_download(plan: &Plan, out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(plan.download.as_deref().unwrap_or_default(), out);
}

/// A name that cannot leave the folder it is saved into, is not hidden, and looks like what it is.
fn file_name(text: &str) -> String {
    // Characters that turn the direction of text make `exe.gpj` look like `jpg.exe`.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let safe = |c: char| if c.is_control() || matches!(c, '/' | '\\') || turns(c) { '_' } else { c };
    text.trim_matches(|c: char| c == '.' || c.is_whitespace()).chars().map(safe).collect()
}

fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Bad> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or(Bad::Value)
}

fn name<T: PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    // A point that is none of the nine cannot be read, but a plan made elsewhere may hold one: the middle.
    words.iter().find(|(_, other)| *other == value).map_or(words[0].0, |(word, _)| word)
}
