//! What is not taken, and the exact words for it.

use serde_json::json;

use super::*;

/// Why the bytes are no key for the algorithm.
fn refusal(algorithm: Algorithm, bytes: impl AsRef<[u8]>) -> String {
    let secret = Secret::new(bytes.as_ref().to_vec());
    SigningKey::parse(algorithm, &secret)
        .expect_err("not a key for this")
        .to_string()
}

fn es512(bytes: impl AsRef<[u8]>) -> String {
    refusal(Algorithm::Es512, bytes)
}

fn block(label: &str, der: &[u8]) -> String {
    pem::encode(label, der).to_string()
}

/// `PrivateKeyInfo` of a kind of key, with something inside.
fn pkcs8_of(oid: &[u8]) -> Vec<u8> {
    let version = der::write(der::INTEGER, &[&[0]]);
    let kind = der::write(der::SEQUENCE, &[&der::write(der::OID, &[oid])]);
    let key = der::write(der::OCTET_STRING, &[&[4, 1, 1]]);
    der::write(der::SEQUENCE, &[&version, &kind, &key]).to_vec()
}

/// An `ECPrivateKey` whose parameters are these.
fn sec1_on(parameters: &[u8]) -> Vec<u8> {
    let version = der::write(der::INTEGER, &[&[1]]);
    let scalar = der::write(der::OCTET_STRING, &[&[9; 66]]);
    let parameters = der::write(der::EXPLICIT_0, &[parameters]);
    der::write(der::SEQUENCE, &[&version, &scalar, &parameters]).to_vec()
}

#[test]
fn nothing_and_white_space_are_empty() {
    let message = "the key is empty; check that the file or variable it comes from is filled";
    assert_eq!(es512(""), message);
    assert_eq!(es512(" \r\n\t "), message);
    assert_eq!(refusal(Algorithm::Hs256, ""), message);
}

#[test]
fn a_file_beyond_64_kib_is_too_long() {
    let message = "this is longer than 64 KiB, and no key is; check that it is the right file";
    assert_eq!(es512(vec![b'-'; 64 * 1024 + 1]), message);
}

