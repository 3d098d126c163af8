//! The names of signing algorithms.

use std::fmt;
use std::str::FromStr;

use super::private::Curve;

/// A JWS signing algorithm: RFC 7518, section 3.1, and RFC 8037, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// EdDSA, here always on Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm, in the order in which messages list them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name as it stands in the `alg` member of a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// What kind of key signs with it.
    pub(super) fn wants(self) -> Wants {
        match self {
            Self::Hs256 => Wants::Secret { bytes: 32 },
            Self::Hs384 => Wants::Secret { bytes: 48 },
            Self::Hs512 => Wants::Secret { bytes: 64 },
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Wants::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Wants::Rsa,
            Self::Es256 => Wants::Ec(Curve::P256),
            Self::Es384 => Wants::Ec(Curve::P384),
            Self::Es512 => Wants::Ec(Curve::P521),
            Self::EdDsa => Wants::Ed25519,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Takes the exact name only: RFC 7518 names are case-sensitive.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Self::ALL.into_iter().find(|it| it.name() == name);
        known.ok_or(UnknownAlgorithm)
    }
}

/// A name that is none of [`Algorithm::ALL`]. Its message lists those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signing algorithm; known are {}", Algorithm::ALL.map(Algorithm::name).join(", "))]
pub struct UnknownAlgorithm;

/// The kind of key an algorithm signs with.
#[derive(Clone, Copy)]
pub(super) enum Wants {
    /// A shared secret, which RFC 7518, section 3.2, wants at least this many bytes long.
    Secret {
        bytes: usize,
    },
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl Wants {
    /// The kind as a message says it.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Secret { .. } => "a shared secret",
            Self::Rsa => "an RSA key",
            Self::Ec(Curve::P256) => "an EC key on prime256v1",
            Self::Ec(Curve::P384) => "an EC key on secp384r1",
            Self::Ec(Curve::P521) => "an EC key on secp521r1",
            Self::Ed25519 => "an Ed25519 key",
        }
    }

    /// A command that makes such a key.
    pub(super) fn recipe(self) -> &'static str {
        match self {
            Self::Secret { .. } => "openssl rand -hex 32",
            Self::Rsa => "openssl genrsa -out KEY 3072",
            Self::Ec(Curve::P256) => "openssl ecparam -genkey -name prime256v1 -noout -out KEY",
            Self::Ec(Curve::P384) => "openssl ecparam -genkey -name secp384r1 -noout -out KEY",
            Self::Ec(Curve::P521) => "openssl ecparam -genkey -name secp521r1 -noout -out KEY",
            Self::Ed25519 => "openssl genpkey -algorithm ED25519 -out KEY",
        }
    }
}
