//! Colour at half resolution, and a luma that makes up for what colour loses by it.
//!
//! A colour of two by two pixels is the mean of their light, not of the values that stand for it. Whoever decodes spreads such
//! colours over the pixels again, bilinearly, three parts of the nearer to one of the farther (libwebp, libjpeg and libyuv do), so a
//! pixel beside an edge gets the wrong one. Its luma is then moved until its luminance is the original's (one step of Newton's
//! method), since the eye sees errors of brightness before those of colour. libwebp's "sharp YUV" goes to the same end in four rounds.
//! What it gives stands in `docs/engine.md`.

use super::{Matrix, Planes, Sampling};
use crate::base::Size;
use crate::encode::lanes::{LANES, Lanes, PIXELS_BYTES};

/// Parts of red, green and blue in luminance (Rec. ITU-R BT.709, of sRGB).
const LUMINANCE: [f32; 3] = [0.212_6, 0.715_2, 0.072_2];

/// Light of sRGB's values as a polynomial without a constant, both from 0 to 255. Within 0.2 % of the whole range; what matters
/// is that it has an inverse, since light is only compared with light.
const POWERS: [f32; 3] = [0.012_522_878, 0.682_171_1 / 255.0, 0.305_306_02 / (255.0 * 255.0)];

/// The least slope of luminance that is divided by.
const SLOPE_MIN: f32 = 0.02;

/// Blue's and red's share in Cb and Cr, twice: R = Y + 1.402 Cr and B = Y + 1.772 Cb in full range (JFIF).
const RED_OF_CR: f32 = 1.402;
const GREEN_OF_CB: f32 = -0.344_136_3;
const GREEN_OF_CR: f32 = -0.714_136_3;
const BLUE_OF_CB: f32 = 1.772;

/// Pixels that are done at once.
const STEP: usize = 2 * LANES;

#[inline(always)]
fn mix<V: Lanes>(parts: [f32; 3], [red, green, blue]: [V; 3]) -> V {
    red.times(V::splat(parts[0])).plus(green.times(V::splat(parts[1]))).plus(blue.times(V::splat(parts[2])))
}

#[inline(always)]
fn light<V: Lanes>(value: V) -> V {
    let [one, two, three] = POWERS;
    value.times(V::splat(three)).plus(V::splat(two)).times(value).plus(V::splat(one)).times(value)
}

/// How fast light rises with the value.
#[inline(always)]
fn slope<V: Lanes>(value: V) -> V {
    let [one, two, three] = POWERS;
    value.times(V::splat(3.0 * three)).plus(V::splat(2.0 * two)).times(value).plus(V::splat(one))
}

/// The value of a light: from that of a square, a step of Newton's.
#[inline(always)]
fn value<V: Lanes>(of: V) -> V {
    let root = of.times(V::splat(255.0)).root();
    root.minus(light(root).minus(of).over(slope(root)))
}

/// A row of pixels, its last one again and again behind it.
struct Row(Vec<u8>);

impl Row {
    fn new(width: usize) -> Self {
        Self(vec![0; width.next_multiple_of(STEP) * 3 + PIXELS_BYTES - LANES * 3])
    }

    fn fill(&mut self, pixels: &[u8]) {
        let (there, behind) = self.0.split_at_mut(pixels.len());
        there.copy_from_slice(pixels);
        for (out, value) in behind.iter_mut().zip(pixels[pixels.len() - 3..].iter().cycle()) {
            *out = *value;
        }
    }

    /// Eight pixels.
    #[inline(always)]
    fn at<V: Lanes>(&self, pixel: usize) -> [V; 3] {
        let pixels: &[u8; PIXELS_BYTES] =
            self.0[pixel * 3..pixel * 3 + PIXELS_BYTES].try_into().expect("so many were taken");
        V::pixels(pixels)
    }
}

/// A row of one colour, its first and last value once more before and behind it.
struct Colours(Vec<u8>);

impl Colours {
    fn new(width: usize) -> Self {
        Self(vec![0; width.next_multiple_of(LANES) + 2])
    }

    fn fill(&mut self, values: &[u8]) {
        let (first, last) = (values[0], values[values.len() - 1]);
        self.0[0] = first;
        self.0[1..=values.len()].copy_from_slice(values);
        self.0[values.len() + 1..].fill(last);
    }

    #[inline(always)]
    fn at<V: Lanes>(&self, from: usize) -> V {
        let values: &[u8; LANES] = self.0[from..from + LANES].try_into().expect("so many were taken");
        V::samples(values)
    }
}

/// What two rows of pixels come to.
struct Pair<'a> {
    matrix: &'a Matrix,
    rows: [Row; 2],
    /// The nearer and the farther row of both colours.
    colours: [[Colours; 2]; 2],
    out: Vec<u8>,
}

