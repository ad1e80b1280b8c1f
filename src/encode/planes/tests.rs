//! Vectors against plain loops.

use super::*;

#[test]
fn vectors_read_what_plain_loops_read() {
    let mut random = fastrand::Rng::with_seed(4);
    for width in [1, 2, 15, 16, 17, 18, 31, 32, 33, 47, 100, 257] {
        for matrix in [&FULL_RANGE, &VIDEO_RANGE] {
            let extreme = width % 2 == 0;
            let sample = |random: &mut fastrand::Rng| if extreme { 255 * random.u8(0..2) } else { random.u8(..) };
            let pixels: Vec<[u8; 3]> = (0..width).map(|_| std::array::from_fn(|_| sample(&mut random))).collect();
            let (mut row, mut luma) = (Row::new(width, matrix), vec![0; width]);
            row.read(&pixels, &mut luma);
            let (mut plain, mut cb, mut cr) = (vec![0; width], vec![0; width], vec![0; width]);
            read(&pixels, matrix, &mut plain, &mut cb, &mut cr);
            assert_eq!((&luma, &row.colours[0][..width], &row.colours[1][..width]), (&plain, &*cb, &*cr), "{width}");
            assert_eq!(row.colours[0].last(), cb.last());
            // The matrices' own numbers, within a rounding.
            let [red, green, blue] = pixels[0].map(f64::from);
            let right = 0.299 * red + 0.587 * green + 0.114 * blue;
            let right = if matrix.black == 0 { right } else { 16.0 + right * 219.0 / 255.0 };
            assert!((f64::from(luma[0]) - right).abs() < 0.6, "{} {right}", luma[0]);
        }
    }
}
