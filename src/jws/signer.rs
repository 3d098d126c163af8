//! Who makes a signature: p521 for ES512, aws-lc (through jsonwebtoken) for everything else. The
//! `rsa` crate never does: its private-key operations leak time (RUSTSEC-2023-0071).

use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::ThumbprintHash;
use p521::ecdsa::signature::Signer as _;
use rsa::pkcs1::EncodeRsaPrivateKey;
use zeroize::Zeroizing;

use super::SignError;
use super::algorithm::{Algorithm, Wants};
use super::error::KeyError;
use super::private::{Curve, EcPrivate, Private};

/// A key in the form its library signs with.
pub(super) enum Signer {
    /// Kept parsed: reading it costs as much as signing.
    Es512(Box<p521::ecdsa::SigningKey>),
    /// jsonwebtoken's signers are not `Send`, so its keys are parsed anew for each signature.
    AwsLc {
        algorithm: jsonwebtoken::Algorithm,
        key: EncodingKey,
    },
}

impl Signer {
    pub(super) fn shared_secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        Some(Self::AwsLc {
            algorithm: in_library(algorithm)?,
            key: EncodingKey::from_secret(secret),
        })
    }

    /// Pairs an algorithm with the only kind of key it may be used with.
    pub(super) fn private(algorithm: Algorithm, private: &Private) -> Result<Self, KeyError> {
        let key = match (algorithm.wants(), private) {
            (Wants::Ec(wanted), Private::Ec(key)) if wanted != key.curve => {
                return Err(KeyError::WrongCurve {
                    wanted: wanted.openssl_name(),
                    found: key.curve.openssl_name(),
                });
            }
            (Wants::Ec(Curve::P521), Private::Ec(key)) => return es512(key),
            (Wants::Ec(_), Private::Ec(key)) => EncodingKey::from_ec_der(&key.pkcs8()),
            (Wants::Ed25519, Private::Ed25519(key)) => EncodingKey::from_ed_der(&key.pkcs8()),
            (Wants::Rsa, Private::Rsa(key)) => rsa(key)?,
            (_, other) => {
                return Err(KeyError::WrongKind {
                    algorithm,
                    found: other.description(),
                });
            }
        };
        let algorithm = in_library(algorithm).expect("ES512 was dealt with");
        Ok(Self::AwsLc { algorithm, key })
    }

    /// The bytes of a signature as RFC 7518, section 3, lays them out.
    pub(super) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            // The nonce comes from the key and the input (RFC 6979), so no randomness can fail.
            Self::Es512(key) => {
                let signature: p521::ecdsa::Signature =
                    key.try_sign(input).map_err(|_| SignError::Refused)?;
                Ok(signature.to_bytes().to_vec())
            }
            Self::AwsLc { algorithm, key } => {
                let signer = (DEFAULT_PROVIDER.signer_factory)(algorithm, key);
                let signer = signer.map_err(|_| SignError::Refused)?;
                signer.try_sign(input).map_err(|_| SignError::Refused)
            }
        }
    }
}

fn es512(key: &EcPrivate) -> Result<Signer, KeyError> {
    let key = p521::ecdsa::SigningKey::from_slice(&key.scalar).map_err(|_| KeyError::Damaged {
        what: "the EC private key",
    })?;
    Ok(Signer::Es512(Box::new(key)))
}

/// Lets aws-lc look at the key once, so that what it refuses is refused when the key is read.
fn rsa(key: &rsa::RsaPrivateKey) -> Result<EncodingKey, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the RSA private key",
    };
    let der = key.to_pkcs1_der().map_err(|_| damaged.clone())?;
    let look = DEFAULT_PROVIDER
        .key_utils
        .rsa_pub_components_from_private_key;
    look(der.as_bytes()).map_err(|_| damaged)?;
    Ok(EncodingKey::from_rsa_der(der.as_bytes()))
}

/// The algorithm as jsonwebtoken knows it, and ES512 it does not.
fn in_library(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::Hs256 => Some(Library::HS256),
        Algorithm::Hs384 => Some(Library::HS384),
        Algorithm::Hs512 => Some(Library::HS512),
        Algorithm::Rs256 => Some(Library::RS256),
        Algorithm::Rs384 => Some(Library::RS384),
        Algorithm::Rs512 => Some(Library::RS512),
        Algorithm::Ps256 => Some(Library::PS256),
        Algorithm::Ps384 => Some(Library::PS384),
        Algorithm::Ps512 => Some(Library::PS512),
        Algorithm::Es256 => Some(Library::ES256),
        Algorithm::Es384 => Some(Library::ES384),
        Algorithm::Es512 => None,
        Algorithm::EdDsa => Some(Library::EdDSA),
    }
}

/// SHA-256, from the aws-lc that is linked in any case.
pub(super) fn sha256(input: &[u8]) -> Vec<u8> {
    let digest = (DEFAULT_PROVIDER.key_utils.compute_digest)(input, ThumbprintHash::SHA256);
    digest.expect("SHA-256 takes any input")
}

/// HMAC with SHA-256.
pub(super) fn hmac_sha256(key: &Zeroizing<[u8; 32]>, input: &[u8]) -> Vec<u8> {
    let key = EncodingKey::from_secret(key.as_slice());
    let signer = (DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key);
    let code = signer.expect("HMAC takes any key").try_sign(input);
    code.expect("HMAC takes any input")
}
