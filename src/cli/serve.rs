//! `fovea serve`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use crate::app::{self, Role};
use crate::config::Config;

/// The arguments of `fovea serve`.
#[derive(Args)]
pub(super) struct Serve {
    /// Where images are served: http.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where API, health and metrics are served: api.listen.
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<String>,
}

/// The arguments of `fovea all`: those of `fovea serve`.
#[derive(Args)]
pub(super) struct All {
    #[command(flatten)]
    serve: Serve,
}

impl All {
    /// Serves and works until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        self.serve.run_with(choose, Some("true".to_owned()), Role::Origin)
    }
}

impl Serve {
    /// Serves until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        self.run_with(choose, None, Role::Origin)
    }

    fn run_with(&self, choose: &Choose, works: Option<String>, role: Role) -> Result<ExitCode> {
        let config = choose.load(&[
            ("http.listen", self.listen.as_ref(), "--listen"),
            ("api.listen", self.api_listen.as_ref(), "--api-listen"),
            ("worker.enabled", works.as_ref(), "the subcommand"),
        ])?;
        serve(config, role)
    }
}

/// The arguments of `fovea api`.
#[derive(Args)]
pub(super) struct Api {
    /// Where API, health and metrics are served: api.listen.
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<String>,
}

impl Api {
    /// Serves the API until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let no = "false".to_owned();
        let config = choose.load(&[
            ("api.listen", self.api_listen.as_ref(), "--api-listen"),
            ("worker.enabled", Some(&no), "the subcommand"),
        ])?;
        serve(config, Role::Api)
    }
}

fn serve(config: Config, role: Role) -> Result<ExitCode> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.http.threads > 0 {
        runtime.worker_threads(config.http.threads);
    }
    let runtime = runtime.thread_name("fovea").enable_all().build().context("starting the runtime")?;
    runtime.block_on(app::serve(config, role))?;
    Ok(ExitCode::SUCCESS)
}
