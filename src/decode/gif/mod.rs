//! GIF: blocks by an own walk (a probe unpacks nothing), what frames say by the `gif` crate, their codes by [`codes`], composed here as
//! browsers do.

mod codes;

use std::io::Cursor;

use gif::DisposalMethod;

use self::codes::{Codes, Cut, colours};
use super::{Decoded, Error, Frames, Header, Model, animation, check_size, frames_within, whole};
use crate::base::{Format, Limits, Orientation, Size, Work};
use crate::pixels::{ColourSpace, Frame};

/// Reads the structure: one pass over the blocks, no LZW.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let blocks = Blocks::walk(bytes, limits)?;
    check_size(blocks.size, limits)?;
    Ok(Header {
        format: Format::Gif,
        size: blocks.size,
        orientation: Orientation::Upright,
        alpha: blocks.alpha,
        frames: frames_within(blocks.frames, limits),
        loops: blocks.loops,
        bits: 8,
        model: Model::Palette(blocks.colours),
        progressive: false,
        streams: false,
        icc: None,
        exif: None,
    })
}

/// Decodes the first frame.
pub fn decode(bytes: &[u8], header: &Header, work: &Work) -> Result<Decoded, Error> {
    let mut animation = Animation::open(bytes, header)?;
    let frame = animation.next(work)?.ok_or_else(|| broken("it has no frame"))?;
    Ok(Decoded { picture: frame.picture, covers: whole(header.size), damaged: animation.damaged })
}

/// Opens the animation.
pub fn frames<'a>(bytes: &'a [u8], header: &Header) -> Result<Box<dyn Frames + 'a>, Error> {
    Ok(Box::new(Animation::open(bytes, header)?))
}

/// Canvas, saved canvas (each RGBA) and the result; a row of a frame, which may be wider than the canvas.
pub fn bytes_of_work(header: &Header) -> u64 {
    header.size.pixels() * 12 + u64::from(u16::MAX) * 8
}

/// Most pixels that one packed byte stands for: a code of 12 bits for a string of 4094.
const PIXELS_A_BYTE_MAX: u64 = 2_730;

/// Screens up to this size are composed however little of them the frames show (24 MiB and the result).
const UNPROVEN_PIXELS_MAX: u64 = 2 << 20;

fn broken(what: impl ToString) -> Error {
    Error::broken(Format::Gif, what)
}

/// What the blocks say.
struct Blocks {
    size: Size,
    frames: u64,
    /// Pixels that the frames can show at most, by their sizes and by their data, each frame for itself.
    shown: u64,
    loops: u32,
    alpha: bool,
    colours: u16,
}

