//! JSON Web Signatures (RFC 7515): our algorithms, keys in every form vendors ship them, and
//! compact tokens.
//!
//! Outside the emulator, this is the only module that names the libraries that sign. It knows
//! nothing of claims, clocks or files; it verifies nothing, since a proxy only ever shows tokens
//! to others.

mod algorithm;
mod der;
mod error;
mod jwk;
mod keygen;
mod pem;
mod private;
mod public;
mod read;
mod signer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secret::Secret;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::error::KeyError;
pub use self::keygen::{KeyKind, KeyPair, UnknownKeyKind, generate};

use self::algorithm::Wants;
use self::signer::Signer;

/// A key, bound to the one algorithm it signs with.
///
/// On drop the private half is wiped: p521 and jsonwebtoken do so for the key they keep, `rsa` and
/// this module for what they had in hand while reading it, and aws-lc for whatever it frees. Out of
/// reach are registers and stack frames that the compiler spilled to, the intermediate numbers of
/// `rsa`'s checks, and a JWK member written with escapes.
///
/// It is not `Clone`: one key, one place to wipe.
pub struct SigningKey {
    algorithm: Algorithm,
    signer: Signer,
    fingerprint: String,
    short_of: Option<usize>,
}

impl SigningKey {
    /// Reads a key for this algorithm.
    ///
    /// For HS256, HS384 and HS512 the bytes are the key as they stand, trailing newline and all.
    /// For the others they are a private key: PEM (SEC1, PKCS#1 or PKCS#8; wrapped at any width or
    /// on one line, with `\n` for newlines, with other text or an `EC PARAMETERS` block in front),
    /// DER, or a JWK.
    ///
    /// # Errors
    ///
    /// [`KeyError`] says what is wrong and what to do about it.
    pub fn parse(algorithm: Algorithm, secret: &Secret) -> Result<Self, KeyError> {
        match algorithm.wants() {
            Wants::Secret { bytes } => Self::shared(algorithm, secret.expose(), bytes),
            _ => Self::private(algorithm, secret.expose())
                .map_err(|error| error.for_algorithm(algorithm)),
        }
    }

    fn shared(algorithm: Algorithm, secret: &[u8], advised: usize) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::Empty);
        }
        let signer = Signer::shared_secret(algorithm, secret);
        Ok(Self {
            algorithm,
            signer: signer.expect("jsonwebtoken has every HMAC"),
            fingerprint: short_hex(&secret_fingerprint(secret)),
            short_of: (secret.len() < advised).then_some(advised),
        })
    }

    fn private(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let private = read::private_key(bytes)?;
        let thumbprint = signer::sha256(private.public().thumbprint_input().as_bytes());
        Ok(Self {
            algorithm,
            signer: Signer::private(algorithm, &private)?,
            fingerprint: short_hex(&thumbprint),
            short_of: None,
        })
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Tells keys apart without telling anything about them: 16 hex digits.
    ///
    /// For key pairs, the start of the RFC 7638 thumbprint (SHA-256) of the public half: the same
    /// for every form of a key and on every machine. For shared secrets, an HMAC under a key that
    /// this process drew at random: the same within one process only. Any fixed function of the
    /// secret, however slow or domain-separated, would let whoever reads a log try guesses on it.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// The least number of bytes that RFC 7518, section 3.2, asks of a shared secret, where this
    /// one has fewer. It signs all the same, since vendors issue such secrets.
    pub fn short_of(&self) -> Option<usize> {
        self.short_of
    }

    /// Signs and returns the signature in base64url, as the last part of a compact JWS has it.
    ///
    /// # Errors
    ///
    /// [`SignError::Refused`].
    pub fn sign(&self, signing_input: &[u8]) -> Result<String, SignError> {
        Ok(URL_SAFE_NO_PAD.encode(self.signer.sign(signing_input)?))
    }

    /// A compact JWS (RFC 7515, section 7.1) of two JSON objects.
    ///
    /// `alg` comes first in the header and always from the key, whatever the caller's header says
    /// (RFC 8725, section 3.1). Other members keep their order.
    ///
    /// # Errors
    ///
    /// [`SignError`], where header or claims are not an object or the signature was refused.
    pub fn jwt(&self, header: &Value, claims: &Value) -> Result<String, SignError> {
        let header = header.as_object().ok_or(SignError::HeaderNotAnObject)?;
        if !claims.is_object() {
            return Err(SignError::ClaimsNotAnObject);
        }
        let mut token = URL_SAFE_NO_PAD.encode(self.complete(header).to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }

    fn complete(&self, header: &Map<String, Value>) -> Value {
        let mut complete = Map::with_capacity(header.len() + 1);
        complete.insert("alg".to_owned(), Value::from(self.algorithm.name()));
        let others = header.iter().filter(|(name, _)| *name != "alg");
        complete.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(complete)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A JOSE header is a JSON object: RFC 7515, section 4.
    #[error("the header of a token must be a JSON object")]
    HeaderNotAnObject,
    /// A claims set is a JSON object: RFC 7519, section 4.
    #[error("the claims of a token must be a JSON object")]
    ClaimsNotAnObject,
    /// The library would not sign with a key it had accepted: out of memory, in practice.
    #[error("the cryptographic library refused to sign")]
    Refused,
}

/// The public half, as SPKI PEM (`PUBLIC KEY`), of a private key in any form that
/// [`SigningKey::parse`] takes.
///
/// # Errors
///
/// [`KeyError`], as there.
pub fn public_of(private: &Secret) -> Result<String, KeyError> {
    Ok(read::private_key(private.expose())?.public().spki_pem())
}

/// The public half, as a JWK (RFC 7517) with its required members only, of a private key in any
/// form that [`SigningKey::parse`] takes.
///
/// # Errors
///
/// [`KeyError`], as there.
pub fn public_jwk(private: &Secret) -> Result<Value, KeyError> {
    Ok(Value::Object(
        read::private_key(private.expose())?.public().jwk(),
    ))
}

/// Tells tokens apart without telling anything about them: the first 16 hex digits of the SHA-256,
/// so that `sha256sum` finds the token that somebody holds.
#[must_use]
pub fn token_fingerprint(token: &str) -> String {
    short_hex(&signer::sha256(token.as_bytes()))
}

/// The same for a secret that somebody may have chosen: under a key that this process drew, for
/// the reason that [`SigningKey::fingerprint`] has.
#[must_use]
pub fn chosen_fingerprint(secret: &str) -> String {
    short_hex(&secret_fingerprint(secret.as_bytes()))
}

/// See [`SigningKey::fingerprint`].
fn secret_fingerprint(secret: &[u8]) -> Vec<u8> {
    static KEY: OnceLock<Zeroizing<[u8; 32]>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())
            .expect("getrandom(2) is there on every kernel supported");
        key
    });
    signer::hmac_sha256(key, secret)
}

/// The first 8 bytes: two keys of one operator do not collide by chance.
fn short_hex(hash: &[u8]) -> String {
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
