//! Whom a token is sent to: only a server whose certificate is verified.

use std::io::{Read, Write};
use std::net::TcpListener;

use aws_lc_rs::digest;
use countersign::emulator::Authority;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SigningKey, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::upstream::NAME;
use crate::support::{Folder, Process, Proxy, Upstream, acme, get};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(change: impl Fn(&mut CertificateParams)) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority");
    change(&mut params);
    Issuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn leaf(
    issuer: &Issuer,
    names: &[&str],
    change: impl Fn(&mut CertificateParams),
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    (
        certificate.der().clone(),
        PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
    )
}

/// What a proxy answers that trusts `ca_pem` and meets this certificate; and whether it sent
/// anything over the connection.
fn met(
    ca_pem: &str,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> (u16, String, usize) {
    met_as(NAME, ca_pem, chain, key)
}

/// The same where the target's URL has another host.
fn met_as(
    host: &str,
    ca_pem: &str,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> (u16, String, usize) {
    let upstream = Upstream::with_certificate(ca_pem.to_owned(), chain, key, |conversation| {
        while conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text.replace(&format!("https://{NAME}"), &format!("https://{host}"));
    let proxy = Proxy::start(&folder, &text);
    let answer = get(proxy.address, "/acme");
    let code = if answer.status == 200 {
        String::new()
    } else {
        answer.code()
    };
    (answer.status, code, upstream.requests().len())
}

#[test]
fn a_good_certificate_is_accepted_and_so_is_one_behind_an_intermediate() {
    let root = authority(|_| {});
    let (certificate, key) = leaf(&root, &[NAME], |_| {});
    assert_eq!(
        met(&root.pem(), vec![certificate], key),
        (200, String::new(), 1)
    );

    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "in between");
    let between =
        Issuer::signed_by(params, KeyPair::generate().expect("a key"), &root).expect("signed");
    let (certificate, key) = leaf(&between, &[NAME], |_| {});
    let chain = vec![certificate, between.der().clone()];
    assert_eq!(met(&root.pem(), chain, key), (200, String::new(), 1));
}

#[test]
fn no_byte_of_a_token_goes_to_a_server_whose_certificate_is_bad() {
    let root = authority(|_| {});
    let pem = root.pem();
    let old = |it: &mut CertificateParams| {
        it.not_before = date_time_ymd(2020, 1, 1);
        it.not_after = date_time_ymd(2021, 1, 1);
    };
    let early = |it: &mut CertificateParams| it.not_before = date_time_ymd(2090, 1, 1);
    let for_clients = |it: &mut CertificateParams| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let only_common_name = |it: &mut CertificateParams| {
        it.subject_alt_names = Vec::new();
        it.distinguished_name.push(DnType::CommonName, NAME);
    };
    let stranger = authority(|_| {});
    let self_signed = {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        (
            certificate.der().clone(),
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
    };
    let constrained = authority(|it| {
        it.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("other.example".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let bad = [
        ("expired", &pem, leaf(&root, &[NAME], old)),
        ("not yet valid", &pem, leaf(&root, &[NAME], early)),
        (
            "another name",
            &pem,
            leaf(&root, &["other.example"], |_| {}),
        ),
        (
            "a name one level down",
            &pem,
            leaf(&root, &["*.upstream.example"], |_| {}),
        ),
        (
            "the name in the subject alone",
            &pem,
            leaf(&root, &[], only_common_name),
        ),
        ("an address", &pem, leaf(&root, &["127.0.0.1"], |_| {})),
        ("for clients", &pem, leaf(&root, &[NAME], for_clients)),
        ("of a stranger", &pem, leaf(&stranger, &[NAME], |_| {})),
        ("of itself", &pem, self_signed),
        (
            "beyond its authority's names",
            &constrained.pem(),
            leaf(&constrained, &[NAME], |_| {}),
        ),
    ];
    for (what, pem, (certificate, key)) in bad {
        let met = met(pem, vec![certificate], key);
        assert_eq!(
            met,
            (502, "upstream-tls".into(), 0),
            "a certificate that is {what}"
        );
    }
}

#[test]
fn a_name_or_an_address_is_not_another_one_that_looks_like_it() {
    let root = authority(|_| {});
    for (host, name, status) in [
        ("a.upstream.example", "*.upstream.example", 200),
        ("a.b.upstream.example", "*.upstream.example", 502),
        ("a.upstream.example", "a*.upstream.example", 502),
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "127.0.0.2", 502),
        ("127.0.0.1", "127.0.0.1.example", 502),
    ] {
        let (certificate, key) = leaf(&root, &[name], |_| {});
        let (met, _, seen) = met_as(host, &root.pem(), vec![certificate], key);
        assert_eq!(met, status, "{name} for {host}");
        assert_eq!(seen, usize::from(status == 200), "{name} for {host}");
    }
}

#[test]
fn a_certificate_is_refused_whose_way_to_its_authority_is_broken() {
    let root = authority(|_| {});
    let params = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params
            .distinguished_name
            .push(DnType::CommonName, "in between");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Issuer::signed_by(params, key, &root).expect("signed")
    };
    let fine = params(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let no_authority = params(|it| it.is_ca = IsCa::ExplicitNoCa);
    let expired = params(|it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        it.not_before = date_time_ymd(2020, 1, 1);
        it.not_after = date_time_ymd(2021, 1, 1);
    });
    for (what, between, is_sent) in [
        ("is not there", &fine, false),
        ("is no authority", &no_authority, true),
        ("is expired", &expired, true),
    ] {
        let (certificate, key) = leaf(between, &[NAME], |_| {});
        let mut chain = vec![certificate];
        if is_sent {
            chain.push(between.der().clone());
        }
        let met = met(&root.pem(), chain, key);
        assert_eq!(
            met,
            (502, "upstream-tls".into(), 0),
            "what is in between {what}"
        );
    }
}

/// An authority with an RSA key that no library would sign with.
struct Rsa {
    key: rsa::RsaPrivateKey,
    public: Vec<u8>,
}

impl Rsa {
    fn new(bits: usize) -> Self {
        use rsa::pkcs1::EncodeRsaPublicKey;
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).expect("a key");
        let public = key.to_public_key().to_pkcs1_der().expect("a key in DER");
        Self {
            key,
            public: public.as_bytes().to_vec(),
        }
    }

    /// Signs as PKCS#1 version 1.5 does; `prefix` names the hash (RFC 8017 section 9.2).
    fn sign_with(&self, hash: &'static digest::Algorithm, prefix: &[u8], text: &[u8]) -> Vec<u8> {
        let hash = digest::digest(hash, text);
        let scheme = rsa::Pkcs1v15Sign {
            hash_len: Some(hash.as_ref().len()),
            prefix: prefix.into(),
        };
        self.key.sign(scheme, hash.as_ref()).expect("a signature")
    }
}

const SHA_256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const SHA_1: [u8; 15] = [
    0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
];

impl PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl SigningKey for Rsa {
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign_with(&digest::SHA256, &SHA_256, text))
    }
}

/// The same certificate, signed with SHA-1 by an authority with a key of 2048 bits.
fn with_sha_1(certificate: &CertificateDer<'_>, authority: &Rsa) -> CertificateDer<'static> {
    // sha256WithRSAEncryption, which becomes sha1WithRSAEncryption.
    const NAME: [u8; 11] = [
        0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
    ];
    let mut der = certificate.to_vec();
    let places: Vec<usize> = (0..der.len() - NAME.len())
        .filter(|at| der[*at..].starts_with(&NAME))
        .collect();
    assert_eq!(places.len(), 2);
    for place in places {
        der[place + NAME.len() - 1] = 0x05;
    }
    // Both heads are of four bytes: a tag, and a length of two bytes.
    let signed = 4..8 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    let signature = authority.sign_with(&digest::SHA1_FOR_LEGACY_USE_ONLY, &SHA_1, &der[signed]);
    let start = der.len() - signature.len();
    der[start..].copy_from_slice(&signature);
    der.into()
}

#[test]
fn a_signature_that_can_be_forged_is_not_believed() {
    for (bits, is_sha_1, status) in [(2048, false, 200), (2048, true, 502), (1024, false, 502)] {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = Rsa::new(bits);
        let pem = params.self_signed(&own).expect("an authority").pem();
        let issuer = rcgen::Issuer::new(params, own);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let certificate = match is_sha_1 {
            true => with_sha_1(certificate.der(), issuer.key()),
            false => certificate.der().clone(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let (met, _, seen) = met(&pem, vec![certificate], key);
        assert_eq!(met, status, "{bits} bits, SHA-1: {is_sha_1}");
        assert_eq!(seen, usize::from(status == 200));
    }
}

#[test]
fn an_upstream_with_tls_1_0_or_1_1_alone_gets_nothing_but_the_offer_of_a_better_one() {
    for minor in [1, 2] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 5];
            stream.read_exact(&mut head).expect("an offer");
            assert_eq!(head[0], 22, "a handshake");
            let length = u16::from_be_bytes([head[3], head[4]]);
            let mut offer = vec![0; usize::from(length)];
            stream.read_exact(&mut offer).expect("an offer");
            // ServerHello: version, random, no session, ECDHE-RSA with AES-128-CBC, no compression.
            let mut hello = vec![2, 0, 0, 38, 3, minor];
            hello.extend([7; 32]);
            hello.extend([0, 0xc0, 0x13, 0]);
            let mut record = vec![22, 3, minor, 0, 42];
            record.extend(hello);
            stream.write_all(&record).expect("it is read");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let folder = Folder::new();
        let trusted = Authority::new().expect("an authority");
        let text = acme(&folder, address, &trusted.pem(), "");
        let proxy = Proxy::start(&folder, &text);
        assert_eq!(get(proxy.address, "/acme").code(), "upstream-tls");
        let rest = server.join().expect("a server");
        assert_eq!((rest[0], rest.len()), (21, 7), "an alert and nothing else");
    }
}

#[test]
fn a_targets_own_authority_stands_in_place_of_the_machines() {
    let trusted = Authority::new().expect("an authority");
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &trusted.pem(), "");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-tls");

    folder.write("both.pem", format!("{}{}", trusted.pem(), upstream.ca_pem));
    let proxy = Proxy::start(&folder, &text.replace("\"ca.pem\"", "[\"both.pem\"]"));
    assert_eq!(get(proxy.address, "/acme").status, 200);
}

#[test]
fn the_log_says_what_to_do_about_a_certificate_that_nobody_vouches_for() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let other = Authority::new().expect("an authority");
    // Of another name: one of the same name has signed it wrongly.
    let stranger = authority(|_| {}).pem();
    folder.write("proxy.toml", acme(&folder, upstream.address, &stranger, ""));
    let process = Process::start(folder.path(), &[]);
    assert_eq!(get(process.address(), "/acme").code(), "upstream-tls");
    let said = process.wait_for("UnknownIssuer");
    let line = said
        .lines()
        .find(|it| it.contains("UnknownIssuer"))
        .expect("just seen");
    assert!(
        line.contains("name that authority's certificate in `tls.ca` (invalid peer"),
        "{line}"
    );

    folder.write(
        "proxy.toml",
        acme(&folder, upstream.address, &other.pem(), ""),
    );
    let process = Process::start(folder.path(), &[]);
    assert_eq!(get(process.address(), "/acme").code(), "upstream-tls");
    process.wait_for("another authority of the same name");
}

#[test]
fn authorities_that_are_half_written_at_the_start_are_those_that_were_read_with_the_configuration()
{
    // Each request needs a new connection: those that are open stay as they are.
    let upstream = Upstream::with(|conversation| {
        if conversation.read_request().is_some() {
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            conversation.write(answer);
            conversation.close();
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let store = countersign::secret::store::Store::Disk;
    let loaded = countersign::config::parse("proxy.toml", &text, folder.path(), &store);
    let config = loaded.expect("it can be used").config;
    let (half, _) = upstream.ca_pem.split_at(upstream.ca_pem.len() / 2);
    folder.write("ca.pem", half);
    let proxy = Proxy::start_config(config);
    assert_eq!(get(proxy.address, "/acme").status, 200);
    // What is whole again is used, and nothing else.
    folder.write("ca.pem", authority(|_| {}).pem());
    let begin = tokio::time::Instant::now();
    loop {
        let answer = get(proxy.address, "/acme");
        if answer.status == 502 {
            assert_eq!(answer.code(), "upstream-tls");
            break;
        }
        assert!(begin.elapsed().as_secs() < 20, "the new file is not read");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}
