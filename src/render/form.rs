//! Which form of an original a variant is rendered from: the original, or one of its mezzanines, reduced forms of high quality
//! that are made once and kept.
//!
//! The choice depends on the original, the category's settings and the plan alone, never on what happens to be cached, so the
//! bytes behind a URL do not depend on luck.

use super::order::Look;
use crate::base::{Format, Size};
use crate::decode::{Header, Model};
use crate::plan::{Metadata, Plan};
use crate::transform::Geometry;

/// How much larger than the result the part of a mezzanine that is shown must be, in hundredths. Below it the loss against the
/// original grows quickly, above it decoding costs more for nothing that is seen.
const MARGIN_PERCENT: u32 = 155;

/// How much wider than a mezzanine an original must be, in hundredths: a mezzanine nearly as large as its original saves no work.
const WORTH_PERCENT: u32 = 200;

/// What a variant is rendered from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// The original.
    Original,
    /// The mezzanine of this width (of the upright picture).
    Mezzanine(u32),
}

/// Which mezzanines a category keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mezzanines {
    /// None: every variant is rendered from the original.
    Off,
    /// 640 and 1280 pixels wide.
    #[default]
    On,
    /// 2560 too.
    Large,
}

impl Mezzanines {
    /// Their widths, ascending.
    pub const fn widths(self) -> &'static [u32] {
        match self {
            Self::Off => &[],
            Self::On => &[640, 1280],
            Self::Large => &[640, 1280, 2560],
        }
    }
}

/// The widths of the mezzanines that an original has, ascending, by its header. Animations, vectors and palettes have none: their
/// colours are few, and they are rendered as they are.
pub fn widths(original: &Header, look: &Look) -> Vec<u32> {
    let stands = match original.format {
        Format::Jpeg | Format::Png | Format::WebP | Format::Avif | Format::Tiff | Format::Bmp => original.frames == 1,
        Format::Gif | Format::Svg => false,
    };
    if !stands || matches!(original.model, Model::Palette(_)) {
        return Vec::new();
    }
    let wide =
        |width: &&u32| u64::from(original.upright().width) * 100 >= u64::from(**width) * u64::from(WORTH_PERCENT);
    look.mezzanines.widths().iter().filter(wide).copied().collect()
}

/// The size of a mezzanine, as it is stored: turned like the original.
pub fn size(original: &Header, width: u32) -> Size {
    let scale = f64::from(width) / f64::from(original.upright().width);
    let side = |px: u32| (f64::from(px) * scale).round().max(1.0) as u32;
    Size::new(side(original.size.width), side(original.size.height))
}

