//! Several reductions of one source in one pass over it: what mezzanines are made of.

use super::{Error, timed};
use crate::base::{Limits, Size, Stage, Stages, Work};
use crate::decode::{self, Header, Model, Want};
use crate::pixels::Picture;
use crate::transform;

/// What [`reduce_many`] made.
#[derive(Debug)]
pub struct Reduced {
    /// Upright, sRGB (or gray with its curve), 8 bits a sample, in the order of the sizes.
    pub pictures: Vec<Picture>,
    /// Whether the original was broken and this is what could be saved of it.
    pub damaged: bool,
    /// Where the time went.
    pub stages: Stages,
}

/// Reduces the whole (first) picture to several upright sizes, the largest first, on the caller's thread: from the source at
/// full scale, in linear light; each after the first from the one before it.
///
/// # Errors
/// What the decoder says of the source, and [`Error::Refused`] where the work was stopped.
pub fn reduce_many(
    source: &[u8],
    header: &Header,
    sizes: &[Size],
    limits: &Limits,
    work: &Work,
) -> Result<Reduced, Error> {
    let mut stages = Stages::default();
    let want = want(header, sizes);
    let decoded = timed(&mut stages, Stage::Decode, || decode::decode(source, header, &want, limits, work))?;
    let damaged = decoded.damaged;
    let pictures = timed(&mut stages, Stage::Transform, || {
        transform::reduce(decoded.picture, decoded.covers, header.size, header.orientation, sizes, work)
    })?;
    Ok(Reduced { pictures, damaged, stages })
}

/// An upper bound of the bytes that [`reduce_many`] holds at once beside the source, its results included.
pub fn bytes_of_reduce(header: &Header, sizes: &[Size]) -> u64 {
    let want = want(header, sizes);
    let channels = if header.alpha || header.model == Model::Cmyk { 4 } else { 3 };
    let decoded = if header.format == crate::base::Format::Svg { want.target } else { header.size };
    decode::bytes_of_work(header, &want) + transform::bytes_of_reduce(decoded, channels, header.orientation, sizes)
}

fn want(header: &Header, sizes: &[Size]) -> Want {
    let target = sizes.first().map_or(header.size, |size| header.orientation.apply(*size));
    Want { region: header.size.rect(), target, margin_percent: 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Deadline, Orientation};

    #[test]
    fn a_turned_original_comes_out_upright_and_in_every_size() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let limits = Limits::default();
        let work = Work::until(Deadline::after(Duration::from_secs(20)));
        let sizes = [Size::new(40, 30), Size::new(16, 12)];
        for exif in 1..=8 {
            let bytes = std::fs::read(folder.join(format!("orientation_{exif}.jpg"))).unwrap();
            let header = decode::probe(&bytes, &limits).unwrap();
            assert_eq!(header.orientation, Orientation::from_exif(exif));
            let reduced = reduce_many(&bytes, &header, &sizes, &limits, &work).unwrap();
            assert!(!reduced.damaged);
            assert_eq!(reduced.pictures.iter().map(|picture| picture.size).collect::<Vec<_>>(), sizes);
            for picture in &reduced.pictures {
                // Top left is red, top right is green.
                let at = |x: u32| &picture.as_u8().unwrap()[(x * 3 + picture.size.width * 6) as usize..][..3];
                let (left, right) = (at(2), at(picture.size.width - 3));
                assert!(left[0] > 150 && left[1] < 80, "{exif}: {left:?}");
                assert!(right[1] > 110 && right[0] < 80, "{exif}: {right:?}");
            }
            assert!(bytes_of_reduce(&header, &sizes) > 64 * 48 * 3 + 40 * 30 * 3);
        }
    }
}
