//! Public halves: as SPKI for vendors' portals, as JWK, and as a thumbprint to tell keys apart.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::RsaPublicKey;
use rsa::pkcs8::EncodePublicKey;
use serde_json::{Map, Value};

use super::private::{Curve, EC_KEY, ED25519, rsa_public_numbers};
use super::{der, pem};

/// What may be shown of a key.
pub(super) enum Public {
    Ec { curve: Curve, point: Vec<u8> },
    Rsa(RsaPublicKey),
    Ed25519(Vec<u8>),
}

impl Public {
    /// `SubjectPublicKeyInfo` of RFC 5280, section 4.1, as PEM.
    pub(super) fn spki_pem(&self) -> String {
        let der = match self {
            Self::Ec { curve, point } => spki(&[EC_KEY, curve.oid()], point),
            Self::Ed25519(key) => spki(&[ED25519], key),
            Self::Rsa(key) => {
                let der = key
                    .to_public_key_der()
                    .expect("two numbers that were read do encode");
                der.into_vec()
            }
        };
        pem::encode("PUBLIC KEY", &der).to_string()
    }

    /// The members of a JWK that RFC 7638, section 3.2, and RFC 8037, section 2, require, in the
    /// order a thumbprint wants: alphabetical.
    pub(super) fn jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members: Vec<(&str, String)> = match self {
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.size());
                vec![
                    ("crv", curve.jwk_name().to_owned()),
                    ("kty", "EC".to_owned()),
                    ("x", encode(x)),
                    ("y", encode(y)),
                ]
            }
            Self::Rsa(key) => {
                let (n, e) = rsa_public_numbers(key);
                vec![
                    ("e", encode(&e)),
                    ("kty", "RSA".to_owned()),
                    ("n", encode(&n)),
                ]
            }
            Self::Ed25519(key) => vec![
                ("crv", "Ed25519".to_owned()),
                ("kty", "OKP".to_owned()),
                ("x", encode(key)),
            ],
        };
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect()
    }

    /// What RFC 7638, section 3, hashes.
    pub(super) fn thumbprint_input(&self) -> String {
        Value::Object(self.jwk()).to_string()
    }
}

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let oids: Vec<_> = algorithm
        .iter()
        .map(|oid| der::write(der::OID, &[oid]))
        .collect();
    let oids: Vec<&[u8]> = oids.iter().map(|oid| oid.as_slice()).collect();
    let algorithm = der::write(der::SEQUENCE, &oids);
    let key = der::write(der::BIT_STRING, &[&[0], key]);
    der::write(der::SEQUENCE, &[&algorithm, &key]).to_vec()
}
