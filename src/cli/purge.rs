//! `fovea purge`: asks a running server's API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Choose;
use super::client::{Endpoint, request};

/// A category's purge lists a store.
const TIMEOUT: Duration = Duration::from_secs(130);

/// Where purges are taken.
const PATH: &str = "/v1/purge";

/// The arguments of `fovea purge`.
#[derive(Args)]
pub(super) struct Purge {
    /// The server's API, such as http://127.0.0.1:8081. Without, the configured api.listen.
    #[arg(long, value_name = "URL", global = true)]
    api: Option<String>,
    /// The API's token. Without, the configured api.token (FOVEA_API__TOKEN), which does not show in a list of processes.
    #[arg(long, global = true)]
    token: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every variant of one original.
    Asset {
        /// CATEGORY/ID, such as demo/dogs.jpg.
        asset: String,
    },
    /// Everything of a category.
    Category {
        /// Its name.
        category: String,
    },
    /// What was made by a preset.
    Preset {
        /// CATEGORY/PRESET, such as demo/thumb.
        preset: String,
    },
    /// What one URL answers, in all its formats.
    Url {
        /// The URL, or its path.
        url: String,
    },
}

impl Purge {
    /// Asks, and prints the answer.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let endpoint = match &self.api {
            Some(url) => Endpoint::parse(url, PATH)?,
            None => Endpoint::of(config.api.listen, PATH),
        };
        let token = self.token.as_deref().unwrap_or_else(|| config.api.token.expose());
        ensure!(!token.is_empty(), "a purge wants the API's token: --token, FOVEA_API__TOKEN or api.token");
        let body = match &self.what {
            What::Asset { asset } => json!({ "asset": asset }),
            What::Category { category } => json!({ "category": category }),
            What::Preset { preset } => json!({ "preset": preset }),
            What::Url { url } => json!({ "url": url }),
        };
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let answer = request(&endpoint, "POST", &headers, &body.to_string(), TIMEOUT)?;
        if answer.status / 100 == 2 {
            println!("{}", answer.body.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let problem: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem.get("detail").or(problem.get("title"))?.as_str());
        Err(anyhow::anyhow!("{}", detail.unwrap_or(answer.body.trim())))
            .with_context(|| format!("the API answered {}", answer.status))
    }
}
