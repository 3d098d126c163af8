//! What is wrong beyond the configuration, in sentences that say who has to do what.

use std::io;
use std::net::SocketAddr;

use rustls::{CertificateError, Error as TlsError};
use tokio::runtime::Builder;

use crate::config::preset::Guide;
use crate::credential::call::CallError;
use crate::credential::{MintError, chain};
use crate::dial::DialError;
use crate::dial::race::Tried;
use crate::dial::resolver::Resolver;

/// What is wrong, and the ways out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What is wrong, in one sentence without a full stop.
    pub(super) what: String,
    /// What it probably means.
    pub(super) notes: Vec<String>,
    /// What to do about it.
    pub(super) help: Vec<String>,
}

impl Trouble {
    /// Something that speaks for itself.
    fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            notes: Vec::new(),
            help: vec![help.into()],
        }
    }
}

/// Runs something that waits for the network. What is still under way when it ends is left alone: a
/// look-up that hangs must not hold up the end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(outcome)
}

/// Why there is no token.
pub(super) fn with_token(
    error: &MintError,
    hosts: &[&str],
    guide: &Guide,
    resolver: &Resolver,
) -> Trouble {
    match error {
        MintError::Call(CallError::Dial(error)) => {
            let trouble = with_connection(error, resolver);
            Trouble {
                what: format!("no token: {}", trouble.what),
                ..trouble
            }
        }
        MintError::Refused { status, said } => refused(
            &format!("`{}` refused with {status}{said}", hosts.join("` or `")),
            status.as_u16(),
            said,
            guide,
        ),
        MintError::Throttled { .. } => Trouble::new(
            format!("`{}` is asked too often", hosts.join("` or `")),
            "wait a minute; is another process asking with the same credential?",
        ),
        MintError::NoSecret(_) | MintError::Command(_) => Trouble::new(
            format!("no token: {}", chain(error)),
            "run the command by hand, as the user that the proxy runs as",
        ),
        MintError::Redirect(_) => Trouble::new(
            format!("no token: {}", chain(error)),
            "give the URL that it leads to, if you trust it",
        ),
        _ => Trouble::plain(format!("no token: {}", chain(error))),
    }
}

/// A refusal in somebody's own words, and what the preset makes of it.
pub(super) fn refused(what: &str, status: u16, said: &str, guide: &Guide) -> Trouble {
    let hints = guide.hints(status, said);
    let notes = hints.iter().map(|hint| hint.say.clone()).collect();
    let mut help: Vec<String> = hints.iter().map(|hint| hint.help.clone()).collect();
    if help.is_empty() {
        help.push(
            "are the URL, the identifiers and the secret all of the same account, and is it still there?"
                .into(),
        );
    }
    Trouble {
        what: what.to_owned(),
        notes,
        help,
    }
}

/// Why there is no connection.
pub(super) fn with_connection(error: &DialError, resolver: &Resolver) -> Trouble {
    match error {
        DialError::Name { host, source } => Trouble::new(
            format!("the name `{host}` cannot be looked up: {source}"),
            with_name(host, resolver.servers()),
        ),
        // The time is up before there was an address.
        DialError::ConnectTimeout { host, after, tried }
            if tried.iter().next().is_none() && !resolver.servers().is_empty() =>
        {
            Trouble::new(
                format!("the name `{host}` was not looked up within {after:?}"),
                with_name(host, resolver.servers()),
            )
        }
        DialError::Connect { tried, .. } | DialError::Exhausted { tried, .. } => {
            with_addresses(error, tried)
        }
        DialError::Parent { tried, .. } => Trouble::new(
            format!("{error}: {tried}"),
            "is `via` right, and does that proxy run?",
        ),
        DialError::ConnectTimeout { host, after, tried } => Trouble {
            notes: (tried.iter().count() > 1)
                .then(|| tried.to_string())
                .into_iter()
                .collect(),
            ..Trouble::new(
                format!("no connection to `{host}` within {after:?}"),
                "a firewall drops packets silently, as a rule; or the address is nobody's",
            )
        },
        DialError::Tunnel { host, source } => Trouble::new(
            format!("no way to `{host}`: {source}"),
            "is `via` right, and does that proxy let this machine out to there?",
        ),
        DialError::Tls { host, source } => {
            let inner = source.get_ref().and_then(|it| it.downcast_ref());
            with_tls(host, inner, source)
        }
        DialError::TlsTimeout { host, after } => Trouble::new(
            format!("`{host}` does not finish the TLS handshake within {after:?}"),
            "does this port speak TLS at all?",
        ),
        DialError::Roots(error) => Trouble::plain(error.to_string()),
    }
}

