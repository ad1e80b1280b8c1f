//! The choice of a format: what `Accept` says (RFC 9110, section 12.5.1), and what serves the picture best.

use super::Bucket;
use crate::base::Format;

/// Most bytes of a header that are looked at; browsers send under 200.
const HEADER_BYTES_MAX: usize = 2048;

/// Highest q, in thousandths.
const Q_ONE: u16 = 1000;

/// The class of a client by its `Accept` header.
///
/// A new format counts where it is listed by name with q above 0 and no named format goes before it by a higher q. A wildcard
/// says nothing about it: every browser sends `*/*` or `image/*`, also those that show neither WebP nor AVIF. Who
/// refuses WebP (`q=0`) is given neither, since animations and graphics of the AVIF class are WebP. A range that is not
/// well-formed, or has parameters of its own, names no format. The base formats need no mention: they are the last resort.
pub fn bucket(accept: Option<&str>) -> Bucket {
    let Some(header) = accept else { return Bucket::Base };
    let header = &header[..header.floor_char_boundary(HEADER_BYTES_MAX)];
    let (mut avif, mut webp, mut base) = (None, None, None);
    for range in List(header) {
        let Some((kind, q)) = media_range(range) else { continue };
        // Of two mentions the more careful one holds.
        let mention = |q_before: &mut Option<u16>| *q_before = Some(q_before.map_or(q, |before| before.min(q)));
        if kind.eq_ignore_ascii_case("image/avif") {
            mention(&mut avif);
        } else if kind.eq_ignore_ascii_case("image/webp") {
            mention(&mut webp);
        } else if kind.eq_ignore_ascii_case("image/jpeg") || kind.eq_ignore_ascii_case("image/png") {
            base = base.max(Some(q));
        }
    }
    let (avif_q, webp_q, base_q) = (avif.unwrap_or(0), webp.unwrap_or(0), base.unwrap_or(0));
    if avif_q > 0 && avif_q >= webp_q && avif_q >= base_q && webp != Some(0) {
        Bucket::Avif
    } else if webp_q > 0 && webp_q >= base_q {
        Bucket::WebP
    } else {
        Bucket::Base
    }
}

/// The elements of a comma-separated list; commas in quoted strings part nothing.
struct List<'a>(&'a str);

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let (element, rest) = cut(self.0, b',');
        self.0 = rest;
        Some(element)
    }
}

/// What is before and after the first separator that is not in a quoted string.
fn cut(text: &str, separator: u8) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// Type and q in thousandths of `type/subtype [; q=…]`.
fn media_range(range: &str) -> Option<(&str, u16)> {
    let (kind, mut parameters) = cut(range, b';');
    let mut q = Q_ONE;
    while !parameters.is_empty() {
        let (parameter, rest) = cut(parameters, b';');
        parameters = rest;
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.trim().eq_ignore_ascii_case("q") {
            q = weight(value.trim())?;
            // What follows q belongs to the range no more (RFC 7231's accept-ext).
            break;
        }
        if !parameter.trim().is_empty() {
            return None;
        }
    }
    Some((kind.trim(), q))
}

/// A q-value in thousandths: `0`, `1`, `0.8`, `.5`, at most three decimals; 1 at most.
fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let thousandths = match whole {
        "1" => Q_ONE,
        "0" => 0,
        "" if !part.is_empty() => 0,
        _ => return None,
    };
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = part.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some(thousandths + part).filter(|q| *q <= Q_ONE)
}

/// What a picture needs of its format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// Whether any pixel is transparent.
    pub alpha: bool,
    /// Whether it stays an animation.
    pub animated: bool,
    /// Whether it is a graphic of few colours and sharp edges, which loss would smear.
    pub flat: bool,
    /// The original's format.
    pub source: Format,
}

/// Which of the newer formats a category allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    /// AVIF.
    pub avif: bool,
    /// WebP.
    pub webp: bool,
}

