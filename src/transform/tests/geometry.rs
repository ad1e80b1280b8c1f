//! Geometry by table, and its bounds for all plans.

use proptest::prelude::*;

use super::*;
use crate::plan::Dpr;

fn plan(width: u32, height: u32, fit: Fit) -> Plan {
    let side = |px: u32| (px > 0).then_some(px);
    Plan { width: side(width).map(Width::Px), height: side(height), fit, ..Plan::DEFAULT }
}

/// A 0 for a side is none.
fn check(
    stored: (u32, u32),
    plan: &Plan,
    region: [f64; 4],
    scaled: (u32, u32),
    canvas: (u32, u32),
    offset: (u32, u32),
) {
    let found = geometry(Size::new(stored.0, stored.1), Orientation::Upright, false, plan).unwrap();
    for (found, right) in found.region.iter().zip(region) {
        assert!((found - right).abs() < 1e-4, "{:?} of {stored:?}: {found:?} not {region:?}", plan.fit);
    }
    assert_eq!(
        (found.scaled, found.canvas, found.offset),
        (size(scaled), size(canvas), offset),
        "{plan:?} of {stored:?}"
    );
}

fn size((width, height): (u32, u32)) -> Size {
    Size::new(width, height)
}

#[test]
fn fits() {
    let all = [0.0, 0.0, 1000.0, 500.0];
    for (box_size, fit, region, scaled, canvas, offset) in [
        ((0, 0), Fit::Contain, all, (1000, 500), (1000, 500), (0, 0)),
        ((400, 0), Fit::Contain, all, (400, 200), (400, 200), (0, 0)),
        ((0, 100), Fit::Cover, all, (200, 100), (200, 100), (0, 0)),
        ((400, 400), Fit::Contain, all, (400, 200), (400, 200), (0, 0)),
        ((2000, 2000), Fit::Contain, all, (1000, 500), (1000, 500), (0, 0)),
        ((1, 1), Fit::Contain, all, (1, 1), (1, 1), (0, 0)),
        ((200, 200), Fit::Cover, [250.0, 0.0, 500.0, 500.0], (200, 200), (200, 200), (0, 0)),
        // Larger than the picture: its ratio, not its size.
        ((1000, 1000), Fit::Cover, [250.0, 0.0, 500.0, 500.0], (500, 500), (500, 500), (0, 0)),
        ((4000, 1000), Fit::Cover, [0.0, 125.0, 1000.0, 250.0], (1000, 250), (1000, 250), (0, 0)),
        ((300, 300), Fit::Fill, all, (300, 300), (300, 300), (0, 0)),
        ((300, 1000), Fit::Fill, all, (150, 500), (150, 500), (0, 0)),
        ((400, 400), Fit::Pad, all, (400, 200), (400, 400), (0, 100)),
        ((1500, 800), Fit::Pad, all, (1000, 500), (1500, 800), (250, 150)),
        ((100, 0), Fit::Pad, all, (100, 50), (100, 50), (0, 0)),
        ((300, 200), Fit::Crop, [350.0, 150.0, 300.0, 200.0], (300, 200), (300, 200), (0, 0)),
        ((3000, 200), Fit::Crop, [0.0, 150.0, 1000.0, 200.0], (1000, 200), (1000, 200), (0, 0)),
        ((0, 200), Fit::Crop, [0.0, 150.0, 1000.0, 200.0], (1000, 200), (1000, 200), (0, 0)),
    ] {
        check((1000, 500), &plan(box_size.0, box_size.1, fit), region, scaled, canvas, offset);
    }
}

#[test]
fn enlarging_is_asked_for() {
    let up = |box_size: (u32, u32), fit| Plan { enlarge: true, ..plan(box_size.0, box_size.1, fit) };
    let all = [0.0, 0.0, 100.0, 50.0];
    check((100, 50), &up((400, 400), Fit::Contain), all, (400, 200), (400, 200), (0, 0));
    check((100, 50), &up((400, 400), Fit::Fill), all, (400, 400), (400, 400), (0, 0));
    check((100, 50), &up((400, 400), Fit::Cover), [25.0, 0.0, 50.0, 50.0], (400, 400), (400, 400), (0, 0));
    check((100, 50), &up((0, 0), Fit::Contain), all, (100, 50), (100, 50), (0, 0));
    // A vector is not bound.
    let vector = geometry(Size::new(24, 24), Orientation::Upright, true, &plan(512, 512, Fit::Contain)).unwrap();
    assert_eq!(vector.scaled, Size::new(512, 512));
}

