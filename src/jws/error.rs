//! What can be wrong with a key.

use super::algorithm::{Algorithm, Wants};

/// Why a key was not taken, and the way out. No variant can hold key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there, or white space only.
    #[error("the key is empty; check that the file or variable it comes from is filled")]
    Empty,
    /// More than a key can be.
    #[error("this is longer than 64 KiB, and no key is; check that it is the right file")]
    TooLong,
    /// Neither PEM nor DER nor JSON.
    #[error("this is not a private key in PEM, DER or JWK form; check that it is the right file")]
    NotAKey,
    /// What a shell on Windows makes of redirected output.
    #[error("this is UTF-16 text, as PowerShell's `>` writes it; save the key as ASCII or UTF-8")]
    Utf16,
    /// A BEGIN marker without its END.
    #[error("the PEM block has no END line, so the file was cut off; copy the key again")]
    CutOff,
    /// Base64 that does not decode.
    #[error("the base64 in the PEM block is damaged; copy the key again")]
    Base64,
    /// It says what it is, but that is not what is inside.
    #[error("{what} is damaged; copy the key again")]
    Damaged {
        /// What the bytes claim to be.
        what: &'static str,
    },
    /// PKCS#8 or old-style PEM encryption.
    #[error(
        "this key is encrypted; decrypt it with `openssl pkey -in KEY -out NEW` and let only the \
         proxy's user read the result"
    )]
    Encrypted,
    /// `OPENSSH PRIVATE KEY`.
    #[error(
        "this key is in OpenSSH's own format; convert a copy with \
         `ssh-keygen -p -m PKCS8 -f COPY`, or make a new key with openssl"
    )]
    OpenSsh,
    /// A PKCS#12 file.
    #[error(
        "this is a PKCS#12 bundle; take the key out of it with \
         `openssl pkcs12 -in BUNDLE -nocerts -nodes -out KEY`"
    )]
    Pkcs12,
    /// The half that verifies.
    #[error("this is a public key, and signing takes the private key that belongs to it")]
    PublicKey,
    /// A certificate, or a request for one.
    #[error("this is a certificate, and signing takes the private key that belongs to it")]
    Certificate,
    /// `EC PARAMETERS` and nothing else.
    #[error(
        "these are EC parameters without a key; make one with \
         `openssl ecparam -genkey -name CURVE -noout -out KEY`"
    )]
    OnlyParameters,
    /// More than one private key.
    #[error("there are {count} private keys here, and which one to use is not said; keep one")]
    Several {
        /// How many.
        count: usize,
    },
    /// The curve is described rather than named.
    #[error(
        "the curve of this key is spelled out in explicit parameters; give it its name with \
         `openssl ec -in KEY -param_enc named_curve -out NEW`"
    )]
    ExplicitCurve,
    /// Nothing says which curve an EC key is on.
    #[error(
        "this EC key does not say which curve it is on; put the `EC PARAMETERS` block it was made \
         with in front of it"
    )]
    NamelessCurve,
    /// An EC key on a curve that no algorithm here uses.
    #[error(
        "this EC key is on {found}, and only prime256v1, secp384r1 and secp521r1 are of use here"
    )]
    UnknownCurve {
        /// The curve.
        found: &'static str,
    },
    /// An EC key on another curve than the algorithm's.
    #[error(
        "{wanted} wanted, this key is {found}; make one with \
         `openssl ecparam -genkey -name {wanted} -noout -out KEY`"
    )]
    WrongCurve {
        /// The curve of the algorithm, by its OpenSSL name.
        wanted: &'static str,
        /// The curve of the key.
        found: &'static str,
    },
    /// A private key of another kind than the algorithm's.
    #[error("{algorithm} signs with {}, this is {found}; make one with `{}`",
        .algorithm.wants().description(), .algorithm.wants().recipe())]
    WrongKind {
        /// The algorithm that was to be signed with.
        algorithm: Algorithm,
        /// The kind of the key.
        found: &'static str,
    },
    /// A private key that no algorithm here signs with.
    #[error("this is {found}, and only RSA, EC and Ed25519 keys are of use here")]
    Unsupported {
        /// The kind of the key.
        found: &'static str,
    },
    /// Below what RFC 7518, section 3.3, asks for.
    #[error("this RSA key has {bits} bits, 2048 are the least; make one with `{}`",
        Wants::Rsa.recipe())]
    RsaTooSmall {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// Above what can be signed with.
    #[error("this RSA key has {bits} bits, 8192 are the most; make one with `{}`",
        Wants::Rsa.recipe())]
    RsaTooLarge {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// The public half stored beside the private one is another key's.
    #[error("the public half in this file is not that of its private key; use the original file")]
    HalvesDiffer,
    /// JSON, but not a key.
    #[error(
        "this JSON is not a JWK; if a vendor's file holds the key in one of its members, give that \
         member"
    )]
    NotAJwk,
    /// A JWK Set.
    #[error("this is a set of JWKs, and which one to use is not said; give one key by itself")]
    JwkSet,
    /// A member of a JWK is missing or does not decode.
    #[error("`{member}` of this JWK is missing or damaged; copy the key again")]
    JwkMember {
        /// The name of the member.
        member: &'static str,
    },
}

impl KeyError {
    /// The same fault, said to somebody who wanted to sign with this algorithm.
    pub(super) fn for_algorithm(self, algorithm: Algorithm) -> Self {
        match (self, algorithm.wants()) {
            (Self::UnknownCurve { found }, Wants::Ec(curve)) => Self::WrongCurve {
                wanted: curve.openssl_name(),
                found,
            },
            (Self::UnknownCurve { .. }, _) => Self::WrongKind {
                algorithm,
                found: "an EC key",
            },
            (Self::Unsupported { found }, _) => Self::WrongKind { algorithm, found },
            (other, _) => other,
        }
    }
}
