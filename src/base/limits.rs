//! Bounds on what a picture may ask for, checked from headers before anything is allocated.

/// What an original may be. Every bound can be set in the config.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most bytes of an original.
    pub source_bytes_max: u64,
    /// Most pixels of one frame.
    pub pixels_max: u64,
    /// Most pixels on one side.
    pub side_max: u32,
    /// An animation of so many frames or more is refused; frames are counted no further.
    pub frames_max: u32,
    /// Most pixels of all frames of an animation together; one with more is refused.
    pub animation_pixels_max: u64,
    /// Most bytes of one piece of metadata (ICC profile, EXIF).
    pub metadata_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes_max: 64 << 20,
            pixels_max: 100_000_000,
            side_max: 32_768,
            frames_max: 1_000,
            animation_pixels_max: 200_000_000,
            metadata_bytes_max: 4 << 20,
        }
    }
}
