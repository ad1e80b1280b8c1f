//! What an EXIF block says about how and when a photo was taken; where, only when asked.

use ::exif::{Exif, In, Reader, Tag, Value};

use super::NAME_LETTERS_MAX;

/// What an EXIF block says. What is not in it, or makes no sense, is none.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ExifFacts {
    /// The camera's maker.
    pub make: Option<String>,
    /// The camera.
    pub model: Option<String>,
    /// The lens.
    pub lens: Option<String>,
    /// When it was taken, ISO 8601: local time, with its offset where the camera has told it.
    pub taken_at: Option<String>,
    /// Exposure time in seconds.
    pub exposure: Option<f64>,
    /// The f-number.
    pub f_number: Option<f64>,
    /// The sensitivity, ISO 12232.
    pub iso: Option<u32>,
    /// The focal length in millimetres.
    pub focal_length: Option<f64>,
    /// Latitude and longitude in degrees, north and east positive.
    pub gps: Option<(f64, f64)>,
}

/// Reads an EXIF block, from its TIFF header on; the place only with `location`.
pub fn exif_facts(exif: &[u8], location: bool) -> ExifFacts {
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    let exif = match reader.read_raw(exif.to_vec()) {
        Ok(exif) => exif,
        Err(error) => match error.distill_partial_result(|_| ()) {
            Ok(exif) => exif,
            Err(_) => return ExifFacts::default(),
        },
    };
    ExifFacts {
        make: text(&exif, Tag::Make),
        model: text(&exif, Tag::Model),
        lens: text(&exif, Tag::LensModel),
        taken_at: taken_at(&exif),
        exposure: number(&exif, Tag::ExposureTime, 0),
        f_number: number(&exif, Tag::FNumber, 0),
        iso: value(&exif, Tag::PhotographicSensitivity).and_then(|value| value.get_uint(0)),
        focal_length: number(&exif, Tag::FocalLength, 0),
        gps: if location { place(&exif) } else { None },
    }
}

fn value(exif: &Exif, tag: Tag) -> Option<&Value> {
    exif.get_field(tag, In::PRIMARY).map(|field| &field.value)
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let Value::Ascii(lines) = value(exif, tag)? else { return None };
    let text = String::from_utf8_lossy(lines.first()?).into_owned();
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(exif: &Exif, tag: Tag, at: usize) -> Option<f64> {
    let Value::Rational(numbers) = value(exif, tag)? else { return None };
    let number = numbers.get(at)?.to_f64();
    number.is_finite().then_some(number)
}

/// `2024:06:01 12:30:00` and `+02:00` to `2024-06-01T12:30:00+02:00`.
fn taken_at(exif: &Exif) -> Option<String> {
    let raw = text(exif, Tag::DateTimeOriginal).or_else(|| text(exif, Tag::DateTime))?;
    let time = ::exif::DateTime::from_ascii(raw.as_bytes()).ok()?;
    let sound = (1..=12).contains(&time.month)
        && (1..=31).contains(&time.day)
        && time.hour < 24
        && time.minute < 60
        && time.second <= 60;
    let offset = text(exif, Tag::OffsetTimeOriginal).filter(|offset| {
        let bytes = offset.as_bytes();
        bytes.len() == 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit())
    });
    sound.then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
            time.year,
            time.month,
            time.day,
            time.hour,
            time.minute,
            time.second,
            offset.unwrap_or_default()
        )
    })
}

fn place(exif: &Exif) -> Option<(f64, f64)> {
    let angle = |tag: Tag, reference: Tag, negative: &str, bound: f64| {
        // Minutes and seconds may be left out.
        let degrees = number(exif, tag, 0)?
            + number(exif, tag, 1).unwrap_or(0.0) / 60.0
            + number(exif, tag, 2).unwrap_or(0.0) / 3600.0;
        let sign = if text(exif, reference)?.eq_ignore_ascii_case(negative) { -1.0 } else { 1.0 };
        (degrees <= bound).then_some(sign * degrees)
    };
    Some((
        angle(Tag::GPSLatitude, Tag::GPSLatitudeRef, "S", 90.0)?,
        angle(Tag::GPSLongitude, Tag::GPSLongitudeRef, "W", 180.0)?,
    ))
}
