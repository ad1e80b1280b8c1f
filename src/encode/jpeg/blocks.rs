//! From pixels to quantised coefficients: an MCU at a time, in floating point, so that nothing is rounded but once.
//!
//! The transform is the one of Arai, Agui and Nakajima (1988): five multiplications for eight numbers, and a factor for each frequency
//! that goes into the quantiser.

// Loops over places by number are what is inlined and becomes vector instructions wherever it is compiled.
#![allow(clippy::needless_range_loop)]

use super::lanes::{LANES, Lanes, PIXELS_BYTES};
use super::quantiser::Levels;
use crate::encode::planes::Strip;

/// A block of 8×8 samples, row by row.
type Block<V> = [V; LANES];

/// A quantised block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// By columns.
    pub levels: [i16; 64],
    /// Which of them are not 0, in the order in which they are coded; the first one's bit says nothing. A level whose bit is not set counts
    /// as 0, whatever stands there.
    pub some: u64,
}

impl Quantised {
    /// Nothing yet.
    pub const EMPTY: Self = Self { levels: [0; 64], some: 0 };
}

/// Where the coefficients stand in [`Quantised::levels`] in the order in which they are coded (ITU-T T.81, figure 5).
pub const PLACES: [u8; 64] = [
    0, 8, 1, 2, 9, 16, 24, 17, 10, 3, 4, 11, 18, 25, 32, 40, 33, 26, 19, 12, 5, 6, 13, 20, 27, 34, 41, 48, 56, 49, 42,
    35, 28, 21, 14, 7, 15, 22, 29, 36, 43, 50, 57, 58, 51, 44, 37, 30, 23, 31, 38, 45, 52, 59, 60, 53, 46, 39, 47, 54,
    61, 62, 55, 63,
];

/// For each column and each set of its places, their bits in coding order.
static ORDER: [[u64; 256]; LANES] = {
    let mut order = [[0; 256]; LANES];
    let mut at = 0;
    while at < 64 {
        let (column, row) = (PLACES[at] as usize / LANES, PLACES[at] as usize % LANES);
        let mut set = 0;
        while set < 256 {
            order[column][set] |= ((set as u64 >> row) & 1) << at;
            set += 1;
        }
        at += 1;
    }
    order
};

/// Parts of red, green and blue in Y, Cb and Cr (JFIF).
const Y: [f32; 3] = [0.299, 0.587, 0.114];
const CB: [f32; 3] = [-0.168_735_89, -0.331_264_1, 0.5];
const CR: [f32; 3] = [0.5, -0.418_687_59, -0.081_312_41];

/// What stands for a plane's middle, which is coded as 0.
const MIDDLE: f32 = 128.0;

#[inline(always)]
fn mix<V: Lanes>(parts: [f32; 3], [red, green, blue]: [V; 3]) -> V {
    red.times(V::splat(parts[0])).plus(green.times(V::splat(parts[1]))).plus(blue.times(V::splat(parts[2])))
}

/// Samples of a picture, or of a part of it that was copied: where they begin, and a row's bytes.
#[derive(Clone, Copy)]
pub struct Pixels<'a> {
    pub samples: &'a [u8],
    pub stride: usize,
}

impl Pixels<'_> {
    /// Eight pixels of RGB.
    #[inline(always)]
    fn colours<V: Lanes>(&self, column: usize, row: usize) -> [V; 3] {
        let from = row * self.stride + column * 3;
        let pixels: &[u8; PIXELS_BYTES] =
            self.samples[from..from + PIXELS_BYTES].try_into().expect("so many were taken");
        V::pixels(pixels)
    }
}

/// 16×16 pixels as four blocks of luma and one of each chroma at half resolution.
#[inline(always)]
pub fn halved<V: Lanes>(strip: &Strip<'_>, left: usize, levels: &[Levels; 2], out: &mut [Quantised]) {
    let mut plane = [V::splat(0.0); LANES];
    for block in 0..4 {
        for row in 0..LANES {
            plane[row] = centred(strip.luma(block / 2 * LANES + row), left + block % 2 * LANES);
        }
        quantise(plane, &levels[0], &mut out[block]);
    }
    for colour in 0..2 {
        for row in 0..LANES {
            plane[row] = centred(strip.colour(colour, row), left / 2);
        }
        quantise(plane, &levels[1], &mut out[4 + colour]);
    }
}

