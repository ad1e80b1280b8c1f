//! Which vectors make planes.
#![allow(unsafe_code)]

use super::{Matrix, Planes, halved, words};
use crate::base::Size;

/// Planes of RGB with colour at half resolution.
pub fn halved(rgb: &[u8], size: Size, matrix: &Matrix) -> Planes {
    #[cfg(target_arch = "x86_64")]
    if crate::encode::has_vectors() {
        // SAFETY: the one requirement, that the machine has these, was just asked.
        return unsafe { halved_avx2(rgb, size, matrix) };
    }
    halved::planes::<words::Portable>(rgb, size, matrix)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn halved_avx2(rgb: &[u8], size: Size, matrix: &Matrix) -> Planes {
    halved::planes::<words::Avx2>(rgb, size, matrix)
}
