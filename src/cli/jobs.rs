//! `fovea jobs`: asks a running server's API; `fovea jobs replay` goes through the catalog's history itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::Choose;
use super::client::{Api, Sent};
use super::say::say;
use crate::app;
use crate::queue::Since;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The arguments of `fovea jobs`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Jobs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    api: Api,
    /// Show this job, as JSON.
    id: Option<String>,
    /// Of this status alone: queued, processing, completed, failed, retrying or cancelled.
    #[arg(long)]
    status: Option<String>,
    /// How many, 1 to 500.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Subcommand)]
enum What {
    /// Queue again what makes the variants of all assets that were accepted since: after a store was lost, or a defect mended. Asks the
    /// catalog itself; what is in the store is not made again.
    Replay {
        /// A time, such as 2030-01-31T12:00:00Z, or an event's number.
        #[arg(long, value_name = "TIME|EVENT")]
        since: String,
    },
}

impl Jobs {
    /// Asks, and prints the answer.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        if let Some(What::Replay { since }) = &self.what {
            let since: Since = since.parse().map_err(anyhow::Error::msg)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let queued = runtime.context("starting the runtime")?.block_on(app::replay(&config, since))?;
            println!("{queued} jobs queued");
            return Ok(ExitCode::SUCCESS);
        }
        let ask = |path: &str| self.api.ask(&config, "GET", path, Sent::Text(""), TIMEOUT)?.json();
        if let Some(id) = &self.id {
            say!("{:#}", ask(&format!("/v1/jobs/{id}"))?);
            return Ok(ExitCode::SUCCESS);
        }
        let status = self.status.as_deref().map_or(String::new(), |status| format!("&status={status}"));
        let page = ask(&format!("/v1/jobs?limit={}{status}", self.limit))?;
        say!("{:<28} {:<11} {:<10} {:<9} {:>9}  asset", "job", "status", "kind", "priority", "progress");
        for job in page["items"].as_array().into_iter().flatten() {
            let text = |name: &str| job[name].as_str().unwrap_or("-").to_owned();
            let (progress, error) = (&job["progress"], job["error"].as_str());
            let done = format!("{}/{}", progress["done"], progress["total"]);
            let error = error.map_or(String::new(), |error| format!(": {error}"));
            say!(
                "{:<28} {:<11} {:<10} {:<9} {done:>9}  {}{error}",
                text("id"),
                text("status"),
                text("kind"),
                text("priority"),
                text("asset")
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
