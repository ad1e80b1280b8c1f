//! The command line: one file a subcommand.
//!
//! Enters: arguments and the process's environment, which is read here and nowhere else. Leaves: an exit code; 0 is success,
//! 1 a failure that standard error explains, 2 wrong usage.
//!
//! Always true: a subcommand that needs no server starts none, and no subcommand prints a secret.

mod check_config;
mod client;
mod health;
mod ingest;
mod jobs;
mod key;
mod plan;
mod profile;
mod purge;
mod render;
mod say;
mod serve;
mod sign;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Environment, Inputs, Problems};

/// An image CDN origin: any image by URL, in the size, crop and format that the URL asks for.
#[derive(Parser)]
#[command(name = "fovea", version, after_long_help = EXAMPLES)]
struct Command {
    #[command(flatten)]
    choose: Choose,
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  fovea serve                                             the samples on http://127.0.0.1:8080/
  fovea all                                               the same, and jobs in the same process
  FOVEA_CATEGORY__SHOP__SOURCE=file:/srv/shop fovea serve   your folder as /shop/FILE/v1/thumb.auto
  fovea serve --config fovea.toml --set memory.cache_bytes=1GiB
  fovea plan /demo/dogs.jpg/v1/w_300,h_200,fit_cover.auto  what this URL means
  fovea sign /shop/shoe.jpg/v1/w_300.auto --kid k1 --expires 7d
  fovea purge asset demo/dogs.jpg                         forget all variants of one original
  fovea key create --role uploader --category shop         an API key, on the last line
  fovea ingest photos/ --category shop --wait              a folder of originals, until their variants are made
  fovea jobs --status failed                               what did not work out
  fovea jobs replay --since 2030-01-31T12:00:00Z           make the variants of what came since again, where they are gone
  fovea render photo.jpg photo.webp w_800,q_75            without a server
  fovea profile photo.jpg w_400 --format webp             where its time goes, stage by stage
  fovea check-config --config fovea.toml --print          what is wrong, or what is in effect
  fovea work --config fovea.toml                          do jobs in a process of its own
  fovea api --config fovea.toml                           serve the API alone
  fovea migrate [--from URL --to URL]                     bring the catalog's tables up to date, or move it to PostgreSQL
  fovea health                                            for a container's health check

Every configuration key, with its default and its meaning: fovea check-config --defaults";

#[derive(Subcommand)]
enum What {
    /// Serve images, and the API, until SIGTERM or SIGINT.
    Serve(serve::Serve),
    /// Serve, and do jobs in the same process whatever the configuration says.
    All(serve::All),
    /// Serve the API, without images, and do no jobs.
    Api(serve::Api),
    /// Forget what was made: of an asset, a category, a preset or one URL; in memory and in the store.
    Purge(purge::Purge),
    /// Put originals into a category, by the API: files, folders, patterns. What is there already is passed over.
    Ingest(ingest::Ingest),
    /// List jobs, or show one, by the API.
    Jobs(jobs::Jobs),
    /// Make, list, rotate and revoke API keys, in the catalog itself: no server is asked.
    Key(key::Key),
    /// Explain what a URL means, as JSON. Fetches nothing.
    Plan(plan::Plan),
    /// Sign a URL.
    Sign(sign::Sign),
    /// Render one file to another, without a server.
    Render(render::Render),
    /// Show where the time and the bytes of one variant go, stage by stage, without a server.
    Profile(profile::Profile),
    /// Say all that is wrong with the configuration, or what is in effect.
    CheckConfig(check_config::CheckConfig),
    /// Do jobs, without serving: uploads are looked at, variants made before anybody asks.
    Work(work::Work),
    /// Bring the catalog's tables up to date, as a server does when it first needs them; or move it to another (--from, --to).
    Migrate(work::Migrate),
    /// Ask a running server whether it is ready; exits 0 if so, else 1.
    Health(health::Health),
}

/// What chooses a configuration.
#[derive(Args, Debug, Default)]
struct Choose {
    /// A TOML file; FOVEA_CONFIG names one too. Without, the built-in defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Sets a key, over file and environment: --set http.threads=4. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

impl Choose {
    /// The configuration, with further flags as (key, value, flag).
    fn load(&self, flags: &[(&str, Option<&String>, &str)]) -> Result<Config> {
        Ok(Config::load(self.inputs(flags)?)?)
    }

    fn inputs(&self, flags: &[(&str, Option<&String>, &str)]) -> Result<Inputs> {
        let mut all = Vec::new();
        for text in &self.set {
            let (key, value) = text.split_once('=').with_context(|| format!("--set {text}: write KEY=VALUE"))?;
            all.push((key.trim().to_owned(), value.to_owned(), "--set".to_owned()));
        }
        for (key, value, flag) in flags {
            if let Some(value) = value {
                all.push(((*key).to_owned(), (*value).clone(), (*flag).to_owned()));
            }
        }
        Ok(Inputs::read(self.config.as_deref(), environment(), all)?)
    }
}

/// The process's environment; what is not Unicode is none of ours.
fn environment() -> Environment {
    let pairs = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    pairs.filter_map(|pair| if let (Ok(name), Ok(value)) = pair { Some((name, value)) } else { None }).collect()
}

/// Runs what the arguments say.
pub fn run() -> ExitCode {
    let Command { choose, what } = Command::parse();
    let choose = &choose;
    let result = match what {
        What::Serve(serve) => serve.run(choose),
        What::All(all) => all.run(choose),
        What::Api(api) => api.run(choose),
        What::Purge(purge) => purge.run(choose),
        What::Ingest(ingest) => ingest.run(choose),
        What::Jobs(jobs) => jobs.run(choose),
        What::Key(key) => key.run(choose),
        What::Plan(plan) => plan.run(choose),
        What::Sign(sign) => sign.run(choose),
        What::Render(render) => render.run(choose),
        What::Profile(profile) => profile.run(choose),
        What::CheckConfig(check) => check.run(choose),
        What::Work(work) => work.run(choose),
        What::Migrate(migrate) => migrate.run(choose),
        What::Health(health) => health.run(choose),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            if let Some(problems) = error.downcast_ref::<Problems>() {
                eprintln!("error: {problems}");
            } else {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn every_subcommand_is_in_the_examples() {
        for command in Command::command().get_subcommands() {
            assert!(EXAMPLES.contains(&format!("fovea {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn set_wins() {
        let choose = Choose { config: None, set: vec!["http.threads=3".to_owned(), "api.token=a=b".to_owned()] };
        let listen = "127.0.0.1:0".to_owned();
        let config =
            choose.load(&[("http.listen", Some(&listen), "--listen"), ("api.listen", None, "--api-listen")]).unwrap();
        assert_eq!((config.http.threads, config.http.listen.port()), (3, 0));
        assert_eq!(config.api.token.expose(), "a=b");
        assert!(Choose { config: None, set: vec!["nonsense".to_owned()] }.load(&[]).is_err());
    }
}
