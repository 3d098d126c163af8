//! Private keys as JSON Web Keys: RFC 7517, RFC 7518, section 6, and RFC 8037, section 2.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD_INDIFFERENT;
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::error::KeyError;
use super::private::{Curve, EcPrivate, EdPrivate, Private, RsaNumbers};

/// The members that matter. They are borrowed, so that decoding makes no copy of a secret: only a
/// member written with JSON escapes, which base64url never needs, is copied, and that copy is not
/// wiped.
#[derive(Deserialize)]
struct Jwk<'a> {
    keys: Option<IgnoredAny>,
    #[serde(borrow)]
    kty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    d: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    oth: Option<IgnoredAny>,
}

pub(super) fn private_key(json: &[u8]) -> Result<Private, KeyError> {
    // The parser's own message may quote a value, so it goes no further.
    let jwk: Jwk<'_> = serde_json::from_slice(json).map_err(|_| KeyError::NotAJwk)?;
    match jwk.kty.as_deref() {
        Some("EC") => ec(&jwk),
        Some("RSA") => rsa(&jwk),
        Some("OKP") => okp(&jwk),
        Some("oct") => Err(KeyError::Unsupported {
            found: "a shared secret",
        }),
        Some(_) => Err(KeyError::Unsupported {
            found: "a key of an unknown kind",
        }),
        None if jwk.keys.is_some() => Err(KeyError::JwkSet),
        None => Err(KeyError::NotAJwk),
    }
}

fn ec(jwk: &Jwk<'_>) -> Result<Private, KeyError> {
    let name = jwk
        .crv
        .as_deref()
        .ok_or(KeyError::JwkMember { member: "crv" })?;
    let curve = Curve::ALL
        .into_iter()
        .find(|curve| curve.jwk_name() == name);
    let curve = curve.ok_or(KeyError::UnknownCurve {
        found: if name == "secp256k1" {
            "secp256k1"
        } else {
            "an unknown curve"
        },
    })?;
    let scalar = private_member(jwk)?;
    let point = match (&jwk.x, &jwk.y) {
        (None, None) => None,
        (x, y) => Some([vec![4], member("x", x)?.to_vec(), member("y", y)?.to_vec()].concat()),
    };
    Ok(Private::Ec(EcPrivate::new(
        curve,
        &scalar,
        point.as_deref(),
    )?))
}

fn rsa(jwk: &Jwk<'_>) -> Result<Private, KeyError> {
    let d = private_member(jwk)?;
    if jwk.oth.is_some() {
        return Err(KeyError::Unsupported {
            found: "an RSA key of more than two primes",
        });
    }
    let n = member("n", &jwk.n)?;
    let e = member("e", &jwk.e)?;
    let primes = match (&jwk.p, &jwk.q) {
        (None, None) => None,
        (p, q) => Some([member("p", p)?, member("q", q)?]),
    };
    let numbers = RsaNumbers {
        modulus: &n,
        public_exponent: &e,
        private_exponent: &d,
        primes: primes.as_ref().map(|[p, q]| [p.as_slice(), q.as_slice()]),
    };
    Ok(Private::Rsa(Box::new(numbers.assemble()?)))
}

fn okp(jwk: &Jwk<'_>) -> Result<Private, KeyError> {
    match jwk.crv.as_deref() {
        Some("Ed25519") => {}
        Some("Ed448") => {
            return Err(KeyError::Unsupported {
                found: "an Ed448 key",
            });
        }
        Some("X25519") => {
            return Err(KeyError::Unsupported {
                found: "an X25519 key",
            });
        }
        Some("X448") => {
            return Err(KeyError::Unsupported {
                found: "an X448 key",
            });
        }
        _ => return Err(KeyError::JwkMember { member: "crv" }),
    }
    let seed = private_member(jwk)?;
    let public = jwk.x.as_ref().map(|_| member("x", &jwk.x)).transpose()?;
    let public = public.as_ref().map(|it| it.as_slice());
    Ok(Private::Ed25519(EdPrivate::new(&seed, public)?))
}

/// `d`, without which a JWK is a public key.
fn private_member(jwk: &Jwk<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if jwk.d.is_none() {
        return Err(KeyError::PublicKey);
    }
    member("d", &jwk.d)
}

fn member(
    name: &'static str,
    value: &Option<Cow<'_, str>>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let fault = KeyError::JwkMember { member: name };
    let text = value.as_deref().ok_or(fault.clone())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    URL_SAFE_NO_PAD_INDIFFERENT
        .decode_vec(text, &mut bytes)
        .map_err(|_| fault)?;
    Ok(bytes)
}
