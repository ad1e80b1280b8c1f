//! The image formats Fovea reads and writes, told apart by content.

/// An image format. Reads all of them; writes those for which [`Format::writable`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Format {
    /// JPEG: baseline, progressive, gray, CMYK.
    Jpeg,
    /// PNG, every depth, palette, interlaced.
    Png,
    /// WebP: lossy, lossless, animated.
    WebP,
    /// AVIF still images.
    Avif,
    /// GIF, animated or not.
    Gif,
    /// TIFF, read only.
    Tiff,
    /// BMP, read only.
    Bmp,
    /// SVG, read only, rendered at the wanted size.
    Svg,
}

impl Format {
    /// Every format, in declaration order.
    pub const ALL: [Self; 8] =
        [Self::Jpeg, Self::Png, Self::WebP, Self::Avif, Self::Gif, Self::Tiff, Self::Bmp, Self::Svg];

    /// Tells the format from the first bytes (256 suffice but for an SVG with a long prologue, where 4 KiB are looked
    /// at). A file's name is never asked.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"II*\0") || starts(b"MM\0*") {
            Some(Self::Tiff)
        } else if starts(b"BM") && bytes.get(6..10) == Some(&[0; 4]) {
            Some(Self::Bmp)
        } else if is_avif(bytes) {
            Some(Self::Avif)
        } else if is_svg(bytes) {
            Some(Self::Svg)
        } else {
            None
        }
    }

    /// The media type, as in `Content-Type`.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Avif => "image/avif",
            Self::Gif => "image/gif",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Svg => "image/svg+xml",
        }
    }

    /// The extension used in URLs; also the format's short name in metadata, metrics and JSON.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Avif => "avif",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::Svg => "svg",
        }
    }

    /// The format that a canonical extension names.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// Whether Fovea encodes it.
    pub const fn writable(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::WebP | Self::Avif | Self::Gif)
    }

    /// Whether the format can hold transparency.
    pub const fn holds_alpha(self) -> bool {
        !matches!(self, Self::Jpeg | Self::Bmp)
    }

    /// Whether Fovea writes animations in it.
    pub const fn holds_animation(self) -> bool {
        matches!(self, Self::WebP | Self::Gif)
    }
}

/// An ISO base media file whose brands name AVIF (still or sequence).
fn is_avif(bytes: &[u8]) -> bool {
    if bytes.get(4..8) != Some(b"ftyp") {
        return false;
    }
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let brands = &bytes[8..length.clamp(8, 256).min(bytes.len())];
    brands.chunks_exact(4).enumerate().any(|(at, brand)| at != 1 && (brand == b"avif" || brand == b"avis"))
}

/// An `<svg` element after an optional byte order mark, XML declaration, comments and doctype.
fn is_svg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let mut rest = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_owned();
    loop {
        let end = if rest.starts_with("<?") {
            rest.find("?>").map(|at| at + 2)
        } else if rest.starts_with("<!--") {
            rest.find("-->").map(|at| at + 3)
        } else if rest.starts_with("<!DOCTYPE") || rest.starts_with("<!doctype") {
            rest.find('>').map(|at| at + 1)
        } else {
            return rest.starts_with("<svg") || rest.starts_with("<svg:svg");
        };
        match end {
            Some(at) => rest = rest[at..].trim_start().to_owned(),
            None => return false,
        }
    }
}
