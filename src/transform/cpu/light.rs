//! From samples to linear light and back, by tables: the sRGB transfer curve of IEC 61966-2-1.
//!
//! Light is a whole number up to [`LIGHT_FULL`]: ten steps for the darkest step of 8-bit values, more for all others.

use std::sync::OnceLock;

use crate::pixels::LIGHT_FULL;

fn light(value: f64) -> i16 {
    (to_linear(value) * f64::from(LIGHT_FULL)).round() as i16
}

/// Linear light of each 8-bit value.
pub(super) fn linear8() -> &'static [i16; 256] {
    static TABLE: OnceLock<[i16; 256]> = OnceLock::new();
    TABLE.get_or_init(|| std::array::from_fn(|value| light(value as f64 / 255.0)))
}

/// Linear light of each 16-bit value; 65 536 entries.
pub(super) fn linear16() -> &'static [i16] {
    static TABLE: OnceLock<Vec<i16>> = OnceLock::new();
    TABLE.get_or_init(|| (0..=65_535).map(|value| light(f64::from(value) / 65_535.0)).collect())
}

/// The 8-bit value of each step of linear light: no 8-bit value changes there and back.
fn srgb8() -> &'static [u8; 32_768] {
    static TABLE: OnceLock<Box<[u8; 32_768]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Box::new([255; 32_768]);
        // Each value begins half a step below it.
        let mut begin = 0;
        for value in 0..255u8 {
            let end = (to_linear((f64::from(value) + 0.5) / 255.0) * f64::from(LIGHT_FULL)).ceil() as usize;
            table[begin..end].fill(value);
            begin = end;
        }
        table
    })
}

/// The way back to 8-bit values.
#[derive(Clone, Copy)]
pub(super) struct ToSrgb(&'static [u8; 32_768]);

impl ToSrgb {
    pub fn new() -> Self {
        Self(srgb8())
    }

    /// The 8-bit value of linear light.
    #[inline(always)]
    pub fn of(self, light: i16) -> u8 {
        self.0[usize::from(light as u16 & 0x7fff)]
    }
}

/// The way to 16-bit values with sRGB's curve.
#[derive(Clone, Copy)]
pub(super) struct Encoded(&'static [u16]);

/// Steps of the table behind [`Encoded`], by the square root of light, which spreads them as the curve does.
const ENCODED_STEPS: usize = 4096;

/// The way to 16-bit values.
pub(super) fn encoded() -> Encoded {
    static TABLE: OnceLock<Vec<u16>> = OnceLock::new();
    Encoded(TABLE.get_or_init(|| {
        let curve = |at: usize| (to_srgb((at as f64 / ENCODED_STEPS as f64).powi(2)) * 65_535.0).round() as u16;
        (0..=ENCODED_STEPS + 1).map(curve).collect()
    }))
}

impl Encoded {
    /// The 16-bit value of linear light.
    pub fn of(self, light: i16) -> u16 {
        let place = (f32::from(light.max(0)) / f32::from(LIGHT_FULL)).sqrt() * ENCODED_STEPS as f32;
        let (at, part) = (place as usize, place.fract());
        let (low, high) = (f32::from(self.0[at]), f32::from(self.0[at + 1]));
        (low + (high - low) * part + 0.5) as u16
    }
}

fn to_srgb(light: f64) -> f64 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

fn to_linear(value: f64) -> f64 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_there_and_back() {
        let back = ToSrgb::new();
        for value in 0..=255u8 {
            assert_eq!(back.of(linear8()[usize::from(value)]), value);
            assert_eq!(back.of(linear16()[usize::from(value) * 257]), value);
        }
    }

    #[test]
    fn sixteen_bits_survive_there_and_back() {
        for value in (0..=65_535u16).step_by(7) {
            let found = encoded().of(linear16()[usize::from(value)]);
            // A step of light is at most 26 steps of a value.
            assert!(found.abs_diff(value) <= 18, "{value}: {found}");
        }
    }

    #[test]
    fn half_the_light_is_188() {
        assert_eq!(ToSrgb::new().of(LIGHT_FULL / 2), 188);
    }
}
