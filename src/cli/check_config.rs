//! `fovea check-config`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use super::say::say;
use crate::app;
use crate::config::{ALIASES, DEFAULTS};

/// The arguments of `fovea check-config`.
#[derive(Args)]
pub(super) struct CheckConfig {
    /// Print the whole configuration that is in effect, as TOML, without secrets.
    #[arg(long)]
    print: bool,
    /// Print the built-in defaults: every key with its meaning.
    #[arg(long, conflicts_with = "print")]
    defaults: bool,
    /// Print the environment variables of other systems that are understood.
    #[arg(long, conflicts_with_all = ["print", "defaults"])]
    aliases: bool,
}

impl CheckConfig {
    /// Checks, and prints.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        if self.defaults {
            say!("{}", DEFAULTS.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        if self.aliases {
            ALIASES.iter().for_each(|alias| say!("{}: {}", alias.name, alias.meaning));
            return Ok(ExitCode::SUCCESS);
        }
        let config = choose.load(&[])?;
        app::urls(&config).context("the configuration is wrong")?;
        if self.print {
            say!("{}", toml::to_string(&config).context("printing the configuration")?.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        say!("the configuration is right");
        for (name, category) in config.categories() {
            say!("  /{name}/… from {}", category.source);
        }
        say!("  derivatives in {}", config.derivatives.store);
        if !config.places().is_empty() {
            say!("set beside the defaults:");
            config.places().iter().for_each(|(key, place)| say!("  {key} by {place}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