#[test]
fn gravity_says_what_stays() {
    for (gravity, x) in [
        (Gravity::Point(0.0, 0.5), 0.0),
        (Gravity::Point(0.5, 0.0), 250.0),
        (Gravity::Point(1.0, 1.0), 500.0),
        (Gravity::Focal(0.0, 0.5), 0.0),
        (Gravity::Focal(0.3, 0.5), 50.0),
        (Gravity::Focal(0.5, 0.5), 250.0),
        (Gravity::Focal(0.9, 0.1), 500.0),
    ] {
        let plan = Plan { gravity, ..plan(100, 100, Fit::Cover) };
        check((1000, 500), &plan, [x, 0.0, 500.0, 500.0], (100, 100), (100, 100), (0, 0));
    }
    let pad = Plan { gravity: Gravity::Point(1.0, 0.0), ..plan(400, 400, Fit::Pad) };
    check((1000, 500), &pad, [0.0, 0.0, 1000.0, 500.0], (400, 200), (400, 400), (0, 0));
}

#[test]
fn crops_are_clipped_and_device_pixels_count() {
    let crop = |crop| Plan { crop: Some(crop), ..Plan::DEFAULT };
    let cut = |region: [f64; 4], crop_of| {
        let px = (region[2] as u32, region[3] as u32);
        check((1000, 500), &crop(crop_of), region, px, px, (0, 0));
    };
    cut([10.0, 20.0, 30.0, 40.0], Crop::Px(10, 20, 30, 40));
    cut([990.0, 490.0, 10.0, 10.0], Crop::Px(990, 490, 300, 400));
    cut([250.0, 125.0, 500.0, 250.0], Crop::Fraction(0.25, 0.25, 0.5, 0.5));
    cut([1.0, 0.0, 1.0, 1.0], Crop::Fraction(0.001, 0.0, 0.000_1, 0.001));
    for outside in
        [Crop::Px(1000, 0, 1, 1), Crop::Px(0, 9000, 10, 10), Crop::Fraction(1.0, 0.0, 0.1, 0.1), Crop::Px(1, 1, 0, 5)]
    {
        let found = geometry(Size::new(1000, 500), Orientation::Upright, false, &crop(outside));
        assert!(matches!(found, Err(Error::CropOutside(_))), "{outside:?}");
    }
    let double = Plan { dpr: Dpr(200), pad: [1, 2, 3, 4], ..plan(100, 0, Fit::Contain) };
    check((1000, 500), &double, [0.0, 0.0, 1000.0, 500.0], (200, 100), (212, 108), (8, 2));
}

#[test]
fn turns_come_back_to_the_file() {
    // A landscape file that is shown as a portrait (6: clockwise): the top of what is seen is the left of the file.
    let top = Plan { gravity: Gravity::Point(0.5, 0.0), ..plan(100, 100, Fit::Cover) };
    let found = geometry(Size::new(1000, 500), Orientation::Rotate90, false, &top).unwrap();
    assert_eq!((found.region, found.turn), ([0.0, 0.0, 500.0, 500.0], Orientation::Rotate90));
    // The crop region is seen upright: its left top corner is the file's left bottom.
    let crop = Plan { crop: Some(Crop::Px(0, 0, 50, 200)), ..Plan::DEFAULT };
    let found = geometry(Size::new(1000, 500), Orientation::Rotate90, false, &crop).unwrap();
    assert_eq!(
        (found.region, found.scaled, found.canvas),
        ([0.0, 450.0, 200.0, 50.0], size((200, 50)), size((50, 200)))
    );
    // A turn by hand after it, and a mirror: 90 + 90 + left to right = top to bottom.
    let flip = Flip { horizontal: true, vertical: false };
    let both = Plan { rotate: 90, flip, ..plan(500, 0, Fit::Contain) };
    let found = geometry(Size::new(1000, 500), Orientation::Rotate90, false, &both).unwrap();
    assert_eq!(
        (found.turn, found.scaled, found.canvas),
        (Orientation::FlipVertical, size((500, 250)), size((500, 250)))
    );
}

