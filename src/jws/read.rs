//! From the bytes of a file to a checked private key. What a key *is* is told by its structure,
//! not by the label somebody put on it.

use super::der::{self, Element};
use super::error::KeyError;
use super::private::{Curve, EC_KEY, ED25519, EcPrivate, EdPrivate, Private, RsaNumbers};
use super::{jwk, pem};

/// No key is longer, not even with a chain of certificates beside it.
const LONGEST: usize = 64 * 1024;

/// Reads the one private key in `bytes`, whatever form it has.
pub(super) fn private_key(bytes: &[u8]) -> Result<Private, KeyError> {
    if bytes.len() > LONGEST {
        return Err(KeyError::TooLong);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(KeyError::Utf16);
    }
    if let Some(start) = pem::start(bytes) {
        return from_pem(&bytes[start..]);
    }
    // DER is looked at as it is: a byte that looks like white space may be part of it.
    if let Some(members) = der::sequence(bytes) {
        return from_members(&members, None)?.ok_or(KeyError::NotAKey);
    }
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii();
    match text.first() {
        None => Err(KeyError::Empty),
        Some(b'{') => jwk::private_key(text),
        // A line of `authorized_keys`, or what ssh-keygen writes to `.pub`.
        _ if text.starts_with(b"ssh-") || text.starts_with(b"ecdsa-sha2-") => {
            Err(KeyError::PublicKey)
        }
        Some(_) => Err(KeyError::NotAKey),
    }
}

fn from_pem(bytes: &[u8]) -> Result<Private, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the key inside the PEM block",
    };
    let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Base64)?;
    let pem = pem::private_key(text)?;
    let outer = pem
        .parameters
        .as_ref()
        .map(|it| curve_of(der::elements(it).as_deref()));
    let members = der::sequence(&pem.der).ok_or(damaged.clone())?;
    from_members(&members, outer)?.ok_or(damaged)
}

/// A curve, or what is wrong with the parameters that should have named it.
type NamedCurve = Result<Curve, KeyError>;

/// `None` where these are the members of nothing known. `outer` is what stood in an
/// `EC PARAMETERS` block of its own.
fn from_members(
    members: &[Element<'_>],
    outer: Option<NamedCurve>,
) -> Result<Option<Private>, KeyError> {
    use der::{BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE};
    let tags: Vec<u8> = members.iter().map(|it| it.tag).collect();
    match (tags.as_slice(), members) {
        ([INTEGER, SEQUENCE, OCTET_STRING, ..], [_, kind, key, rest @ ..]) => {
            pkcs8(kind.value, key.value, rest).map(Some)
        }
        ([INTEGER, OCTET_STRING, ..], [_, scalar, rest @ ..]) => {
            sec1(scalar.value, rest, outer).map(Some)
        }
        ([INTEGER, INTEGER, ..], [version, numbers @ ..]) if numbers.len() >= 8 => {
            pkcs1(version.value, numbers).map(Some)
        }
        ([INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER], _) => {
            Err(KeyError::Unsupported { found: "a DSA key" })
        }
        ([INTEGER, INTEGER] | [SEQUENCE, BIT_STRING], _) => Err(KeyError::PublicKey),
        ([SEQUENCE, SEQUENCE, BIT_STRING], _) => Err(KeyError::Certificate),
        ([SEQUENCE, OCTET_STRING], _) => Err(KeyError::Encrypted),
        ([INTEGER, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE], [version, ..])
            if version.value == [3] =>
        {
            Err(KeyError::Pkcs12)
        }
        _ => Ok(None),
    }
}

/// `PrivateKeyInfo` of RFC 5208, section 5, or `OneAsymmetricKey` of RFC 5958, section 2.
fn pkcs8(kind: &[u8], key: &[u8], rest: &[Element<'_>]) -> Result<Private, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the PKCS#8 key",
    };
    let kind = der::elements(kind).ok_or(damaged.clone())?;
    let [
        Element {
            tag: der::OID,
            value: oid,
        },
        parameters @ ..,
    ] = kind.as_slice()
    else {
        return Err(damaged);
    };
    match *oid {
        EC_KEY => pkcs8_ec(key, curve_of(Some(parameters))?),
        RSA_KEY => match der::sequence(key).as_deref() {
            Some([version, numbers @ ..]) => pkcs1(version.value, numbers),
            _ => Err(damaged),
        },
        ED25519 => pkcs8_ed25519(key, rest),
        _ => Err(KeyError::Unsupported {
            found: kind_named(oid),
        }),
    }
}

/// PKCS#8 wraps an `ECPrivateKey`, and names the curve outside.
fn pkcs8_ec(key: &[u8], outside: Curve) -> Result<Private, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the EC private key",
    };
    let members = der::sequence(key).ok_or(damaged.clone())?;
    let [
        _,
        Element {
            tag: der::OCTET_STRING,
            value: scalar,
        },
        rest @ ..,
    ] = members.as_slice()
    else {
        return Err(damaged);
    };
    if sec1_curve(rest)
        .transpose()?
        .is_some_and(|inside| inside != outside)
    {
        return Err(damaged);
    }
    Ok(Private::Ec(EcPrivate::new(
        outside,
        scalar,
        sec1_point(rest)?,
    )?))
}