#[test]
fn other_files_are_not_keys() {
    let message =
        "this is not a private key in PEM, DER or JWK form; check that it is the right file";
    assert_eq!(
        es512("[listeners.local]\naddress = \"127.0.0.1:8080\"\n"),
        message
    );
    assert_eq!(es512([0x30, 0x03, 0x02, 0x01, 0x07]), message);
    assert_eq!(es512([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), message);
    assert_eq!(
        es512("-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----\n"),
        message
    );
    assert_eq!(es512("-----BEGIN "), message);
}

#[test]
fn utf_16_is_named() {
    let utf16: Vec<u8> = "\u{feff}-----BEGIN"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(
        es512(utf16),
        "this is UTF-16 text, as PowerShell's `>` writes it; save the key as ASCII or UTF-8"
    );
}

#[test]
fn a_block_without_its_end_is_cut_off() {
    let message = "the PEM block has no END line, so the file was cut off; copy the key again";
    let pem = key_for(Algorithm::Es512);
    assert_eq!(es512(&pem[..200]), message);
    assert_eq!(es512(&pem[..pem.len() - 8]), message);
    assert_eq!(es512("-----BEGIN EC PRIVATE KEY"), message);
}

#[test]
fn damaged_base64_is_named() {
    let message = "the base64 in the PEM block is damaged; copy the key again";
    let pem = key_for(Algorithm::Es512);
    assert_eq!(es512(pem.replacen("MI", "M*", 1)), message);
    assert_eq!(es512(pem.replacen("MI", "MIA", 1)), message);
    assert_eq!(es512([pem.as_bytes(), b"\xff"].concat()), message);
}

#[test]
fn a_block_with_something_else_inside_is_damaged() {
    assert_eq!(
        es512(block("EC PRIVATE KEY", b"hello")),
        "the key inside the PEM block is damaged; copy the key again"
    );
    let damaged_curve = sec1_on(&der::write(der::INTEGER, &[&[1]]));
    assert_eq!(
        es512(damaged_curve),
        "the name of the EC key's curve is damaged; copy the key again"
    );
    // Not below the order of the group.
    let version = der::write(der::INTEGER, &[&[1]]);
    let scalar = der::write(der::OCTET_STRING, &[&[0xff; 66]]);
    assert_eq!(
        es512(der::write(der::SEQUENCE, &[&version, &scalar])),
        "the EC private key is damaged; copy the key again"
    );
    assert_eq!(
        refusal(Algorithm::EdDsa, pkcs8_of(private::ED25519)),
        "the Ed25519 private key is damaged; copy the key again"
    );
}

#[test]
fn an_rsa_key_whose_numbers_disagree_is_damaged() {
    let message = "the RSA private key is damaged; copy the key again";
    let mut der = rsa_pkcs8().to_vec();
    // Well within the modulus.
    der[100] ^= 1;
    assert_eq!(refusal(Algorithm::Rs256, der), message);
    let n = URL_SAFE_NO_PAD.encode([0xff; 256]);
    for d in ["AA", "AQ", "////", n.as_str()] {
        let jwk = json!({"kty": "RSA", "n": n, "e": "AQAB", "d": d.replace('/', "_")});
        assert_eq!(refusal(Algorithm::Rs256, jwk.to_string()), message);
    }
}

#[test]
fn encrypted_keys_are_refused_in_every_form() {
    let message = "this key is encrypted; decrypt it with `openssl pkey -in KEY -out NEW` and let \
                   only the proxy's user read the result";
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                  DEK-Info: AES-128-CBC,20D711C3A50124C6ED400A482CF9619F\n\nAAAA\n\
                  -----END EC PRIVATE KEY-----\n";
    assert_eq!(es512(legacy), message);
    assert_eq!(es512(legacy.replace('\n', "\\n")), message);
    let kind = der::write(der::SEQUENCE, &[&der::write(der::OID, &[&[0x2a]])]);
    let pkcs8 = der::write(
        der::SEQUENCE,
        &[&kind, &der::write(der::OCTET_STRING, &[b"x"])],
    );
    assert_eq!(es512(block("ENCRYPTED PRIVATE KEY", &pkcs8)), message);
    assert_eq!(es512(pkcs8), message);
}

#[test]
fn a_key_in_openssh_format_is_named() {
    assert_eq!(
        es512(block("OPENSSH PRIVATE KEY", b"openssh-key-v1\0")),
        "this key is in OpenSSH's own format; convert a copy with \
         `ssh-keygen -p -m PKCS8 -f COPY`, or make a new key with openssl"
    );
}

#[test]
fn a_pkcs_12_bundle_is_named() {
    let version = der::write(der::INTEGER, &[&[3]]);
    let content = der::write(der::SEQUENCE, &[&der::write(der::OID, &[&[0x2a]])]);
    assert_eq!(
        es512(der::write(der::SEQUENCE, &[&version, &content, &content])),
        "this is a PKCS#12 bundle; take the key out of it with \
         `openssl pkcs12 -in BUNDLE -nocerts -nodes -out KEY`"
    );
}

#[test]
fn public_keys_are_refused_in_every_form() {
    let message = "this is a public key, and signing takes the private key that belongs to it";
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Es512,
        Algorithm::Rs256,
        Algorithm::EdDsa,
    ] {
        let private = secret(&key_for(algorithm));
        let public = public_of(&private).expect("a key just made");
        assert_eq!(refusal(algorithm, &public), message);
        assert_eq!(refusal(algorithm, unwrap_pem(&public)), message);
        let jwk = public_jwk(&private).expect("a key just made");
        assert_eq!(refusal(algorithm, jwk.to_string()), message);
    }
    assert_eq!(
        refusal(Algorithm::Rs256, block("RSA PUBLIC KEY", b"x")),
        message
    );
    assert_eq!(es512("ecdsa-sha2-nistp521 AAAA root@host\n"), message);
}

#[test]
fn a_certificate_is_no_private_key() {
    let message = "this is a certificate, and signing takes the private key that belongs to it";
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .expect("rcgen")
        .cert;
    assert_eq!(es512(certificate.pem()), message);
    assert_eq!(es512(certificate.der()), message);
}

