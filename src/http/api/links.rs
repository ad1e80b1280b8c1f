//! URLs in answers: as the CDN shows them, canonical, and signed where the category wants that and a key may.

use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Api;
use crate::http::problem::{Problem, Refusal};
use crate::plan::{self, Ask, ErrorKind};

/// What stays as it is in a path's segments.
const SEGMENTS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A version that every category can read.
const SOME_VERSION: &str = "h0000000000000000";
/// How long the URL of an original holds that stands in an answer: seconds.
const ANSWERED_VALID_S: u64 = 3600;
/// Most variants of one request.
pub const VARIANTS_MAX: usize = 64;

/// How a category looks from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Face {
    /// What its URLs begin with; empty leaves them as paths.
    pub base_url: String,
    /// The variants that are made of every original.
    pub prewarm: Vec<String>,
}

impl Api {
    /// The canonical spelling of variants of an asset, each once.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub(super) fn variants<'a>(
        &self,
        category: &str,
        id: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<String>, Problem> {
        let mut variants = Vec::new();
        for text in texts {
            let request = self.read(category, id, SOME_VERSION, text)?;
            if !matches!(request.ask, Ask::Image(_)) {
                return Err(Problem::from(Refusal::BadQuery).with_detail(format!("{text} is no variant to be made")));
            }
            let canonical = request.canonical.rsplit('/').next().unwrap_or_default().to_owned();
            if !variants.contains(&canonical) {
                variants.push(canonical);
            }
            if variants.len() > VARIANTS_MAX {
                let detail = format!("more than {VARIANTS_MAX} variants");
                return Err(Problem::from(Refusal::BadQuery).with_detail(detail));
            }
        }
        Ok(variants)
    }

    fn read(&self, category: &str, id: &str, version: &str, variant: &str) -> Result<plan::Request, Problem> {
        let id = utf8_percent_encode(id, SEGMENTS);
        let variant = utf8_percent_encode(variant, SEGMENTS);
        let read = self.origin.urls().read_trusted(&format!("/{category}/{id}/{version}/{variant}"));
        read.map_err(|error| Problem::from(&error))
    }

    /// The URL of a variant: with a signature that does not expire where the category lets it through only so.
    pub(super) fn url(&self, category: &str, id: &str, version: &str, variant: &str) -> String {
        let Ok(request) = self.read(category, id, version, variant) else { return String::new() };
        let urls = self.origin.urls();
        let needed =
            matches!(urls.read(&request.canonical, now()), Err(error) if error.kind == ErrorKind::SignatureNeeded);
        let signed = if needed { urls.kid_for(category) } else { None }
            .and_then(|kid| urls.sign(&kid, 0, &request.canonical).ok());
        self.whole(category, signed.as_deref().unwrap_or(&request.canonical))
    }

    /// The URL of an original in an answer: where originals need a signature, one that goes after an hour.
    pub(super) fn original_url(&self, place: &Original<'_>) -> String {
        let variant = format!("orig.{}", place.format);
        let Ok(request) = self.read(place.category, place.id, place.version, &variant) else { return String::new() };
        let open = self.origin.urls().read(&request.canonical, now()).is_ok();
        let signed = if open { None } else { self.download(place, ANSWERED_VALID_S).ok() };
        signed.map_or_else(|| self.whole(place.category, &request.canonical), |(url, _)| url)
    }

    /// The URL of an original, which goes after so many seconds; and when that is.
    ///
    /// # Errors
    /// No configured key may sign for the category.
    pub(super) fn download(&self, place: &Original<'_>, valid_s: u64) -> Result<(String, u64), Problem> {
        let variant = format!("orig.{}", place.format);
        let request = self.read(place.category, place.id, place.version, &variant)?;
        let urls = self.origin.urls();
        let kid = urls.kid_for(place.category).ok_or_else(|| Problem::from(Refusal::NoSigningKey))?;
        let expiry = now() + valid_s;
        let path = urls.sign(&kid, expiry, &request.canonical).map_err(|error| Problem::from(&error))?;
        Ok((self.whole(place.category, &path), expiry))
    }

    fn whole(&self, category: &str, path: &str) -> String {
        let base = self.settings.faces.get(category).map_or("", |face| face.base_url.trim_end_matches('/'));
        format!("{base}{path}")
    }

    /// The variants that are made of every original of a category.
    pub(super) fn prewarm(&self, category: &str) -> &[String] {
        self.settings.faces.get(category).map_or(&[], |face| &face.prewarm)
    }
}

/// One original.
pub(super) struct Original<'a> {
    pub category: &'a str,
    pub id: &'a str,
    pub version: &'a str,
    /// The extension that its URL has.
    pub format: &'a str,
}

/// Splits a list of variants, whose options hold commas too: one ends with its format.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut variants = Vec::new();
    let mut variant = String::new();
    for piece in text.split([',', '|', ';', ' ', '\n']).map(str::trim).filter(|piece| !piece.is_empty()) {
        if !variant.is_empty() {
            variant.push(',');
        }
        variant.push_str(piece);
        let format = piece.rsplit_once('.').map_or("", |(_, format)| format);
        if format == "jpeg" || plan::Output::from_name(format).is_some() {
            variants.push(std::mem::take(&mut variant));
        }
    }
    if !variant.is_empty() {
        variants.push(variant);
    }
    variants
}

/// Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_variants_are_split_at_their_formats() {
        for (text, wanted) in [
            ("w_400.webp", &["w_400.webp"][..]),
            ("w_400.webp,w_200,h_200,fit_cover.jpg", &["w_400.webp", "w_200,h_200,fit_cover.jpg"]),
            ("thumb.auto, web.auto-avif", &["thumb.auto", "web.auto-avif"]),
            ("w_100,dpr_1.5.png|g_0.5:0.25,w_9.avif", &["w_100,dpr_1.5.png", "g_0.5:0.25,w_9.avif"]),
            ("w_400", &["w_400"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), wanted, "{text}");
        }
    }
}
