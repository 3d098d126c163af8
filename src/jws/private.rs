//! Private keys that have been checked: whatever form a file had, this is what is left of it.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use p521::elliptic_curve::sec1::ToSec1Point;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::der;
use super::error::KeyError;
use super::public::Public;

/// `ecPublicKey`: RFC 5480, section 2.1.1.
pub(super) const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `Ed25519`: RFC 8410, section 3.
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A private key, and what is public about it.
pub(super) enum Private {
    Ec(EcPrivate),
    Rsa(Box<RsaPrivateKey>),
    Ed25519(EdPrivate),
}

impl Private {
    pub(super) fn public(&self) -> Public {
        match self {
            Self::Ec(key) => Public::Ec {
                curve: key.curve,
                point: key.point.clone(),
            },
            Self::Rsa(key) => Public::Rsa(key.to_public_key()),
            Self::Ed25519(key) => Public::Ed25519(key.public.clone()),
        }
    }

    /// The kind as a message says it.
    pub(super) fn description(&self) -> &'static str {
        match self {
            Self::Ec(_) => "an EC key",
            Self::Rsa(_) => "an RSA key",
            Self::Ed25519(_) => "an Ed25519 key",
        }
    }
}

/// The curves of RFC 7518, section 6.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Length in bytes of a scalar, and of each coordinate.
    pub(super) fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The name as a JWK has it.
    pub(super) fn jwk_name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The name as openssl has it, and so as operators know it.
    pub(super) fn openssl_name(self) -> &'static str {
        match self {
            Self::P256 => "prime256v1",
            Self::P384 => "secp384r1",
            Self::P521 => "secp521r1",
        }
    }

    /// The contents of the curve's object identifier: RFC 5480, section 2.1.1.1.
    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    /// The uncompressed public point that belongs to a scalar of the right length, or `None` where
    /// the scalar is zero or not below the order of the group.
    fn point(self, scalar: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match self {
            Self::P256 => jsonwebtoken::Algorithm::ES256,
            Self::P384 => jsonwebtoken::Algorithm::ES384,
            Self::P521 => {
                let public = p521::SecretKey::from_slice(scalar).ok()?.public_key();
                return Some(public.to_sec1_point(false).as_bytes().to_vec());
            }
        };
        let pkcs8 = ec_pkcs8(self, scalar, None);
        let derive = DEFAULT_PROVIDER
            .key_utils
            .ec_pub_components_from_private_key;
        let (_, x, y) = derive(&pkcs8, algorithm).ok()?;
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

/// A private key on one of the curves.
pub(super) struct EcPrivate {
    pub(super) curve: Curve,
    /// Big-endian, exactly as long as the curve's [`Curve::size`].
    pub(super) scalar: Zeroizing<Vec<u8>>,
    /// The uncompressed public point: `04`, x, y.
    pub(super) point: Vec<u8>,
}

impl EcPrivate {
    const DAMAGED: KeyError = KeyError::Damaged {
        what: "the EC private key",
    };

    /// `claimed` is the public point that came with the scalar, if one did.
    pub(super) fn new(
        curve: Curve,
        scalar: &[u8],
        claimed: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        let scalar = fit(scalar, curve.size()).ok_or(Self::DAMAGED)?;
        let point = curve.point(&scalar).ok_or(Self::DAMAGED)?;
        if claimed.is_some_and(|claimed| !same_point(&point, claimed)) {
            return Err(KeyError::HalvesDiffer);
        }
        Ok(Self {
            curve,
            scalar,
            point,
        })
    }

    /// `ECPrivateKey` of RFC 5915, section 3, with the curve named and the public key inside.
    pub(super) fn sec1(&self) -> Zeroizing<Vec<u8>> {
        let curve = der::write(der::OID, &[self.curve.oid()]);
        ec_private_key(&self.scalar, Some(&curve), Some(&self.point))
    }

    pub(super) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        ec_pkcs8(self.curve, &self.scalar, Some(&self.point))
    }
}

/// A big-endian number in exactly `size` bytes. Some writers drop leading zeros, others add them.
fn fit(number: &[u8], size: usize) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = number.iter().take_while(|&&digit| digit == 0).count();
    let digits = &number[zeros..];
    let mut fitted = Zeroizing::new(vec![0; size.max(digits.len())]);
    let padding = size.checked_sub(digits.len())?;
    fitted[padding..].copy_from_slice(digits);
    Some(fitted)
}

/// Whether `claimed` stands for the uncompressed `point`: compressed, hybrid (6 and 7, X9.62) or
/// likewise uncompressed (SEC 1, section 2.3.3).
fn same_point(point: &[u8], claimed: &[u8]) -> bool {
    match claimed.first() {
        Some(&sign @ (2 | 3)) => {
            let x = &point[1..=point.len() / 2];
            claimed[1..] == *x && point.last().is_some_and(|y| y & 1 == sign & 1)
        }
        Some(6 | 7) => claimed[1..] == point[1..],
        _ => claimed == point,
    }
}