#[test]
fn parameters_alone_are_no_key() {
    assert_eq!(
        es512("-----BEGIN EC PARAMETERS-----\nBgUrgQQAIw==\n-----END EC PARAMETERS-----\n"),
        "these are EC parameters without a key; make one with \
         `openssl ecparam -genkey -name CURVE -noout -out KEY`"
    );
}

#[test]
fn several_private_keys_in_one_file_are_refused() {
    let two = [key_for(Algorithm::Es512), key_for(Algorithm::Es512)].concat();
    assert_eq!(
        es512(two),
        "there are 2 private keys here, and which one to use is not said; keep one"
    );
}

#[test]
fn explicit_curve_parameters_are_refused_by_name() {
    let message = "the curve of this key is spelled out in explicit parameters; give it its name \
                   with `openssl ec -in KEY -param_enc named_curve -out NEW`";
    let parameters = p521_spelled_out();
    let sec1 = sec1_on(&parameters);
    assert_eq!(es512(&sec1), message);
    assert_eq!(es512(block("EC PRIVATE KEY", &sec1)), message);
    let in_front = block("EC PARAMETERS", &parameters);
    assert_eq!(
        es512([in_front, block("EC PRIVATE KEY", &sec1)].concat()),
        message
    );
    let version = der::write(der::INTEGER, &[&[0]]);
    let kind = der::write(der::OID, &[private::EC_KEY]);
    let kind = der::write(der::SEQUENCE, &[&kind, &parameters]);
    let key = der::write(der::OCTET_STRING, &[&sec1]);
    assert_eq!(
        es512(der::write(der::SEQUENCE, &[&version, &kind, &key])),
        message
    );
}

/// `SpecifiedECDomain` of SEC 1, appendix C.2, with the constants of P-521 (SEC 2, section 2.6.1).
fn p521_spelled_out() -> Vec<u8> {
    let hex = |text: &str| {
        rsa::BigUint::parse_bytes(text.as_bytes(), 16)
            .expect("hex")
            .to_bytes_be()
    };
    let prime = [vec![1], vec![0xff; 65]].concat();
    let a = [vec![1], vec![0xff; 64], vec![0xfc]].concat();
    let b = hex(
        "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e93\
         7b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    );
    let base = hex(
        "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77ef\
         e75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5f\
         b42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c70\
         86a272c24088be94769fd16650",
    );
    let order = hex(
        "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f9\
         66b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    );
    let field_kind = der::write(der::OID, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x01, 0x01]]);
    let field = der::write(
        der::SEQUENCE,
        &[&field_kind, &der::write(der::INTEGER, &[&prime])],
    );
    let a = der::write(der::OCTET_STRING, &[&a]);
    let b = der::write(der::OCTET_STRING, &[&[0], &b]);
    let one = der::write(der::INTEGER, &[&[1]]);
    let curve = der::write(der::SEQUENCE, &[&a, &b]);
    let base = der::write(der::OCTET_STRING, &[&base]);
    let order = der::write(der::INTEGER, &[&order]);
    der::write(der::SEQUENCE, &[&one, &field, &curve, &base, &order, &one]).to_vec()
}

#[test]
fn a_key_without_a_curve_says_so() {
    let version = der::write(der::INTEGER, &[&[1]]);
    let scalar = der::write(der::OCTET_STRING, &[&[9; 28]]);
    assert_eq!(
        es512(der::write(der::SEQUENCE, &[&version, &scalar])),
        "this EC key does not say which curve it is on; put the `EC PARAMETERS` block it was made \
         with in front of it"
    );
}

#[test]
fn another_curve_is_named_beside_the_wanted_one() {
    assert_eq!(
        es512(key_for(Algorithm::Es256)),
        "secp521r1 wanted, this key is prime256v1; make one with \
         `openssl ecparam -genkey -name secp521r1 -noout -out KEY`"
    );
    assert_eq!(
        refusal(Algorithm::Es256, key_for(Algorithm::Es384)),
        "prime256v1 wanted, this key is secp384r1; make one with \
         `openssl ecparam -genkey -name prime256v1 -noout -out KEY`"
    );
    let koblitz = sec1_on(&der::write(der::OID, &[&[0x2b, 0x81, 0x04, 0x00, 0x0a]]));
    assert_eq!(
        refusal(Algorithm::Es384, &koblitz),
        "secp384r1 wanted, this key is secp256k1; make one with \
         `openssl ecparam -genkey -name secp384r1 -noout -out KEY`"
    );
    assert_eq!(
        public_of(&Secret::new(koblitz))
            .expect_err("no use")
            .to_string(),
        "this EC key is on secp256k1, and only prime256v1, secp384r1 and secp521r1 are of use here"
    );
}

