//! New keys.

use std::fmt;
use std::str::FromStr;

use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{self, CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::pem;
use super::private::{Curve, EcPrivate, EdPrivate, Private};
use crate::secret::Secret;

/// A kind of key that [`generate`] makes. Shared secrets are not among them: a vendor issues those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// EC on P-256, for ES256.
    EcP256,
    /// EC on P-384, for ES384.
    EcP384,
    /// EC on P-521, for ES512.
    EcP521,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// Ed25519, for EdDSA.
    Ed25519,
}

impl KeyKind {
    /// Every kind, in the order in which messages list them.
    pub const ALL: [Self; 7] = [
        Self::EcP256,
        Self::EcP384,
        Self::EcP521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// The name, as a preset or a command line gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcP256 => "ec-p256",
            Self::EcP384 => "ec-p384",
            Self::EcP521 => "ec-p521",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyKind {
    type Err = UnknownKeyKind;

    fn from_str(name: &str) -> Result<Self, UnknownKeyKind> {
        Self::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .ok_or(UnknownKeyKind)
    }
}

/// A name that is none of [`KeyKind::ALL`]. Its message lists those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of key; known are {}", KeyKind::ALL.map(KeyKind::name).join(", "))]
pub struct UnknownKeyKind;

/// A key and the half of it that is sent to a vendor.
#[derive(Debug)]
pub struct KeyPair {
    /// PEM as openssl writes it: `EC PRIVATE KEY` (SEC1, RFC 5915) for EC keys, as
    /// `openssl ecparam -genkey -noout` does; `PRIVATE KEY` (PKCS#8, RFC 5208) for the others.
    pub private_pem: Secret,
    /// `PUBLIC KEY` PEM (SPKI, RFC 5280).
    pub public_pem: String,
}

/// Makes a new key from the kernel's randomness. RSA takes its time: seconds for 4096 bits.
pub fn generate(kind: KeyKind) -> KeyPair {
    let private = match kind {
        KeyKind::EcP256 => Private::Ec(ec(Curve::P256)),
        KeyKind::EcP384 => Private::Ec(ec(Curve::P384)),
        KeyKind::EcP521 => Private::Ec(ec(Curve::P521)),
        KeyKind::Rsa2048 => Private::Rsa(rsa(2048)),
        KeyKind::Rsa3072 => Private::Rsa(rsa(3072)),
        KeyKind::Rsa4096 => Private::Rsa(rsa(4096)),
        KeyKind::Ed25519 => Private::Ed25519(ed25519()),
    };
    let private_pem = private_pem(&private);
    KeyPair {
        private_pem: Secret::new(private_pem.as_bytes().to_vec()),
        public_pem: private.public().spki_pem(),
    }
}

fn private_pem(private: &Private) -> Zeroizing<String> {
    match private {
        Private::Ec(key) => pem::encode("EC PRIVATE KEY", &key.sec1()),
        Private::Ed25519(key) => pem::encode("PRIVATE KEY", &key.pkcs8()),
        Private::Rsa(key) => {
            let der = key
                .to_pkcs8_der()
                .expect("a key just made has two primes and encodes");
            pem::encode("PRIVATE KEY", der.as_bytes())
        }
    }
}

/// Draws until a number is below the order of the group (FIPS 186-5, A.2.2): at once, nearly
/// always, since the orders begin with many ones.
fn ec(curve: Curve) -> EcPrivate {
    loop {
        let mut scalar = Zeroizing::new(vec![0; curve.size()]);
        Kernel.fill_bytes(&mut scalar);
        if curve == Curve::P521 {
            // 521 bits are 65 bytes and one bit.
            scalar[0] &= 1;
        }
        if let Ok(key) = EcPrivate::new(curve, &scalar, None) {
            return key;
        }
    }
}

fn ed25519() -> EdPrivate {
    let mut seed = Zeroizing::new([0; EdPrivate::SIZE]);
    Kernel.fill_bytes(seed.as_mut_slice());
    EdPrivate::new(seed.as_slice(), None).expect("any 32 bytes are an Ed25519 key")
}

fn rsa(bits: usize) -> Box<RsaPrivateKey> {
    let key = RsaPrivateKey::new(&mut Kernel, bits);
    Box::new(key.expect("primes of this size exist"))
}

/// The kernel's random numbers, in the shape the `rsa` crate asks for.
struct Kernel;

impl CryptoRng for Kernel {}

impl RngCore for Kernel {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("getrandom(2) is there on every kernel supported");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
