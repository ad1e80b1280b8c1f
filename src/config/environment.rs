//! From environment variables to keys: `FOVEA_HTTP__LISTEN` is `http.listen`. A value's kind is that of the key's default, so a
//! secret of digits stays a text.

use figment::value::{Dict, Value};

use super::Environment;

/// What our variables begin with.
const PREFIX: &str = "FOVEA_";

/// One key set from outside of a file.
pub(super) struct Override {
    /// The key's segments.
    pub path: Vec<String>,
    /// Its value, as text.
    pub text: String,
    /// Where it was set, for messages.
    pub place: String,
}

impl Override {
    /// A key set by an environment variable.
    pub fn text(key: &str, text: &str, variable: &str) -> Self {
        let path = key.split('.').map(str::to_owned).collect();
        Self { path, text: text.to_owned(), place: format!("environment variable {variable}") }
    }
}

/// The keys that `FOVEA_…` variables set. Without two underscores a variable names no key (orchestrators set such as
/// `FOVEA_SERVICE_HOST`), unless it is a key misspelt: then the problem is in the second list.
pub(super) fn read(environment: &Environment, defaults: &Dict) -> (Vec<Override>, Vec<(String, String)>) {
    let (mut found, mut misspelt) = (Vec::new(), Vec::new());
    for (name, text) in environment {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let key = key.to_ascii_lowercase();
        if let Some((section, rest)) = key.split_once("__") {
            let mut path: Vec<String> = [section].into_iter().chain(rest.split("__")).map(str::to_owned).collect();
            if path[0] == "category" && path.len() > 1 {
                path[1] = path[1].replace('_', "-");
            }
            found.push(Override { path, text: text.clone(), place: format!("environment variable {name}") });
        } else if let Some((section, rest)) = key.split_once('_')
            && default_at(defaults, &[section.to_owned(), rest.to_owned()]).is_some()
        {
            misspelt.push((
                name.clone(),
                format!("did you mean {PREFIX}{}?", key.to_ascii_uppercase().replacen('_', "__", 1)),
            ));
        }
    }
    (found, misspelt)
}

/// The default of a key; a category's keys have those of `category_default`. None where there is no such key, or no default.
pub(super) fn default_at<'a>(defaults: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let path: Vec<&str> = match path {
        [section, _, rest @ ..] if section == "category" && !rest.is_empty() => {
            ["category_default"].into_iter().chain(rest.iter().map(String::as_str)).collect()
        }
        _ => path.iter().map(String::as_str).collect(),
    };
    let (last, parents) = path.split_last()?;
    let mut at = defaults;
    for segment in parents {
        at = at.get(*segment)?.as_dict()?;
    }
    at.get(*last)
}

/// Gives a text the kind of the key's default. What is wrong is said as "must be …".
pub(super) fn coerce(defaults: &Dict, path: &[String], text: &str) -> Result<Value, String> {
    let default = default_at(defaults, path);
    let is_key = path.first().is_some_and(|section| section == "keys");
    let trimmed = text.trim();
    match default {
        Some(Value::Num(_, number)) if number.to_f64().is_some() => {
            trimmed.parse::<f64>().map(Value::from).map_err(|_| format!("must be a number, not {text:?}"))
        }
        Some(Value::Num(..)) => {
            let number = trimmed.replace('_', "").parse::<u64>();
            number.map(Value::from).map_err(|_| format!("must be a whole number of at least 0, not {text:?}"))
        }
        Some(Value::Bool(..)) => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::from(true)),
            "false" | "0" | "no" | "off" => Ok(Value::from(false)),
            _ => Err(format!("must be true or false, not {text:?}")),
        },
        Some(Value::Array(..)) => list(trimmed),
        Some(Value::Dict(..)) => inline(trimmed),
        None if is_key && path.last().is_some_and(|last| last == "categories") && path.len() == 3 => list(trimmed),
        None if is_key && path.len() == 2 && trimmed.starts_with('{') => inline(trimmed),
        None if path.len() == 2 && path[0] == "category" => inline(trimmed),
        _ => Ok(Value::from(text)),
    }
}

/// `a, b` or `["a", "b"]`.
fn list(text: &str) -> Result<Value, String> {
    if text.starts_with('[') {
        return inline(text);
    }
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    Ok(Value::from(items))
}

/// A TOML value such as `{ secret = "…" }`. The message leaves the text out: it may be a secret.
fn inline(text: &str) -> Result<Value, String> {
    let wrong = || "must be a TOML value, such as { name = \"value\" } or [\"a\", \"b\"]".to_owned();
    let mut table: Dict = toml::from_str(&format!("value = {text}")).map_err(|_| wrong())?;
    table.remove("value").filter(|_| table.is_empty()).ok_or_else(wrong)
}
