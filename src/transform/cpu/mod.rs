//! The steps on the CPU, one a file. Each works on rows or on the small picture; none holds a second full-size picture.

mod blur;
mod canvas;
mod colour;
mod filter;
mod gray;
mod lanes;
mod light;
mod resize;
mod scale;
mod turn;

pub(super) use blur::{blur, sharpen};
pub(super) use canvas::{Backdrop, canvas};
pub(super) use colour::{Colours, columns};
pub(super) use gray::gray;
pub(super) use resize::{exact, resize};
pub(super) use scale::{Scale, bytes_of_scale};
pub(super) use turn::turn;
