//! Scores pictures with SSIMULACRA2 against Lanczos3 references that it makes from the original itself, in gamma space and
//! in linear light.
//!
//! Reads one job a line from standard input, fields parted by tabs: the original's raw file, its width and height, the
//! candidate's raw file, its width and height, then one or more crops of the original as `x:y:w:h` in fractional pixels. Raw
//! files hold 8-bit sRGB with straight alpha, four bytes a pixel. Writes one line a job: the gamma and the linear score, tab
//! between. With several crops (roundings of the same centred crop) the best counts, so that nobody loses points for half a
//! pixel.

mod lanczos;

use std::error::Error;
use std::io::{BufRead, Write};

use lanczos::{Crop, Light, Pixels, resize};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

fn main() -> Result<(), Box<dyn Error>> {
    let mut original: Option<(String, Pixels)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let [source, sw, sh, candidate, cw, ch, crops @ ..] = fields.as_slice() else {
            return Err(format!("a job has at least seven fields: {line}").into());
        };
        if original.as_ref().is_none_or(|(name, _)| name != source) {
            original = Some((source.to_string(), Pixels::read(source, sw.parse()?, sh.parse()?)?));
        }
        let (_, source) = original.as_ref().expect("read above");
        let candidate = Pixels::read(candidate, cw.parse()?, ch.parse()?)?;
        let mut scores = Vec::new();
        for light in [Light::Gamma, Light::Linear] {
            let mut best = f64::NEG_INFINITY;
            for crop in crops {
                let reference = resize(source, crop.parse::<Crop>()?, candidate.width, candidate.height, light);
                best = best.max(compute_frame_ssimulacra2(on_white(&reference)?, on_white(&candidate)?)?);
            }
            scores.push(format!("{best:.2}"));
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", scores.join("\t"))?;
        out.flush()?;
    }
    Ok(())
}

/// What a browser shows: the picture composed on a white page, in gamma space.
fn on_white(pixels: &Pixels) -> Result<Rgb, Box<dyn Error>> {
    let data = pixels
        .rgba
        .chunks_exact(4)
        .map(|pixel| {
            let alpha = f32::from(pixel[3]) / 255.0;
            [0, 1, 2].map(|channel| f32::from(pixel[channel]) / 255.0 * alpha + 1.0 - alpha)
        })
        .collect();
    Ok(Rgb::new(data, pixels.width, pixels.height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)?)
}
