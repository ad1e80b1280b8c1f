//! GIF, still and animated: an exact palette where a frame has few colours, else one learnt by NeuQuant; no dithering, so
//! that equal areas stay equal. A frame of an animation holds only the rectangle that changed.
//!
//! Alpha is all or nothing in a GIF: a pixel under half is transparent. EXIF and ICC profiles have no place in it.

use gif::{DisposalMethod, Encoder, Repeat};

use super::palette::{Palette, rgba};
use super::{Animation, Error, Settings};
use crate::base::{Format, Size, Work};
use crate::pixels::{Frame, Picture};

/// Encodes a still picture.
pub fn encode(picture: &Picture, settings: &Settings, work: &Work) -> Result<Vec<u8>, Error> {
    let mut animation = Animated::new(picture.size, None, settings)?;
    animation.push_picture(picture, 0, work)?;
    animation.into_file()
}

/// Begins an animation; `loops` 0 is for ever.
pub fn animation(size: Size, loops: u32, settings: &Settings) -> Result<Box<dyn Animation>, Error> {
    Ok(Box::new(Animated::new(size, Some(loops), settings)?))
}

fn failed(what: impl ToString) -> Error {
    Error::Encoder { format: Format::Gif, what: what.to_string() }
}

/// A frame whose disposal depends on the next one.
struct Pending {
    pixels: Vec<[u8; 4]>,
    delay_ms: u32,
}

struct Animated {
    encoder: Encoder<Vec<u8>>,
    size: Size,
    /// What the canvas shows before the pending frame.
    canvas: Vec<[u8; 4]>,
    pending: Option<Pending>,
    /// Milliseconds shown so far, and hundredths of a second written so far: rounding must not add up.
    time_ms: u64,
    written_cs: u64,
}

impl Animated {
    fn new(size: Size, loops: Option<u32>, _settings: &Settings) -> Result<Self, Error> {
        let mut encoder = Encoder::new(Vec::new(), size.width as u16, size.height as u16, &[]).map_err(failed)?;
        match loops {
            // Played once: no extension at all.
            None | Some(1) => {}
            Some(0) => encoder.set_repeat(Repeat::Infinite).map_err(failed)?,
            // The extension counts what follows the first time, as every browser reads it.
            Some(times) => encoder.set_repeat(Repeat::Finite((times - 1).min(65_535) as u16)).map_err(failed)?,
        }
        let canvas = vec![[0; 4]; size.pixels() as usize];
        Ok(Self { encoder, size, canvas, pending: None, time_ms: 0, written_cs: 0 })
    }

    fn push_picture(&mut self, picture: &Picture, delay_ms: u32, work: &Work) -> Result<(), Error> {
        work.check()?;
        if picture.size != self.size {
            return Err(failed("frames of different sizes"));
        }
        let samples = super::samples8(picture);
        let pixels: Vec<[u8; 4]> = samples
            .chunks_exact(picture.layout.channels())
            .map(|pixel| match rgba(pixel, picture.layout) {
                [_, _, _, 0..128] => [0; 4],
                [red, green, blue, _] => [red, green, blue, 255],
            })
            .collect();
        if let Some(pending) = self.pending.take() {
            let clears = pending.pixels.iter().zip(&pixels).any(|(before, after)| before[3] > 0 && after[3] == 0);
            self.write(pending, clears)?;
        }
        self.pending = Some(Pending { pixels, delay_ms });
        Ok(())
    }

    /// Writes the pending frame. `clears`: the next one has holes where this one has none, so that the canvas must be
    /// emptied between them; that only works for a frame that covers it.
    fn write(&mut self, frame: Pending, clears: bool) -> Result<(), Error> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let [left, top, right, bottom] =
            if clears { [0, 0, width, height] } else { changed(&self.canvas, &frame.pixels, width) };
        // Within the rectangle, what is as before is transparent: long runs of one index.
        let mut part = Vec::with_capacity((right - left) * (bottom - top));
        for y in top..bottom {
            for at in y * width + left..y * width + right {
                let same = !clears && self.canvas[at] == frame.pixels[at];
                part.push(if same { [0; 4] } else { frame.pixels[at] });
            }
        }
        let palette = Palette::exact(part.as_flattened(), crate::pixels::Layout::Rgba, 256)
            .unwrap_or_else(|| Palette::learnt(&part, 256));
        let transparent = palette.colours.iter().position(|colour| colour[3] == 0).map(|at| at as u8);
        self.time_ms += u64::from(frame.delay_ms);
        let due_cs = (self.time_ms + 5) / 10;
        let delay = due_cs.saturating_sub(self.written_cs).min(65_535);
        self.written_cs += delay;
        let frame_out = gif::Frame {
            delay: delay as u16,
            dispose: if clears { DisposalMethod::Background } else { DisposalMethod::Keep },
            transparent,
            left: left as u16,
            top: top as u16,
            width: (right - left) as u16,
            height: (bottom - top) as u16,
            palette: Some(palette.colours.iter().flat_map(|colour| colour[..3].to_vec()).collect()),
            buffer: palette.indices.into(),
            ..gif::Frame::default()
        };
        self.encoder.write_frame(&frame_out).map_err(failed)?;
        if clears {
            self.canvas.fill([0; 4]);
        } else {
            self.canvas = frame.pixels;
        }
        Ok(())
    }

    fn into_file(mut self) -> Result<Vec<u8>, Error> {
        let last = self.pending.take().ok_or_else(|| failed("no frames"))?;
        self.write(last, false)?;
        self.encoder.into_inner().map_err(failed)
    }
}

/// The rectangle that holds every pixel that differs: left, top, right, bottom; one pixel where none does.
fn changed(before: &[[u8; 4]], after: &[[u8; 4]], width: usize) -> [usize; 4] {
    let mut bounds: Option<[usize; 4]> = None;
    for (y, (before, after)) in before.chunks_exact(width).zip(after.chunks_exact(width)).enumerate() {
        let Some(first) = before.iter().zip(after).position(|(before, after)| before != after) else { continue };
        let last = before.iter().zip(after).rposition(|(before, after)| before != after).unwrap_or(first);
        bounds = Some(match bounds {
            None => [first, y, last + 1, y + 1],
            Some([left, top, right, _]) => [left.min(first), top, right.max(last + 1), y + 1],
        });
    }
    bounds.unwrap_or([0, 0, 1, 1])
}

impl Animation for Animated {
    fn push(&mut self, frame: &Frame, work: &Work) -> Result<(), Error> {
        self.push_picture(&frame.picture, frame.delay_ms, work)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Error> {
        self.into_file()
    }
}