impl Blocks {
    fn walk(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Cut(bytes);
        let screen = reader.take(13).ok_or_else(|| broken("its header is cut off"))?;
        let size = Size::new(u32::from(short(screen, 6)), u32::from(short(screen, 8)));
        if size.width == 0 || size.height == 0 {
            return Err(broken("its screen is empty"));
        }
        let mut blocks = Self { size, frames: 0, shown: 0, loops: 1, alpha: false, colours: colours(screen[10]) };
        reader.take(3 * usize::from(blocks.colours));
        let (mut dispose_to_nothing, mut frame) = (false, None);
        // Ends at the trailer, at the end of the bytes, or at a byte that begins no block: what came before counts.
        while let Some(kind) = reader.take(1) {
            match kind[0] {
                0x21 => {
                    let Some(label) = reader.take(1) else { break };
                    let first = reader.sub_block().unwrap_or_default();
                    match (label[0], first) {
                        (0xf9, [flags, _, _, _, ..]) => {
                            blocks.alpha |= flags & 1 != 0;
                            dispose_to_nothing = flags >> 2 & 7 == 2;
                        }
                        (0xff, b"NETSCAPE2.0" | b"ANIMEXTS1.0") => {
                            if let Some([1, low, high]) = reader.sub_block() {
                                blocks.loops = u32::from(u16::from_le_bytes([*low, *high]));
                                // The number says how often to begin again; 0 is for ever.
                                blocks.loops += u32::from(blocks.loops > 0);
                            }
                        }
                        _ => {}
                    }
                    if first.is_empty() {
                        continue;
                    }
                }
                0x2c => {
                    let Some(at) = reader.take(9) else { break };
                    let local = colours(at[8]);
                    reader.take(3 * usize::from(local));
                    let part = Size::new(u32::from(short(at, 4)), u32::from(short(at, 6)));
                    check_size(part, limits)?;
                    let (right, bottom) = (u32::from(short(at, 0)) + part.width, u32::from(short(at, 2)) + part.height);
                    let fills = short(at, 0) == 0 && short(at, 2) == 0 && right >= size.width && bottom >= size.height;
                    blocks.alpha |= !fills && (blocks.frames == 0 || dispose_to_nothing);
                    blocks.alpha |= dispose_to_nothing && !fills;
                    dispose_to_nothing = false;
                    blocks.colours = blocks.colours.max(local);
                    if reader.take(1).is_none() {
                        break;
                    }
                    blocks.frames += 1;
                    frame = Some(part.pixels());
                }
                _ => break,
            }
            let mut bytes = 0;
            while let Some(data) = reader.sub_block().filter(|data| !data.is_empty()) {
                bytes += data.len() as u64;
            }
            if let Some(pixels) = frame.take() {
                blocks.shown += pixels.min(bytes * PIXELS_A_BYTE_MAX);
            }
        }
        if blocks.frames == 0 {
            return Err(broken("it has no frame"));
        }
        // A sixteenth may be left of a truncated picture.
        if size.pixels() > UNPROVEN_PIXELS_MAX && blocks.shown < size.pixels() / 16 {
            return Err(broken(format!("its frames cannot fill a screen of {}x{}", size.width, size.height)));
        }
        Ok(blocks)
    }
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// A GIF that is read frame by frame.
struct Animation<'a> {
    /// Tells of the frames; their data is read by `data`.
    decoder: gif::Decoder<Cursor<&'a [u8]>>,
    data: Cut<'a>,
    size: Size,
    alpha: bool,
    /// RGBA; alpha is 0 or 255.
    canvas: Vec<u8>,
    /// The canvas as it was before the frame that is shown, if that is to come back.
    saved: Option<Vec<u8>>,
    /// What happens to the frame that is shown before the next.
    dispose: DisposalMethod,
    shown: Place,
    /// One row of a frame, indices of its palette.
    row: Vec<u8>,
    left: u32,
    begun: bool,
    damaged: bool,
}

/// Where a frame stands on the canvas, cut to it.
#[derive(Clone, Copy, Default)]
struct Place {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl<'a> Animation<'a> {
    fn open(bytes: &'a [u8], header: &Header) -> Result<Self, Error> {
        let mut options = gif::DecodeOptions::new();
        // The decoder's own rows lose codes where one of them fills a row to its end.
        options.skip_frame_decoding(true);
        options.allow_unknown_blocks(true);
        let decoder = options.read_info(Cursor::new(bytes)).map_err(broken)?;
        let size = Size::new(decoder.width().into(), decoder.height().into());
        if size != header.size {
            return Err(broken("it is not what its header said"));
        }
        let mut data = Cut(bytes);
        let screen = data.take(13).ok_or_else(|| broken("its header is cut off"))?;
        data.take(3 * usize::from(colours(screen[10])));
        Ok(Self {
            decoder,
            data,
            size,
            alpha: header.alpha,
            canvas: vec![0; size.pixels() as usize * 4],
            saved: None,
            dispose: DisposalMethod::Keep,
            shown: Place::default(),
            row: Vec::new(),
            left: header.frames,
            begun: false,
            damaged: false,
        })
    }

    /// Undoes the frame that was shown, as it asked for.
    fn dispose(&mut self) {
        match self.dispose {
            DisposalMethod::Background => {
                let Place { left, top, right, bottom } = self.shown;
                let row_bytes = self.size.width as usize * 4;
                for row in self.canvas.chunks_exact_mut(row_bytes).take(bottom).skip(top) {
                    row[left * 4..right * 4].fill(0);
                }
            }
            DisposalMethod::Previous => {
                if let Some(saved) = self.saved.take() {
                    self.canvas = saved;
                }
            }
            DisposalMethod::Any | DisposalMethod::Keep => {}
        }
        self.dispose = DisposalMethod::Keep;
    }