#[test]
fn another_kind_of_key_is_named_beside_the_wanted_one() {
    assert_eq!(
        es512(key_for(Algorithm::Rs256)),
        "ES512 signs with an EC key on secp521r1, this is an RSA key; make one with \
         `openssl ecparam -genkey -name secp521r1 -noout -out KEY`"
    );
    assert_eq!(
        refusal(Algorithm::Rs256, key_for(Algorithm::Es512)),
        "RS256 signs with an RSA key, this is an EC key; make one with \
         `openssl genrsa -out KEY 3072`"
    );
    assert_eq!(
        refusal(Algorithm::Es256, key_for(Algorithm::EdDsa)),
        "ES256 signs with an EC key on prime256v1, this is an Ed25519 key; make one with \
         `openssl ecparam -genkey -name prime256v1 -noout -out KEY`"
    );
    assert_eq!(
        refusal(Algorithm::EdDsa, pkcs8_of(&[0x2b, 0x65, 0x71])),
        "EdDSA signs with an Ed25519 key, this is an Ed448 key; make one with \
         `openssl genpkey -algorithm ED25519 -out KEY`"
    );
    assert_eq!(
        refusal(
            Algorithm::Rs256,
            json!({"kty": "oct", "k": "AAAA"}).to_string()
        ),
        "RS256 signs with an RSA key, this is a shared secret; make one with \
         `openssl genrsa -out KEY 3072`"
    );
}

#[test]
fn keys_that_sign_nothing_here_are_named() {
    let of = |bytes: Vec<u8>| {
        public_of(&Secret::new(bytes))
            .expect_err("no use")
            .to_string()
    };
    let pss = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    let cases = [
        (pkcs8_of(&[0x2b, 0x65, 0x6e]), "an X25519 key"),
        (pkcs8_of(&[0x2b, 0x65, 0x6f]), "an X448 key"),
        (pkcs8_of(&[0x2b, 0x65, 0x71]), "an Ed448 key"),
        (pkcs8_of(&pss), "an RSA key bound to PSS"),
        (pkcs8_of(&[0x2a, 0x03]), "a key of an unknown kind"),
        (numbers(&[0; 6]), "a DSA key"),
        (numbers(&[1; 10]), "an RSA key of more than two primes"),
        (
            json!({"kty": "OKP", "crv": "Ed448"})
                .to_string()
                .into_bytes(),
            "an Ed448 key",
        ),
    ];
    for (key, name) in cases {
        let message = format!("this is {name}, and only RSA, EC and Ed25519 keys are of use here");
        assert_eq!(of(key), message);
    }
}

/// A SEQUENCE of small INTEGERs.
fn numbers(numbers: &[u8]) -> Vec<u8> {
    let numbers: Vec<_> = numbers
        .iter()
        .map(|it| der::write(der::INTEGER, &[&[*it]]))
        .collect();
    let numbers: Vec<&[u8]> = numbers.iter().map(|it| it.as_slice()).collect();
    der::write(der::SEQUENCE, &numbers).to_vec()
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits() {
    let of = |bits: usize| {
        let modulus = vec![0xff; bits / 8];
        let jwk =
            json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB", "d": "AQ"});
        refusal(Algorithm::Rs256, jwk.to_string())
    };
    assert_eq!(
        of(1024),
        "this RSA key has 1024 bits, 2048 are the least; make one with \
         `openssl genrsa -out KEY 3072`"
    );
    assert_eq!(
        of(16384),
        "this RSA key has 16384 bits, 8192 are the most; make one with \
         `openssl genrsa -out KEY 3072`"
    );
}

#[test]
fn a_public_half_of_another_key_is_noticed() {
    let message =
        "the public half in this file is not that of its private key; use the original file";
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        let mut der = unwrap_pem(&key_for(algorithm));
        *der.last_mut().expect("not empty") ^= 1;
        assert_eq!(refusal(algorithm, der), message);
    }
    let key = json!({"kty": "OKP", "crv": "Ed25519", "d": URL_SAFE_NO_PAD.encode([1; 32]),
        "x": URL_SAFE_NO_PAD.encode([1; 32])});
    assert_eq!(refusal(Algorithm::EdDsa, key.to_string()), message);
}

