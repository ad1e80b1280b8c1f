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
    /// Make a key like another, which is revoked; it is printed alone on the last line, and never again.
    Rotate {
        /// The key's id.
        id: String,
    },
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

/// How long something is ago, in its largest unit.
fn ago(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
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
                say!("{:<18} {:<9} {:<12} {:<20} {:<11} categories", "id", "role", "owner", "name", "last used");
                for key in keys.list(None).await? {
                    let gone = if key.revoked_ms.is_some() { " (revoked)" } else { "" };
                    let used = key.last_used_ms.map_or("never".to_owned(), |at_ms| ago(now_ms - at_ms));
                    let categories = key.categories.map_or("all".to_owned(), |names| names.join(", "));
                    let (id, role, owner, name) = (key.id, key.role, key.owner, key.name);
                    say!("{id:<18} {role:<9} {owner:<12} {name:<20} {used:<11} {categories}{gone}");
                }
            }
            Self::Rotate { id } => {
                let created = keys.rotate(None, id, false).await.with_context(|| format!("the key {id}"))?;
                say!("{}", created.text);
            }
            Self::Revoke { id } => {
                keys.revoke(None, id).await?;
                say!("{id} is revoked");
            }
        }
        Ok(())
    }
}