#[test]
fn turns_compose_as_pictures_do() {
    use crate::pixels::{Layout, Picture};
    let picture = || Picture::srgb8(size((3, 2)), Layout::Gray, vec![1, 2, 3, 4, 5, 6]);
    for first in 1..=8 {
        for second in 1..=8 {
            let (first, second) = (Orientation::from_exif(first), Orientation::from_exif(second));
            let one_by_one = crate::transform::cpu::turn(crate::transform::cpu::turn(picture(), first), second);
            let at_once = crate::transform::cpu::turn(picture(), Turn::of(first).then(Turn::of(second)).orientation());
            assert_eq!(one_by_one, at_once, "{first:?} {second:?}");
        }
    }
}

fn gravities() -> impl Strategy<Value = Gravity> {
    let at = || 0.0f32..=1.0;
    prop_oneof![
        (at(), at()).prop_map(|(x, y)| Gravity::Point(x, y)),
        (at(), at()).prop_map(|(x, y)| Gravity::Focal(x, y))
    ]
}

fn crops() -> impl Strategy<Value = Option<Crop>> {
    let part = || 0.0f32..=1.0;
    prop_oneof![
        Just(None),
        (0..3000u32, 0..3000u32, 1..3000u32, 1..3000u32).prop_map(|(x, y, w, h)| Some(Crop::Px(x, y, w, h))),
        (part(), part(), 0.001f32..=1.0, 0.001f32..=1.0).prop_map(|(x, y, w, h)| Some(Crop::Fraction(x, y, w, h))),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let fits = prop_oneof![Just(Fit::Contain), Just(Fit::Cover), Just(Fit::Fill), Just(Fit::Pad), Just(Fit::Crop)];
    let side = || proptest::option::of(1..4000u32);
    let turns = (0..4u16, any::<bool>(), any::<bool>(), any::<bool>());
    (side(), side(), fits, gravities(), crops(), turns, 100..=800u16, proptest::array::uniform4(0..50u32)).prop_map(
        |(width, height, fit, gravity, crop, (quarter, horizontal, vertical, enlarge), dpr, pad)| Plan {
            width: width.map(Width::Px),
            height,
            fit,
            gravity,
            crop,
            rotate: quarter * 90,
            flip: Flip { horizontal, vertical },
            dpr: Dpr(dpr),
            enlarge,
            pad,
            ..Plan::DEFAULT
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn geometry_never_leaves_its_bounds(
        plan in plans(), width in 1..5000u32, height in 1..5000u32, orientation in 1..=8u32, vector: bool,
    ) {
        let stored = Size::new(width, height);
        let Ok(found) = geometry(stored, Orientation::from_exif(orientation), vector, &plan) else { return Ok(()) };
        let [x, y, w, h] = found.region;
        prop_assert!(x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0);
        prop_assert!(x + w <= f64::from(width) + 1e-6 && y + h <= f64::from(height) + 1e-6, "{:?}", found);
        let px = found.region_px(stored);
        prop_assert!(px.x + px.width <= width && px.y + px.height <= height);
        prop_assert!(found.scaled.width >= 1 && found.scaled.height >= 1);
        if !plan.enlarge && !vector {
            prop_assert!(f64::from(found.scaled.width) <= w + 0.5001 && f64::from(found.scaled.height) <= h + 0.5001, "{:?}", found);
        }
        let shown = found.turn.apply(found.scaled);
        prop_assert!(found.offset.0 + shown.width <= found.canvas.width && found.offset.1 + shown.height <= found.canvas.height);
        let dpr = f64::from(plan.dpr.0) / 100.0;
        let border = |a: usize, b: usize| f64::from(plan.pad[a] + plan.pad[b]) * dpr + 2.0;
        if let Some(Width::Px(asked)) = plan.width {
            prop_assert!(f64::from(found.canvas.width) <= f64::from(asked) * dpr + border(1, 3));
        }
        if let Some(asked) = plan.height {
            prop_assert!(f64::from(found.canvas.height) <= f64::from(asked) * dpr + border(0, 2));
        }
        if plan.fit == Fit::Contain {
            prop_assert!((w - px.width as f64).abs() < 2.0);
        }
    }
}
