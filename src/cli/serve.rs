//! `fovea serve`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use crate::app;

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
        self.serve.run_with(choose, Some("true".to_owned()))
    }
}

impl Serve {
    /// Serves until it is told to stop.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        self.run_with(choose, None)
    }

    fn run_with(&self, choose: &Choose, works: Option<String>) -> Result<ExitCode> {
        let config = choose.load(&[
            ("http.listen", self.listen.as_ref(), "--listen"),
            ("api.listen", self.api_listen.as_ref(), "--api-listen"),
            ("worker.enabled", works.as_ref(), "all"),
        ])?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if config.http.threads > 0 {
            runtime.worker_threads(config.http.threads);
        }
        let runtime = runtime.thread_name("fovea").enable_all().build().context("starting the runtime")?;
        runtime.block_on(app::serve(config))?;
        Ok(ExitCode::SUCCESS)
    }
}
