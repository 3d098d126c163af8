//! When a certificate ends.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// Later than a certificate can say: its years have four digits (RFC 5280 section 4.1.2.5).
const FAR: Duration = Duration::from_secs(300_000_000_000);

/// The end of a certificate's validity, in seconds since 1970; `None` if it cannot be read.
///
/// The library that verifies certificates reads this date and keeps it to itself, but for the
/// certificate that has expired: it says when. In the far future every certificate has, and that is
/// the first thing that is looked at.
#[must_use]
pub fn end_of(certificate: &CertificateDer<'_>) -> Option<u64> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let far = UnixTime::since_unix_epoch(FAR);
    let usage = KeyUsage::server_auth();
    match parsed.verify_for_usage(&[], &[], &[], far, usage, None, None) {
        Err(Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

    #[test]
    fn the_end_is_read_whatever_the_certificate_is_for() {
        for (year, usages) in [
            (2030, vec![]),
            (2049, vec![ExtendedKeyUsagePurpose::ServerAuth]),
            // From 2050 on dates are written in another way.
            (2050, vec![ExtendedKeyUsagePurpose::ClientAuth]),
            (9999, vec![ExtendedKeyUsagePurpose::CodeSigning]),
        ] {
            let mut params = CertificateParams::new(vec!["a.example".into()]).expect("a name");
            params.not_after = date_time_ymd(year, 12, 31);
            params.extended_key_usages = usages;
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            let end = date_time_ymd(year, 12, 31).unix_timestamp();
            let read = end_of(certificate.der()).and_then(|it| i64::try_from(it).ok());
            assert_eq!(read, Some(end), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(end_of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