/// RFC 8410, section 7.
fn pkcs8_ed25519(key: &[u8], rest: &[Element<'_>]) -> Result<Private, KeyError> {
    let seed = match der::elements(key).as_deref() {
        Some(
            [
                Element {
                    tag: der::OCTET_STRING,
                    value: seed,
                },
            ],
        ) => *seed,
        // Wrong, and EdPrivate says so.
        _ => key,
    };
    let public = rest.iter().find(|it| it.tag == der::IMPLICIT_1);
    let public = public.and_then(|it| der::whole_bytes(it.value));
    Ok(Private::Ed25519(EdPrivate::new(seed, public)?))
}

/// `ECPrivateKey` of RFC 5915, section 3, after its version and scalar. Both the curve and the
/// public key may be missing.
fn sec1(
    scalar: &[u8],
    rest: &[Element<'_>],
    outer: Option<NamedCurve>,
) -> Result<Private, KeyError> {
    let point = sec1_point(rest)?;
    let curve = match sec1_curve(rest).or(outer) {
        Some(curve) => curve?,
        None => curve_by_length(scalar, point).ok_or(KeyError::NamelessCurve)?,
    };
    Ok(Private::Ec(EcPrivate::new(curve, scalar, point)?))
}

fn sec1_curve(rest: &[Element<'_>]) -> Option<NamedCurve> {
    let parameters = rest.iter().find(|it| it.tag == der::EXPLICIT_0)?;
    Some(curve_of(der::elements(parameters.value).as_deref()))
}

fn sec1_point<'a>(rest: &[Element<'a>]) -> Result<Option<&'a [u8]>, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the public half of the EC key",
    };
    let Some(public) = rest.iter().find(|it| it.tag == der::EXPLICIT_1) else {
        return Ok(None);
    };
    match der::elements(public.value).as_deref() {
        Some(
            [
                Element {
                    tag: der::BIT_STRING,
                    value,
                },
            ],
        ) => der::whole_bytes(value).map(Some).ok_or(damaged),
        _ => Err(damaged),
    }
}

/// The public point tells the curve best; else the scalar does, which RFC 5915, section 3, has
/// written in full length. A wrong guess cannot do harm: whoever verifies refuses the signature.
fn curve_by_length(scalar: &[u8], point: Option<&[u8]>) -> Option<Curve> {
    Curve::ALL.into_iter().find(|curve| match point {
        Some(point) => [1 + curve.size(), 1 + 2 * curve.size()].contains(&point.len()),
        None => scalar.len() == curve.size(),
    })
}

/// `ECParameters` of RFC 5480, section 2.1.1.
fn curve_of(parameters: Option<&[Element<'_>]>) -> NamedCurve {
    match parameters {
        Some(
            [
                Element {
                    tag: der::OID,
                    value: oid,
                },
            ],
        ) => {
            let known = Curve::ALL.into_iter().find(|curve| curve.oid() == *oid);
            known.ok_or(KeyError::UnknownCurve {
                found: curve_named(oid),
            })
        }
        Some(
            [
                Element {
                    tag: der::SEQUENCE, ..
                },
            ],
        ) => Err(KeyError::ExplicitCurve),
        _ => Err(KeyError::Damaged {
            what: "the name of the EC key's curve",
        }),
    }
}

/// `RSAPrivateKey` of RFC 8017, appendix A.1.2, after its version.
fn pkcs1(version: &[u8], numbers: &[Element<'_>]) -> Result<Private, KeyError> {
    let damaged = KeyError::Damaged {
        what: "the RSA private key",
    };
    if version == [1] {
        return Err(KeyError::Unsupported {
            found: "an RSA key of more than two primes",
        });
    }
    let [n, e, d, p, q, ..] = numbers else {
        return Err(damaged);
    };
    if numbers.iter().any(|it| it.tag != der::INTEGER) {
        return Err(damaged);
    }
    let numbers = RsaNumbers {
        modulus: n.value,
        public_exponent: e.value,
        private_exponent: d.value,
        primes: Some([p.value, q.value]),
    };
    Ok(Private::Rsa(Box::new(numbers.assemble()?)))
}

/// `rsaEncryption`: RFC 8017, appendix C.
const RSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Kinds of key that are known by name only.
fn kind_named(oid: &[u8]) -> &'static str {
    match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a] => "an RSA key bound to PSS",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01] => "a Diffie-Hellman key",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01] => "a DSA key",
        [0x2b, 0x65, 0x6e] => "an X25519 key",
        [0x2b, 0x65, 0x6f] => "an X448 key",
        [0x2b, 0x65, 0x71] => "an Ed448 key",
        _ => "a key of an unknown kind",
    }
}

/// Curves that are known by name only.
fn curve_named(oid: &[u8]) -> &'static str {
    match oid {
        [0x2b, 0x81, 0x04, 0x00, 0x0a] => "secp256k1",
        [0x2b, 0x81, 0x04, 0x00, 0x21] => "secp224r1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01] => "prime192v1",
        [0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07] => "brainpoolP256r1",
        [0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b] => "brainpoolP384r1",
        [0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0d] => "brainpoolP512r1",
        _ => "an unknown curve",
    }
}