/// How to see for oneself what a name leads to.
fn with_name(host: &str, servers: &[SocketAddr]) -> String {
    if servers.is_empty() {
        return format!(
            "is it spelt right, and does `getent hosts {host}` find it on this machine?"
        );
    }
    let ask = |it: &SocketAddr| format!("`dig @{} -p {} {host}`", it.ip(), it.port());
    let asked: Vec<String> = servers.iter().map(ask).collect();
    format!(
        "`dns.servers` are asked, and not the system: do they answer, and know the name? {}",
        asked.join(", ")
    )
}

/// What is wrong with all addresses of a name, or with the only one.
fn with_addresses(error: &DialError, tried: &Tried) -> Trouble {
    let refuses = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let is_refused = |(_, error): &(_, Option<io::Error>)| error.as_ref().is_some_and(refuses);
    let mut all = tried.iter();
    match (all.next(), all.next()) {
        (Some((address, Some(error))), None) if refuses(error) => Trouble::new(
            format!("{address} refuses connections"),
            "nothing listens there, or a firewall says no: are host and port right?",
        ),
        (Some((address, Some(error))), None) => Trouble::new(
            format!("cannot connect to {address}: {error}"),
            "is there a way from this machine to that network?",
        ),
        _ if tried.iter().all(is_refused) => Trouble::new(
            format!("{error}: {tried}"),
            "nothing listens there, or a firewall says no: are host and port right?",
        ),
        _ => Trouble::new(
            format!("{error}: {tried}"),
            "is there a way from this machine to those networks?",
        ),
    }
}

fn with_tls(host: &str, error: Option<&TlsError>, source: &io::Error) -> Trouble {
    match error {
        Some(TlsError::InvalidCertificate(error)) => with_certificate(host, error),
        Some(TlsError::InvalidMessage(_)) => Trouble::new(
            format!("what answers for `{host}` does not speak TLS"),
            "is the port right? Tokens are sent over TLS only",
        ),
        Some(TlsError::AlertReceived(alert)) => Trouble::new(
            format!("`{host}` broke the TLS handshake off: {alert:?}"),
            "it may not know this name, or want a certificate from its clients",
        ),
        Some(error) => Trouble::new(
            format!("no TLS with `{host}`: {error}"),
            "is it the server that you mean?",
        ),
        None => Trouble::new(
            format!("`{host}` hung up in the TLS handshake: {source}"),
            "is the port right, and does nothing in between break TLS up?",
        ),
    }
}

fn with_certificate(host: &str, error: &CertificateError) -> Trouble {
    const CLOCK: &str =
        "whoever runs the server has to renew it; or is this machine's clock wrong?";
    match error {
        CertificateError::UnknownIssuer => Trouble::new(
            format!(
                "the certificate of `{host}` is not trusted: nobody who is trusted here signed it"
            ),
            "if its authority is your own, or a firewall that looks into TLS: tls.ca = [\"ca.pem\"], the authority's certificate in PEM",
        ),
        CertificateError::NotValidForName => wrong_name(host, ""),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| readable(name)).collect();
            wrong_name(host, &format!(", but for {}", names.join(", ")))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Trouble::new(format!("the certificate of `{host}` has expired"), CLOCK)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Trouble::new(
                format!("the certificate of `{host}` is not valid yet"),
                CLOCK,
            )
        }
        CertificateError::BadSignature => Trouble::new(
            format!("the certificate of `{host}` is not trusted: its signature is wrong"),
            "another authority of the same name may have signed it: look at tls.ca",
        ),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Trouble::new(
                format!("the certificate of `{host}` is that of an authority, not of a server"),
                "have the authority sign a certificate for the server, and name the authority's own in tls.ca",
            )
        }
        other => Trouble::new(
            format!("the certificate of `{host}` is not trusted: {other}"),
            "look at it: openssl s_client -connect HOST:443 -showcerts",
        ),
    }
}

fn wrong_name(host: &str, others: &str) -> Trouble {
    Trouble::new(
        format!("the certificate is not for `{host}`{others}"),
        "use a name that it has in the URL, and `connect` for the address, if that is another one; tls.ca does not help here",
    )
}

/// `DnsName("a.example")` is how the library shows one.
fn readable(name: &str) -> String {
    let bare = name
        .strip_prefix("IpAddress(")
        .and_then(|it| it.strip_suffix(')'));
    bare.or_else(|| name.split('"').nth(1))
        .unwrap_or(name)
        .to_owned()
}
