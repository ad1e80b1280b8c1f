//! `fovea health`: for containers, which have no curl.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Choose;
use super::client::{Endpoint, request};

/// A health check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is asked unless the URL names a path.
const PATH: &str = "/health/ready";

/// The arguments of `fovea health`.
#[derive(Args)]
pub(super) struct Health {
    /// What to ask, such as http://127.0.0.1:8081/health/live. Without, /health/ready of the configured api.listen.
    #[arg(long)]
    url: Option<String>,
}

impl Health {
    /// Asks once.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let endpoint = match &self.url {
            Some(url) => Endpoint::parse(url, PATH)?,
            None => Endpoint::of(choose.load(&[])?.api.listen, PATH),
        };
        let answer = request(&endpoint, "GET", &[], "", TIMEOUT)?;
        println!("{}", answer.body.trim_end());
        Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
