//! Colour at half resolution, and a luma that makes up for what colour loses by it.
//!
//! A colour of two by two pixels is the mean of their light, not of the values that stand for it. Whoever decodes spreads such
//! colours over the pixels again, bilinearly, three parts of the nearer to one of the farther (libwebp, libjpeg and libyuv do), so a
//! pixel beside an edge gets the wrong one. Its luma is then moved until its luminance is about the original's (one step of Newton's
//! method, and [`MOVE_MAX`]), since the eye sees errors of brightness before those of colour. libwebp's "sharp YUV" goes to the same
//! end in four rounds. What it gives stands in `docs/engine.md`.

use super::words::{PIXELS_BYTES, POWERS, UNIT, WORDS, Words, factor};
use super::{Matrix, Planes, Sampling};
use crate::base::Size;

/// Parts of red, green and blue in luminance (Rec. ITU-R BT.709, of sRGB).
const LUMINANCE: [i16; 3] = [factor(0.212_6), factor(0.715_2), factor(0.072_2)];

/// The least slope of luminance that is divided by.
const SLOPE_MIN: f32 = 0.02;

/// How far the colours of two by two pixels are apart (red and blue less green, in units) for their light to matter; and how far the
/// colours that are decoded for pixels are from the one of their two by two, in 16ths. Below both a pixel's luma is its own: it would be
/// moved by less than a step.
const COLOURS_APART: i16 = 8 * UNIT;
const SPREAD_APART: i16 = 3 * 16;

/// How far luma is moved at most. Where it would take more the hue is far off, and a pixel of a wrong hue that is as bright as it was is
/// seen as a halo (pink about red on blue), where a darker one is not.
const MOVE_MAX: i16 = 24 * UNIT;

/// White.
const MOST: i16 = 255 * UNIT;

#[inline(always)]
fn mix<V: Words>(parts: [i16; 3], [red, green, blue]: [V; 3]) -> V {
    red.times(V::splat(parts[0])).plus(green.times(V::splat(parts[1]))).plus(blue.times(V::splat(parts[2])))
}

#[inline(always)]
fn light<V: Words>(value: V) -> V {
    let [one, two, three] = POWERS;
    let rest = value.times(V::splat(factor(three))).plus(V::splat(factor(two)));
    rest.times(value).plus(V::splat(factor(one))).times(value)
}

/// A quarter of how fast light rises with the value.
#[inline(always)]
fn slope<V: Words>(value: V) -> V {
    let [one, two, three] = POWERS;
    let rest = value.times(V::splat(factor(3.0 * three / 4.0))).plus(V::splat(factor(2.0 * two / 4.0)));
    rest.times(value).plus(V::splat(factor(one / 4.0)))
}

/// A row of pixels, its last one again and again behind it.
struct Row(Vec<u8>);

impl Row {
    fn new(width: usize) -> Self {
        Self(vec![0; width.next_multiple_of(STEP) * 3 + PIXELS_BYTES - WORDS * 3])
    }

    fn fill(&mut self, pixels: &[u8]) {
        let (there, behind) = self.0.split_at_mut(pixels.len());
        there.copy_from_slice(pixels);
        for (out, value) in behind.iter_mut().zip(pixels[pixels.len() - 3..].iter().cycle()) {
            *out = *value;
        }
    }

    /// Sixteen pixels.
    #[inline(always)]
    fn at<V: Words>(&self, pixel: usize) -> [V; 3] {
        let pixels: &[u8; PIXELS_BYTES] =
            self.0[pixel * 3..pixel * 3 + PIXELS_BYTES].try_into().expect("so many were taken");
        V::pixels(pixels)
    }
}

/// Pixels that are done at once: as many colours as a vector has.
const STEP: usize = 2 * WORDS;

/// Rows of luma that are made at once, an even number; and of colours.
pub const ROWS: usize = 16;
const HALF_ROWS: usize = ROWS / 2;

/// Sixteen rows of a picture: luma, and eight rows of each colour. Beyond an edge stand the last values again.
pub struct Strip<'a> {
    matrix: &'a Matrix,
    width: usize,
    height: usize,
    /// Two rows of pixels.
    pixels: [Row; 2],
    luma: Vec<u8>,
    /// With a row before them and one behind them, and in each a value before it and one behind it.
    colours: [Vec<u8>; 2],
    /// For these rows and each [`STEP`] of pixels, whether their colours are apart.
    apart: Vec<bool>,
}

impl<'a> Strip<'a> {
    /// Of RGB of a size; nothing is in it yet.
    fn new(size: Size, matrix: &'a Matrix) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let stride = width.next_multiple_of(STEP);
        let colours = vec![0; (stride / 2 + 2) * (HALF_ROWS + 2)];
        Self {
            matrix,
            width,
            height,
            pixels: [Row::new(width), Row::new(width)],
            luma: vec![0; stride * ROWS],
            colours: [colours.clone(), colours],
            apart: vec![false; stride / STEP * (HALF_ROWS + 2)],
        }
    }

    /// Of full range.
    pub fn full(size: Size) -> Self {
        Self::new(size, &super::FULL_RANGE)
    }

