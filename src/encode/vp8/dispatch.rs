//! Which vectors encode.
#![allow(unsafe_code)]

use super::frame::{self, Failed};
use super::kernels::Portable;
use crate::base::Work;
use crate::encode::planes::Planes;

/// Encodes planes in video's range with colour at half resolution, at a quality from 1 to 100: the data of a `VP8 ` chunk.
///
/// # Errors
/// [`Failed::TooLarge`] where a part passes what the format can say of its length; [`Failed::Stopped`] by the deadline, which is asked
/// at each row of macroblocks.
pub fn encode(planes: &Planes, quality: u8, work: &Work) -> Result<Vec<u8>, Failed> {
    #[cfg(target_arch = "x86_64")]
    if crate::encode::has_vectors() {
        // SAFETY: the machine has what the function is compiled for.
        return unsafe { by_avx2(planes, quality, work) };
    }
    encode_plainly(planes, quality, work)
}

/// The same without vectors: slower, the same bytes.
///
/// # Errors
/// As [`encode`].
pub fn encode_plainly(planes: &Planes, quality: u8, work: &Work) -> Result<Vec<u8>, Failed> {
    frame::encode_by::<Portable>(planes, quality, work)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn by_avx2(planes: &Planes, quality: u8, work: &Work) -> Result<Vec<u8>, Failed> {
    frame::encode_by::<super::avx2::Avx2>(planes, quality, work)
}
