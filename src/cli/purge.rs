//! `fovea purge`: asks a running server's API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Choose;
use super::client::{Api, Sent};

/// A category's purge lists a store.
const TIMEOUT: Duration = Duration::from_secs(130);

/// Where purges are taken.
const PATH: &str = "/v1/purge";

/// The arguments of `fovea purge`.
#[derive(Args)]
pub(super) struct Purge {
    #[command(flatten)]
    api: Api,
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
        let body = match &self.what {
            What::Asset { asset } => json!({ "asset": asset }),
            What::Category { category } => json!({ "category": category }),
            What::Preset { preset } => json!({ "preset": preset }),
            What::Url { url } => json!({ "url": url }),
        };
        let answer = self.api.ask(&config, "POST", PATH, Sent::Text(&body.to_string()), TIMEOUT)?;
        println!("{}", answer.json()?);
        Ok(ExitCode::SUCCESS)
    }
}