    /// A row of luma, with what stands beyond the edge.
    #[inline(always)]
    pub fn luma(&self, row: usize) -> &[u8] {
        let stride = self.luma.len() / ROWS;
        &self.luma[row * stride..][..stride]
    }

    /// A row of one colour, with what stands beyond the edge.
    #[inline(always)]
    pub fn colour(&self, which: usize, row: usize) -> &[u8] {
        let stride = self.colour_stride();
        &self.colours[which][(row + 1) * stride + 1..][..stride - 2]
    }

    #[inline(always)]
    fn colour_stride(&self) -> usize {
        self.colours[0].len() / (HALF_ROWS + 2)
    }

    /// Takes the rows from `top` on: of a picture's strips one after the other, from the first on.
    #[inline(always)]
    pub fn fill<V: Words>(&mut self, rgb: &[u8], top: usize) {
        let stride = self.colour_stride();
        // The last two rows of the strip before are this one's first; the very first one stands for the one before it.
        let first = if top == 0 { 1 } else { 2 };
        for colour in &mut self.colours {
            colour.copy_within(HALF_ROWS * stride.., 0);
        }
        let steps = self.width.div_ceil(STEP);
        self.apart.copy_within(HALF_ROWS * steps.., 0);
        let last = self.height.div_ceil(2) - 1;
        for row in first..HALF_ROWS + 2 {
            let place = top / 2 + row - 1;
            if place > last {
                for colour in &mut self.colours {
                    colour.copy_within((row - 1) * stride..row * stride, row * stride);
                }
                continue;
            }
            self.pixels[0].fill(line(rgb, self.width, 2 * place));
            self.pixels[1].fill(line(rgb, self.width, (2 * place + 1).min(self.height - 1)));
            self.mean::<V>(row * stride, row * steps);
        }
        if top == 0 {
            for colour in &mut self.colours {
                colour.copy_within(stride..2 * stride, 0);
            }
        }
        for row in 0..ROWS {
            let luma = self.luma.len() / ROWS;
            if top + row >= self.height {
                self.luma.copy_within((row - 1) * luma..row * luma, row * luma);
                continue;
            }
            self.pixels[0].fill(line(rgb, self.width, top + row));
            let near = row / 2 + 1;
            let far = if row % 2 == 0 { near - 1 } else { near + 1 };
            self.row::<V>(row * luma, [near * stride, far * stride], near * steps);
        }
    }

    /// The colours of two by two pixels, to a place; and whether they are apart, to another.
    #[inline(always)]
    fn mean<V: Words>(&mut self, place: usize, apart: usize) {
        let half = self.width.div_ceil(2);
        for from in (0..half).step_by(WORDS) {
            let left = [self.pixels[0].at::<V>(2 * from), self.pixels[1].at::<V>(2 * from)];
            let right = [self.pixels[0].at::<V>(2 * from + WORDS), self.pixels[1].at::<V>(2 * from + WORDS)];
            let is_apart = most_apart(left).larger(most_apart(right)).any_above(COLOURS_APART);
            let (left, right) = if is_apart { (lights(left), lights(right)) } else { (means(left), means(right)) };
            let mut mean = [left[0].means(right[0]), left[1].means(right[1]), left[2].means(right[2])];
            if is_apart {
                mean = [mean[0].valued(), mean[1].valued(), mean[2].valued()];
            }
            self.apart[apart + from / WORDS] = is_apart;
            let (cb, cr) = (mix(self.matrix.cb, mean), mix(self.matrix.cr, mean));
            cb.plus(V::splat(128 * UNIT)).bytes(some_mut(&mut self.colours[0], place + 1 + from));
            cr.plus(V::splat(128 * UNIT)).bytes(some_mut(&mut self.colours[1], place + 1 + from));
        }
        for colour in &mut self.colours {
            let row = &mut colour[place..];
            row[0] = row[1];
            row[half + 1] = row[half];
        }
    }

    /// A row of luma to a place, its colours from two places; and from where it is known whether they are apart.
    #[inline(always)]
    fn row<V: Words>(&mut self, place: usize, [near, far]: [usize; 2], apart: usize) {
        for from in (0..self.width).step_by(STEP) {
            let (cb, cb_apart) = spread::<V>(&self.colours[0], near + from / 2, far + from / 2);
            let (cr, cr_apart) = spread::<V>(&self.colours[1], near + from / 2, far + from / 2);
            let is_apart = self.apart[apart + from / STEP] || cb_apart.larger(cr_apart).any_above(SPREAD_APART);
            for half in 0..2 {
                let pixel = from + half * WORDS;
                let pixels = self.pixels[0].at::<V>(pixel);
                let mut luma = mix(self.matrix.luma, pixels);
                if is_apart {
                    luma = lightened(self.matrix, pixels, luma, cb[half], cr[half]);
                }
                luma.times(V::splat(self.matrix.scale))
                    .plus(V::splat(self.matrix.black * UNIT))
                    .bytes(some_mut(&mut self.luma, place + pixel));
            }
        }
    }
}

