//! `fovea plan`: what a URL means.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Choose;
use super::say::say;
use super::sign::{now_unix, split_site};
use crate::app;
use crate::base::{AssetDigest, digest};
use crate::config::{Category, Config};
use crate::plan::{Ask, Bucket, Output, Request, Version};

/// The arguments of `fovea plan`.
#[derive(Args)]
pub(super) struct Plan {
    /// The URL, or its path.
    url: String,
}

impl Plan {
    /// Prints what the URL means; fails when it would be refused.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let urls = app::urls(&config)?;
        let (_, path) = split_site(&self.url);
        let (value, code) = match urls.read(path, now_unix()) {
            Ok(request) => (explain(&config, &request), ExitCode::SUCCESS),
            Err(error) => {
                let (status, code) = error.kind.code();
                let value = json!({ "error": {
                    "code": code,
                    "status": status,
                    "detail": error.detail,
                    "at": error.at,
                } });
                (value, ExitCode::FAILURE)
            }
        };
        say!("{value:#}");
        Ok(code)
    }
}

fn explain(config: &Config, request: &Request) -> Value {
    let asset = AssetDigest::new(&request.category, &request.id);
    let category = config.category.get(&*request.category);
    let mut value = json!({
        "category": &*request.category,
        "id": request.id,
        "version": request.version.text(),
        "canonical": request.canonical,
        "redirect": request.redirect,
        "preset": request.preset.as_deref(),
        "signature": match &request.signed {
            Some(signed) => json!({ "status": "valid", "kid": &*signed.kid, "expires": signed.expiry }),
            None => json!({ "status": "not needed" }),
        },
        "source": category.map(|category| category.source.to_string()),
        "max_age_s": category.map(|category| max_age_s(category, request)),
        "derivatives": format!("{}/{}", config.derivatives.store, digest::asset_prefix(&asset)),
    });
    let more = match &request.ask {
        Ask::Original => json!({ "ask": "original" }),
        Ask::Info => json!({ "ask": "info" }),
        Ask::Image(plan) => json!({
            "ask": "image",
            "options": options(&plan.canonical()),
            "output": output(plan.output),
        }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// The canonical options, presets expanded, by name.
fn options(canonical: &str) -> Map<String, Value> {
    let pair = |option: &str| match option.split_once('_') {
        Some((name, value)) => (name.to_owned(), Value::from(value)),
        None => (option.to_owned(), Value::from(true)),
    };
    canonical.split(',').filter(|option| !option.is_empty()).map(pair).collect()
}

fn output(output: Output) -> Value {
    match output {
        Output::Format(format) => json!({ "format": format.extension(), "type": format.mime() }),
        Output::Negotiate => json!({ "negotiated": "by Accept" }),
        Output::Bucket(bucket) => json!({ "negotiated": match bucket {
            Bucket::Base => "among JPEG, PNG and GIF",
            Bucket::WebP => "up to WebP",
            Bucket::Avif => "up to AVIF",
        } }),
    }
}

fn max_age_s(category: &Category, request: &Request) -> u64 {
    let age = if request.version == Version::Latest {
        category.latest_max_age_s
    } else if request.preset.is_some() {
        category.preset_max_age_s
    } else {
        category.max_age_s
    };
    match &request.signed {
        Some(signed) if signed.expiry != 0 => age.min(signed.expiry.saturating_sub(now_unix())),
        _ => age,
    }
}
