//! SVG.

use super::{Decoded, Error, Header, Want};
use crate::base::{Format, Limits, Work};

pub fn probe(_: &[u8], _: &Limits) -> Result<Header, Error> {
    Err(Error::kind(Format::Svg, "not read yet"))
}

pub fn decode(_: &[u8], _: &Header, _: &Want, _: &Limits, _: &Work) -> Result<Decoded, Error> {
    Err(Error::kind(Format::Svg, "not read yet"))
}

pub fn bytes_of_work(_: &Header, _: &Want) -> u64 {
    0
}
