//! Tokens (protocol.md 8.5): JSON Web Tokens (RFC 7519) that a backend has signed.
//!
//! The key says which algorithm counts; what a token says of that is only ever compared with it.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use super::verdict::{Grant, Standing};
use crate::registry::UserId;

/// Longest token that is looked at, in bytes: what a cookie or a header holds.
pub(super) const MAX_TOKEN_BYTES: usize = 4 << 10;

/// The cookie that a token comes in.
pub(super) const TOKEN_COOKIE: &str = "websock_token";

/// `aud` of every token.
const AUDIENCE: &str = "websock";

/// Least bytes of a secret (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// How far clocks may differ: those who mint tokens may be other machines.
const LEEWAY: Duration = Duration::from_secs(10);

/// What tokens are checked with (`authKey`).
#[derive(Clone)]
pub struct TokenKey {
    key: DecodingKey,
    algorithm: Algorithm,
    /// Of the key, to tell two apart.
    digest: [u8; 32],
}

/// Why a secret or a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKeyError {
    /// The secret is shorter than [`MIN_SECRET_BYTES`].
    TooShort,
    /// Not an Ed25519 public key.
    NotEd25519,
}

impl TokenKey {
    /// A secret for HS256, which whoever mints tokens has, too.
    ///
    /// # Errors
    /// It is shorter than [`MIN_SECRET_BYTES`].
    pub fn secret(secret: &[u8]) -> Result<Self, TokenKeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(TokenKeyError::TooShort);
        }
        Ok(Self {
            key: DecodingKey::from_secret(secret).map_err(|_| TokenKeyError::TooShort)?,
            algorithm: Algorithm::HS256,
            digest: digest_of(secret),
        })
    }

    /// A public key for EdDSA with Ed25519 (RFC 8037), as the DER of a `SubjectPublicKeyInfo`
    /// (RFC 8410 §4): what stands in a PEM file of a public key.
    ///
    /// # Errors
    /// It is another kind of key.
    pub fn ed25519(public_key_info: &[u8]) -> Result<Self, TokenKeyError> {
        let key = public_key_info.strip_prefix(&ED25519_KEY_INFO);
        let key = key.filter(|key| key.len() == 32);
        let key = key.ok_or(TokenKeyError::NotEd25519)?;
        Ok(Self {
            key: DecodingKey::from_ed_der(key),
            algorithm: Algorithm::EdDSA,
            digest: digest_of(key),
        })
    }

    /// Who has signed in by this token at `now`, since 1970; `None`: nobody.
    pub(super) fn check(&self, token: &str, now: Duration) -> Option<Grant> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let token = decode::<Value>(token, &self.key, &self.validation()).ok()?;
        // RFC 7515 §4.1.11: what has to be understood and is not.
        if token.header.crit.is_some() {
            return None;
        }
        let user = UserId::new(token.claims.get("sub")?.as_str()?)?;
        let expiry = token.claims.get("exp")?.as_f64()?;
        let expiry = Duration::try_from_secs_f64(expiry).ok()? + LEEWAY;
        Some(Grant {
            standing: Standing::SignedIn(Some(user)),
            expires_in: Some(expiry.checked_sub(now)?),
        })
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.algorithm);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.as_secs();
        validation
    }
}

/// Two are equal if they check alike.
impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        (self.algorithm, self.digest) == (other.algorithm, other.digest)
    }
}

impl Eq for TokenKey {}

/// Without the key.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({:?})", self.algorithm)
    }
}

fn digest_of(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    bytes
}

/// `SubjectPublicKeyInfo` of an Ed25519 key, up to the key's 32 bytes (RFC 8410 §4, §10.1).
const ED25519_KEY_INFO: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
