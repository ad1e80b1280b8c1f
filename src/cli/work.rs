//! `fovea work`: a worker of its own. `fovea migrate`: the catalog's tables.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use crate::app;

/// The arguments of `fovea work`.
#[derive(Args)]
pub(super) struct Work {
    /// Jobs at once: worker.concurrency.
    #[arg(long, value_name = "JOBS")]
    concurrency: Option<String>,
}

impl Work {
    /// Does jobs until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[("worker.concurrency", self.concurrency.as_ref(), "--concurrency")])?;
        runtime()?.block_on(app::work(config))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The arguments of `fovea migrate`: none of its own.
#[derive(Args)]
pub(super) struct Migrate {}

impl Migrate {
    /// Brings the catalog's tables up to date, and says so.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        runtime()?.block_on(app::migrate(&config))?;
        println!("{} is up to date", config.catalog.url);
        Ok(ExitCode::SUCCESS)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("fovea")
        .enable_all()
        .build()
        .context("starting the runtime")
}