/// How far the colours of two by two pixels are apart at most, whatever their brightness: of pixels of two rows.
#[inline(always)]
fn most_apart<V: Words>([upper, lower]: [[V; 3]; 2]) -> V {
    let (red, blue) = (upper[0].minus(upper[1]), upper[2].minus(upper[1]));
    let across = red.apart(red.swapped()).larger(blue.apart(blue.swapped()));
    let down = red.apart(lower[0].minus(lower[1])).larger(blue.apart(lower[2].minus(lower[1])));
    across.larger(down)
}

/// The means of pixels one above the other; and of their light.
#[inline(always)]
fn means<V: Words>([upper, lower]: [[V; 3]; 2]) -> [V; 3] {
    [upper[0].mean(lower[0]), upper[1].mean(lower[1]), upper[2].mean(lower[2])]
}

#[inline(always)]
fn lights<V: Words>([upper, lower]: [[V; 3]; 2]) -> [V; 3] {
    means([[light(upper[0]), light(upper[1]), light(upper[2])], [light(lower[0]), light(lower[1]), light(lower[2])]])
}

fn line(rgb: &[u8], width: usize, row: usize) -> &[u8] {
    &rgb[row * width * 3..][..width * 3]
}

#[inline(always)]
fn some_mut(values: &mut [u8], from: usize) -> &mut [u8; WORDS] {
    (&mut values[from..from + WORDS]).try_into().expect("so many were taken")
}

/// A colour of pixels about 0, as who decodes has it, and how far from the one of their two by two, in 16ths. Both places are those of
/// a value before the first.
#[inline(always)]
fn spread<V: Words>(colours: &[u8], near: usize, far: usize) -> ([V; 2], V) {
    let before = nearer::<V>(colours, near, far);
    let here = nearer::<V>(colours, near + 1, far + 1);
    let behind = nearer::<V>(colours, near + 2, far + 2);
    let here = threefold(here);
    let (left, right) = (here.plus(before), here.plus(behind));
    let own = fourfold(fourfold(V::samples(some(colours, near + 1))));
    let apart = left.apart(own).larger(right.apart(own));
    let middle = V::splat(128 * 16);
    let [left, right] = left.minus(middle).eightfold().in_turn(right.minus(middle).eightfold());
    ([left, right], apart)
}

#[inline(always)]
fn threefold<V: Words>(value: V) -> V {
    value.plus(value).plus(value)
}

#[inline(always)]
fn nearer<V: Words>(colours: &[u8], near: usize, far: usize) -> V {
    threefold(V::samples(some(colours, near))).plus(V::samples(some(colours, far)))
}

#[inline(always)]
fn some(values: &[u8], from: usize) -> &[u8; WORDS] {
    values[from..from + WORDS].try_into().expect("so many were taken")
}

/// A whole picture of RGB.
#[inline(always)]
pub fn planes<V: Words>(rgb: &[u8], size: Size, matrix: &Matrix) -> Planes {
    let (width, height) = (size.width as usize, size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut values = [vec![0; width * height], vec![0; half_width * half_height], vec![0; half_width * half_height]];
    let mut strip = Strip::new(size, matrix);
    let [luma, cb, cr] = &mut values;
    for top in (0..height).step_by(ROWS) {
        strip.fill::<V>(rgb, top);
        for (row, out) in luma[top * width..].chunks_mut(width).take(ROWS).enumerate() {
            out.copy_from_slice(&strip.luma(row)[..width]);
        }
        for (which, colour) in [&mut *cb, &mut *cr].into_iter().enumerate() {
            for (row, out) in colour[top / 2 * half_width..].chunks_mut(half_width).take(HALF_ROWS).enumerate() {
                out.copy_from_slice(&strip.colour(which, row)[..half_width]);
            }
        }
    }
    Planes { size, sampling: Sampling::Half, values }
}

/// The luma with which pixels of such colours are as bright as the original's; of the luma that they have.
#[inline(always)]
fn lightened<V: Words>(matrix: &Matrix, pixels: [V; 3], luma: V, cb: V, cr: V) -> V {
    let (least, most) = (V::splat(0), V::splat(MOST));
    let wanted = mix(LUMINANCE, [light(pixels[0]), light(pixels[1]), light(pixels[2])]);
    let green = cb.times(V::splat(matrix.green_of_cb)).plus(cr.times(V::splat(matrix.green_of_cr)));
    let red = luma.plus(fourfold(cr.times(V::splat(matrix.red_of_cr)))).within(least, most);
    let green = luma.plus(fourfold(green)).within(least, most);
    let blue = luma.plus(fourfold(cb.times(V::splat(matrix.blue_of_cb)))).within(least, most);
    let off = wanted.minus(mix(LUMINANCE, [light(red), light(green), light(blue)]));
    // About as fast as the light of a gray of that luma.
    let rise = slope(luma).within(V::splat(factor(SLOPE_MIN / 4.0)), V::splat(i16::MAX));
    let moved = off.over(rise).within(V::splat(-MOVE_MAX), V::splat(MOVE_MAX));
    luma.plus(moved).within(least, most)
}

#[inline(always)]
fn fourfold<V: Words>(value: V) -> V {
    let twice = value.plus(value);
    twice.plus(twice)
}
