//! From luma and chroma of one size to 8-bit RGB.

/// Pixels that are converted together.
const PIXELS: usize = 32;

/// A row.
#[inline(always)]
pub fn rgb_row(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<PIXELS>();
    let (blue, blue_rest) = blue.as_chunks::<PIXELS>();
    let (red, red_rest) = red.as_chunks::<PIXELS>();
    let (out, out_rest) = out.as_chunks_mut::<{ 3 * PIXELS }>();
    for at in 0..out.len() {
        rgb(&luma[at], &blue[at], &red[at], &mut out[at]);
    }
    let (mut y, mut b, mut r) = ([0; PIXELS], [0; PIXELS], [0; PIXELS]);
    y[..luma_rest.len()].copy_from_slice(luma_rest);
    b[..blue_rest.len()].copy_from_slice(blue_rest);
    r[..red_rest.len()].copy_from_slice(red_rest);
    let mut pixels = [0; 3 * PIXELS];
    rgb(&y, &b, &r, &mut pixels);
    out_rest.copy_from_slice(&pixels[..out_rest.len()]);
}

/// YCbCr of JFIF (ITU-R BT.601, full range) to RGB, in 16 bits of fraction.
#[inline(always)]
fn rgb(luma: &[u8; PIXELS], blue: &[u8; PIXELS], red: &[u8; PIXELS], pixels: &mut [u8; 3 * PIXELS]) {
    for lane in 0..PIXELS {
        let luma = (i32::from(luma[lane]) << 16) + (1 << 15);
        let (blue, red) = (i32::from(blue[lane]) - 128, i32::from(red[lane]) - 128);
        pixels[3 * lane] = ((luma + 91_881 * red) >> 16).clamp(0, 255) as u8;
        pixels[3 * lane + 1] = ((luma - 22_554 * blue - 46_802 * red) >> 16).clamp(0, 255) as u8;
        pixels[3 * lane + 2] = ((luma + 116_130 * blue) >> 16).clamp(0, 255) as u8;
    }
}
