//! The options: one table in canonical order, and reading a variant by it. How single values are read and written is
//! in `values.rs`.

use super::error::quote;
use super::numbers::Bad;
use super::presets::{Preset, Presets};
use super::urls::Rules;
use super::values;
use super::{Dpr, Error, ErrorKind, Plan, Width};

/// One option: how its value is read, compared and written.
pub(super) struct Row {
    pub name: &'static str,
    /// What its value may be, for messages.
    pub values: &'static str,
    /// Whether the name alone stands for the value 1.
    pub flag: bool,
    pub read: fn(&str, &mut Plan) -> Result<(), Bad>,
    pub same: fn(&Plan, &Plan) -> bool,
    pub write: fn(&Plan, &mut String),
}

/// Every option of this version, in canonical order.
#[rustfmt::skip]
pub(super) static TABLE: [Row; 20] = [
    Row { name: "w", values: "a whole number of pixels from 1 to 65535, or auto", flag: false,
          read: values::read_width, same: |a, b| a.width == b.width, write: values::write_width },
    Row { name: "h", values: "a whole number of pixels from 1 to 65535", flag: false,
          read: values::read_height, same: |a, b| a.height == b.height, write: values::write_height },
    Row { name: "fit", values: "contain, cover, fill, pad or crop", flag: false,
          read: values::read_fit, same: |a, b| a.fit == b.fit, write: values::write_fit },
    Row { name: "g", values: "c, n, s, e, w, ne, nw, se, sw, or a focal point x:y of fractions from 0 to 1", flag: false,
          read: values::read_gravity, same: |a, b| a.gravity == b.gravity, write: values::write_gravity },
    Row { name: "crop", values: "x:y:w:h in whole pixels, or in fractions of the original that stay within 1 (a dot in \
          any of the four, or none over 1, makes all four fractions), with at most 6 decimals", flag: false,
          read: values::read_crop, same: |a, b| values::crop(a) == values::crop(b), write: values::write_crop },
    Row { name: "rot", values: "0, 90, 180 or 270 in this version", flag: false,
          read: values::read_rotate, same: |a, b| a.rotate == b.rotate, write: values::write_rotate },
    Row { name: "flip", values: "h, v or hv", flag: false,
          read: values::read_flip, same: |a, b| a.flip == b.flip, write: values::write_flip },
    Row { name: "dpr", values: "a number from 1 to 8 with at most 2 decimals", flag: false,
          read: values::read_dpr, same: |a, b| a.dpr == b.dpr, write: values::write_dpr },
    Row { name: "bg", values: "3, 6 or 8 hex digits: rgb, rrggbb or rrggbbaa", flag: false,
          read: values::read_background, same: |a, b| a.background == b.background, write: values::write_background },
    Row { name: "pad", values: "1 to 4 whole numbers of pixels, as in CSS: top:right:bottom:left", flag: false,
          read: values::read_pad, same: |a, b| a.pad == b.pad, write: values::write_pad },
    Row { name: "blur", values: "0, or a sigma from 0.1 to 100 with at most 2 decimals", flag: false,
          read: values::read_blur, same: |a, b| a.blur == b.blur, write: values::write_blur },
    Row { name: "sharp", values: "0, or a sigma from 0.1 to 10 with at most 2 decimals", flag: false,
          read: values::read_sharpen, same: |a, b| a.sharpen == b.sharpen, write: values::write_sharpen },
    Row { name: "gray", values: "0 or 1", flag: true,
          read: |text, plan| values::read_bool(text, &mut plan.gray), same: |a, b| a.gray == b.gray,
          write: |plan, out| values::write_bool(plan.gray, out) },
    Row { name: "up", values: "0 or 1", flag: false,
          read: |text, plan| values::read_bool(text, &mut plan.enlarge), same: |a, b| a.enlarge == b.enlarge,
          write: |plan, out| values::write_bool(plan.enlarge, out) },
    Row { name: "anim", values: "0 or 1", flag: false,
          read: |text, plan| values::read_bool(text, &mut plan.animate), same: |a, b| a.animate == b.animate,
          write: |plan, out| values::write_bool(plan.animate, out) },
    Row { name: "meta", values: "none, copyright or all", flag: false,
          read: values::read_metadata, same: |a, b| a.metadata == b.metadata, write: values::write_metadata },
    Row { name: "icc", values: "keep", flag: false,
          read: values::read_icc, same: |a, b| a.keep_profile == b.keep_profile, write: |_, out| out.push_str("keep") },
    Row { name: "q", values: "a whole number from 1 to 100, or low, medium-low, medium-high, high", flag: false,
          read: values::read_quality, same: |a, b| a.quality == b.quality, write: values::write_quality },
    Row { name: "maxb", values: "a whole number of bytes from 1 to 1000000000", flag: false,
          read: values::read_bytes_max, same: |a, b| a.bytes_max == b.bytes_max, write: values::write_bytes_max },
    Row { name: "dl", values: "a file name of at most 255 bytes, in base64url without padding", flag: false,
          read: values::read_download, same: |a, b| a.download == b.download, write: values::write_download },
];

