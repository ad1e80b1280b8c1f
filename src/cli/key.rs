//! `fovea key`: API keys, in the catalog that the configuration names.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use super::Choose;
use super::say::say;
use crate::app;
use crate::auth::{Keys, NewKey, ROOT, Role};

/// The arguments of `fovea key`.
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key; it is printed alone on the last line, and never again.
    Create {
        /// viewer, uploader, operator or admin.
        #[arg(long)]
        role: String,
        /// Whose it is. Admins of `root` run the server and see every owner's things.
        #[arg(long, default_value = ROOT)]
        owner: String,
        /// What it is called, for people.
        #[arg(long, default_value = "")]
        name: String,
        /// A category that it is for; may be given several times. Without, all.
        #[arg(long = "category", value_name = "CATEGORY")]
        categories: Vec<String>,
        /// After how many days it goes. Without, when it is revoked.
        #[arg(long, value_name = "DAYS")]
        expires_days: Option<u32>,
    },
    /// List keys, without their secrets.
    List,
    /// Revoke a key: a running server follows within five seconds.
    Revoke {
        /// The key's id.
        id: String,
    },
}

impl Key {
    /// Does it.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("starting the runtime")?;
        runtime.block_on(async {
            let catalog = app::catalog(&config);
            let keys = Keys::new(catalog.clone(), None);
            self.what.run(&config, &keys, catalog.now_ms()).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl What {
    async fn run(&self, config: &crate::config::Config, keys: &Keys, now_ms: i64) -> Result<()> {
        match self {
            Self::Create { role, owner, name, categories, expires_days } => {
                let role = role.parse::<Role>().map_err(anyhow::Error::msg)?;
                for category in categories {
                    ensure!(config.category.contains_key(category), "there is no category {category:?}");
                }
                let day_ms = Duration::from_secs(86_400).as_millis() as i64;
                let created = keys.create(NewKey {
                    owner: owner.clone(),
                    name: name.clone(),
                    role,
                    categories: (!categories.is_empty()).then(|| categories.clone()),
                    expires_ms: expires_days.map(|days| now_ms + i64::from(days) * day_ms),
                });
                say!("{}", created.await?.text);
            }
            Self::List => {
                say!("{:<18} {:<9} {:<12} {:<20} categories", "id", "role", "owner", "name");
                for key in keys.list(None).await? {
                    let gone = if key.revoked_ms.is_some() { " (revoked)" } else { "" };
                    let categories = key.categories.map_or("all".to_owned(), |names| names.join(", "));
                    say!("{:<18} {:<9} {:<12} {:<20} {categories}{gone}", key.id, key.role, key.owner, key.name);
                }
            }
            Self::Revoke { id } => {
                keys.revoke(None, id).await?;
                say!("{id} is revoked");
            }
        }
        Ok(())
    }
}
