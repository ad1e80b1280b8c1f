//! What decoders do with samples of either width.

/// A value of a picture.
pub trait Sample: Copy + Default {
    /// From 0.0..=1.0; what lies outside is clipped.
    fn of(unit: f32) -> Self;
    /// To 0.0..=1.0.
    fn unit(self) -> f32;
}

impl Sample for u8 {
    fn of(unit: f32) -> Self {
        // A cast saturates, so it is the clip.
        (unit * 255.0 + 0.5) as Self
    }

    fn unit(self) -> f32 {
        f32::from(self) / 255.0
    }
}

impl Sample for u16 {
    fn of(unit: f32) -> Self {
        (unit * 65_535.0 + 0.5) as Self
    }

    fn unit(self) -> f32 {
        f32::from(self) / 65_535.0
    }
}

/// Divides colour by alpha, the last channel. Where alpha is 0 there is no colour to bring back.
pub fn unpremultiply<T: Sample>(samples: &mut [T], channels: usize) {
    for pixel in samples.chunks_exact_mut(channels) {
        let alpha = pixel[channels - 1].unit();
        if alpha > 0.0 {
            pixel[..channels - 1].iter_mut().for_each(|value| *value = T::of(value.unit() / alpha));
        }
    }
}
