//! Keys: who shows one, made, revoked; and when each was last used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::principal::{Principal, ROOT, Role};
use super::token;
use crate::catalog::{self, ApiKey, Catalog};

/// For how long what the catalog said of a key is believed; a key that another process revoked goes on for so long.
const BELIEVED: Duration = Duration::from_secs(5);
/// Most keys of which it is remembered what the catalog said.
const REMEMBERED_MAX: usize = 10_000;
/// How often it is written down when keys were last used.
const USE_EVERY: Duration = Duration::from_secs(10);

/// Why there is no principal, or no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key was shown.
    #[error("no key was shown")]
    Missing,
    /// The key is unknown, wrong, revoked or expired: which of them is not told.
    #[error("the key does not hold")]
    Wrong,
    /// The machine has no randomness.
    #[error("no key can be made: {0}")]
    Random(String),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
}

/// What a key will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Whose.
    pub owner: String,
    /// What it is called, for people.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The categories that it is for; none is all.
    pub categories: Option<Vec<String>>,
    /// Until when it holds, unix milliseconds.
    pub expires_ms: Option<i64>,
}

/// A key that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// What is kept of it.
    pub key: ApiKey,
    /// Its text, which nobody can tell again.
    pub text: String,
}

/// The keys.
pub struct Keys {
    catalog: Catalog,
    token: Option<String>,
    known: Mutex<HashMap<String, (Instant, Option<ApiKey>)>>,
    used: Mutex<HashMap<String, i64>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The catalog's keys, and a token that is an admin's of the server itself.
    pub fn new(catalog: Catalog, token: Option<String>) -> Arc<Self> {
        let token = token.filter(|token| !token.is_empty());
        Arc::new(Self { catalog, token, known: Mutex::default(), used: Mutex::default() })
    }

    /// Who shows this `Authorization` header. The catalog is asked at most once in five seconds for each key.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Wrong`]; the catalog's own.
    pub async fn who(&self, authorization: Option<&str>) -> Result<Principal, Error> {
        let text = authorization.ok_or(Error::Missing)?;
        let (scheme, text) = text.split_at_checked("bearer ".len()).ok_or(Error::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer ") {
            return Err(Error::Missing);
        }
        if self.token.as_deref().is_some_and(|token| token::same(text, token)) {
            return Ok(Principal { key: "token".into(), owner: ROOT.into(), role: Role::Admin, categories: None });
        }
        let (id, secret) = token::split(text).ok_or(Error::Wrong)?;
        let key = self.known(id).await?.ok_or(Error::Wrong)?;
        let now_ms = self.catalog.now_ms();
        let gone = key.revoked_ms.is_some() || key.expires_ms.is_some_and(|at| at <= now_ms);
        if !token::holds(id, secret, &key.hash) || gone {
            return Err(Error::Wrong);
        }
        self.used.lock().insert(id.to_owned(), now_ms);
        let role = key.role.parse().map_err(catalog::Error::Corrupt)?;
        let categories = key.categories.map(Into::into);
        Ok(Principal { key: key.id.into(), owner: key.owner.into(), role, categories })
    }

    async fn known(&self, id: &str) -> Result<Option<ApiKey>, Error> {
        if let Some((since, key)) = self.known.lock().get(id)
            && since.elapsed() < BELIEVED
        {
            return Ok(key.clone());
        }
        let key = self.catalog.key(id).await?;
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(id.to_owned(), (Instant::now(), key.clone()));
        Ok(key)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// The catalog's, or no randomness.
    pub async fn create(&self, new: NewKey) -> Result<Created, Error> {
        let made = token::make().map_err(|error| Error::Random(error.to_string()))?;
        let key = ApiKey {
            id: made.id,
            owner: new.owner,
            name: new.name,
            hash: made.hash,
            role: new.role.name().to_owned(),
            categories: new.categories,
            created_ms: self.catalog.now_ms(),
            expires_ms: new.expires_ms,
            revoked_ms: None,
            last_used_ms: None,
        };
        self.catalog.insert_key(key.clone()).await?;
        self.known.lock().remove(&key.id);
        Ok(Created { key, text: made.text })
    }

    /// Makes a key like another one, which is revoked unless it is kept.
    ///
    /// # Errors
    /// There is no such key that holds.
    pub async fn rotate(&self, owner: Option<&str>, id: &str, keep: bool) -> Result<Created, Error> {
        let old = self.catalog.key(id).await?.filter(|key| owner.is_none_or(|owner| owner == key.owner));
        let old = old.filter(|key| key.revoked_ms.is_none()).ok_or(catalog::Error::NotFound)?;
        let created = self.create(NewKey {
            owner: old.owner,
            name: old.name,
            role: old.role.parse().map_err(catalog::Error::Corrupt)?,
            categories: old.categories,
            expires_ms: old.expires_ms,
        });
        let created = created.await?;
        if !keep {
            self.revoke(owner, id).await?;
        }
        Ok(created)
    }

    /// Revokes a key: at once here, within five seconds everywhere.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn revoke(&self, owner: Option<&str>, id: &str) -> Result<(), Error> {
        self.catalog.revoke_key(owner, id).await?;
        self.known.lock().remove(id);
        Ok(())
    }

    /// A text that confirms something when a principal says it back, to whichever process; what was given before confirms no more.
    ///
    /// # Errors
    /// The catalog's, or no randomness.
    pub async fn ask_back(&self, principal: &Principal, what: &str) -> Result<String, Error> {
        let text = token::confirmation().map_err(|error| Error::Random(error.to_string()))?;
        let name = format!("{what} {}", principal.key);
        self.catalog.ask_back(&name, &token::hash_of_confirmation(&text)).await?;
        Ok(text)
    }

    /// Whether a principal says back what was given last, no longer ago than `within`. Counts once.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn confirmed(
        &self,
        principal: &Principal,
        what: &str,
        said: &str,
        within: Duration,
    ) -> Result<bool, Error> {
        let name = format!("{what} {}", principal.key);
        Ok(self.catalog.confirm(&name, &token::hash_of_confirmation(said), within).await?)
    }

    /// The keys of an owner, or all.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn list(&self, owner: Option<&str>) -> Result<Vec<ApiKey>, Error> {
        Ok(self.catalog.keys(owner).await?)
    }

    /// On the first start of a server that has no token configured: the text of an admin's key, made now.
    ///
    /// # Errors
    /// The catalog's, or no randomness.
    pub async fn first(&self) -> Result<Option<String>, Error> {
        if self.token.is_some() || self.catalog.any_key().await? {
            return Ok(None);
        }
        let new = NewKey {
            owner: ROOT.to_owned(),
            name: "first".to_owned(),
            role: Role::Admin,
            categories: None,
            expires_ms: None,
        };
        Ok(Some(self.create(new).await?.text))
    }

    /// Writes down for ever when keys were last used; spawned once.
    pub async fn keep_up(self: Arc<Self>) {
        let mut interval = tokio::time::interval(USE_EVERY);
        loop {
            interval.tick().await;
            let used: Vec<(String, i64)> = std::mem::take(&mut *self.used.lock()).into_iter().collect();
            if !used.is_empty()
                && let Err(error) = self.catalog.touch_keys(used).await
            {
                tracing::debug!(%error, "when keys were last used could not be written down");
            }
        }
    }
}
