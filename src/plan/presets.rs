//! Presets: names for options, given as text by the config and read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::quote;
use super::options::{self, ALONE, LATER, TABLE};
use super::urls::Invalid;
use super::{Error, ErrorKind, Plan};

/// A named set of options.
#[derive(Clone, Debug)]
pub(super) struct Preset {
    pub name: Arc<str>,
    pub plan: Plan,
}

/// Every preset of a site.
#[derive(Clone, Debug, Default)]
pub(super) struct Presets {
    by_name: HashMap<Arc<str>, Preset>,
}

/// Most presets that a message lists.
const LISTED_MAX: usize = 16;

/// Most bytes of a preset's name.
const NAME_BYTES_MAX: usize = 63;

/// Words that would be taken for something else.
const RESERVED: [&str; 6] = ["auto", "json", "html", "smart", "face", "preset"];

impl Presets {
    /// Reads presets from their texts: options as in a URL's variant, without a format.
    pub fn new(texts: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let none = Self::default();
        let mut by_name = HashMap::with_capacity(texts.len());
        for (name, text) in texts {
            let invalid = |detail: String| Invalid { at: format!("presets.{name}"), detail };
            check_name(name).map_err(|detail| invalid(detail.to_owned()))?;
            let variant = options::read(text.trim(), &none, None).map_err(|error| match error.kind {
                ErrorKind::UnknownPreset => {
                    let word = error.at.unwrap_or_default();
                    invalid(format!("{word:?} is no option; a preset holds options only, such as w_300,q_85"))
                }
                _ => invalid(error.detail),
            })?;
            let name: Arc<str> = name.as_str().into();
            by_name.insert(name.clone(), Preset { name, plan: variant.plan });
        }
        Ok(Self { by_name })
    }

    /// The preset of that name, where the category allows it.
    pub fn find(&self, name: &str, allowed: Option<&[String]>) -> Result<&Preset, Error> {
        let allows = |name: &str| allowed.is_none_or(|allowed| allowed.iter().any(|other| other == name));
        match self.by_name.get(name) {
            Some(preset) if allows(name) => Ok(preset),
            _ => {
                let detail = format!("there is no preset {}{}", quote(name), self.listing(allowed));
                Err(Error::new(ErrorKind::UnknownPreset, detail, name))
            }
        }
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// `; there are a, b`, for messages.
    pub fn listing(&self, allowed: Option<&[String]>) -> String {
        let allows = |name: &str| allowed.is_none_or(|allowed| allowed.iter().any(|other| other == name));
        let mut names: Vec<&str> = self.by_name.keys().map(|name| &**name).filter(|name| allows(name)).collect();
        names.sort_unstable();
        match names.len() {
            0 => String::new(),
            1..=LISTED_MAX => format!("; there are {}", names.join(", ")),
            _ => format!("; there are {} and more", names[..LISTED_MAX].join(", ")),
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !first || !rest || name.len() > NAME_BYTES_MAX {
        return Err("a preset's name is a lower-case letter, then at most 62 letters, digits and hyphens");
    }
    let option = TABLE.iter().any(|row| row.name == name) || LATER.contains(&name);
    if option || ALONE.contains(&name) || RESERVED.contains(&name) || name.starts_with("auto-") {
        return Err("a preset may not be named like an option, a flag or a reserved word");
    }
    Ok(())
}