/// What `auto` became.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The format to encode.
    pub format: Format,
    /// Whether without loss.
    pub lossless: bool,
}

/// Chooses a format: the best of AVIF, WebP and JPEG or PNG that the client takes, the picture needs and the category allows.
///
/// Animations are WebP or GIF. Graphics stay lossless, as WebP or PNG, but where the original has been through a lossy
/// format (JPEG, AVIF), whose noise lossless formats keep at great cost. Transparency is never JPEG.
pub fn choose(bucket: Bucket, needs: &Needs, allowed: &Allowed) -> Choice {
    let avif = bucket >= Bucket::Avif && allowed.avif;
    let webp = bucket >= Bucket::WebP && allowed.webp;
    let lossless = needs.flat && !matches!(needs.source, Format::Jpeg | Format::Avif);
    let (format, lossless) = match (needs.animated, lossless) {
        (true, _) if webp => (Format::WebP, lossless),
        (true, _) => (Format::Gif, false),
        (false, true) if webp => (Format::WebP, true),
        (false, true) => (Format::Png, true),
        (false, false) if avif => (Format::Avif, false),
        (false, false) if webp => (Format::WebP, false),
        (false, false) if needs.alpha => (Format::Png, true),
        (false, false) => (Format::Jpeg, false),
    };
    Choice { format, lossless }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_browsers() {
        use Bucket::{Avif, Base, WebP};
        let table = [
            ("Chrome 85+ img", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", Avif),
            ("Chrome 79 img", "image/webp,image/apng,image/*,*/*;q=0.8", WebP),
            ("Chrome 31 img", "image/webp,*/*;q=0.8", WebP),
            (
                "Chrome page",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
                 application/signed-exchange;v=b3;q=0.7",
                Avif,
            ),
            (
                "Chrome 79 page",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,image/apng,*/*;q=0.8,\
                 application/signed-exchange;v=b3;q=0.9",
                WebP,
            ),
            ("Firefox 128+ img", "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", Avif),
            ("Firefox 93 img", "image/avif,image/webp,*/*", Avif),
            ("Firefox 65 img", "image/webp,*/*", WebP),
            ("Firefox 47 img", "*/*", Base),
            ("Firefox 3 img", "image/png,image/*;q=0.8,*/*;q=0.5", Base),
            (
                "Firefox 92 page",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
                Avif,
            ),
            ("Firefox 132 page", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Base),
            (
                "Safari 17+ img",
                "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,\
                 image/*;q=0.8,*/*;q=0.5",
                Avif,
            ),
            (
                "Safari 16 img",
                "image/webp,image/avif,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
                Avif,
            ),
            ("Safari 14 img", "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", WebP),
            ("Safari 13 img", "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", Base),
            ("Safari page", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Base),
            ("Edge 121+ img", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", Avif),
            ("Edge 79 to 120 img", "image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", WebP),
            ("Edge 18 img", "image/webp, image/png, image/svg+xml, image/*;q=0.8, */*;q=0.5", WebP),
            ("Edge 17 img", "image/png, image/svg+xml, image/*; q=0.8, */*; q=0.5", Base),
            ("Internet Explorer 11 img", "image/png, image/svg+xml, image/jxr, image/*; q=0.8, */*; q=0.5", Base),
            ("curl, wget, requests", "*/*", Base),
            (
                "Googlebot page",
                "text/html,application/xhtml+xml,application/signed-exchange;v=b3,application/xml;q=0.9,*/*;q=0.8",
                Base,
            ),
            ("Googlebot smartphone img", "image/webp,image/apng,image/*,*/*;q=0.8", WebP),
            ("Opera 12 page", "text/html, application/xml;q=0.9, image/png, image/webp, image/jpeg, */*;q=0.1", WebP),
        ];
        for (client, header, wanted) in table {
            assert_eq!(bucket(Some(header)), wanted, "{client}: {header}");
        }
        assert_eq!(bucket(None), Base);
    }

    #[test]
    fn the_grammar_of_accept() {
        use Bucket::{Avif, Base, WebP};
        let table = [
            ("", Base),
            ("image/*", Base),
            ("image/avif", Avif),
            ("IMAGE/AVIF", Avif),
            ("image/avif;q=0", Base),
            ("image/avif; Q=0.000, image/webp", WebP),
            ("image/avif;q=0,image/*", Base),
            ("image/*;q=0,image/avif", Avif),
            ("image/avif,image/webp;q=0", Base),
            ("image/avif;q=0.5,image/webp;q=0.9", WebP),
            ("image/webp;q=0.5,image/jpeg", Base),
            ("image/webp;q=0.8,*/*", WebP),
            ("image/webp ; q=0.8 , image/avif\t;\tq=1.000", Avif),
            ("image/webp;q=.5", WebP),
            ("image/webp;q=1.001", Base),
            ("image/webp;q=2", Base),
            ("image/webp;q=0.0001", Base),
            ("image/webp;q=-1", Base),
            ("image/webp;q=", Base),
            ("image/webp;q", Base),
            ("image/webp;q=0.8;ext=1", WebP),
            ("image/webp;level=1", Base),
            ("image/webp;", WebP),
            ("image/webp,image/webp;q=0", Base),
            ("text/plain;x=\"image/avif,image/webp\"", Base),
            ("text/plain;x=\"a\\\",image/avif,\", image/webp", WebP),
            ("text/plain;x=\"open, image/avif", Base),
            (",,, ,image/webp,,", WebP),
            ("image/webpx, ximage/webp, image /webp", Base),
        ];
        for (header, wanted) in table {
            assert_eq!(bucket(Some(header)), wanted, "{header}");
        }
        let long = format!("{}image/avif", "a/b,".repeat(100_000));
        assert_eq!(bucket(Some(&long)), Base, "what is beyond the bound is not looked at");
        assert_eq!(bucket(Some(&"é".repeat(5000))), Base, "the bound may fall into a character");
    }

    #[test]
    fn the_best_that_serves_the_picture() {
        use Bucket::{Avif, Base, WebP};
        let photo = Needs { alpha: false, animated: false, flat: false, source: Format::Jpeg };
        let cut_out = Needs { alpha: true, source: Format::Png, ..photo };
        let logo = Needs { flat: true, ..cut_out };
        let film = Needs { animated: true, source: Format::Gif, ..photo };
        let comic = Needs { flat: true, ..photo };
        let (all, no_webp) = (Allowed { avif: true, webp: true }, Allowed { avif: true, webp: false });
        let no_avif = Allowed { avif: false, webp: true };
        let table = [
            (photo, all, [(Format::Jpeg, false), (Format::WebP, false), (Format::Avif, false)]),
            (photo, no_avif, [(Format::Jpeg, false), (Format::WebP, false), (Format::WebP, false)]),
            (photo, no_webp, [(Format::Jpeg, false), (Format::Jpeg, false), (Format::Avif, false)]),
            (cut_out, all, [(Format::Png, true), (Format::WebP, false), (Format::Avif, false)]),
            (logo, all, [(Format::Png, true), (Format::WebP, true), (Format::WebP, true)]),
            (logo, no_webp, [(Format::Png, true), (Format::Png, true), (Format::Png, true)]),
            (film, all, [(Format::Gif, false), (Format::WebP, false), (Format::WebP, false)]),
            (film, no_webp, [(Format::Gif, false), (Format::Gif, false), (Format::Gif, false)]),
            (comic, all, [(Format::Jpeg, false), (Format::WebP, false), (Format::Avif, false)]),
        ];
        for (needs, allowed, wanted) in table {
            for (bucket, (format, lossless)) in [Base, WebP, Avif].into_iter().zip(wanted) {
                assert_eq!(choose(bucket, &needs, &allowed), Choice { format, lossless }, "{bucket:?} {needs:?}");
            }
        }
    }
}
