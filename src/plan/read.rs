//! A path becomes a request: taken apart, its signature checked, its variant read, the category's policy applied.

use super::error::quote;
use super::grammar::{self, Parts};
use super::options::{self, ALONE};
use super::urls::{Category, Originals, Unsigned, Urls, Versions};
use super::{Ask, Error, ErrorKind, Output, Plan, Request, Version, canonical};
use crate::base::Format;

/// What the last segment asked for, and what the policy must know of how it was written.
struct Asked<'a> {
    ask: Ask,
    preset: Option<&'a super::presets::Preset>,
    /// Whether it is a preset and nothing else.
    bare_preset: bool,
    /// A width or height that is not on the category's ladder.
    off_ladder: Option<String>,
}

impl Urls {
    /// Reads the path of a request target as it was sent: decoded once, checked, and allowed by the category's rules. A query
    /// is ignored. `now_unix` (seconds) decides whether a signature has expired.
    pub fn read(&self, path: &str, now_unix: u64) -> Result<Request, Error> {
        self.read_as(path, Some(now_unix))
    }

    /// Reads a path of which somebody with the right to ask wants to know: no signature is checked, no policy applied. For
    /// purges and explanations, not for requests.
    pub fn read_trusted(&self, path: &str) -> Result<Request, Error> {
        self.read_as(path, None)
    }

    fn read_as(&self, path: &str, now_unix: Option<u64>) -> Result<Request, Error> {
        let parts = grammar::split(path)?;
        let Some(category) = self.categories.get(&*parts.category) else {
            let detail = format!("there is no category {}", quote(&parts.category));
            return Err(Error::new(ErrorKind::UnknownCategory, detail, &parts.category));
        };
        let signed = match (&parts.signature, now_unix) {
            (Some(segment), Some(now_unix)) => Some(self.verify(segment, parts.rest, &category.name, now_unix)?),
            (None, _) | (_, None) => None,
        };
        let mut canonical = String::with_capacity(parts.rest.len() + 16);
        canonical.push('/');
        canonical.push_str(&category.name);
        canonical.push('/');
        let id = grammar::id(parts.id, &mut canonical)?;
        canonical.push('/');
        grammar::push_version(&parts.version, &mut canonical);
        canonical.push('/');
        let variant_start = canonical.len();
        let asked = self.ask(category, &parts.variant, &mut canonical)?;
        if signed.is_none() && now_unix.is_some() {
            self.allow(category, &parts, &asked)?;
        }
        let spelled = canonical[variant_start..] == *parts.variant;
        Ok(Request {
            category: category.name.clone(),
            id,
            version: parts.version,
            ask: asked.ask,
            preset: asked.preset.map(|preset| preset.name.clone()),
            redirect: (signed.is_none() && !spelled).then(|| canonical.clone()),
            signed,
            canonical,
        })
    }

    /// Reads the last segment and adds its canonical spelling.
    fn ask<'a>(&'a self, category: &Category, segment: &str, canonical: &mut String) -> Result<Asked<'a>, Error> {
        let Some((variant, format)) = segment.rsplit_once('.') else {
            let detail = "the last segment is variant.format, such as w_400.auto; it has no format";
            return Err(Error::new(ErrorKind::Malformed, detail, segment));
        };
        if ALONE.contains(&variant) {
            let ask = alone(variant, format, canonical)?;
            return Ok(Asked { ask, preset: None, bare_preset: false, off_ladder: None });
        }
        let output = output(format)?;
        let rules = &category.rules;
        let read = options::read(variant, &self.presets, rules.presets.as_deref())?;
        options::check_bounds(&read, rules)?;
        canonical::push_variant(&read.plan, read.preset, output, canonical);
        let off_ladder = if rules.sizes.is_empty() { None } else { read.off_ladder(&rules.sizes).map(str::to_owned) };
        let (preset, bare_preset) = (read.preset, read.bare_preset());
        Ok(Asked { ask: Ask::Image(Box::new(Plan { output, ..read.plan })), preset, bare_preset, off_ladder })
    }

    /// Refuses what the category wants signed.
    fn allow(&self, category: &Category, parts: &Parts<'_>, asked: &Asked<'_>) -> Result<(), Error> {
        let Category { name, rules } = category;
        let needed = |detail: String, at: &str| Err(Error::new(ErrorKind::SignatureNeeded, detail, at));
        if rules.unsigned == Unsigned::None {
            return needed(format!("every URL of the category {name} needs a signature"), name);
        }
        if rules.versions == Versions::Signed && parts.version != Version::Latest {
            let detail = format!("a version other than v0 needs a signature in the category {name}");
            return needed(detail, &parts.version.text());
        }
        match &asked.ask {
            Ask::Info => Ok(()),
            Ask::Original if rules.originals == Originals::Public => Ok(()),
            Ask::Original => needed(format!("originals of the category {name} need a signature"), &parts.variant),
            Ask::Image(_) if rules.unsigned == Unsigned::Presets && !asked.bare_preset => {
                let listing = self.presets.listing(rules.presets.as_deref());
                let detail =
                    format!("the category {name} takes options with a signature only; presets are free{listing}");
                needed(detail, &parts.variant)
            }
            Ask::Image(_) => match &asked.off_ladder {
                None => Ok(()),
                Some(piece) => {
                    let sizes: Vec<String> = rules.sizes.iter().take(32).map(u32::to_string).collect();
                    needed(format!("without a signature, widths and heights are {}", sizes.join(", ")), piece)
                }
            },
        }
    }
}

/// Reads the words that are a whole variant.
fn alone(word: &str, format: &str, canonical: &mut String) -> Result<Ask, Error> {
    let (ask, format) = match (word, format) {
        ("info", "json") => (Ask::Info, format),
        ("info", _) => return Err(Error::new(ErrorKind::UnknownFormat, "info is given as info.json", format)),
        // The name of an original's format need not be known to ask for it, and an edge may have written a bucket for
        // `auto`, so none of the three is corrected to another.
        ("orig", _) => match original_extension(format) {
            Some(extension) => (Ask::Original, extension),
            None => {
                let detail = "an original is asked for as orig and the extension of a picture format, or orig.auto";
                return Err(Error::new(ErrorKind::UnknownFormat, detail, format));
            }
        },
        _ => return Err(options::not_available(ErrorKind::UnknownOption, word, word)),
    };
    canonical.push_str(word);
    canonical.push('.');
    canonical.push_str(format);
    Ok(ask)
}

fn original_extension(format: &str) -> Option<&'static str> {
    match format {
        "jpeg" => Some("jpg"),
        "tif" => Some("tiff"),
        _ => Format::from_extension(format)
            .map(Format::extension)
            .or_else(|| Output::from_name(format).map(Output::name)),
    }
}

fn output(format: &str) -> Result<Output, Error> {
    const WRITTEN: &str = "auto, auto-avif, auto-webp, auto-base, jpg, png, webp, avif and gif";
    if let Some(output) = Output::from_name(if format == "jpeg" { "jpg" } else { format }) {
        return Ok(output);
    }
    let detail = match format {
        "jxl" => return Err(options::not_available(ErrorKind::UnknownFormat, "jxl", format)),
        "json" | "html" => format!("{format} is no format of a picture; there are {WRITTEN}"),
        _ if original_extension(format).is_some() => format!("{format} is read but not written; there are {WRITTEN}"),
        _ => format!("there is no format {}; there are {WRITTEN}", quote(format)),
    };
    Err(Error::new(ErrorKind::UnknownFormat, detail, format))
}
