//! From luma and chroma to linear light, straight: no 8-bit RGB lies between.
//!
//! The curve is sRGB's (IEC 61966-2-1), its power part a polynomial of degree 4 whose error is at most 0.05 of an 8-bit step.
//! Four pixels under one chroma value are averaged by their moments: with m the mean luma and d the deviations from it, the mean
//! of P(m + d) for a polynomial P of degree 4 is P(m) + P″/2·mean(d²) + P‴/6·mean(d³) + P⁗/24·mean(d⁴), of which the last is
//! left out. So the curve is evaluated once a channel and not four times.
//!
//! Nothing is fused, so every machine gives the same values.
// Loops over lanes by number are what becomes vector instructions.
#![allow(clippy::needless_range_loop)]

/// Pixels that are converted together.
const LANES: usize = 16;

/// The power part of the curve, over 0.04045..=1.0.
const CURVE: [f32; 5] = [0.001_045_570_6, 0.028_417_35, 0.560_307_76, 0.526_616_5, -0.116_844_68];

/// Linear light of a value.
#[inline(always)]
fn linear(value: f32) -> f32 {
    let [a, b, c, d, e] = CURVE;
    let power = (((e * value + d) * value + c) * value + b) * value + a;
    if value <= 0.040_45 { value * (1.0 / 12.92) } else { power }
}

/// What the mean of four values about `value` has more than the curve at their mean. Below 0.04 the curve is straight, so that
/// there is less of it the darker the four are.
#[inline(always)]
fn spread(value: f32, second: f32, third: f32) -> f32 {
    let [_, _, c, d, e] = CURVE;
    let more = second * ((6.0 * e * value + 3.0 * d) * value + c) + third * (4.0 * e * value + d);
    if value < 0.08 { more * (value * 12.5) } else { more }
}

/// What a step of each chroma adds to red, green and blue: JFIF (ITU-R BT.601, full range), of 1.
const BLUE: [f32; 3] = [0.0, -0.344_136_3 / 255.0, 1.772 / 255.0];
const RED: [f32; 3] = [1.402 / 255.0, -0.714_136_3 / 255.0, 0.0];

/// Values about 0 of samples about 128.
#[inline(always)]
fn centred(samples: &[u8; LANES]) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    for lane in 0..LANES {
        values[lane] = f32::from(samples[lane]) - 128.0;
    }
    values
}

/// Red, green or blue in linear light.
#[inline(always)]
fn channel<const C: usize>(luma: &[f32; LANES], blue: &[f32; LANES], red: &[f32; LANES], out: &mut [f32; LANES]) {
    for lane in 0..LANES {
        let value = within(luma[lane] + (blue[lane] * BLUE[C] + red[lane] * RED[C]));
        out[lane] = linear(value);
    }
}

/// The mean of four, in linear light.
#[inline(always)]
fn mean_channel<const C: usize>(
    (mean, second, third): (&[f32; LANES], &[f32; LANES], &[f32; LANES]),
    blue: &[f32; LANES],
    red: &[f32; LANES],
    out: &mut [f32; LANES],
) {
    for lane in 0..LANES {
        let value = within(mean[lane] + (blue[lane] * BLUE[C] + red[lane] * RED[C]));
        out[lane] = within(linear(value) + spread(value, second[lane], third[lane]));
    }
}

/// Brought into 0.0..=1.0.
#[inline(always)]
fn within(value: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < 1.0 { value } else { 1.0 }
}

/// Pixels: luma and chroma of as many.
#[inline(always)]
pub fn pixels(luma: &[u8], blue: &[u8], red: &[u8], out: [&mut [f32]; 3]) {
    let count = luma.len();
    let [one, two, three] = out;
    let mut at = 0;
    while at + LANES <= count {
        convert(
            lanes(luma, at),
            lanes(blue, at),
            lanes(red, at),
            [lanes_mut(one, at), lanes_mut(two, at), lanes_mut(three, at)],
        );
        at += LANES;
    }
    if at < count {
        let mut rest = [[0.0; LANES]; 3];
        let [first, second, third] = &mut rest;
        convert(&padded(luma, at), &padded(blue, at), &padded(red, at), [first, second, third]);
        one[at..count].copy_from_slice(&rest[0][..count - at]);
        two[at..count].copy_from_slice(&rest[1][..count - at]);
        three[at..count].copy_from_slice(&rest[2][..count - at]);
    }
}