fn ec_private_key(scalar: &[u8], curve: Option<&[u8]>, point: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let version = der::write(der::INTEGER, &[&[1]]);
    let scalar = der::write(der::OCTET_STRING, &[scalar]);
    let curve = curve.map(|curve| der::write(der::EXPLICIT_0, &[curve]));
    let point = point.map(|point| {
        let bits = der::write(der::BIT_STRING, &[&[0], point]);
        der::write(der::EXPLICIT_1, &[&bits])
    });
    let optional = |part: &Option<Zeroizing<Vec<u8>>>| part.clone().unwrap_or_default();
    der::write(
        der::SEQUENCE,
        &[&version, &scalar, &optional(&curve), &optional(&point)],
    )
}

fn ec_pkcs8(curve: Curve, scalar: &[u8], point: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let kind = der::write(der::OID, &[EC_KEY]);
    let curve = der::write(der::OID, &[curve.oid()]);
    pkcs8(&[&kind, &curve], &ec_private_key(scalar, None, point))
}

/// `PrivateKeyInfo` of RFC 5208, section 5.
fn pkcs8(algorithm: &[&[u8]], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let version = der::write(der::INTEGER, &[&[0]]);
    let algorithm = der::write(der::SEQUENCE, algorithm);
    let key = der::write(der::OCTET_STRING, &[key]);
    der::write(der::SEQUENCE, &[&version, &algorithm, &key])
}

/// A private key on Ed25519.
pub(super) struct EdPrivate {
    seed: Zeroizing<Vec<u8>>,
    pub(super) public: Vec<u8>,
}

impl EdPrivate {
    pub(super) const SIZE: usize = 32;

    /// `claimed` is the public key that came with the seed, if one did.
    pub(super) fn new(seed: &[u8], claimed: Option<&[u8]>) -> Result<Self, KeyError> {
        let damaged = KeyError::Damaged {
            what: "the Ed25519 private key",
        };
        if seed.len() != Self::SIZE {
            return Err(damaged);
        }
        let seed = Zeroizing::new(seed.to_vec());
        let derive = DEFAULT_PROVIDER
            .key_utils
            .ed_pub_components_from_private_key;
        let public = derive(&ed_pkcs8(&seed), &EllipticCurve::Ed25519).map_err(|_| damaged)?;
        if claimed.is_some_and(|claimed| claimed != public) {
            return Err(KeyError::HalvesDiffer);
        }
        Ok(Self { seed, public })
    }

    pub(super) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        ed_pkcs8(&self.seed)
    }
}

/// RFC 8410, section 7: the seed is an OCTET STRING within the OCTET STRING.
fn ed_pkcs8(seed: &[u8]) -> Zeroizing<Vec<u8>> {
    let kind = der::write(der::OID, &[ED25519]);
    pkcs8(&[&kind], &der::write(der::OCTET_STRING, &[seed]))
}

/// The numbers an RSA key consists of, each big-endian: RFC 8017, section 3.2.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) public_exponent: &'a [u8],
    pub(super) private_exponent: &'a [u8],
    /// Recovered from the others where a JWK leaves them out.
    pub(super) primes: Option<[&'a [u8]; 2]>,
}

impl RsaNumbers<'_> {
    /// Checks the numbers against each other and puts them together.
    pub(super) fn assemble(&self) -> Result<RsaPrivateKey, KeyError> {
        let damaged = KeyError::Damaged {
            what: "the RSA private key",
        };
        let n = BigUint::from_bytes_be(self.modulus);
        check_size(n.bits())?;
        let e = BigUint::from_bytes_be(self.public_exponent);
        let d = BigUint::from_bytes_be(self.private_exponent);
        // Recovering primes subtracts one from e·d and is slow for numbers beyond the modulus.
        if d.bits() == 0 || d > n || e > n {
            return Err(damaged);
        }
        let primes = self
            .primes
            .map(|primes| primes.map(BigUint::from_bytes_be).to_vec());
        RsaPrivateKey::from_components(n, e, d, primes.unwrap_or_default()).map_err(|_| damaged)
    }
}

/// At least what RFC 7518, section 3.3, asks for, at most what aws-lc signs with.
fn check_size(bits: usize) -> Result<(), KeyError> {
    match bits {
        0..2048 => Err(KeyError::RsaTooSmall { bits }),
        2048..=8192 => Ok(()),
        8193.. => Err(KeyError::RsaTooLarge { bits }),
    }
}

/// The modulus and the exponent as a JWK has them: big-endian, no leading zeros.
pub(super) fn rsa_public_numbers(key: &impl PublicKeyParts) -> (Vec<u8>, Vec<u8>) {
    (key.n().to_bytes_be(), key.e().to_bytes_be())
}
