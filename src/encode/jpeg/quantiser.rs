//! How coarsely each frequency is kept.
//!
//! The tables were tuned for SSIMULACRA2 at equal bytes, on eleven photos at 400 and 800 pixels; `docs/engine.md` tells what they gave and
//! what was tried beside them.

use super::lanes::LANES;
use crate::encode::planes::Sampling;

/// Divisors at scale 1, in 64ths: of luma, of chroma at half and of chroma at full resolution. They are their own mirror images.
const LUMA: [u16; 64] = [
    259, 362, 642, 736, 833, 927, 1017, 1099, 362, 472, 814, 877, 952, 1033, 1113, 1186, 642, 814, 930, 1006, 1077,
    1148, 1218, 1282, 736, 877, 1006, 1105, 1185, 1256, 1320, 1376, 833, 952, 1077, 1185, 1274, 1349, 1411, 1462, 927,
    1033, 1148, 1256, 1349, 1426, 1487, 1534, 1017, 1113, 1218, 1320, 1411, 1487, 1547, 1591, 1099, 1186, 1282, 1376,
    1462, 1534, 1591, 1629,
];
const HALF: [u16; 64] = [
    292, 359, 701, 712, 783, 931, 1199, 1669, 359, 427, 728, 742, 816, 971, 1249, 1739, 701, 728, 744, 784, 877, 1054,
    1365, 1909, 712, 742, 784, 854, 979, 1196, 1567, 2210, 783, 816, 877, 979, 1148, 1427, 1897, 2704, 931, 971, 1054,
    1196, 1427, 1805, 2433, 3511, 1199, 1249, 1365, 1567, 1897, 2433, 3324, 4854, 1669, 1739, 1909, 2210, 2704, 3511,
    4854, 7166,
];
const FULL: [u16; 64] = [
    643, 915, 1873, 2164, 2764, 3903, 6091, 10508, 915, 1131, 2139, 2425, 3056, 4276, 6631, 11386, 1873, 2139, 2398,
    2808, 3578, 5023, 7795, 13382, 2164, 2425, 2808, 3407, 4441, 6317, 9877, 17033, 2764, 3056, 3578, 4441, 5914, 8549,
    13521, 20000, 3903, 4276, 5023, 6317, 8549, 12543, 20000, 20000, 6091, 6631, 7795, 9877, 13521, 20000, 20000,
    20000, 10508, 11386, 13382, 17033, 20000, 20000, 20000, 20000,
];

/// Scales for qualities; between two they change evenly.
const HALF_SCALES: &[(u8, f32)] = &[
    (1, 40.0),
    (5, 24.0),
    (10, 12.5),
    (15, 8.2),
    (20, 5.8),
    (30, 3.7),
    (40, 2.75),
    (50, 2.17),
    (60, 1.75),
    (70, 1.28),
    (75, 1.07),
    (80, 0.88),
    (85, 0.68),
    (90, 0.49),
    (95, 0.25),
    (100, 0.004),
];
const FULL_SCALES: &[(u8, f32)] = &[
    (1, 40.0),
    (5, 26.0),
    (10, 13.0),
    (20, 5.6),
    (30, 3.3),
    (50, 1.8),
    (75, 0.9),
    (80, 0.72),
    (85, 0.5),
    (90, 0.325),
    (92, 0.27),
    (94, 0.215),
    (96, 0.14),
    (98, 0.07),
    (100, 0.004),
];

/// From how many parts of a divisor on a level is not 0: at the lowest frequency, and how much more at the highest. Half a divisor would be
/// the nearest level; what is a little more costs more bytes than it is worth. Of luma, of chroma at half and at full resolution.
const LUMA_LIMITS: [f32; 2] = [0.56, 0.24];
const HALF_LIMITS: [f32; 2] = [0.575, 0.0];
const FULL_LIMITS: [f32; 2] = [0.61, 0.09];

/// The quality from which the limits go back to a half, which they reach at 100.
const EXACT_FROM: f32 = 92.0;

/// What the transform's results are larger by, for each frequency, beside 8 (Arai, Agui and Nakajima): 1, then √2 cos(kπ/16).
const FACTORS: [f32; LANES] = [1.0, 1.387_039_8, 1.306_563, 1.175_875_7, 1.0, 0.785_694_96, 0.541_196_1, 0.275_899_4];

/// Divisors of one kind of planes, as a block is divided; by columns.
#[derive(Debug)]
pub struct Levels {
    /// What the transform's results are multiplied with.
    pub factors: [f32; 64],
    /// From where on a level is not 0.
    pub limits: [f32; 64],
}

/// What a quality means.
#[derive(Debug)]
pub struct Quantiser {
    /// The divisors, by columns: of luma and of chroma.
    pub tables: [[u8; 64]; 2],
    /// The same for whoever divides.
    pub levels: [Levels; 2],
}

impl Quantiser {
    /// For a quality from 1 to 100.
    pub fn of(quality: u8, sampling: Sampling) -> Self {
        let (chroma, scales) = if sampling == Sampling::Full { (&FULL, &FULL_SCALES) } else { (&HALF, &HALF_SCALES) };
        let scale = between(scales, quality);
        let tables = [&LUMA, chroma]
            .map(|base| base.map(|divisor| (f32::from(divisor) * scale / 64.0 + 0.5).clamp(1.0, 255.0) as u8));
        let limits = [LUMA_LIMITS, if sampling == Sampling::Full { FULL_LIMITS } else { HALF_LIMITS }];
        let exact = ((f32::from(quality) - EXACT_FROM) / (100.0 - EXACT_FROM)).clamp(0.0, 1.0);
        let levels = [0, 1].map(|plane| {
            let [low, more] = limits[plane];
            let frequency = |at: usize| (at / LANES + at % LANES) as f32 / 14.0;
            let factor = |at: usize| f32::from(tables[plane][at]) * 8.0 * FACTORS[at / LANES] * FACTORS[at % LANES];
            // Never quite a half, of which the nearest even level is 0.
            let limit = |at: usize| ((low + more * frequency(at) - 0.5) * (1.0 - exact) + 0.5).max(0.500_001);
            Levels { factors: std::array::from_fn(|at| 1.0 / factor(at)), limits: std::array::from_fn(limit) }
        });
        Self { tables, levels }
    }
}

/// The scale for a quality.
fn between(scales: &[(u8, f32)], quality: u8) -> f32 {
    let above = scales.iter().position(|(at, _)| *at >= quality).unwrap_or(scales.len() - 1).max(1);
    let ((low, from), (high, to)) = (scales[above - 1], scales[above]);
    from + (to - from) * f32::from(quality - low) / f32::from(high - low)
}