/// Of RGB.
#[inline(always)]
pub fn planes<V: Lanes>(rgb: &[u8], size: Size, matrix: &Matrix) -> Planes {
    let (width, height) = (size.width as usize, size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut luma = vec![0; width * height];
    let (mut cb, mut cr) = (vec![0; half_width * half_height], vec![0; half_width * half_height]);
    let mut pair = Pair {
        matrix,
        rows: [Row::new(width), Row::new(width)],
        colours: std::array::from_fn(|_| [Colours::new(half_width), Colours::new(half_width)]),
        out: vec![0; width.next_multiple_of(STEP)],
    };
    for row in 0..half_height {
        let upper = &rgb[2 * row * width * 3..][..width * 3];
        // At an odd edge the last row stands for the one that is missing.
        let lower = &rgb[(2 * row + 1).min(height - 1) * width * 3..][..width * 3];
        pair.rows[0].fill(upper);
        pair.rows[1].fill(lower);
        pair.mean::<V>(&mut cb[row * half_width..][..half_width], &mut cr[row * half_width..][..half_width]);
    }
    for row in 0..height {
        let near = row / 2;
        let far = if row % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(half_height - 1) };
        pair.rows[0].fill(&rgb[row * width * 3..][..width * 3]);
        for (place, which) in [near, far].into_iter().enumerate() {
            pair.colours[0][place].fill(&cb[which * half_width..][..half_width]);
            pair.colours[1][place].fill(&cr[which * half_width..][..half_width]);
        }
        pair.luma::<V>(&mut luma[row * width..][..width]);
    }
    Planes { size, sampling: Sampling::Half, values: [luma, cb, cr] }
}

impl Pair<'_> {
    /// The colours of two by two pixels.
    #[inline(always)]
    fn mean<V: Lanes>(&mut self, cb: &mut [u8], cr: &mut [u8]) {
        let (quarter, middle, most) = (V::splat(0.25), V::splat(128.0), V::splat(255.0));
        for from in (0..cb.len()).step_by(LANES) {
            let mut sums = [[V::splat(0.0); 3]; 2];
            for half in 0..2 {
                // The second half of the last ones may be beyond the row.
                let pixel = (2 * from + half * LANES).min(self.out.len() - LANES);
                let (upper, lower) = (self.rows[0].at::<V>(pixel), self.rows[1].at::<V>(pixel));
                for channel in 0..3 {
                    sums[half][channel] = light(upper[channel]).plus(light(lower[channel]));
                }
            }
            let [left, right] = sums;
            let red = value(left[0].pairs(right[0]).times(quarter));
            let green = value(left[1].pairs(right[1]).times(quarter));
            let blue = value(left[2].pairs(right[2]).times(quarter));
            let count = LANES.min(cb.len() - from);
            let mut bytes = [0; LANES];
            mix(self.matrix.cb, [red, green, blue]).plus(middle).within(V::splat(0.0), most).bytes(&mut bytes);
            cb[from..from + count].copy_from_slice(&bytes[..count]);
            mix(self.matrix.cr, [red, green, blue]).plus(middle).within(V::splat(0.0), most).bytes(&mut bytes);
            cr[from..from + count].copy_from_slice(&bytes[..count]);
        }
    }

    /// The luma of the first row.
    #[inline(always)]
    fn luma<V: Lanes>(&mut self, luma: &mut [u8]) {
        for from in (0..luma.len()).step_by(STEP) {
            let (cb, cr) = (self.spread::<V>(0, from / 2), self.spread::<V>(1, from / 2));
            for half in 0..2 {
                let place = from + half * LANES;
                let out = (&mut self.out[place..place + LANES]).try_into().expect("so many were taken");
                lightened(self.matrix, self.rows[0].at::<V>(place), cb[half], cr[half]).bytes(out);
            }
        }
        let width = luma.len();
        luma.copy_from_slice(&self.out[..width]);
    }

    /// One of the colours of sixteen pixels about 0, as who decodes has them.
    #[inline(always)]
    fn spread<V: Lanes>(&self, colour: usize, from: usize) -> [V; 2] {
        let [near, far] = &self.colours[colour];
        let three = V::splat(3.0);
        let before = near.at::<V>(from).times(three).plus(far.at::<V>(from));
        let here = near.at::<V>(from + 1).times(three).plus(far.at::<V>(from + 1));
        let behind = near.at::<V>(from + 2).times(three).plus(far.at::<V>(from + 2));
        let here = here.times(three);
        let [left, right] = here.plus(before).in_turn(here.plus(behind));
        let (part, middle) = (V::splat(1.0 / 16.0), V::splat(128.0));
        [left.times(part).minus(middle), right.times(part).minus(middle)]
    }
}

/// The luma with which pixels of such colours are as bright as the original's.
#[inline(always)]
fn lightened<V: Lanes>(matrix: &Matrix, pixels: [V; 3], cb: V, cr: V) -> V {
    let (least, most) = (V::splat(0.0), V::splat(255.0));
    let luma = mix(matrix.luma, pixels);
    let wanted = mix(LUMINANCE, [light(pixels[0]), light(pixels[1]), light(pixels[2])]);
    let wide = matrix.wide;
    let red = luma.plus(cr.times(V::splat(RED_OF_CR * wide)));
    let green = luma.plus(cb.times(V::splat(GREEN_OF_CB * wide)).plus(cr.times(V::splat(GREEN_OF_CR * wide))));
    let blue = luma.plus(cb.times(V::splat(BLUE_OF_CB * wide)));
    let found = [red.within(least, most), green.within(least, most), blue.within(least, most)];
    // What lies beyond the range does not rise with luma.
    let rises = [
        slope(red).where_between(red, least, most),
        slope(green).where_between(green, least, most),
        slope(blue).where_between(blue, least, most),
    ];
    let off = wanted.minus(mix(LUMINANCE, [light(found[0]), light(found[1]), light(found[2])]));
    let rise = mix(LUMINANCE, rises).within(V::splat(SLOPE_MIN), most);
    let luma = luma.plus(off.over(rise)).within(least, most);
    luma.times(V::splat(matrix.scale)).plus(V::splat(matrix.black))
}
