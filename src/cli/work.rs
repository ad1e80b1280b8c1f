//! `fovea work`: a worker of its own. `fovea migrate`: the catalog's tables.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use crate::app;
use crate::base::url::without_password;
use crate::catalog::Moved;

/// The arguments of `fovea work`.
#[derive(Args)]
pub(super) struct Work {
    /// Jobs at once: worker.concurrency.
    #[arg(long, value_name = "JOBS")]
    concurrency: Option<String>,
    /// Where it tells how it is: worker.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

impl Work {
    /// Does jobs until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[
            ("worker.concurrency", self.concurrency.as_ref(), "--concurrency"),
            ("worker.listen", self.listen.as_ref(), "--listen"),
        ])?;
        runtime()?.block_on(app::work(config))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The arguments of `fovea migrate`.
#[derive(Args)]
pub(super) struct Migrate {
    /// Copy this catalog with all its history, sqlite:PATH or postgres://…, to that of --to. Nothing may serve or work meanwhile.
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<String>,
    /// Where to: postgres://…, an empty database, or one that a copy was cut off in.
    #[arg(long, value_name = "URL", requires = "from")]
    to: Option<String>,
}

impl Migrate {
    /// Brings the catalog's tables up to date, or moves a catalog, and says so.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        if let Some((from, to)) = self.from.as_ref().zip(self.to.as_ref()) {
            runtime()?.block_on(app::move_catalog(from, to, tell))?;
            println!("{} holds all of {}, compared row by row", without_password(to), without_password(from));
            return Ok(ExitCode::SUCCESS);
        }
        let config = choose.load(&[])?;
        runtime()?.block_on(app::migrate(&config))?;
        println!("{} is up to date", config.catalog.url);
        Ok(ExitCode::SUCCESS)
    }
}

/// How far a move is: a line a table, and one a hundred thousand rows.
fn tell(moved: &Moved) {
    if moved.rows == moved.of || moved.rows.is_multiple_of(100_000) {
        eprintln!("{}: {} of {} rows", moved.table, moved.rows, moved.of);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("fovea")
        .enable_all()
        .build()
        .context("starting the runtime")
}