#[inline(always)]
fn convert(luma: &[u8; LANES], blue: &[u8; LANES], red: &[u8; LANES], out: [&mut [f32; LANES]; 3]) {
    let (blue, red) = (centred(blue), centred(red));
    let mut value = [0.0; LANES];
    for lane in 0..LANES {
        value[lane] = f32::from(luma[lane]) * (1.0 / 255.0);
    }
    let [one, two, three] = out;
    channel::<0>(&value, &blue, &red, one);
    channel::<1>(&value, &blue, &red, two);
    channel::<2>(&value, &blue, &red, three);
}

/// Pixels without chroma.
#[inline(always)]
pub fn gray(luma: &[u8], out: &mut [f32]) {
    for (value, out) in luma.iter().zip(out) {
        *out = linear(f32::from(*value) * (1.0 / 255.0));
    }
}

/// The mean and moments of the 2×2 values of two rows.
#[inline(always)]
fn moments(upper: &[[u8; 2]; LANES], lower: &[[u8; 2]; LANES], lane: usize) -> (f32, f32, f32) {
    let (upper, lower) = (i32::from(u16::from_le_bytes(upper[lane])), i32::from(u16::from_le_bytes(lower[lane])));
    let (a, b, c, d) = ((upper & 255) as f32, (upper >> 8) as f32, (lower & 255) as f32, (lower >> 8) as f32);
    let mean = ((a + b) + (c + d)) * 0.25;
    let (a, b, c, d) = (a - mean, b - mean, c - mean, d - mean);
    let [aa, bb, cc, dd] = [a * a, b * b, c * c, d * d];
    let second = ((aa + bb) + (cc + dd)) * (0.25 / (255.0 * 255.0));
    let third = ((aa * a + bb * b) + (cc * c + dd * d)) * (0.25 / (255.0 * 255.0 * 255.0));
    (mean * (1.0 / 255.0), second, third)
}

/// Means of 2×2 pixels: two rows of luma twice as long as those of chroma, which are as long as the result.
#[inline(always)]
pub fn quads(luma: [&[u8]; 2], blue: &[u8], red: &[u8], out: [&mut [f32]; 3]) {
    let count = blue.len();
    let (upper, lower) = (luma[0].as_chunks::<2>().0, luma[1].as_chunks::<2>().0);
    let [one, two, three] = out;
    let mut at = 0;
    while at + LANES <= count {
        average(
            [lanes(upper, at), lanes(lower, at)],
            lanes(blue, at),
            lanes(red, at),
            [lanes_mut(one, at), lanes_mut(two, at), lanes_mut(three, at)],
        );
        at += LANES;
    }
    if at < count {
        let mut rest = [[0.0; LANES]; 3];
        let [first, second, third] = &mut rest;
        average([&padded(upper, at), &padded(lower, at)], &padded(blue, at), &padded(red, at), [first, second, third]);
        one[at..count].copy_from_slice(&rest[0][..count - at]);
        two[at..count].copy_from_slice(&rest[1][..count - at]);
        three[at..count].copy_from_slice(&rest[2][..count - at]);
    }
}

#[inline(always)]
fn average([upper, lower]: [&[[u8; 2]; LANES]; 2], blue: &[u8; LANES], red: &[u8; LANES], out: [&mut [f32; LANES]; 3]) {
    let (mut mean, mut second, mut third) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        (mean[lane], second[lane], third[lane]) = moments(upper, lower, lane);
    }
    let (blue, red) = (centred(blue), centred(red));
    let moments = (&mean, &second, &third);
    let [one, two, three] = out;
    mean_channel::<0>(moments, &blue, &red, one);
    mean_channel::<1>(moments, &blue, &red, two);
    mean_channel::<2>(moments, &blue, &red, three);
}