#[test]
fn json_that_is_no_jwk_is_told_apart() {
    let service_account = json!({"serviceAccountId": "x", "privateKey": "y"}).to_string();
    let message = "this JSON is not a JWK; if a vendor's file holds the key in one of its members, \
                   give that member";
    assert_eq!(es512(service_account), message);
    assert_eq!(es512("{\"kty\": \"EC\""), message);
    assert_eq!(
        es512("{\"keys\": []}"),
        "this is a set of JWKs, and which one to use is not said; give one key by itself"
    );
}

#[test]
fn a_jwk_names_its_damaged_member() {
    let of = |jwk: Value| es512(jwk.to_string());
    let message =
        |member: &str| format!("`{member}` of this JWK is missing or damaged; copy the key again");
    assert_eq!(of(json!({"kty": "EC", "d": "AQ"})), message("crv"));
    assert_eq!(
        of(json!({"kty": "EC", "crv": "P-521", "d": "*"})),
        message("d")
    );
    assert_eq!(
        of(json!({"kty": "EC", "crv": "P-521", "d": "AQ", "x": "AQ"})),
        message("y")
    );
    assert_eq!(of(json!({"kty": "RSA", "d": "AQ"})), message("n"));
    assert_eq!(
        of(json!({"kty": "RSA", "d": "AQ", "n": "AQ", "e": "AQ", "p": "AQ"})),
        message("q")
    );
}

/// Cheap, repeatable randomness (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).expect("small")).expect("small")
    }

    fn mutate(&mut self, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        for _ in 0..=self.below(4) {
            let (at, to) = (self.below(file.len()), self.below(file.len()));
            let byte = u8::try_from(self.below(256)).expect("below 256");
            match self.below(6) {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << self.below(8),
                2 => file.insert(at, byte),
                3 => file.truncate(at.max(1)),
                4 => drop(file.drain(at.min(to)..at.max(to))),
                _ => file.extend_from_within(at.min(to)..at.max(to)),
            }
            if file.is_empty() {
                file.push(byte);
            }
        }
        file
    }
}

#[test]
fn a_thousand_mutated_files_neither_panic_nor_leak() {
    let pems = [
        Algorithm::Es256,
        Algorithm::Es512,
        Algorithm::Rs256,
        Algorithm::EdDsa,
    ]
    .map(key_for);
    let ders = pems.each_ref().map(|pem| unwrap_pem(pem));
    let mut jwk = public_jwk(&secret(&pems[1])).expect("a key just made");
    jwk["d"] = Value::from(URL_SAFE_NO_PAD.encode([3; 66]));
    let mut files: Vec<Vec<u8>> = pems.iter().map(|pem| pem.clone().into_bytes()).collect();
    files.extend(ders);
    files.push(jwk.to_string().into_bytes());
    files.push(sec1_on(&p521_spelled_out()));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..1_000 {
        let file = dice.mutate(&files[round % files.len()]);
        for algorithm in [
            Algorithm::Es512,
            Algorithm::Rs256,
            Algorithm::Es256,
            Algorithm::EdDsa,
        ] {
            let Err(error) = SigningKey::parse(algorithm, &Secret::new(file.clone())) else {
                continue;
            };
            let message = format!("{error} {error:?}");
            let leak = file.windows(12).find(|part| {
                let part = String::from_utf8_lossy(part);
                part.bytes().all(|byte| byte.is_ascii_alphanumeric()) && message.contains(&*part)
            });
            assert_eq!(leak, None, "{message}");
        }
    }
}
