//! Numbers in options, read and written as whole units of their last place (hundredths, millionths), so that what is read
//! and what is written round alike.

use std::fmt::Write;

/// Decimals of fractions; a millionth is under a tenth of a pixel of the largest picture.
pub(super) const FRACTION_PLACES: u32 = 6;

/// The whole, in millionths.
pub(super) const FRACTION_ONE: u32 = 1_000_000;

/// Why a value was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    /// It is none.
    Value,
    /// It is one that a later version knows.
    Later,
}

/// A whole number within bounds; leading zeros are another spelling of it.
pub(super) fn whole(text: &str, min: u32, max: u32) -> Result<u32, Bad> {
    let value = units(text, 0)?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(Bad::Value) }
}

/// A decimal number as a count of units of its last place: `1.5` with two places is 150.
pub(super) fn units(text: &str, places: u32) -> Result<u32, Bad> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) if places > 0 && !part.is_empty() => (whole, part),
        Some(_) => return Err(Bad::Value),
        None if text.is_empty() => return Err(Bad::Value),
        None => (text, ""),
    };
    // Ten digits hold every value within bounds, some leading zeros included.
    if whole.len() > 10 || part.len() > places as usize {
        return Err(Bad::Value);
    }
    let mut value: u64 = 0;
    for byte in whole.bytes().chain(part.bytes()) {
        if !byte.is_ascii_digit() {
            return Err(Bad::Value);
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    value *= 10u64.pow(places - part.len() as u32);
    value.try_into().map_err(|_| Bad::Value)
}

pub(super) fn fraction(text: &str) -> Result<f32, Bad> {
    match units(text, FRACTION_PLACES)? {
        millionths @ 0..=FRACTION_ONE => Ok(from_millionths(millionths)),
        _ => Err(Bad::Value),
    }
}

pub(super) fn from_millionths(millionths: u32) -> f32 {
    (f64::from(millionths) / f64::from(FRACTION_ONE)) as f32
}

pub(super) fn sigma(text: &str, [min, max]: [u32; 2]) -> Result<f32, Bad> {
    let hundredths = units(text, 2)?;
    if hundredths != 0 && !(min..=max).contains(&hundredths) {
        return Err(Bad::Value);
    }
    Ok((f64::from(hundredths) / 100.0) as f32)
}

pub(super) fn hundredths(value: f32) -> u32 {
    (f64::from(value) * 100.0).round() as u32
}

pub(super) fn numbers(parts: [&str; 4], read: impl Fn(&str) -> Result<u32, Bad>) -> Result<[u32; 4], Bad> {
    let [a, b, c, d] = parts;
    Ok([read(a)?, read(b)?, read(c)?, read(d)?])
}

/// Adds a whole number. By hand, since every read spells its path anew, and formatting took a good part of that.
pub(super) fn push(value: impl Into<u64>, out: &mut String) {
    let mut value = value.into();
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

pub(super) fn push_list(values: &[u32], out: &mut String) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(':');
        }
        push(*value, out);
    }
}

pub(super) fn push_fractions(values: &[f32], out: &mut String) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(':');
        }
        let millionths = (f64::from(*value) * f64::from(FRACTION_ONE)).round() as u32;
        push_units(millionths, FRACTION_PLACES, out);
    }
}

/// Adds a count of units of the last place as the shortest decimal number.
pub(super) fn push_units(units: u32, places: u32, out: &mut String) {
    let one = 10u32.pow(places);
    push(units / one, out);
    let mut part = units % one;
    if part == 0 {
        return;
    }
    let mut digits = places as usize;
    while part.is_multiple_of(10) {
        part /= 10;
        digits -= 1;
    }
    write!(out, ".{part:0digits$}").expect("a String takes everything");
}
