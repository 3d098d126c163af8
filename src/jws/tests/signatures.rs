//! What is signed, and that others find it good.

use std::time::Duration;

use tokio::time::Instant;

use aws_lc_rs::signature::{self as aws, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use p521::ecdsa::signature::Signer as _;
use serde_json::json;

use super::*;

fn verifier(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &aws::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &aws::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &aws::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &aws::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &aws::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &aws::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &aws::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &aws::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &aws::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa => &aws::ED25519,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => panic!("not a key pair"),
    }
}

/// Whether aws-lc finds the signature good.
fn verifies(algorithm: Algorithm, key: &str, input: &[u8], signature: &[u8]) -> bool {
    let code = |hash| hmac::verify(&hmac::Key::new(hash, key.as_bytes()), input, signature).is_ok();
    match algorithm {
        Algorithm::Hs256 => code(hmac::HMAC_SHA256),
        Algorithm::Hs384 => code(hmac::HMAC_SHA384),
        Algorithm::Hs512 => code(hmac::HMAC_SHA512),
        _ => {
            let public = public_of(&secret(key)).expect("a key just made");
            let public = UnparsedPublicKey::new(verifier(algorithm), unwrap_pem(&public));
            public.verify(input, signature).is_ok()
        }
    }
}

#[test]
fn every_algorithm_signs_and_another_library_verifies() {
    for algorithm in Algorithm::ALL {
        let pem = key_for(algorithm);
        let key = SigningKey::parse(algorithm, &secret(&pem)).expect("a key just made");
        let token = key
            .jwt(&json!({"typ": "JWT"}), &json!({"sub": "x"}))
            .expect("signs");
        let (input, signature) = token.rsplit_once('.').expect("three parts");
        let signature = from_base64url(signature);
        assert!(
            verifies(algorithm, &pem, input.as_bytes(), &signature),
            "{algorithm}"
        );
        assert!(
            !verifies(algorithm, &pem, b"another", &signature),
            "{algorithm}"
        );
    }
}

#[test]
fn an_es512_signature_always_has_132_bytes() {
    let pem = key_for(Algorithm::Es512);
    let key = SigningKey::parse(Algorithm::Es512, &secret(&pem)).expect("a key just made");
    let public = unwrap_pem(&public_of(&secret(&pem)).expect("a key just made"));
    let public = UnparsedPublicKey::new(&aws::ECDSA_P521_SHA512_FIXED, public);
    // r and s have 521 bits, so that each begins with two zero bytes or more in 1 case of 512.
    let (mut short_r, mut short_s, mut count) = (0, 0, 0_u32);
    while count < 2_000 || short_r == 0 || short_s == 0 {
        let input = count.to_be_bytes();
        let signature = from_base64url(&key.sign(&input).expect("signs"));
        assert_eq!(signature.len(), 132);
        public.verify(&input, &signature).expect("a good signature");
        short_r += u32::from(signature.starts_with(&[0, 0]));
        short_s += u32::from(signature[66..].starts_with(&[0, 0]));
        count += 1;
    }
    println!("{count} signatures, {short_r} with a short r, {short_s} with a short s");
}

/// RFC 6979, appendix A.2.7: a published key and the signature it must give.
#[test]
fn es512_draws_its_nonces_as_rfc_6979_says() {
    let d =
        "APrQbapiujsl0vtAEz2nVyBd5n9bsAGP7oyG4baMfnXKqJbrMvH0fHCFWDam0W_MFGb22PvsZ9uJ7AwIsOmWuDU4";
    let jwk = json!({"kty": "EC", "crv": "P-521", "d": d}).to_string();
    let key = SigningKey::parse(Algorithm::Es512, &secret(&jwk)).expect("a published key");
    let signature = from_base64url(&key.sign(b"sample").expect("signs"));
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5d450\
         606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa00617cce7cf5064806c467f678d3b4080d6f\
         1cc50af26ca209417308281b68af282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1e\
         e0e44da4a67a"
    );
}

#[test]
fn the_header_names_the_algorithm_of_the_key_whatever_the_caller_says() {
    let key = SigningKey::parse(Algorithm::Hs256, &secret("s")).expect("any bytes do");
    let header = json!({"typ": "JWT", "alg": "none", "kid": "1"});
    let claims = json!({"z": 1, "a": {"y": 2, "b": 3}});
    let token = key.jwt(&header, &claims).expect("signs");
    let parts: Vec<_> = token.split('.').map(from_base64url).collect();
    assert_eq!(parts[0], br#"{"alg":"HS256","typ":"JWT","kid":"1"}"#);
    assert_eq!(parts[1], br#"{"z":1,"a":{"y":2,"b":3}}"#);
}

#[test]
fn header_and_claims_must_be_objects() {
    let key = SigningKey::parse(Algorithm::Hs256, &secret("s")).expect("any bytes do");
    let header = key.jwt(&json!([]), &json!({})).expect_err("an array");
    assert_eq!(
        header.to_string(),
        "the header of a token must be a JSON object"
    );
    let claims = key.jwt(&json!({}), &json!("sub")).expect_err("a string");
    assert_eq!(
        claims.to_string(),
        "the claims of a token must be a JSON object"
    );
}

#[test]
fn a_fingerprint_is_the_start_of_the_rfc_7638_thumbprint() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ] {
        let pem = secret(&key_for(algorithm));
        let key = SigningKey::parse(algorithm, &pem).expect("a key just made");
        let jwk = public_jwk(&pem).expect("a key just made").to_string();
        let thumbprint = digest::digest(&digest::SHA256, jwk.as_bytes());
        let hex: String = thumbprint
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(key.fingerprint(), hex[..16], "{algorithm}");
    }
}

