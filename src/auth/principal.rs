//! What somebody may do, and whose things they are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The owner of the server itself. Its admins see every owner's things.
pub const ROOT: &str = "root";

/// What a key is for. Each may all that those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Puts originals in, and has variants made.
    Uploader,
    /// Deletes, purges, retries, empties dead letters.
    Operator,
    /// Makes and revokes keys, clears the queue.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Uploader, Self::Operator, Self::Admin];

    /// Its name in keys, requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Uploader => "uploader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("a role is viewer, uploader, operator or admin, not {text:?}"))
    }
}

/// Somebody who showed a key that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The key's id; `token` for the configured one.
    pub key: Arc<str>,
    /// Whose things are theirs.
    pub owner: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The categories that they may do it in; none is all.
    pub categories: Option<Arc<[String]>>,
}

impl Principal {
    /// Whose things they see: none is everybody's.
    pub fn sees(&self) -> Option<&str> {
        (!self.is_root()).then_some(&*self.owner)
    }

    /// Whether they run the server.
    pub fn is_root(&self) -> bool {
        &*self.owner == ROOT && self.role == Role::Admin && self.categories.is_none()
    }

    /// Whether they may do what a role may.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    /// The categories that lists for them are of; none is all.
    pub fn within(&self) -> Option<Vec<String>> {
        self.categories.as_ref().map(|categories| categories.to_vec())
    }

    /// Whether they may do it in a category.
    pub fn may_in(&self, category: &str) -> bool {
        self.categories.as_ref().is_none_or(|categories| categories.iter().any(|name| name == category))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(owner: &str, role: Role, categories: Option<&[&str]>) -> Principal {
        let categories = categories.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Principal { key: "k".into(), owner: owner.into(), role, categories }
    }

    #[test]
    fn roles_contain_each_other() {
        for (at, role) in Role::ALL.into_iter().enumerate() {
            assert_eq!(role.name().parse(), Ok(role));
            for (other_at, other) in Role::ALL.into_iter().enumerate() {
                assert_eq!(principal("a", role, None).may(other), at >= other_at, "{role} {other}");
            }
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn only_an_unscoped_admin_of_the_server_sees_all_owners() {
        assert_eq!(principal(ROOT, Role::Admin, None).sees(), None);
        assert_eq!(principal(ROOT, Role::Operator, None).sees(), Some(ROOT));
        assert_eq!(principal(ROOT, Role::Admin, Some(&["a"])).sees(), Some(ROOT));
        assert_eq!(principal("ann", Role::Admin, None).sees(), Some("ann"));
    }

    #[test]
    fn categories_are_a_scope() {
        let scoped = principal("ann", Role::Uploader, Some(&["shop"]));
        assert!(scoped.may_in("shop") && !scoped.may_in("demo"));
        assert!(principal("ann", Role::Uploader, None).may_in("demo"));
    }
}
