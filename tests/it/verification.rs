//! Whom a token is sent to: only a server whose certificate is verified.

use countersign::emulator::Authority;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::upstream::NAME;
use crate::support::{Folder, Proxy, Upstream, acme, get, proxy_to};

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
    let upstream = Upstream::with_certificate(ca_pem.to_owned(), chain, key, |conversation| {
        while conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
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
