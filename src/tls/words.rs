//! What the TLS library says, with what that means for an operator in front of it.

use std::error::Error;
use std::io;

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};

/// The text of one error in a chain of causes. What went wrong in TLS is in words that only those
/// understand who know the library: in front of them stands what to do.
#[must_use]
pub fn words(cause: &(dyn Error + 'static)) -> String {
    match meaning(cause) {
        Some(meaning) => format!("{meaning} ({cause})"),
        None => cause.to_string(),
    }
}

fn meaning(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    // The library's error goes by way of the system's, whose source it is not, but that itself.
    let inner = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let error = inner.and_then(|it| it.downcast_ref::<Tls>())?;
    Some(match error {
        Tls::InvalidCertificate(bad) => return of_certificate(bad),
        Tls::InvalidMessage(_) => "what answers there does not speak TLS: is the port right?",
        Tls::AlertReceived(alert) => of_alert(*alert),
        Tls::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with this proxy, which speaks 1.2 and 1.3"
        }
        _ => return None,
    })
}

fn of_certificate(bad: &Bad) -> Option<&'static str> {
    Some(match bad {
        Bad::UnknownIssuer => {
            "nobody who is trusted here vouches for the server's certificate: if its authority is your own, or a firewall that looks into TLS, name that authority's certificate in `tls.ca`"
        }
        Bad::BadSignature => {
            "another authority of the same name has signed the server's certificate: look at `tls.ca`"
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "the server's certificate is for another name: use one that it has in the URL, and `connect` for the address"
        }
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "the server's certificate has expired, or this machine's clock is wrong"
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or this machine's clock is wrong"
        }
        _ => return None,
    })
}

fn of_alert(alert: Alert) -> &'static str {
    match alert {
        Alert::CertificateRequired => {
            "the server wants a certificate from its clients: name one in `tls.certificate` and `tls.key`"
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::DecryptError
        | Alert::AccessDenied => {
            "the server does not take the certificate that it was shown: look at `tls.certificate`"
        }
        Alert::UnrecognisedName => "the server does not know the name in the URL",
        Alert::NoApplicationProtocol => "the server does not speak what `protocol` asks for",
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            "the server has no version or cipher of TLS in common with this proxy, or wants a certificate from its clients (`tls.certificate`)"
        }
        _ => "the server broke TLS off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_stands_in_front_of_the_librarys_own_words() {
        let said = |error: Tls| words(&io::Error::other(error));
        let unknown = said(Tls::InvalidCertificate(Bad::UnknownIssuer));
        assert!(unknown.contains("`tls.ca` (invalid peer certificate: UnknownIssuer)"));
        let asked = said(Tls::AlertReceived(Alert::CertificateRequired));
        assert!(asked.contains("`tls.key` (received fatal alert: CertificateRequired)"));
        assert_eq!(words(&io::Error::other("else")), "else");
    }
}
