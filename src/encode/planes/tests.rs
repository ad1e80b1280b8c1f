//! Vectors against plain loops, and both against what is decoded.

use super::*;

fn pixels(width: usize, height: usize, mut of: impl FnMut(usize, usize) -> [u8; 3]) -> (Vec<u8>, Size) {
    let rgb = (0..width * height).flat_map(|at| of(at % width, at / width)).collect();
    (rgb, Size::new(width as u32, height as u32))
}

#[test]
fn vectors_make_what_plain_loops_make() {
    let mut random = fastrand::Rng::with_seed(4);
    for (width, height) in [(1, 1), (2, 3), (15, 2), (16, 5), (17, 4), (31, 1), (33, 7), (257, 3)] {
        for matrix in [&FULL_RANGE, &VIDEO_RANGE] {
            let extreme = width % 2 == 0;
            let mut sample = || if extreme { 255 * random.u8(0..2) } else { random.u8(..) };
            let (rgb, size) = pixels(width, height, |_, _| [sample(), sample(), sample()]);
            let plainly = halved::planes::<words::Portable>(&rgb, size, matrix);
            assert_eq!(dispatch::halved(&rgb, size, matrix).values, plainly.values, "{width}x{height}");
        }
    }
}

/// Light of a value from 0 to 255, <https://www.w3.org/Graphics/Color/sRGB>.
fn light(value: f64) -> f64 {
    let value = value.clamp(0.0, 255.0) / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn luminance([red, green, blue]: [f64; 3]) -> f64 {
    0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue)
}

/// What a decoder makes of planes in full range: colours spread bilinearly.
fn decoded(planes: &Planes) -> Vec<[f64; 3]> {
    let (width, height) = (planes.size.width as usize, planes.size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let beside = |at: usize, count: usize| {
        if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { (at / 2 + 1).min(count - 1) }
    };
    let colour = |plane: &[u8], x: usize, y: usize| {
        let at = |x: usize, y: usize| f64::from(plane[y * half_width + x]) - 128.0;
        let (other_x, other_y) = (beside(x, half_width), beside(y, half_height));
        let (x, y) = (x / 2, y / 2);
        (9.0 * at(x, y) + 3.0 * at(other_x, y) + 3.0 * at(x, other_y) + at(other_x, other_y)) / 16.0
    };
    (0..width * height)
        .map(|at| {
            let [luma, cb, cr] = &planes.values;
            let (x, y) = (at % width, at / width);
            let (luma, cb, cr) = (f64::from(luma[at]), colour(cb, x, y), colour(cr, x, y));
            [luma + 1.402 * cr, luma - 0.344_136 * cb - 0.714_136 * cr, luma + 1.772 * cb]
        })
        .collect()
}

#[test]
fn one_colour_stays_what_it_is() {
    for colour in [[0, 0, 0], [255, 255, 255], [128, 128, 128], [250, 20, 30], [10, 200, 90], [30, 40, 250]] {
        let (rgb, size) = pixels(37, 5, |_, _| colour);
        for found in decoded(&Planes::full(&rgb, size)) {
            let off = found.iter().zip(colour).map(|(a, b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
            assert!(off < 2.0, "{colour:?} became {found:?}");
        }
    }
    // Gray is gray: its luma is its value, and no colour comes of it.
    let (rgb, size) = pixels(256, 2, |x, _| [x as u8; 3]);
    let planes = Planes::full(&rgb, size);
    assert_eq!(planes.values[0][..256], (0..=255).collect::<Vec<u8>>());
    assert!(planes.values[1..].iter().flatten().all(|value| *value == 128));
    let video = Planes::video(&rgb, size);
    assert_eq!((video.values[0][0], video.values[0][255]), (16, 235));
}

#[test]
fn an_edge_between_colours_is_as_bright_as_it_was() {
    // Letters a pixel wide, at every place beside two by two.
    let (rgb, size) =
        pixels(64, 64, |x, y| if (x + y / 9) % 7 == 0 || y % 9 == 0 { [190, 100, 80] } else { [80, 110, 170] });
    let off = |planes: &Planes| {
        let wanted = rgb.as_chunks::<3>().0.iter().map(|pixel| luminance(pixel.map(f64::from)));
        decoded(planes).into_iter().zip(wanted).map(|(found, wanted)| (luminance(found) - wanted).abs()).sum::<f64>()
    };
    let mut planes = Planes::full(&rgb, size);
    let ours = off(&planes);
    planes.values[0] = rgb
        .as_chunks::<3>()
        .0
        .iter()
        .map(|pixel| {
            let [red, green, blue] = pixel.map(f64::from);
            (0.299 * red + 0.587 * green + 0.114 * blue).round() as u8
        })
        .collect();
    let plain = off(&planes);
    assert!(ours * 5.0 < plain, "{ours} beside {plain}");
}

#[test]
fn a_hue_that_is_far_off_is_not_made_bright() {
    let (rgb, size) = pixels(64, 64, |x, y| if (x / 5 + y / 7) % 2 == 0 { [230, 16, 16] } else { [0, 32, 192] });
    let planes = Planes::full(&rgb, size);
    let mut most = 0.0_f64;
    for (pixel, luma) in rgb.as_chunks::<3>().0.iter().zip(&planes.values[0]) {
        let [red, green, blue] = pixel.map(f64::from);
        most = most.max((f64::from(*luma) - (0.299 * red + 0.587 * green + 0.114 * blue)).abs());
    }
    assert!(most > 20.0 && most < 25.0, "{most}");
}