const W: usize = 0;
const H: usize = 1;
const DPR: usize = 7;
const PAD: usize = 9;

/// Options of the grammar that a later version does.
pub(super) const LATER: [&str; 13] =
    ["trim", "px", "bri", "con", "sat", "gam", "hue", "sepia", "invert", "round", "wm", "text", "frame"];

/// Words that are a whole variant by themselves.
pub(super) const ALONE: [&str; 4] = ["orig", "info", "srcset", "picture"];

/// How a variant without any option is spelled: the first default that is a word.
pub(super) const NOTHING: &str = "fit_contain";

/// A variant that was read.
pub(super) struct Variant<'p, 'a> {
    pub plan: Plan,
    pub preset: Option<&'p Preset>,
    /// The options as written, by their row.
    pub written: [Option<&'a str>; TABLE.len()],
}

/// Reads `preset`, `options` or `preset,options`, in any order; options refine the preset.
pub(super) fn read<'p, 'a>(
    text: &'a str,
    presets: &'p Presets,
    allowed: Option<&[String]>,
) -> Result<Variant<'p, 'a>, Error> {
    let mut preset: Option<&Preset> = None;
    let mut written = [None; TABLE.len()];
    for piece in text.split(',') {
        if let Some(row) = row_of(piece)? {
            if written[row].replace(piece).is_some() {
                let detail = format!("the option {} is given twice", TABLE[row].name);
                return Err(Error::new(ErrorKind::BadValue, detail, piece));
            }
        } else if preset.replace(presets.find(piece, allowed)?).is_some() {
            return Err(Error::new(ErrorKind::BadValue, "a variant names at most one preset", piece));
        }
    }
    let mut plan = preset.map_or(Plan::DEFAULT, |preset| preset.plan.clone());
    for (row, piece) in TABLE.iter().zip(written) {
        let Some(piece) = piece else { continue };
        let value = piece.split_once('_').map_or("1", |(_, value)| value);
        (row.read)(value, &mut plan).map_err(|bad| match bad {
            Bad::Value => Error::new(
                ErrorKind::BadValue,
                format!("{} takes {}; not {}", row.name, row.values, quote(value)),
                piece,
            ),
            Bad::Later => not_available(ErrorKind::BadValue, &quote(piece), piece),
        })?;
    }
    Ok(Variant { plan, preset, written })
}

/// The row of a piece, or none for a word that can be a preset only.
fn row_of(piece: &str) -> Result<Option<usize>, Error> {
    let (name, valued) = piece.split_once('_').map_or((piece, false), |(name, _)| (name, true));
    if let Some(at) = TABLE.iter().position(|row| row.name == name) {
        if valued || TABLE[at].flag {
            return Ok(Some(at));
        }
        let detail = format!("{name} needs a value: {name}_ and {}", TABLE[at].values);
        return Err(Error::new(ErrorKind::BadValue, detail, piece));
    }
    if LATER.contains(&name) {
        return Err(not_available(ErrorKind::UnknownOption, name, piece));
    }
    if piece.is_empty() {
        let detail = "an empty option: options are parted by single commas, and the format follows the last dot";
        return Err(Error::new(ErrorKind::Malformed, detail, piece));
    }
    if ALONE.contains(&name) {
        return Err(Error::new(ErrorKind::Malformed, format!("{name} stands alone, without options"), piece));
    }
    if valued {
        let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
        let detail = format!("there is no option {}; there are {}", quote(name), names.join(" "));
        return Err(Error::new(ErrorKind::UnknownOption, detail, piece));
    }
    Ok(None)
}

/// What the design has but this version does not.
pub(super) fn not_available(kind: ErrorKind, what: &str, at: &str) -> Error {
    Error::new(kind, format!("{what} is not available in this version"), at)
}

/// Adds the options in which a plan differs from `base`, in canonical order, each after a comma where `out` has something
/// from `start` on.
pub(super) fn write(plan: &Plan, base: &Plan, rows: &[Row], start: usize, out: &mut String) {
    for row in rows {
        if (row.same)(plan, base) {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        out.push_str(row.name);
        let name_end = out.len();
        out.push('_');
        (row.write)(plan, out);
        if row.flag && out.ends_with("_1") {
            out.truncate(name_end);
        }
    }
}

/// Refuses what would be larger than the category allows, whatever the client's hints.
pub(super) fn check_bounds(variant: &Variant<'_, '_>, rules: &Rules) -> Result<(), Error> {
    let plan = &variant.plan;
    let side_max = u64::from(rules.side_max);
    for (at, value) in [(W, px(plan.width)), (H, plan.height)] {
        if value.is_some_and(|px| u64::from(px) > side_max) {
            let detail = format!("{} is at most {side_max} pixels here", TABLE[at].name);
            return Err(Error::new(ErrorKind::BadValue, detail, variant.piece(&[at])));
        }
    }
    // A hint may choose both the width and, where the URL names none, the ratio.
    let hinted = plan.width == Some(Width::Auto);
    let dpr = if hinted && plan.dpr == Dpr::ONE { Dpr(super::hints::DPR_STEPS[3]) } else { plan.dpr };
    let [top, right, bottom, left] = plan.pad;
    let width = if hinted { super::hints::width_px_max() } else { px(plan.width).map_or(0, |px| dpr.scale(px)) };
    let height = plan.height.map_or(0, |px| dpr.scale(px));
    for (at, side) in [(W, width + dpr.scale(left + right)), (H, height + dpr.scale(top + bottom))] {
        if side > side_max {
            let detail = if hinted {
                format!(
                    "with w_auto and what clients may ask for, a side may become {side} pixels; at most {side_max} here"
                )
            } else {
                format!("a side would be {side} pixels after dpr and pad; at most {side_max} here")
            };
            return Err(Error::new(ErrorKind::BadValue, detail, variant.piece(&[DPR, PAD, at])));
        }
    }
    if width * height > rules.pixels_max {
        let detail = format!("{width}x{height} pixels are more than the {} allowed here", rules.pixels_max);
        return Err(Error::new(ErrorKind::BadValue, detail, variant.piece(&[DPR, W, H])));
    }
    Ok(())
}

fn px(width: Option<Width>) -> Option<u32> {
    match width {
        Some(Width::Px(px)) => Some(px),
        Some(Width::Auto) | None => None,
    }
}

impl Variant<'_, '_> {
    /// The first of these rows that the URL wrote, else the preset's name.
    fn piece(&self, rows: &[usize]) -> &str {
        rows.iter().find_map(|&row| self.written[row]).or(self.preset.map(|preset| &*preset.name)).unwrap_or_default()
    }

    /// The first width or height written in the URL that is not on the ladder.
    pub(super) fn off_ladder(&self, sizes: &[u32]) -> Option<&str> {
        let sides = [(W, px(self.plan.width)), (H, self.plan.height)];
        let mut off = sides.iter().filter(|(_, px)| px.is_some_and(|px| !sizes.contains(&px)));
        off.find_map(|&(row, _)| self.written[row])
    }

    /// Whether the URL names a preset and nothing else.
    pub(super) fn bare_preset(&self) -> bool {
        self.preset.is_some() && self.written.iter().all(Option::is_none)
    }
}
