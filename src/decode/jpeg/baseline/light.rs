//! From luma and chroma to linear light, straight: no 8-bit RGB lies between.
//!
//! The curve is sRGB's (IEC 61966-2-1), its power part a polynomial of degree 4 whose error is at most 0.12 of an 8-bit step.
//! Four pixels under one chroma value are averaged by their moments: with m the mean luma and d the deviations from it, the mean
//! of P(m + d) for a polynomial P of degree 4 is P(m) + P″/2·mean(d²) + P‴/6·mean(d³) + P⁗/24·mean(d⁴), of which the last is
//! left out. So the curve is evaluated once a channel and not four times.
//!
//! All of it is done in whole numbers of 16 bits, sixteen pixels at a time, by the same steps on every machine, so that every
//! machine gives the same values. Values are in 128ths of an 8-bit step, light in 65,536ths until it leaves.

use super::vector::{LANES, Portable, Vector};

/// The power part of the curve: the constant, and what x, x², x³ and (taken off) x⁴ are multiplied with, where x is 65,280 at full
/// value, of 65,536.
const CURVE: [u16; 5] = [70, 1870, 37_009, 34_919, 7_778];

/// The slope of the straight part, of 65,536, and the value up to which it goes.
const STRAIGHT: (u16, u16) = (5_094, 1_320);

/// Linear light, 0 to 65,535, of values up to 32,640.
#[inline(always)]
fn linear<V: Vector>(value: V) -> V {
    let [a, b, c, d, e] = CURVE;
    let x = value.up::<1>();
    let cubic = V::splat(d).minus(V::splat(e).high(x)).high(x).plus(V::splat(c)).high(x).high(x);
    // b·x apart, since b added before would leave 16 bits at full light.
    let power = cubic.plus(V::splat(b).high(x)).plus_at_most(V::splat(a));
    let straight = x.high(V::splat(STRAIGHT.0));
    value.below(V::splat(STRAIGHT.1)).choose(straight, power)
}

/// Mean squares and mean cubes of four values' deviations from their mean: squares of which 260,100 are full value's, and cubes
/// of which 64,782 are, signed.
struct Moments<V> {
    squares: V,
    cubes: V,
}

impl<V: Vector> Moments<V> {
    /// One of four values and their sum.
    #[inline(always)]
    fn add(&mut self, value: V, sum: V) {
        // Four times a deviation, up to 765 to either side.
        let deviation = value.up::<2>().minus(sum);
        let size = deviation.absolute().up::<6>();
        let square = size.high(size);
        self.squares = self.squares.plus(square);
        self.cubes = self.cubes.plus(deviation.up::<5>().high_signed(square.down::<1>()));
    }
}

/// What the mean of the light of four values about `value` is more than the light of their mean. Below 0.04 the curve is
/// straight, so that there is less of it the darker the four are.
#[inline(always)]
fn spread<V: Vector>(value: V, moments: &Moments<V>) -> V {
    let x = value.up::<1>();
    // c/2 + 1.5·d·x − 3·e·x², of the doubled square; and d − 4·e·x of the doubled cube.
    let second = V::splat(51_972).minus(V::splat(23_153).high(x)).high(x).plus(V::splat(18_360));
    let third = V::splat(34_920).minus(V::splat(31_114).high(x)).down::<1>();
    let second = moments.squares.high(V::splat(33_026)).high(second);
    let more = second.plus(moments.cubes.up::<1>().high_signed(third)).above_zero();
    let dark = more.high(x.times(V::splat(12)).plus(x.down::<1>()));
    value.below(V::splat(2_611)).choose(dark, more)
}

/// What a chroma value adds to red, green and blue: JFIF (ITU-R BT.601, full range), red and blue of half.
const BLUE: [u16; 3] = [0, -11_277i16 as u16, 29_032];
const RED: [u16; 3] = [22_970, -23_401i16 as u16, 0];

/// Red, green and blue of luma and of chroma, which is centred and multiplied with 256.
#[inline(always)]
fn colours<V: Vector>(luma: V, blue: V, red: V) -> [V; 3] {
    let (r, b) = (red.high_signed(V::splat(RED[0])), blue.high_signed(V::splat(BLUE[2])));
    let g = blue.high_signed(V::splat(BLUE[1])).plus(red.high_signed(V::splat(RED[1])));
    [within(luma.plus_signed(r.plus(r))), within(luma.plus_signed(g)), within(luma.plus_signed(b.plus(b)))]
}

/// Brought into 0 to full value.
#[inline(always)]
fn within<V: Vector>(value: V) -> V {
    value.above_zero().at_most(V::splat(32_640))
}

/// Chroma about 0, multiplied with 256.
#[inline(always)]
fn centred<V: Vector>(samples: &[u8; LANES]) -> V {
    V::of(samples).minus(V::splat(128)).up::<8>()
}

/// Light as it leaves, 15 bits.
#[inline(always)]
fn leaving<V: Vector>(light: V, out: &mut [i16; LANES]) {
    light.down::<1>().put(out);
}

