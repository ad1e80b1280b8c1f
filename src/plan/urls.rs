//! What this site's URLs may say: built once from settings, and made anew when they change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::options;
use super::presets::Presets;
use super::signature::{Key, Signer};
use super::values::SIDE_MAX;
use super::{Error, Output, Plan};

/// What a category lets through without a signature. `info.json` passes unless it is [`Unsigned::None`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unsigned {
    /// Every option.
    Options,
    /// A preset by itself.
    #[default]
    Presets,
    /// Nothing at all.
    None,
}

/// Which version segments a category takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versions {
    /// Any: an opaque cache key.
    #[default]
    Any,
    /// Only a signed URL may choose another than `v0`.
    Signed,
    /// One that the source or catalog knows; checked where it is asked, not here.
    Checked,
}

/// Who may have the original's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Originals {
    /// Who holds a signed URL.
    #[default]
    Signed,
    /// Everybody, unless the category lets nothing through without a signature.
    Public,
}

/// What a category's URLs may say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What passes without a signature.
    pub unsigned: Unsigned,
    /// Which versions.
    pub versions: Versions,
    /// Who may have originals.
    pub originals: Originals,
    /// The presets that the category allows; none is every preset.
    pub presets: Option<Vec<String>>,
    /// The widths and heights, in CSS pixels, that an unsigned URL may write; empty is free.
    pub sizes: Vec<u32>,
    /// Largest side of a result in device pixels, at most 65535.
    pub side_max: u32,
    /// Most pixels of a result whose box the URL gives.
    pub pixels_max: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            unsigned: Unsigned::default(),
            versions: Versions::default(),
            originals: Originals::default(),
            presets: None,
            sizes: Vec::new(),
            side_max: 8192,
            pixels_max: 8192 * 8192,
        }
    }
}

/// What [`Urls`] is built from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Presets: a name, and options as in a URL's variant (`w_800,h_600,q_85`).
    pub presets: BTreeMap<String, String>,
    /// Categories by name.
    pub categories: BTreeMap<String, Rules>,
    /// Keys for signatures. Several may be in use while they rotate.
    pub keys: Vec<Key>,
}

/// What is wrong with settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{at}: {detail}")]
pub struct Invalid {
    /// Which setting: `presets.thumb`, `category.demo.sizes`, `keys.k1`.
    pub at: String,
    /// What was wrong and what is right.
    pub detail: String,
}

/// What this site's URLs may say. Immutable: a reload builds another and swaps the pointer.
#[derive(Debug)]
pub struct Urls {
    pub(super) presets: Presets,
    pub(super) categories: HashMap<Arc<str>, Category>,
    pub(super) signers: Vec<Signer>,
}

#[derive(Debug)]
pub(super) struct Category {
    pub name: Arc<str>,
    pub rules: Rules,
}

impl Urls {
    /// Checks settings and makes them ready.
    pub fn new(settings: &Settings) -> Result<Self, Invalid> {
        let presets = Presets::new(&settings.presets)?;
        let mut categories = HashMap::with_capacity(settings.categories.len());
        for (name, rules) in &settings.categories {
            check_category(name, rules, &presets)?;
            let name: Arc<str> = name.as_str().into();
            categories.insert(name.clone(), Category { name, rules: rules.clone() });
        }
        let mut signers: Vec<Signer> = Vec::with_capacity(settings.keys.len());
        for key in &settings.keys {
            let invalid = |detail: String| Invalid { at: format!("keys.{}", key.kid), detail };
            key.check().map_err(|detail| invalid(detail.to_owned()))?;
            if signers.iter().any(|signer| *signer.kid == *key.kid) {
                return Err(invalid("there are two keys of that name".to_owned()));
            }
            if let Some(unknown) = key.categories.iter().find(|name| !categories.contains_key(name.as_str())) {
                return Err(invalid(format!("the category {unknown:?} that it may sign for is not configured")));
            }
            signers.push(Signer::new(key));
        }
        Ok(Self { presets, categories, signers })
    }

    /// A category's rules.
    pub fn rules(&self, category: &str) -> Option<&Rules> {
        self.categories.get(category).map(|category| &category.rules)
    }

    /// Reads a variant without its format, such as `thumb,q_60`, within [`Rules::default`]'s bounds: for what asks for
    /// pictures otherwise than by a URL.
    pub fn variant(&self, text: &str, output: Output) -> Result<Plan, Error> {
        let variant = options::read(text, &self.presets, None)?;
        options::check_bounds(&variant, &Rules::default())?;
        Ok(Plan { output, ..variant.plan })
    }
}

fn check_category(name: &str, rules: &Rules, presets: &Presets) -> Result<(), Invalid> {
    let invalid = |key: &str, detail: String| {
        let dot = if key.is_empty() { "" } else { "." };
        Err(Invalid { at: format!("category.{name}{dot}{key}"), detail })
    };
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=63).contains(&name.len()) || !name.bytes().all(legal) {
        return invalid("", "a category's name is 1 to 63 lower-case letters, digits and hyphens".to_owned());
    }
    if !(1..=SIDE_MAX).contains(&rules.side_max) {
        return invalid("side_max", format!("{} is not a side from 1 to {SIDE_MAX} pixels", rules.side_max));
    }
    if rules.pixels_max == 0 {
        return invalid("pixels_max", "no picture has 0 pixels".to_owned());
    }
    if let Some(size) = rules.sizes.iter().find(|size| !(1..=rules.side_max).contains(size)) {
        return invalid("sizes", format!("{size} is not a side from 1 to the category's {} pixels", rules.side_max));
    }
    if let Some(unknown) = rules.presets.iter().flatten().find(|name| !presets.has(name)) {
        return invalid("presets", format!("there is no preset {unknown:?}"));
    }
    Ok(())
}