/// The form that a plan is rendered from: the smallest that shows the wanted part 1.55 times as large as the result.
/// `widths` are the mezzanines that the original has; `exif` says whether it has metadata that a plan may want to keep.
pub fn form(original: &Header, widths: &[u32], exif: bool, geometry: &Geometry, plan: &Plan) -> Form {
    // A mezzanine is in sRGB and holds no metadata.
    if plan.keep_profile || (exif && plan.metadata != Metadata::None) {
        return Form::Original;
    }
    let [_, _, part_width, part_height] = geometry.region;
    let suffices = |width: &&u32| {
        let scale = f64::from(**width) / f64::from(original.upright().width);
        // Sizes are whole pixels, so a pixel is granted.
        let enough =
            |part: f64, target: u32| part * scale + 1.0 >= f64::from(target) * f64::from(MARGIN_PERCENT) / 100.0;
        enough(part_width, geometry.scaled.width) && enough(part_height, geometry.scaled.height)
    };
    widths.iter().find(suffices).map_or(Form::Original, |width| Form::Mezzanine(*width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Orientation;
    use crate::plan::Crop;
    use crate::transform;

    fn header(width: u32, height: u32) -> Header {
        Header {
            format: Format::Jpeg,
            size: Size::new(width, height),
            orientation: Orientation::Upright,
            alpha: false,
            frames: 1,
            loops: 0,
            bits: 8,
            model: Model::Rgb,
            progressive: false,
            streams: true,
            icc: None,
            exif: None,
        }
    }

    fn chosen(original: &Header, mezzanines: Mezzanines, plan: &Plan) -> Form {
        let look = Look { mezzanines, ..Look::default() };
        let geometry = transform::geometry(original.size, original.orientation, false, plan).unwrap();
        form(original, &widths(original, &look), true, &geometry, plan)
    }

    #[test]
    fn the_smallest_mezzanine_with_the_margin_is_chosen() {
        let landscape = header(4243, 2828);
        let check = |original: &Header, mezzanines, plan: Plan, expected| {
            assert_eq!(chosen(original, mezzanines, &plan), expected, "{plan:?} of {:?}", original.size);
        };
        let wide = |width| Plan { width: Some(crate::plan::Width::Px(width)), ..Plan::DEFAULT };
        use Form::{Mezzanine, Original};
        use Mezzanines::{Large, Off, On};
        for (width, expected) in [
            (1, Mezzanine(640)),
            (400, Mezzanine(640)),
            (413, Mezzanine(640)),
            (414, Mezzanine(1280)),
            (826, Mezzanine(1280)),
            (827, Original),
        ] {
            check(&landscape, On, wide(width), expected);
        }
        check(&landscape, Off, wide(100), Original);
        // 2560 is worth its bytes only for what is twice as wide.
        check(&landscape, Large, wide(1600), Original);
        check(&header(6532, 3674), Large, wide(1600), Mezzanine(2560));
        check(&header(6532, 3674), On, wide(2000), Original);
        check(&header(1279, 900), On, wide(100), Original);
        check(&header(1280, 900), On, wide(100), Mezzanine(640));
        // The device pixel ratio multiplies the result.
        check(&landscape, On, Plan { dpr: crate::plan::Dpr(200), ..wide(400) }, Mezzanine(1280));
        // A crop shows less of the mezzanine, so the margin counts in the region.
        let quarter = Plan { crop: Some(Crop::Fraction(0.25, 0.25, 0.5, 0.5)), ..wide(400) };
        check(&landscape, On, quarter.clone(), Mezzanine(1280));
        check(&landscape, On, Plan { crop: Some(Crop::Fraction(0.0, 0.0, 0.25, 0.25)), ..quarter }, Original);
        // A cover keeps a part: 200 x 200 of a landscape shows two thirds of its width.
        let square = Plan {
            width: Some(crate::plan::Width::Px(200)),
            height: Some(200),
            fit: crate::plan::Fit::Cover,
            ..Plan::DEFAULT
        };
        check(&landscape, On, square, Mezzanine(640));
        // What a mezzanine does not hold.
        check(&landscape, On, Plan { keep_profile: true, ..wide(100) }, Original);
        check(&landscape, On, Plan { metadata: Metadata::All, ..wide(100) }, Original);
    }

    #[test]
    fn a_turned_original_counts_upright_and_its_mezzanine_is_turned_like_it() {
        let turned = Header { orientation: Orientation::Rotate90, ..header(3000, 2000) };
        assert_eq!(turned.upright(), Size::new(2000, 3000));
        assert_eq!(size(&turned, 640), Size::new(960, 640));
        let plan = Plan { width: Some(crate::plan::Width::Px(400)), ..Plan::DEFAULT };
        assert_eq!(chosen(&turned, Mezzanines::On, &plan), Form::Mezzanine(640));
    }

    #[test]
    fn graphics_vectors_and_animations_have_no_mezzanines() {
        let look = Look::default();
        assert_eq!(widths(&header(4000, 3000), &look), [640, 1280]);
        assert!(widths(&Header { format: Format::Svg, ..header(4000, 3000) }, &look).is_empty());
        assert!(widths(&Header { format: Format::Gif, ..header(4000, 3000) }, &look).is_empty());
        assert!(widths(&Header { format: Format::WebP, frames: 2, ..header(4000, 3000) }, &look).is_empty());
        assert!(widths(&Header { model: Model::Palette(16), ..header(4000, 3000) }, &look).is_empty());
    }
}
