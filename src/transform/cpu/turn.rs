//! The eight turns of a picture.

use crate::base::Orientation;
use crate::pixels::{Picture, Samples};
use crate::transform::geometry::Turn;

/// Turns a picture as an EXIF orientation says.
pub fn turn(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::Upright {
        return picture;
    }
    let turn = Turn::of(orientation);
    let size = orientation.apply(picture.size);
    let (from, to) = (picture.size.width as usize, (size.width as usize, size.height as usize));
    let samples = match (&picture.samples, picture.layout.channels()) {
        (Samples::U8(values), 1) => Samples::U8(turned::<u8, 1>(values, from, to, turn)),
        (Samples::U8(values), 2) => Samples::U8(turned::<u8, 2>(values, from, to, turn)),
        (Samples::U8(values), 3) => Samples::U8(turned::<u8, 3>(values, from, to, turn)),
        (Samples::U8(values), _) => Samples::U8(turned::<u8, 4>(values, from, to, turn)),
        (Samples::U16(values), 1) => Samples::U16(turned::<u16, 1>(values, from, to, turn)),
        (Samples::U16(values), 2) => Samples::U16(turned::<u16, 2>(values, from, to, turn)),
        (Samples::U16(values), 3) => Samples::U16(turned::<u16, 3>(values, from, to, turn)),
        (Samples::U16(values), _) => Samples::U16(turned::<u16, 4>(values, from, to, turn)),
    };
    Picture { size, samples, ..picture }
}

fn turned<T: Copy, const N: usize>(values: &[T], from_width: usize, to: (usize, usize), turn: Turn) -> Vec<T> {
    let pixels = values.as_chunks::<N>().0;
    let mut out = Vec::with_capacity(values.len());
    for y in 0..to.1 {
        let y = if turn.mirrors_y { to.1 - 1 - y } else { y };
        for x in 0..to.0 {
            let x = if turn.mirrors_x { to.0 - 1 - x } else { x };
            let at = if turn.swaps { x * from_width + y } else { y * from_width + x };
            out.extend_from_slice(&pixels[at]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::pixels::Layout;

    #[test]
    fn every_orientation() {
        // EXIF's own words: where row 0 and column 0 of the stored picture stand in the upright one.
        let stored = [1, 2, 3, 4, 5, 6];
        for (orientation, size, right) in [
            (1, (3, 2), [1, 2, 3, 4, 5, 6]),
            (2, (3, 2), [3, 2, 1, 6, 5, 4]),
            (3, (3, 2), [6, 5, 4, 3, 2, 1]),
            (4, (3, 2), [4, 5, 6, 1, 2, 3]),
            (5, (2, 3), [1, 4, 2, 5, 3, 6]),
            (6, (2, 3), [4, 1, 5, 2, 6, 3]),
            (7, (2, 3), [6, 3, 5, 2, 4, 1]),
            (8, (2, 3), [3, 6, 2, 5, 1, 4]),
        ] {
            let picture = Picture::srgb8(Size::new(3, 2), Layout::Gray, stored.to_vec());
            let turned = turn(picture, Orientation::from_exif(orientation));
            assert_eq!(turned.size, Size::new(size.0, size.1), "{orientation}");
            assert_eq!(turned.as_u8().unwrap(), right, "{orientation}");
        }
    }
}
