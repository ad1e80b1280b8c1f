//! Lays the defaults, a file, the environment and flags over each other, and reads the result into [`Config`], collecting all
//! that is wrong with it and where it was set.

use std::collections::BTreeMap;

use figment::error::{Actual, Kind, OneOf};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use super::category::Category;
use super::environment::{self, Override, coerce, default_at};
use super::values::HIDDEN;
use super::{Config, DEFAULTS, Inputs, Problem, aliases};

/// What stands as the place of a built-in default.
pub(super) const BUILT_IN: &str = "the built-in defaults";

/// More problems than this are not listed.
const PROBLEMS_MAX: usize = 64;

/// One layer: keys, and where they were set.
struct Layer {
    place: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// The config, if one can be made of the layers, the problems met, and where each key was set that is not a default.
pub(super) fn read(inputs: &Inputs) -> (Option<Config>, Vec<Problem>, BTreeMap<String, String>) {
    let mut problems = Vec::new();
    let defaults: Dict = toml::from_str(DEFAULTS).expect("the built-in defaults are TOML; a test reads them");
    let mut figment = Figment::from(Layer { place: BUILT_IN.to_owned(), dict: defaults.clone() });
    if let Some((place, text)) = &inputs.file {
        match toml::from_str::<Dict>(text) {
            Ok(dict) => figment = figment.merge(Layer { place: place.clone(), dict }),
            Err(error) => {
                problems.push(Problem::new("", place, format!("is not TOML: {}", error.to_string().trim_end())))
            }
        }
    }
    let (own, misspelt) = environment::read(&inputs.environment, &defaults);
    problems.extend(misspelt.into_iter().map(|(name, what)| Problem::new(&name, "the environment", what)));
    let flags = inputs.flags.iter().map(|(key, text, flag)| Override {
        path: key.split('.').map(str::to_owned).collect(),
        text: text.clone(),
        place: format!("flag {flag}"),
    });
    let (aliases, wrong) = aliases::read(&inputs.environment);
    problems.extend(wrong);
    for Override { path, text, place } in aliases.into_iter().chain(own).chain(flags) {
        match coerce(&defaults, &path, &text) {
            Ok(value) => figment = figment.merge(Layer { place, dict: nested(&path, value) }),
            Err(what) => problems.push(Problem::new(&path.join("."), &place, what)),
        }
    }
    let mut root = figment.find_value("").ok().and_then(Value::into_dict).expect("the layers are tables");
    let mut reader = Reader { figment: &figment, defaults: &defaults, problems };
    reader.inherit(&mut root);
    let mut root = Value::from(root);
    let config = reader.extract::<Config>(&mut root, &[]);
    let mut places = BTreeMap::new();
    reader.places(&root, &mut Vec::new(), &mut places);
    (config, reader.problems, places)
}

/// A value in the tables that its path names.
fn nested(path: &[String], value: Value) -> Dict {
    let (first, rest) = path.split_first().expect("a key has a segment");
    let value = if rest.is_empty() { value } else { Value::from(nested(rest, value)) };
    Dict::from([(first.clone(), value)])
}

/// The table that a path of tables leads to.
fn table_at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Dict> {
    let Value::Dict(_, dict) = value else { return None };
    match path.split_first() {
        None => Some(dict),
        Some((first, rest)) => table_at(dict.get_mut(first)?, rest),
    }
}

struct Reader<'a> {
    figment: &'a Figment,
    defaults: &'a Dict,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Gives each category the keys of `category_default` that it does not have. Those are checked first, alone, so that what is
    /// wrong with them is said once.
    fn inherit(&mut self, root: &mut Dict) {
        let own = root.get("category_default").cloned().unwrap_or_else(|| Value::from(Dict::new()));
        let mut base = own;
        self.extract::<Category>(&mut base, &["category_default".to_owned()]);
        if let (Some(base), Some(Value::Dict(_, categories))) = (base.as_dict(), root.get_mut("category")) {
            for category in categories.values_mut() {
                if let Value::Dict(_, category) = category {
                    for (key, value) in base {
                        category.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
            }
        }
        root.insert("category_default".to_owned(), base);
    }

    /// Reads a value; what is wrong is noted and put right from the defaults, so that the next thing can be found.
    fn extract<T: DeserializeOwned>(&mut self, value: &mut Value, at: &[String]) -> Option<T> {
        while self.problems.len() < PROBLEMS_MAX {
            let error = match value.deserialize::<T>() {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let path: Vec<String> = at.iter().cloned().chain(error.path.iter().cloned()).collect();
            let place = self.place(value, &error.path);
            self.problems.push(Problem::new(&path.join("."), &place, describe(&error.kind, &path)));
            if !self.repair(value, at.len(), &path) {
                return None;
            }
        }
        None
    }

    /// Where the value was set that stands at the path, or at the nearest table above it.
    fn place(&self, value: &Value, path: &[String]) -> String {
        let mut at = value;
        for segment in path {
            match at.as_dict().and_then(|dict| dict.get(segment)) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.figment.get_metadata(at.tag()).map_or_else(|| BUILT_IN.to_owned(), |metadata| metadata.name.to_string())
    }

    /// Puts the default in the place of what is wrong, or takes it away where there is none. `path` is the whole key, whose first
    /// `above` segments are outside of `value`.
    fn repair(&self, value: &mut Value, above: usize, path: &[String]) -> bool {
        (above + 1..=path.len()).rev().any(|length| {
            let (last, parents) = path[above..length].split_last().expect("the range begins at one segment");
            let Some(dict) = table_at(value, parents).filter(|dict| dict.contains_key(last)) else { return false };
            match default_at(self.defaults, &path[..length]) {
                Some(default) => dict.insert(last.clone(), default.clone()),
                None => dict.remove(last),
            };
            true
        })
    }

    /// Notes each leaf that is not a built-in default.
    fn places(&self, value: &Value, path: &mut Vec<String>, places: &mut BTreeMap<String, String>) {
        if let Value::Dict(_, dict) = value {
            for (key, value) in dict {
                path.push(key.clone());
                self.places(value, path, places);
                path.pop();
            }
        } else if let Some(metadata) = self.figment.get_metadata(value.tag())
            && metadata.name != BUILT_IN
        {
            places.insert(path.join("."), metadata.name.to_string());
        }
    }
}

/// What is wrong, in plain words. Values of keys that may be secret are left out.
fn describe(kind: &Kind, path: &[String]) -> String {
    let secret = path.first().is_some_and(|section| section == "keys" || section == "s3" || section == "nats")
        || path.last().is_some_and(|key| key == "token");
    let found = |actual: &Actual| match actual {
        _ if secret => HIDDEN.to_owned(),
        Actual::Str(text) => format!("the text {text:?}"),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    };
    match kind {
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("must be {}, not {}", plain(expected), found(actual))
        }
        Kind::UnknownVariant(name, known) => format!("must be {}, not {name:?}", OneOf(known)),
        Kind::UnknownField(name, known) => match nearest(name, known) {
            Some(near) => format!("there is no such key; did you mean `{near}`?"),
            None => format!("there is no such key; known here: {}", known.join(", ")),
        },
        Kind::MissingField(name) => format!("`{name}` is missing"),
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

/// serde's words for what a key takes, in ours.
fn plain(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// The known name that a misspelt one most likely means: at most two edits away.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = known.iter().map(|known| (edits(name, known), *known)).min()?;
    (close.0 <= 2).then_some(close.1)
}

/// Levenshtein distance; the names are short.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
