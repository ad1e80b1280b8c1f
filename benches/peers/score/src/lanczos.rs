//! A plain Lanczos3: separable, all taps, premultiplied alpha, no shortcuts. Slow, and the measure of the others.

use std::error::Error;
use std::f64::consts::PI;
use std::str::FromStr;

/// The space in which values are averaged.
#[derive(Clone, Copy, PartialEq)]
pub enum Light {
    /// The stored sRGB values.
    Gamma,
    /// Light as it is physically added.
    Linear,
}

/// 8-bit sRGB with straight alpha.
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub rgba: Vec<u8>,
}

impl Pixels {
    /// Reads a raw file of `width` × `height` × 4 bytes. Errors when it is not there or of another size.
    pub fn read(path: &str, width: usize, height: usize) -> Result<Self, Box<dyn Error>> {
        let rgba = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        if rgba.len() != width * height * 4 {
            return Err(format!("{path} has {} bytes, not {width}x{height}x4", rgba.len()).into());
        }
        Ok(Self { width, height, rgba })
    }
}

/// A region in pixels of the original, fractions included.
#[derive(Clone, Copy)]
pub struct Crop {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl FromStr for Crop {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(':').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [x, y, width, height] = parts[..] else {
            return Err(format!("a crop is x:y:w:h, not {text}").into());
        };
        Ok(Self { x, y, width, height })
    }
}

/// Resizes `crop` of `source` to `width` × `height`.
pub fn resize(source: &Pixels, crop: Crop, width: usize, height: usize, light: Light) -> Pixels {
    let table: Vec<f32> = (0..256).map(|value| decode(value as f32 / 255.0, light)).collect();
    let across = taps(crop.x, crop.width, width, source.width);
    let down = taps(crop.y, crop.height, height, source.height);

    // Rows first, so that only one row of the original is held as floats.
    let mut narrow = vec![[0f32; 4]; width * source.height];
    let mut row = vec![[0f32; 4]; source.width];
    for y in 0..source.height {
        let bytes = &source.rgba[y * source.width * 4..][..source.width * 4];
        for (pixel, raw) in row.iter_mut().zip(bytes.chunks_exact(4)) {
            let alpha = f32::from(raw[3]) / 255.0;
            *pixel = [
                table[usize::from(raw[0])] * alpha,
                table[usize::from(raw[1])] * alpha,
                table[usize::from(raw[2])] * alpha,
                alpha,
            ];
        }
        for (x, (first, weights)) in across.iter().enumerate() {
            narrow[y * width + x] = weigh(weights, |tap| row[first + tap]);
        }
    }

    let mut rgba = Vec::with_capacity(width * height * 4);
    for (first, weights) in &down {
        for x in 0..width {
            let [r, g, b, a] = weigh(weights, |tap| narrow[(first + tap) * width + x]);
            let alpha = a.clamp(0.0, 1.0);
            let straight = |value: f32| if alpha > 0.0 { encode((value / alpha).clamp(0.0, 1.0), light) } else { 0.0 };
            rgba.extend([straight(r), straight(g), straight(b), alpha].map(|value| (value * 255.0).round() as u8));
        }
    }
    Pixels { width, height, rgba }
}

fn weigh(weights: &[f32], pixel: impl Fn(usize) -> [f32; 4]) -> [f32; 4] {
    let mut sum = [0f32; 4];
    for (tap, weight) in weights.iter().enumerate() {
        let value = pixel(tap);
        for channel in 0..4 {
            sum[channel] += value[channel] * weight;
        }
    }
    sum
}

/// For each output pixel the first input pixel and the weights from there on. Beyond the edge there is nothing: what is left
/// is scaled to one.
fn taps(start: f64, length: f64, to: usize, from: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = length / to as f64;
    let stretch = scale.max(1.0);
    let reach = 3.0 * stretch;
    (0..to)
        .map(|at| {
            let centre = start + (at as f64 + 0.5) * scale;
            let first = (centre - reach).floor().max(0.0) as usize;
            let last = ((centre + reach).ceil() as usize).min(from);
            let weights: Vec<f64> = (first..last).map(|tap| kernel((tap as f64 + 0.5 - centre) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.iter().map(|weight| (weight / sum) as f32).collect())
        })
        .collect()
}

fn kernel(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else if x.abs() < 3.0 {
        let x = x * PI;
        3.0 * x.sin() * (x / 3.0).sin() / (x * x)
    } else {
        0.0
    }
}

fn decode(value: f32, light: Light) -> f32 {
    match light {
        Light::Gamma => value,
        Light::Linear if value <= 0.040_45 => value / 12.92,
        Light::Linear => ((value + 0.055) / 1.055).powf(2.4),
    }
}

fn encode(value: f32, light: Light) -> f32 {
    match light {
        Light::Gamma => value,
        Light::Linear if value <= 0.003_130_8 => value * 12.92,
        Light::Linear => 1.055 * value.powf(1.0 / 2.4) - 0.055,
    }
}
