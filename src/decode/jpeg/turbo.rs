//! The part of a JPEG by libjpeg-turbo, through its TurboJPEG interface.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use turbojpeg::raw;

use super::{Part, SCANS_MAX};
use crate::base::{Format, Size};
use crate::decode::Error;
use crate::pixels::Layout;

/// A TurboJPEG instance.
struct Decompressor(NonNull<std::ffi::c_void>);

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle is from `tj3Init` and is destroyed here only.
        unsafe { raw::tj3Destroy(self.0.as_ptr()) }
    }
}

impl Decompressor {
    fn new() -> Result<Self, Error> {
        // SAFETY: no precondition.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) };
        NonNull::new(handle).map(Self).ok_or_else(|| Error::broken(Format::Jpeg, "no memory for a decoder"))
    }

    /// What went wrong in the last call; a warning did not stop it.
    fn complaint(&self) -> Complaint {
        // SAFETY: the handle is live; the text is ours to read until the next call.
        let (code, text) = unsafe {
            let text = CStr::from_ptr(raw::tj3GetErrorStr(self.0.as_ptr())).to_string_lossy().into_owned();
            (raw::tj3GetErrorCode(self.0.as_ptr()), text)
        };
        Complaint { fatal: code != raw::TJERR_TJERR_WARNING as c_int, text }
    }

    fn get(&self, parameter: raw::TJPARAM) -> c_int {
        // SAFETY: the handle is live.
        unsafe { raw::tj3Get(self.0.as_ptr(), parameter as c_int) }
    }
}

struct Complaint {
    fatal: bool,
    text: String,
}

impl Complaint {
    /// What cameras do every day and changes no pixel.
    fn harmless(&self) -> bool {
        self.text.contains("extraneous bytes before marker")
    }

    fn into_error(self) -> Error {
        Error::broken(Format::Jpeg, self.text)
    }
}

/// What unwritten samples hold while decoding: a pattern in the first row tells whether any row was written.
const UNWRITTEN: [u8; 4] = [0xa5, 0x5a, 0xc3, 0x3c];

/// Decodes a part, and says whether the data was damaged.
pub fn pixels(bytes: &[u8], layout: Layout, part: &Part) -> Result<(Vec<u8>, bool), Error> {
    let decompressor = Decompressor::new()?;
    let handle = decompressor.0.as_ptr();
    let scale = raw::tjscalingfactor { num: part.eighths as c_int, denom: 8 };
    // SAFETY: the handle is live, the pointer and length are of one slice.
    let rc = unsafe {
        raw::tj3Set(handle, raw::TJPARAM_TJPARAM_SCANLIMIT as c_int, SCANS_MAX as c_int);
        raw::tj3DecompressHeader(handle, bytes.as_ptr(), bytes.len() as _)
    };
    let mut damaged = false;
    if rc != 0 {
        let complaint = decompressor.complaint();
        if complaint.fatal {
            return Err(complaint.into_error());
        }
        damaged |= !complaint.harmless();
    }
    // SAFETY: the handle is live and its header is read.
    if unsafe { raw::tj3SetScalingFactor(handle, reduced(scale)) } != 0 {
        return Err(decompressor.complaint().into_error());
    }
    let scaled = |parameter| (decompressor.get(parameter).max(0) as u64 * u64::from(part.eighths)).div_ceil(8);
    let (width, height) = (scaled(raw::TJPARAM_TJPARAM_JPEGWIDTH), scaled(raw::TJPARAM_TJPARAM_JPEGHEIGHT));
    let (right, bottom) = (part.at.0 + part.size.width, part.at.1 + part.size.height);
    if u64::from(right) > width || u64::from(bottom) > height || (part.whole && part.size.pixels() != width * height) {
        return Err(Error::broken(Format::Jpeg, "its frame is not what its header said"));
    }
    let mut cut = None;
    if !part.whole {
        let region = raw::tjregion {
            x: part.at.0 as c_int,
            y: part.at.1 as c_int,
            w: part.size.width as c_int,
            h: part.size.height as c_int,
        };
        // SAFETY: the handle is live, its header is read and its scale set.
        if unsafe { raw::tj3SetCroppingRegion(handle, region) } != 0 {
            // Sampling that TurboJPEG has no name for: it decodes such pictures, but does not cut them.
            cut = Some(Size::new(width as u32, height as u32));
        }
    }
    let size = cut.unwrap_or(part.size);
    let row_bytes = size.width as usize * layout.channels();
    let mut samples = vec![0; row_bytes * size.height as usize];
    samples[..row_bytes].iter_mut().zip(UNWRITTEN.iter().cycle()).for_each(|(sample, mark)| *sample = *mark);
    let format = match layout {
        Layout::Gray => raw::TJPF_TJPF_GRAY,
        Layout::Cmyk => raw::TJPF_TJPF_CMYK,
        _ => raw::TJPF_TJPF_RGB,
    };
    // SAFETY: `samples` holds `size.height` rows of `row_bytes`, and the checks above, made on what this very handle read
    // from these very bytes, say that the library writes no more rows and no wider ones.
    let rc = unsafe {
        let pitch = row_bytes as c_int;
        raw::tj3Decompress8(handle, bytes.as_ptr(), bytes.len() as _, samples.as_mut_ptr(), pitch, format as c_int)
    };
    if rc != 0 {
        let complaint = decompressor.complaint();
        let written = samples[..row_bytes].iter().zip(UNWRITTEN.iter().cycle()).any(|(sample, mark)| sample != mark);
        if complaint.fatal || !written {
            return Err(complaint.into_error());
        }
        damaged |= !complaint.harmless();
    }
    Ok((if cut.is_some() { cut_out(&samples, row_bytes, layout.channels(), part) } else { samples }, damaged))
}

/// TurboJPEG knows its factors in lowest terms only.
fn reduced(factor: raw::tjscalingfactor) -> raw::tjscalingfactor {
    let shift = (factor.num.trailing_zeros() as c_int).min(3);
    raw::tjscalingfactor { num: factor.num >> shift, denom: factor.denom >> shift }
}

/// A part of a whole scaled picture.
fn cut_out(samples: &[u8], row_bytes: usize, channels: usize, part: &Part) -> Vec<u8> {
    let (left, width) = (part.at.0 as usize * channels, part.size.width as usize * channels);
    let rows = samples.chunks_exact(row_bytes).skip(part.at.1 as usize).take(part.size.height as usize);
    rows.flat_map(|row| &row[left..left + width]).copied().collect()
}