/// Pixels: luma and chroma of as many.
pub fn pixels(luma: &[u8], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { pixels_avx2(luma, blue, red, out) };
    }
    pixels_by::<Portable>(luma, blue, red, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pixels_avx2(luma: &[u8], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    pixels_by::<super::vector::Avx2>(luma, blue, red, out);
}

#[inline(always)]
fn pixels_by<V: Vector>(luma: &[u8], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    let [one, two, three] = out;
    let mut at = 0;
    while let (Some(y), Some(b), Some(r)) =
        (luma[at..].first_chunk(), blue[at..].first_chunk(), red[at..].first_chunk())
    {
        let [one, two, three] = [lanes_mut(one, at), lanes_mut(two, at), lanes_mut(three, at)];
        convert::<V>(y, b, r, [one, two, three]);
        at += LANES;
    }
    if at < luma.len() {
        let [mut first, mut second, mut third] = [[0; LANES]; 3];
        let (y, b, r) = (padded(luma, at), padded(blue, at), padded(red, at));
        convert::<V>(&y, &b, &r, [&mut first, &mut second, &mut third]);
        let count = luma.len() - at;
        one[at..].copy_from_slice(&first[..count]);
        two[at..].copy_from_slice(&second[..count]);
        three[at..].copy_from_slice(&third[..count]);
    }
}

#[inline(always)]
fn convert<V: Vector>(luma: &[u8; LANES], blue: &[u8; LANES], red: &[u8; LANES], out: [&mut [i16; LANES]; 3]) {
    let [r, g, b] = colours(V::of(luma).up::<7>(), centred(blue), centred(red));
    let [one, two, three] = out;
    leaving(linear(r), one);
    leaving(linear(g), two);
    leaving(linear(b), three);
}

/// Pixels without chroma.
#[inline(always)]
pub fn gray(luma: &[u8], out: &mut [i16]) {
    for (at, out) in out.chunks_mut(LANES).enumerate() {
        let mut light = [0; LANES];
        leaving(linear(Portable::of(&padded(luma, at * LANES)).up::<7>()), &mut light);
        out.copy_from_slice(&light[..out.len()]);
    }
}

/// The sum of the 2×2 values of two rows, and their moments.
#[inline(always)]
fn four<V: Vector>(upper: &[[u8; 2]; LANES], lower: &[[u8; 2]; LANES]) -> (V, Moments<V>) {
    let (upper, lower) = (V::of_pairs(upper), V::of_pairs(lower));
    let low = V::splat(255);
    let (a, b, c, d) = (upper.and(low), upper.down::<8>(), lower.and(low), lower.down::<8>());
    let sum = a.plus(b).plus(c.plus(d));
    let mut moments = Moments { squares: V::splat(0), cubes: V::splat(0) };
    moments.add(a, sum);
    moments.add(b, sum);
    moments.add(c, sum);
    moments.add(d, sum);
    (sum, moments)
}

/// Means of 2×2 pixels: two rows of luma twice as long as those of chroma, which are as long as the result.
pub fn quads(luma: [&[u8]; 2], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one requirement, that the machine has AVX2, was just asked.
        return unsafe { quads_avx2(luma, blue, red, out) };
    }
    quads_by::<Portable>(luma, blue, red, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quads_avx2(luma: [&[u8]; 2], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    quads_by::<super::vector::Avx2>(luma, blue, red, out);
}

#[inline(always)]
fn quads_by<V: Vector>(luma: [&[u8]; 2], blue: &[u8], red: &[u8], out: [&mut [i16]; 3]) {
    let (upper, lower) = (luma[0].as_chunks::<2>().0, luma[1].as_chunks::<2>().0);
    let [one, two, three] = out;
    let mut at = 0;
    while let (Some(u), Some(l), Some(b), Some(r)) =
        (upper[at..].first_chunk(), lower[at..].first_chunk(), blue[at..].first_chunk(), red[at..].first_chunk())
    {
        let [one, two, three] = [lanes_mut(one, at), lanes_mut(two, at), lanes_mut(three, at)];
        average::<V>(u, l, b, r, [one, two, three]);
        at += LANES;
    }
    if at < blue.len() {
        let [mut first, mut second, mut third] = [[0; LANES]; 3];
        let (u, l, b, r) = (padded(upper, at), padded(lower, at), padded(blue, at), padded(red, at));
        average::<V>(&u, &l, &b, &r, [&mut first, &mut second, &mut third]);
        let count = blue.len() - at;
        one[at..].copy_from_slice(&first[..count]);
        two[at..].copy_from_slice(&second[..count]);
        three[at..].copy_from_slice(&third[..count]);
    }
}

#[inline(always)]
fn average<V: Vector>(
    upper: &[[u8; 2]; LANES],
    lower: &[[u8; 2]; LANES],
    blue: &[u8; LANES],
    red: &[u8; LANES],
    out: [&mut [i16; LANES]; 3],
) {
    let (sum, moments) = four::<V>(upper, lower);
    let [r, g, b] = colours(sum.up::<5>(), centred(blue), centred(red));
    let [one, two, three] = out;
    leaving(linear(r).plus_at_most(spread(r, &moments)), one);
    leaving(linear(g).plus_at_most(spread(g, &moments)), two);
    leaving(linear(b).plus_at_most(spread(b, &moments)), three);
}

/// Means of 2×2 pixels without chroma.
#[inline(always)]
pub fn gray_quads(luma: [&[u8]; 2], out: &mut [i16]) {
    let (upper, lower) = (luma[0].as_chunks::<2>().0, luma[1].as_chunks::<2>().0);
    for (at, out) in out.chunks_mut(LANES).enumerate() {
        let (sum, moments) = four::<Portable>(&padded(upper, at * LANES), &padded(lower, at * LANES));
        let (value, mut light) = (sum.up::<5>(), [0; LANES]);
        leaving(linear(value).plus_at_most(spread(value, &moments)), &mut light);
        out.copy_from_slice(&light[..out.len()]);
    }
}

#[inline(always)]
fn lanes_mut(values: &mut [i16], at: usize) -> &mut [i16; LANES] {
    values[at..].first_chunk_mut().expect("as long as chroma")
}

/// The values from a place on, filled up behind the last.
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
    use crate::pixels::LIGHT_FULL;

    fn exact(value: f64) -> f64 {
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    }

    fn back(light: f64) -> f64 {
        let light = light.clamp(0.0, 1.0);
        255.0 * if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
    }

    #[test]
    fn the_curve_is_srgbs() {
        for from in (0..=32_640).step_by(LANES) {
            let values: [[u8; 2]; LANES] = std::array::from_fn(|lane| (from + lane as u16).to_le_bytes());
            let mut out = [0; LANES];
            linear(Portable::of_pairs(&values)).down::<1>().put(&mut out);
            for (lane, light) in out.into_iter().enumerate().take_while(|(lane, _)| from + *lane as u16 <= 32_640) {
                let (found, right) =
                    (back(f64::from(light) / f64::from(LIGHT_FULL)), f64::from(from + lane as u16) / 128.0);
                assert!((found - right).abs() < 0.13, "{right}: {found}");
            }
        }
    }

    /// By AVX2, where the machine has it, and without.
    #[test]
    fn both_builds_give_the_same_bits() {
        let mut random = fastrand::Rng::with_seed(9);
        for count in [1, 16, 100, 515] {
            let mut row = |count: usize| (0..count).map(|_| random.u8(..)).collect::<Vec<u8>>();
            let (upper, lower, blue, red) = (row(2 * count), row(2 * count), row(count), row(count));
            let mut out = [(); 12].map(|()| vec![0; count]);
            let [a, b, c, d, e, f, g, h, i, j, k, l] = &mut out;
            pixels(&upper[..count], &blue, &red, [a, b, c]);
            pixels_by::<Portable>(&upper[..count], &blue, &red, [d, e, f]);
            quads([&upper, &lower], &blue, &red, [g, h, i]);
            quads_by::<Portable>([&upper, &lower], &blue, &red, [j, k, l]);
            assert!(out[..3] == out[3..6] && out[6..9] == out[9..], "{count}");
        }
    }

    #[test]
    fn pixels_are_the_formulas() {
        let mut random = fastrand::Rng::with_seed(2);
        for count in [1, 15, 16, 33] {
            let mut row = || (0..count).map(|_| random.u8(..)).collect::<Vec<u8>>();
            let (luma, blue, red) = (row(), row(), row());
            let mut out = [vec![0; count], vec![0; count], vec![0; count]];
            let [one, two, three] = &mut out;
            pixels(&luma, &blue, &red, [one, two, three]);
            for at in 0..count {
                let [y, b, r] = [f64::from(luma[at]), f64::from(blue[at]) - 128.0, f64::from(red[at]) - 128.0];
                let right = [y + 1.402 * r, y - 0.344_136_3 * b - 0.714_136_3 * r, y + 1.772 * b];
                for channel in 0..3 {
                    let found = back(f64::from(out[channel][at]) / f64::from(LIGHT_FULL));
                    assert!((found - right[channel].clamp(0.0, 255.0)).abs() < 0.2, "{right:?}: {found}");
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
                let mut out = [0; 3].map(|zero| vec![zero; 1]);
                let [one, two, three] = &mut out;
                quads([&four[..2], &four[2..]], &[128], &[128], [one, two, three]);
                let right = four.iter().map(|value| exact(f64::from(*value) / 255.0)).sum::<f64>() / 4.0;
                let (found, right) = (back(f64::from(out[1][0]) / f64::from(LIGHT_FULL)), back(right));
                let allowed = if range <= 8 { 0.25 } else { 1.2 };
                assert!((found - right).abs() < allowed, "{four:?}: {found}, not {right}");
                let mut single = [0];
                gray_quads([&four[..2], &four[2..]], &mut single);
                assert_eq!(single[0], out[1][0]);
            }
        }
    }
}
