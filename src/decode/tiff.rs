//! Tiff.

use super::{Decoded, Error, Header};
use crate::base::{Format, Limits, Work};

pub fn probe(_: &[u8], _: &Limits) -> Result<Header, Error> {
    Err(Error::kind(Format::Tiff, "not read yet"))
}

pub fn decode(_: &[u8], _: &Header, _: &Limits, _: &Work) -> Result<Decoded, Error> {
    Err(Error::kind(Format::Tiff, "not read yet"))
}

pub fn bytes_of_work(_: &Header) -> u64 {
    0
}
