//! Tile pyramids: a picture at every power of two down to one pixel, cut into square tiles, as viewers of large pictures ask for them (the
//! levels are those of Deep Zoom images: the last is the picture itself, each before it half of it, rounded up). A tile is a variant
//! like others, cropped and reduced.

use crate::base::Size;

/// A picture's pyramid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pyramid {
    size: Size,
    tile: u32,
}

/// One size of the picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Its number: 0 is one pixel.
    pub level: u32,
    /// How many pixels of the picture one of its pixels is, across and down.
    pub scale: u64,
    /// Its size.
    pub size: Size,
    /// Tiles across.
    pub columns: u32,
    /// Tiles down.
    pub rows: u32,
}

impl Level {
    /// Tiles in all.
    pub fn tiles(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }
}

impl Pyramid {
    /// Of an upright picture, with tiles of so many pixels a side. None where either is nothing.
    pub fn new(size: Size, tile: u32) -> Option<Self> {
        (size.width > 0 && size.height > 0 && tile > 0).then_some(Self { size, tile })
    }

    /// Its levels, the largest first.
    pub fn levels(&self) -> impl Iterator<Item = Level> + use<> {
        let Self { size, tile } = *self;
        let last = size.width.max(size.height).next_power_of_two().ilog2();
        (0..=last).rev().map(move |level| {
            let scale = 1_u64 << (last - level);
            let side = |side: u32| u64::from(side).div_ceil(scale) as u32;
            let size = Size::new(side(size.width), side(size.height));
            Level { level, scale, size, columns: size.width.div_ceil(tile), rows: size.height.div_ceil(tile) }
        })
    }

    /// A tile as a URL's last segment, without the format: what of the picture it shows, and how large.
    pub fn tile(&self, level: &Level, column: u32, row: u32) -> String {
        let span = |at: u32, all: u32, full: u32| {
            let start = u64::from(at) * u64::from(self.tile);
            let length = u64::from(self.tile).min(u64::from(all).saturating_sub(start));
            let from = start * level.scale;
            (from, (length * level.scale).min(u64::from(full).saturating_sub(from)), length)
        };
        let (x, across, width) = span(column, level.size.width, self.size.width);
        let (y, down, height) = span(row, level.size.height, self.size.height);
        format!("w_{width},h_{height},fit_fill,crop_{x}:{y}:{across}:{down}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_down_to_one_pixel_and_tiles_cover_each_once() {
        for (width, height, tile) in
            [(1633, 1225, 256), (1, 1, 256), (512, 512, 512), (513, 100, 512), (40_000, 25_000, 512)]
        {
            let pyramid = Pyramid::new(Size::new(width, height), tile).unwrap();
            let levels: Vec<Level> = pyramid.levels().collect();
            assert_eq!(levels[0].size, Size::new(width, height));
            assert_eq!(levels.last().map(|last| (last.level, last.size)), Some((0, Size::new(1, 1))));
            for pair in levels.windows(2) {
                let half = Size::new(pair[0].size.width.div_ceil(2), pair[0].size.height.div_ceil(2));
                assert_eq!((pair[1].size, pair[1].level + 1), (half, pair[0].level));
            }
            for level in &levels {
                let read = |text: &str| -> Vec<u64> {
                    text.split(|letter: char| !letter.is_ascii_digit())
                        .filter_map(|digits| digits.parse().ok())
                        .collect()
                };
                let (mut shown, mut source) = (0, 0);
                for at in 0..level.tiles() as u32 {
                    let [w, h, _, _, across, down] =
                        read(&pyramid.tile(level, at % level.columns, at / level.columns))[..]
                    else {
                        panic!("six numbers")
                    };
                    shown += w * h;
                    source += across * down;
                    assert!(w <= across && h <= down, "nothing is enlarged");
                }
                assert_eq!((shown, source), (level.size.pixels(), Size::new(width, height).pixels()), "{level:?}");
            }
        }
        let pyramid = Pyramid::new(Size::new(1000, 700), 256).unwrap();
        let levels: Vec<Level> = pyramid.levels().collect();
        assert_eq!(pyramid.tile(&levels[0], 3, 2), "w_232,h_188,fit_fill,crop_768:512:232:188");
        assert_eq!(pyramid.tile(&levels[1], 1, 1), "w_244,h_94,fit_fill,crop_512:512:488:188");
        assert_eq!(Pyramid::new(Size::new(0, 5), 256), None);
    }
}