    /// Reads and composes one frame; none at the end. `Err` holds what the decoder said.
    fn compose(&mut self) -> Result<Option<u32>, String> {
        let Some(frame) = self.decoder.next_frame_info().map_err(|error| error.to_string())? else { return Ok(None) };
        let (width, height) = (usize::from(frame.width), usize::from(frame.height));
        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let (dispose, delay, interlaced) = (frame.dispose, u32::from(frame.delay) * 10, frame.interlaced);
        let transparent = frame.transparent;
        self.dispose();
        let canvas_size = (self.size.width as usize, self.size.height as usize);
        let place = Place {
            left: left.min(canvas_size.0),
            top: top.min(canvas_size.1),
            right: (left + width).min(canvas_size.0),
            bottom: (top + height).min(canvas_size.1),
        };
        if dispose == DisposalMethod::Previous {
            self.saved = Some(self.canvas.clone());
        }
        let (painted, read) = self.paint(place, left, (width, height), interlaced, transparent);
        (self.dispose, self.shown) = (dispose, place);
        match read {
            Err(_) if self.begun || painted => self.damaged = true,
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        Ok(Some(animation::delay_ms(delay)))
    }

    /// Paints a frame's rows as they are unpacked, and says whether any pixel was: what a cut-off frame does not reach, and
    /// what lies outside of the canvas, takes no memory and leaves the frame before.
    fn paint(
        &mut self,
        place: Place,
        left: usize,
        (width, height): (usize, usize),
        interlaced: bool,
        transparent: Option<u8>,
    ) -> (bool, Result<(), String>) {
        let mut painted = false;
        let Some(mut codes) = Codes::next(&mut self.data) else {
            return (painted, Err("a frame is cut off".to_owned()));
        };
        if width == 0 || height == 0 {
            return (painted, Ok(()));
        }
        let palette = match self.decoder.palette() {
            Ok(palette) => palette.as_chunks::<3>().0,
            Err(error) => return (painted, Err(error.to_string())),
        };
        self.row.resize(width, 0);
        let row_bytes = self.size.width as usize * 4;
        for y in rows(height, interlaced) {
            if !interlaced && place.top + y >= place.bottom {
                break;
            }
            if let Err(error) = codes.fill(&mut self.row) {
                return (painted, Err(error));
            }
            if place.top + y >= place.bottom || place.left >= place.right {
                continue;
            }
            let from = (place.top + y) * row_bytes;
            let under = &mut self.canvas[from + place.left * 4..from + place.right * 4];
            for (under, index) in under.as_chunks_mut::<4>().0.iter_mut().zip(&self.row[place.left - left..]) {
                let colour = palette.get(usize::from(*index)).filter(|_| transparent != Some(*index));
                if let Some([red, green, blue]) = colour {
                    *under = [*red, *green, *blue, 255];
                    painted = true;
                }
            }
        }
        (painted, Ok(()))
    }
}

/// The rows of a frame in the order in which they are stored.
fn rows(height: usize, interlaced: bool) -> impl Iterator<Item = usize> {
    const PASSES: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];
    let passes: &[_] = if interlaced { &PASSES } else { &[(0, 1)] };
    passes.iter().flat_map(move |(first, step)| (*first..height).step_by(*step))
}

impl Frames for Animation<'_> {
    fn next(&mut self, work: &Work) -> Result<Option<Frame>, Error> {
        work.check()?;
        if self.left == 0 || self.damaged {
            return Ok(None);
        }
        let delay_ms = match self.compose() {
            Ok(Some(delay_ms)) => delay_ms,
            Ok(None) if self.begun => return Ok(None),
            Ok(None) => return Err(broken("it has no frame")),
            Err(_) if self.begun => {
                self.damaged = true;
                return Ok(None);
            }
            Err(what) => return Err(broken(what)),
        };
        self.begun = true;
        self.left -= 1;
        let picture = animation::picture(&self.canvas, self.size, self.alpha, ColourSpace::Srgb);
        Ok(Some(Frame { picture, delay_ms }))
    }

    fn damaged(&self) -> bool {
        self.damaged
    }
}
