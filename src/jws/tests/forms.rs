//! One key in every form it is met in.

use serde_json::json;

use super::private::{EcPrivate, Private};
use super::*;

/// A P-521 key taken apart.
fn ec() -> EcPrivate {
    let pem = key_for(Algorithm::Es512);
    let Ok(Private::Ec(key)) = read::private_key(pem.as_bytes()) else {
        panic!("an EC key")
    };
    key
}

fn fingerprint(algorithm: Algorithm, bytes: &[u8]) -> String {
    match SigningKey::parse(algorithm, &Secret::new(bytes.to_vec())) {
        Ok(key) => key.fingerprint(),
        Err(error) => panic!("{error}"),
    }
}

/// A PEM text in every shape that editors, shells and vendors give it.
fn shapes(pem: &str) -> Vec<String> {
    let (begin, end) = (
        pem.lines().next().expect("BEGIN"),
        pem.lines().last().expect("END"),
    );
    let base64 = STANDARD.encode(unwrap_pem(pem));
    let narrow: Vec<_> = base64
        .as_bytes()
        .chunks(11)
        .map(String::from_utf8_lossy)
        .collect();
    vec![
        pem.to_owned(),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\r\\n"),
        pem.replace('\n', " "),
        pem.trim_end().to_owned(),
        pem.lines().map(|line| format!("    {line}  \n")).collect(),
        format!("{begin}{base64}{end}"),
        format!("{begin}\n{base64}\n{end}\n"),
        format!("{begin}\n{base64}{end}"),
        format!("{begin}\n{}\n{end}\n", narrow.join("\n")),
        format!("{begin}\n{}\n{end}\n", base64.trim_end_matches('=')),
        format!(
            "\u{feff}Bag Attributes\n    friendlyName: kéy\nKey Attributes: <No Attributes>\n{pem}"
        ),
        format!("\n\n \t{pem}\n\n"),
        format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{pem}"),
        format!("{pem}-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ]
}

#[test]
fn every_form_of_an_ec_key_is_the_same_key() {
    let key = ec();
    let sec1 = pem::encode("EC PRIVATE KEY", &key.sec1()).to_string();
    let pkcs8 = pem::encode("PRIVATE KEY", &key.pkcs8()).to_string();
    let expected = fingerprint(Algorithm::Es512, sec1.as_bytes());
    let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIw==\n-----END EC PARAMETERS-----\n";
    let mut forms = [shapes(&sec1), shapes(&pkcs8)].concat();
    forms.extend(
        shapes(&sec1)
            .into_iter()
            .map(|shape| format!("{parameters}{shape}")),
    );
    for form in forms {
        assert_eq!(
            fingerprint(Algorithm::Es512, form.as_bytes()),
            expected,
            "{form}"
        );
    }
    assert_eq!(fingerprint(Algorithm::Es512, &key.sec1()), expected);
    assert_eq!(fingerprint(Algorithm::Es512, &key.pkcs8()), expected);
    let jwk = jwk(&key, &json!({}));
    assert_eq!(fingerprint(Algorithm::Es512, jwk.as_bytes()), expected);
    assert_eq!(
        fingerprint(Algorithm::Es512, format!("\u{feff}\n {jwk}\n").as_bytes()),
        expected
    );
}

/// The private JWK of an EC key, with some members changed or (null) taken out.
fn jwk(key: &EcPrivate, changes: &Value) -> String {
    let mut jwk = key_public(key).jwk();
    jwk.insert(
        "d".to_owned(),
        Value::from(URL_SAFE_NO_PAD.encode(&*key.scalar)),
    );
    jwk.extend(changes.as_object().expect("an object").clone());
    jwk.retain(|_, value| !value.is_null());
    Value::Object(jwk).to_string()
}

fn key_public(key: &EcPrivate) -> public::Public {
    public::Public::Ec {
        curve: key.curve,
        point: key.point.clone(),
    }
}

#[test]
fn an_ec_key_may_lack_its_curve_or_its_public_half() {
    let key = ec();
    let expected = fingerprint(Algorithm::Es512, &key.sec1());
    let version = der::write(der::INTEGER, &[&[1]]);
    let scalar = der::write(der::OCTET_STRING, &[&key.scalar]);
    let curve = der::write(
        der::EXPLICIT_0,
        &[&der::write(der::OID, &[key.curve.oid()])],
    );
    let point = |point: &[u8]| {
        der::write(
            der::EXPLICIT_1,
            &[&der::write(der::BIT_STRING, &[&[0], point])],
        )
    };
    let sign = 2 + (key.point.last().expect("a point") & 1);
    let compressed = [&[sign], &key.point[1..67]].concat();
    let hybrid = [&[sign + 4], &key.point[1..]].concat();
    let cases: [&[&[u8]]; 7] = [
        &[&version, &scalar],
        &[&version, &scalar, &curve],
        &[&version, &scalar, &point(&key.point)],
        &[&version, &scalar, &point(&compressed)],
        &[&version, &scalar, &curve, &point(&compressed)],
        &[&version, &scalar, &curve, &point(&hybrid)],
        // Leading zeros of the scalar left out by one writer and added by another.
        &[
            &version,
            &der::write(der::OCTET_STRING, &[&[0, 0], &key.scalar]),
            &curve,
        ],
    ];
    for case in cases {
        let sec1 = der::write(der::SEQUENCE, case);
        assert_eq!(fingerprint(Algorithm::Es512, &sec1), expected);
    }
    assert_eq!(
        fingerprint(
            Algorithm::Es512,
            jwk(&key, &json!({"x": null, "y": null})).as_bytes()
        ),
        expected
    );
}

#[test]
fn a_scalar_shorn_of_its_zeros_needs_the_parameters_in_front() {
    let scalar = [vec![0; 20], vec![7; 46]].concat();
    let key = EcPrivate::new(private::Curve::P521, &scalar, None).expect("in range");
    let version = der::write(der::INTEGER, &[&[1]]);
    let shorn = der::write(der::OCTET_STRING, &[&scalar[20..]]);
    let sec1 = pem::encode(
        "EC PRIVATE KEY",
        &der::write(der::SEQUENCE, &[&version, &shorn]),
    );
    let error = SigningKey::parse(Algorithm::Es512, &secret(&sec1)).expect_err("no curve");
    assert_eq!(error, KeyError::NamelessCurve);
    let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIw==\n-----END EC PARAMETERS-----\n";
    assert_eq!(
        fingerprint(
            Algorithm::Es512,
            format!("{parameters}{}", sec1.as_str()).as_bytes()
        ),
        fingerprint(Algorithm::Es512, &key.sec1())
    );
}

#[test]
fn every_form_of_an_rsa_key_is_the_same_key() {
    use rsa::pkcs1::EncodeRsaPrivateKey;
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};

    let key = rsa::RsaPrivateKey::from_pkcs8_der(rsa_pkcs8()).expect("a key just made");
    let pkcs1_der = key.to_pkcs1_der().expect("encodes");
    let pkcs1 = pem::encode("RSA PRIVATE KEY", pkcs1_der.as_bytes()).to_string();
    let pkcs8 = pem::encode("PRIVATE KEY", rsa_pkcs8()).to_string();
    let expected = fingerprint(Algorithm::Rs256, pkcs8.as_bytes());
    for form in [shapes(&pkcs1), shapes(&pkcs8)].concat() {
        assert_eq!(
            fingerprint(Algorithm::Rs256, form.as_bytes()),
            expected,
            "{form}"
        );
    }
    assert_eq!(
        fingerprint(Algorithm::Ps512, pkcs1_der.as_bytes()),
        expected
    );
    assert_eq!(fingerprint(Algorithm::Ps512, rsa_pkcs8()), expected);

    let number = |it: &rsa::BigUint| URL_SAFE_NO_PAD.encode(it.to_bytes_be());
    let [p, q] = key.primes() else {
        panic!("two primes")
    };
    let mut jwk = json!({"kty": "RSA", "n": number(key.n()), "e": number(key.e()),
        "d": number(key.d()), "p": number(p), "q": number(q)});
    assert_eq!(
        fingerprint(Algorithm::Rs256, jwk.to_string().as_bytes()),
        expected
    );
    let members = jwk.as_object_mut().expect("an object");
    members.retain(|name, _| name != "p" && name != "q");
    assert_eq!(
        fingerprint(Algorithm::Rs256, jwk.to_string().as_bytes()),
        expected
    );
}

#[test]
fn every_form_of_an_ed25519_key_is_the_same_key() {
    let pem = key_for(Algorithm::EdDsa);
    let expected = fingerprint(Algorithm::EdDsa, pem.as_bytes());
    for form in shapes(&pem) {
        assert_eq!(
            fingerprint(Algorithm::EdDsa, form.as_bytes()),
            expected,
            "{form}"
        );
    }
    let v1 = unwrap_pem(&pem);
    assert_eq!(fingerprint(Algorithm::EdDsa, &v1), expected);
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(&v1).expect("a key just made");
    let v2 = pair.to_pkcs8().expect("aws-lc writes RFC 5958");
    assert_ne!(v1, v2.as_ref());
    assert_eq!(fingerprint(Algorithm::EdDsa, v2.as_ref()), expected);
    let mut jwk = public_jwk(&secret(&pem)).expect("a key just made");
    jwk["d"] = Value::from(URL_SAFE_NO_PAD.encode(&v1[16..]));
    assert_eq!(
        fingerprint(Algorithm::EdDsa, jwk.to_string().as_bytes()),
        expected
    );
}

#[test]
fn a_new_key_of_every_kind_reads_back_with_its_public_half() {
    let algorithms = [
        (KeyKind::EcP256, Algorithm::Es256, "EC PRIVATE KEY"),
        (KeyKind::EcP384, Algorithm::Es384, "EC PRIVATE KEY"),
        (KeyKind::EcP521, Algorithm::Es512, "EC PRIVATE KEY"),
        (KeyKind::Rsa2048, Algorithm::Rs256, "PRIVATE KEY"),
        (KeyKind::Ed25519, Algorithm::EdDsa, "PRIVATE KEY"),
    ];
    for (kind, algorithm, label) in algorithms {
        let pair = generate(kind);
        SigningKey::parse(algorithm, &pair.private_pem).expect("a key just made");
        assert_eq!(
            public_of(&pair.private_pem).as_ref(),
            Ok(&pair.public_pem),
            "{kind}"
        );
        let text = pair.private_pem.expose_str().expect("PEM is text");
        assert!(
            text.starts_with(&format!("-----BEGIN {label}-----\n")),
            "{kind}"
        );
        assert!(text.lines().all(|line| line.len() <= 64), "{kind}");
        assert!(format!("{pair:?}").starts_with("KeyPair { private_pem: [redacted], "));
    }
}

#[test]
fn a_new_p521_key_is_laid_out_as_openssl_lays_it_out() {
    let der = unwrap_pem(&key_for(Algorithm::Es512));
    assert_eq!(der.len(), 223);
    assert_eq!(&der[..8], [0x30, 0x81, 0xdc, 0x02, 0x01, 0x01, 0x04, 0x42]);
    assert_eq!(
        &der[74..83],
        [0xa0, 0x07, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
    );
    assert_eq!(&der[83..90], [0xa1, 0x81, 0x89, 0x03, 0x81, 0x86, 0x00]);
}

#[test]
fn kinds_of_key_are_known_by_their_exact_names() {
    for kind in KeyKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!(
        "p521"
            .parse::<KeyKind>()
            .expect_err("not its name")
            .to_string(),
        "not a kind of key; known are ec-p256, ec-p384, ec-p521, rsa-2048, rsa-3072, \
         rsa-4096, ed25519"
    );
}
