//! The configuration: typed sections with defaults. File over defaults, environment over file, flags over environment; read and
//! checked once at start, and again on SIGHUP.
//!
//! Enters: [`Inputs`], with the environment as a map, so that nothing here asks the process. Leaves: a [`Config`], or every
//! [`Problem`] there is with it.
//!
//! Always true: a [`Config`] that was loaded has been checked; its secrets are shown nowhere.

mod aliases;
mod category;
mod check;
mod environment;
mod jobs;
mod layers;
mod location;
mod nats;
pub mod samples;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use aliases::{ALIASES, Alias};
pub use category::{Category, Effort, Light, Mezzanine, Originals, Public, Unsigned, Versions};
pub use jobs::{Catalog, Popularity, Queue, Worker};
pub use location::{SourceLocation, StoreLocation};
pub use nats::Nats;
pub use sections::{
    AccessLogFormat, Api, Derivatives, Http, Ingest, Key, LogFormat, Memory, Presets, RateLimit, Render, S3, Telemetry,
};
pub use values::{AccessLog, ByteSize, PathStyle, Secret, ServerUrl};

use crate::base;

/// Every key with its default and its meaning: `config/default.toml`.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The built-in presets: `config/presets.toml`.
pub const PRESETS: &str = include_str!("../../config/presets.toml");

/// An environment: names and values.
pub type Environment = BTreeMap<String, String>;

/// What a config is read from.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The file's path and text.
    pub file: Option<(String, String)>,
    /// The environment.
    pub environment: Environment,
    /// Keys that flags set: key, value, the flag's name.
    pub flags: Vec<(String, String, String)>,
}

impl Inputs {
    /// From a file (that of `FOVEA_CONFIG` where none is given), an environment and flags.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(
        file: Option<&Path>,
        environment: Environment,
        flags: Vec<(String, String, String)>,
    ) -> Result<Self, Problems> {
        let named = environment.get("FOVEA_CONFIG").filter(|path| !path.is_empty()).map(Path::new);
        let file = match file.or(named) {
            None => None,
            Some(path) => {
                let place = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => Some((place, text)),
                    Err(error) => {
                        return Err(Problems(vec![Problem::new("", &place, format!("cannot be read: {error}"))]));
                    }
                }
            }
        };
        Ok(Self { file, environment, flags })
    }
}

/// The whole configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where and how images are served.
    pub http: Http,
    /// Health, metrics, purge.
    pub api: Api,
    /// What may be held.
    pub memory: Memory,
    /// The CPU pool.
    pub render: Render,
    /// What an original may be.
    #[serde(with = "sections::Limits")]
    pub limits: base::Limits,
    /// Where finished variants are kept.
    pub derivatives: Derivatives,
    /// How originals are taken in.
    pub ingest: Ingest,
    /// For sources and derivatives in S3.
    pub s3: S3,
    /// What URLs are signed with.
    pub keys: BTreeMap<String, Key>,
    /// Names for options.
    pub presets: Presets,
    /// Where assets, jobs and events are kept.
    pub catalog: jobs::Catalog,
    /// The broker that the processes of a cluster share.
    pub nats: Nats,
    /// How it is counted what traffic asks for.
    pub popularity: jobs::Popularity,
    /// How jobs are handed out.
    pub queue: jobs::Queue,
    /// How jobs are done.
    pub worker: jobs::Worker,
    /// Bound on misses of one client.
    pub rate_limit: RateLimit,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// What a category has that does not say otherwise.
    pub category_default: Category,
    /// The categories; [`Config::categories`] leaves out those that are not enabled.
    pub category: BTreeMap<String, Category>,
    /// Where each key was set that is not a built-in default.
    #[serde(skip)]
    places: BTreeMap<String, String>,
    /// What it was read from.
    #[serde(skip)]
    origin: Origin,
}

/// What a config was read from; equal to every other, since it is not part of what the config says.
#[derive(Clone, Default)]
struct Origin(Arc<Inputs>);

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.file.as_ref().map_or("no file", |(path, _)| path))
    }
}

impl Config {
    /// Reads and checks a config.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(inputs: Inputs) -> Result<Self, Problems> {
        let (config, mut problems, places) = layers::read(&inputs);
        let Some(mut config) = config else { return Err(Problems(problems)) };
        config.places = places;
        config.origin = Origin(Arc::new(inputs));
        match config.presets.read() {
            Ok(all) => config.presets.all = all,
            Err(problem) => problems.push(problem),
        }
        problems.extend(config.check());
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    /// Reads it anew from the same file, environment and flags.
    ///
    /// # Errors
    /// Everything that is wrong with it now.
    pub fn reload(&self) -> Result<Self, Problems> {
        let Inputs { file, environment, flags } = self.origin.0.as_ref().clone();
        let path = file.map(|(path, _)| path);
        Self::load(Inputs::read(path.as_deref().map(Path::new), environment, flags)?)
    }

    /// The categories that are enabled.
    pub fn categories(&self) -> impl Iterator<Item = (&str, &Category)> {
        self.category.iter().filter(|(_, category)| category.enabled).map(|(name, category)| (name.as_str(), category))
    }

    /// Where each key was set that is not a built-in default: key and place.
    pub fn places(&self) -> &BTreeMap<String, String> {
        &self.places
    }
}

impl Default for Config {
    /// The built-in defaults.
    fn default() -> Self {
        Self::load(Inputs::default()).expect("the built-in defaults are right; a test loads them")
    }
}

impl Presets {
    /// The file's presets, or the built-in ones, with the inline ones over them.
    fn read(&self) -> Result<BTreeMap<String, String>, Problem> {
        let wrong = |place: &str, what: String| Problem::new("presets.file", place, what);
        let (place, text) = match &self.file {
            None => (layers::BUILT_IN, PRESETS.to_owned()),
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => (path.as_str(), text),
                Err(error) => return Err(wrong(path, format!("cannot be read: {error}"))),
            },
        };
        let read: Result<BTreeMap<String, String>, _> = toml::from_str(&text);
        let mut all = read.map_err(|error| wrong(place, format!("must hold lines of name = \"options\": {error}")))?;
        all.extend(self.inline.clone());
        Ok(all)
    }
}

/// One thing that is wrong with a config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The key, with dots; empty where it is about the whole file.
    pub key: String,
    /// Where it was set: a file, a variable, a flag.
    pub place: String,
    /// What is wrong and what is right.
    pub what: String,
}

impl Problem {
    fn new(key: &str, place: &str, what: impl Into<String>) -> Self {
        Self { key: key.to_owned(), place: place.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(out, "{} {}", self.place, self.what)
        } else {
            write!(out, "`{}` ({}): {}", self.key, self.place, self.what)
        }
    }
}

/// Everything that is wrong with a config; at least one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the configuration is wrong in {} place{}",
            self.0.len(),
            if self.0.len() == 1 { "" } else { "s" }
        )?;
        self.0.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