/// The example of RFC 7638, section 3.1.
#[test]
fn the_thumbprint_of_the_rfc_comes_out() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS\
         oc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65\
         YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr\
         dkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK\
         nqDKgw";
    let n = rsa::BigUint::from_bytes_be(&from_base64url(n));
    let key = rsa::RsaPublicKey::new(n, 65537_u32.into()).expect("a published key");
    let input = public::Public::Rsa(key).thumbprint_input();
    let thumbprint = URL_SAFE_NO_PAD.encode(signer::sha256(input.as_bytes()));
    assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn the_fingerprint_of_a_shared_secret_is_stable_and_no_plain_hash() {
    let of = |text| {
        SigningKey::parse(Algorithm::Hs256, &secret(text))
            .expect("any")
            .fingerprint()
    };
    assert_eq!(of("hunter2"), of("hunter2"));
    assert_ne!(of("hunter2"), of("hunter3"));
    let plain = digest::digest(&digest::SHA256, b"hunter2");
    assert_ne!(of("hunter2"), short_hex(plain.as_ref()));
}

#[test]
fn a_short_secret_signs_and_says_that_it_is_short() {
    let short_of = |algorithm, length| {
        let key =
            SigningKey::parse(algorithm, &Secret::new(vec![7; length])).expect("any bytes do");
        key.sign(b"x").expect("signs");
        key.short_of()
    };
    assert_eq!(short_of(Algorithm::Hs256, 31), Some(32));
    assert_eq!(short_of(Algorithm::Hs256, 32), None);
    assert_eq!(short_of(Algorithm::Hs384, 47), Some(48));
    assert_eq!(short_of(Algorithm::Hs512, 1), Some(64));
    assert_eq!(short_of(Algorithm::Hs512, 64), None);
}

#[test]
fn debug_shows_algorithm_and_fingerprint_only() {
    let key = SigningKey::parse(Algorithm::Hs256, &secret("hunter2")).expect("any bytes do");
    let expected = format!(
        "SigningKey {{ algorithm: Hs256, fingerprint: {:?}, .. }}",
        key.fingerprint()
    );
    assert_eq!(format!("{key:?}"), expected);
}

#[test]
fn a_key_may_be_used_from_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<SigningKey>();
}

#[test]
fn algorithms_are_known_by_their_exact_names() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    let error = "es512"
        .parse::<Algorithm>()
        .expect_err("names are case-sensitive");
    assert_eq!(
        error.to_string(),
        "not a signing algorithm; known are HS256, HS384, HS512, RS256, RS384, RS512, PS256, \
         PS384, PS512, ES256, ES384, ES512, EdDSA"
    );
}

/// Run with `--nocapture` to read the numbers. Only that they are in proportion is checked.
#[test]
fn an_es512_token_costs_little_more_than_its_bare_signature() {
    let pem = key_for(Algorithm::Es512);
    let key = SigningKey::parse(Algorithm::Es512, &secret(&pem)).expect("a key just made");
    let Signer::Es512(bare) = &key.signer else {
        panic!("ES512 is signed by p521")
    };
    let header = json!({"typ": "JWT"});
    let claims = json!({"iss": "i".repeat(400), "cid": "c", "aud": "acme", "sub": "user:123",
        "scp": ["read_only", "full_access"], "iat": 1_700_000_000, "exp": 1_700_000_060});
    let input = [b'x'; 800];
    let bare = fastest(|| {
        let signature: p521::ecdsa::Signature = bare.sign(&input);
        std::hint::black_box(signature);
    });
    let token = fastest(|| {
        std::hint::black_box(key.jwt(&header, &claims).expect("signs"));
    });
    println!("ES512: bare signature {bare:?}, token {token:?}");
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Rs256,
        Algorithm::EdDsa,
    ] {
        let key = SigningKey::parse(algorithm, &secret(&key_for(algorithm))).expect("just made");
        let token = fastest(|| {
            std::hint::black_box(key.jwt(&header, &claims).expect("signs"));
        });
        println!("{algorithm}: token {token:?}");
    }
    assert!(token < 2 * bare, "{token:?} against {bare:?}");
}

/// The fastest of many runs: the others were interrupted.
fn fastest(run: impl Fn()) -> Duration {
    let time = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..200).map(|_| time()).min().expect("200 runs")
}