/// Eight samples about 0.
#[inline(always)]
fn centred<V: Lanes>(samples: &[u8], from: usize) -> V {
    let samples: &[u8; LANES] = samples[from..from + LANES].try_into().expect("so many were taken");
    V::samples(samples).minus(V::splat(MIDDLE))
}

/// 8×8 pixels of RGB as a block each of luma and chroma.
#[inline(always)]
pub fn whole<V: Lanes>(pixels: Pixels<'_>, levels: &[Levels; 2], out: &mut [Quantised]) {
    let nothing = V::splat(0.0);
    let mut planes = [[nothing; LANES]; 3];
    for row in 0..LANES {
        let colours = pixels.colours(0, row);
        planes[0][row] = mix::<V>(Y, colours).minus(V::splat(MIDDLE));
        planes[1][row] = mix(CB, colours);
        planes[2][row] = mix(CR, colours);
    }
    quantise(planes[0], &levels[0], &mut out[0]);
    quantise(planes[1], &levels[1], &mut out[1]);
    quantise(planes[2], &levels[1], &mut out[2]);
}

/// 8×8 gray pixels as a block.
#[inline(always)]
pub fn gray<V: Lanes>(pixels: Pixels<'_>, levels: &[Levels; 2], out: &mut [Quantised]) {
    let mut plane = [V::splat(0.0); LANES];
    for row in 0..LANES {
        plane[row] = centred(pixels.samples, row * pixels.stride);
    }
    quantise(plane, &levels[0], &mut out[0]);
}

#[inline(always)]
fn quantise<V: Lanes>(block: Block<V>, levels: &Levels, out: &mut Quantised) {
    let columns = transform(V::turned(transform(block)));
    let mut some = 0;
    for half in 0..LANES / 2 {
        let at = half * 2 * LANES;
        let factors: &[f32; 2 * LANES] = levels.factors[at..at + 2 * LANES].try_into().expect("so many were taken");
        let limits: &[f32; 2 * LANES] = levels.limits[at..at + 2 * LANES].try_into().expect("so many were taken");
        let place: &mut [i16; 2 * LANES] =
            (&mut out.levels[at..at + 2 * LANES]).try_into().expect("so many were taken");
        let set = V::whole([columns[2 * half], columns[2 * half + 1]], factors, limits, place);
        some |= ORDER[2 * half][(set & 255) as usize] | ORDER[2 * half + 1][(set >> LANES) as usize];
    }
    out.some = some;
}

/// The DCT of eight numbers, in each lane, multiplied with 8 and with each frequency's factor (`FACTORS` of [`super::quantiser`]).
#[inline(always)]
fn transform<V: Lanes>(rows: Block<V>) -> Block<V> {
    let [a, b, c, d, e, f, g, h] = rows;
    let (ah, bg, cf, de) = (a.plus(h), b.plus(g), c.plus(f), d.plus(e));
    let (outer, inner) = (ah.plus(de), bg.plus(cf));
    let (outer_less, inner_less) = (ah.minus(de), bg.minus(cf));
    // cos(π/4), cos(3π/8), cos(π/8) − cos(3π/8) and cos(π/8) + cos(3π/8).
    let middle = inner_less.plus(outer_less).times(V::splat(0.707_106_77));
    let (ah, bg, cf, de) = (a.minus(h), b.minus(g), c.minus(f), d.minus(e));
    let (low, mid, high) = (de.plus(cf), cf.plus(bg), bg.plus(ah));
    let turn = low.minus(high).times(V::splat(0.382_683_43));
    let (low, high) = (low.times(V::splat(0.541_196_1)).plus(turn), high.times(V::splat(1.306_563)).plus(turn));
    let mid = mid.times(V::splat(0.707_106_77));
    let (more, less) = (ah.plus(mid), ah.minus(mid));
    [
        outer.plus(inner),
        more.plus(high),
        outer_less.plus(middle),
        less.minus(low),
        outer.minus(inner),
        less.plus(low),
        outer_less.minus(middle),
        more.minus(high),
    ]
}