/// Means of 2×2 pixels without chroma.
#[inline(always)]
pub fn gray_quads(luma: [&[u8]; 2], out: &mut [f32]) {
    let (upper, lower) = (luma[0].as_chunks::<2>().0, luma[1].as_chunks::<2>().0);
    for (at, out) in out.iter_mut().enumerate() {
        let (mean, second, third) = moments(&[upper[at]; LANES], &[lower[at]; LANES], 0);
        *out = (linear(mean) + spread(mean, second, third)).clamp(0.0, 1.0);
    }
}

#[inline(always)]
fn lanes<T>(values: &[T], at: usize) -> &[T; LANES] {
    values[at..].first_chunk().expect("the caller counted")
}

#[inline(always)]
fn lanes_mut(values: &mut [f32], at: usize) -> &mut [f32; LANES] {
    values[at..].first_chunk_mut().expect("the caller counted")
}

/// The last values, and what fills them up.
#[inline(always)]
fn padded<T: Copy + Default>(values: &[T], at: usize) -> [T; LANES] {
    let mut padded = [T::default(); LANES];
    let rest = &values[at..values.len().min(at + LANES)];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(value: f64) -> f64 {
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    }

    fn back(light: f64) -> f64 {
        let light = light.clamp(0.0, 1.0);
        255.0 * if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
    }

    #[test]
    fn the_curve_is_srgbs() {
        for step in 0..=2550 {
            let value = f64::from(step) / 2550.0;
            let found = back(f64::from(linear(value as f32)));
            assert!((found - value * 255.0).abs() < 0.06, "{value}: {found}");
        }
    }

    #[test]
    fn pixels_are_the_formulas() {
        let mut random = fastrand::Rng::with_seed(2);
        for count in [1, 15, 16, 33] {
            let mut row = || (0..count).map(|_| random.u8(..)).collect::<Vec<u8>>();
            let (luma, blue, red) = (row(), row(), row());
            let mut out = [vec![0.0; count], vec![0.0; count], vec![0.0; count]];
            let [one, two, three] = &mut out;
            pixels(&luma, &blue, &red, [one, two, three]);
            for at in 0..count {
                let [y, b, r] = [f64::from(luma[at]), f64::from(blue[at]) - 128.0, f64::from(red[at]) - 128.0];
                let right = [y + 1.402 * r, y - 0.344_136_3 * b - 0.714_136_3 * r, y + 1.772 * b];
                for channel in 0..3 {
                    let found = back(f64::from(out[channel][at]));
                    assert!((found - right[channel].clamp(0.0, 255.0)).abs() < 0.1, "{right:?}: {found}");
                }
            }
        }
    }

    /// Four pixels' mean by their moments against the mean of the curve at each.
    #[test]
    fn moments_are_the_mean_in_linear_light() {
        let mut random = fastrand::Rng::with_seed(5);
        for range in [0, 8, 40, 120] {
            for _ in 0..2000 {
                let base = random.u8(range / 2..=255 - range / 2);
                let mut near = || base - range / 2 + random.u8(0..=range);
                let four = [near(), near(), near(), near()];
                let mut out = [0.0; 3].map(|zero| vec![zero; 1]);
                let [one, two, three] = &mut out;
                quads([&four[..2], &four[2..]], &[128], &[128], [one, two, three]);
                let right = four.iter().map(|value| exact(f64::from(*value) / 255.0)).sum::<f64>() / 4.0;
                let (found, right) = (back(f64::from(out[1][0])), back(right));
                let allowed = if range <= 8 { 0.15 } else { 1.0 };
                assert!((found - right).abs() < allowed, "{four:?}: {found}, not {right}");
                let mut single = [0.0];
                gray_quads([&four[..2], &four[2..]], &mut single);
                assert_eq!(single[0], out[1][0]);
            }
        }
    }
}
