//! Certificates that end: what the log and `/metrics` say in time.

use std::time::Duration;

use countersign::clock::Clock;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{PAGES, page};
use crate::support::{Folder, Process, Proxy, Upstream, acme};

const DAY: u64 = 24 * 60 * 60;

/// Writes a certificate that ends in so many days as NAME.pem, with its key.
fn write(folder: &Folder, name: &str, days: u64) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    // And an hour, for a test that takes its time.
    let end = Clock::system().now().wall + Duration::from_secs(days * DAY + 3600);
    params.not_after = date_time_ymd(1970, 1, 1) + end;
    let certificate = params.self_signed(&key).expect("a certificate");
    folder.write(&format!("{name}.pem"), certificate.pem());
    folder.write(&format!("{name}-key.pem"), key.serialize_pem());
}

/// A configuration with a certificate at the listener, and one that is shown to the target.
fn configuration(folder: &Folder, upstream: &Upstream, extra: &str) -> String {
    let own = "tls.certificate = \"own.pem\"\ntls.key = { file = \"own-key.pem\" }";
    let text = acme(folder, upstream.address, &upstream.ca_pem, own);
    let tls = "address = \"127.0.0.1:0\"\ntls.certificates = [{ certificate = \"shown.pem\", key = { file = \"shown-key.pem\" } }]\n";
    text.replace("address = \"127.0.0.1:0\"\n", tls) + extra
}

#[test]
fn certificates_that_end_soon_are_told_of_at_the_start_and_at_a_reload() {
    let (folder, upstream) = (Folder::new(), Upstream::saying(""));
    write(&folder, "shown", 5);
    write(&folder, "own", 300);
    folder.write("proxy.toml", configuration(&folder, &upstream, ""));
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("shown.pem of listener `local` ends in 5 days");
    assert!(!said.contains("own.pem of target"), "{said}");
    write(&folder, "own", 1);
    write(&folder, "shown", 300);
    // What is new to TLS is read within seconds; whoever asks before is told of it later.
    process.wait_for("certificates were read again");
    process.wait_for("listener `local` has a new certificate");
    process.signal("HUP");
    let said = process.wait_for("own.pem of target `acme` ends in a day");
    assert_eq!(said.matches("shown.pem of listener").count(), 1, "{said}");
}

#[test]
fn the_time_that_is_left_is_a_metric() {
    let (folder, upstream) = (Folder::new(), Upstream::saying(""));
    write(&folder, "shown", 5);
    write(&folder, "own", 300);
    let proxy = Proxy::start(&folder, &configuration(&folder, &upstream, PAGES));
    let metrics = page(&proxy, "/metrics").text();
    for (owner, days) in [
        ("kind=\"listener\",name=\"local\"", 5),
        ("kind=\"target\",name=\"acme\"", 300),
    ] {
        let start = format!("countersign_certificate_expiry_seconds{{{owner},file=");
        let line = metrics
            .lines()
            .find(|it| it.starts_with(&start))
            .expect("a sample");
        let seconds = line.rsplit(' ').next().and_then(|it| it.parse().ok());
        let seconds: u64 = seconds.expect("a number");
        assert!(
            (days * DAY..=days * DAY + 3600).contains(&seconds),
            "{line}"
        );
    }
}
