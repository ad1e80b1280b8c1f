//! The text of a key: `fovea_<id>_<secret>`, id and secret at random; and what is kept of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::base::Digest;

/// What a key's text begins with, before an underscore.
const NAME: &str = "fovea";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const CONFIRMATION_BYTES: usize = 18;

/// A key that was just made.
pub struct Made {
    pub id: String,
    /// What is kept: a plain digest, since the secret is 256 random bits that nobody guesses.
    pub hash: String,
    /// What is shown, once.
    pub text: String,
}

/// A text that nobody guesses, said back to confirm something.
///
/// # Errors
/// The machine has no randomness.
pub fn confirmation() -> Result<String, getrandom::Error> {
    let mut text = [0; CONFIRMATION_BYTES];
    getrandom::fill(&mut text)?;
    Ok(URL_SAFE_NO_PAD.encode(text))
}

/// What is kept of a confirmation.
pub fn hash_of_confirmation(text: &str) -> String {
    Digest::of_parts(&[b"fovea confirmation", text.as_bytes()]).hex(64)
}

/// Makes a key.
///
/// # Errors
/// The machine has no randomness.
pub fn make() -> Result<Made, getrandom::Error> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = URL_SAFE_NO_PAD.encode(secret);
    Ok(Made { hash: hash(&id, &secret), text: format!("{NAME}_{id}_{secret}"), id })
}

/// The id and the secret of a key's text.
pub fn split(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(NAME)?.strip_prefix('_')?.split_once('_')?;
    let hex = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex && (1..=128).contains(&secret.len())).then_some((id, secret))
}

/// What is kept of a secret.
fn hash(id: &str, secret: &str) -> String {
    Digest::of_parts(&[b"fovea api key", id.as_bytes(), secret.as_bytes()]).hex(64)
}

/// Whether a secret is the one of which this was kept.
pub fn holds(id: &str, secret: &str, kept: &str) -> bool {
    hash(id, secret).as_bytes().ct_eq(kept.as_bytes()).into()
}

/// Whether a text is the configured token; neither its length nor where they differ shows in the time.
pub fn same(given: &str, token: &str) -> bool {
    let digest = |text: &str| Digest::of_parts(&[b"fovea api token", text.as_bytes()]).0;
    digest(given).ct_eq(&digest(token)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_and_no_other_does() {
        let (one, other) = (make().unwrap(), make().unwrap());
        let (id, secret) = split(&one.text).unwrap();
        assert_eq!(id, one.id);
        assert!(holds(id, secret, &one.hash));
        assert!(!holds(id, secret, &other.hash) && !holds(&other.id, secret, &one.hash));
        assert!(!holds(id, &secret[1..], &one.hash) && !holds(id, secret, ""));
        assert!(!one.hash.contains(secret), "the secret is not kept");
        assert_ne!(one.text, other.text);
        for wrong in ["", "fovea_", "fovea_abc_def", "token", &one.text[1..], &one.text.replace("fovea_", "fovea-")] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
        assert!(same("secret", "secret") && !same("secre", "secret") && !same("", "secret"));
    }
}
