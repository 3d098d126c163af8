//! The https URLs that the configuration names, taken apart once.

use http::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use rustls::pki_types::ServerName;

/// Where something is. Only https: a token or a secret is sent over nothing else.
#[derive(Clone, Debug)]
pub struct Url {
    /// The name that the certificate must have.
    pub server_name: ServerName<'static>,
    /// The name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The `Host` of requests: with the port, unless it is 443.
    pub authority: HeaderValue,
    /// Path and query.
    pub target: PathAndQuery,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What stands before an `@` may be a password.
        let shown = if text.contains('@') {
            "this".into()
        } else {
            format!("`{text}`")
        };
        let bad = |why: &str| format!("{shown} is not a URL that can be used here: {why}");
        if !text.is_ascii() {
            return Err(bad("it is not in ASCII, where such names start with xn--"));
        }
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL at all"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(bad("a token is never sent in the clear; use https")),
            _ => return Err(bad("it does not start with https://")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad(
                "it has a user name in it; that is what credentials are for",
            ));
        }
        if text.contains('#') {
            return Err(bad("it has a fragment, which is never sent"));
        }
        let shown = authority.host().to_ascii_lowercase();
        let host = shown
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let server_name = ServerName::try_from(host.clone())
            .map_err(|_| bad("its host is neither name nor address"))?;
        let port = authority.port_u16();
        let suffix = port.filter(|port| *port != 443);
        let suffix = suffix.map(|port| format!(":{port}")).unwrap_or_default();
        let authority = HeaderValue::try_from(format!("{shown}{suffix}"))
            .map_err(|_| bad("its host is no name"))?;
        let target = uri.path_and_query().cloned();
        Ok(Self {
            server_name,
            host,
            port: port.unwrap_or(443),
            authority,
            target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("https://Acme.example:8443/a/b?c").expect("a URL");
        assert_eq!((url.host.as_str(), url.port), ("acme.example", 8443));
        assert_eq!(url.authority, "acme.example:8443");
        assert_eq!(url.target, "/a/b?c");
        let url = Url::parse("https://[::1]").expect("a URL");
        assert_eq!((url.host.as_str(), url.port), ("::1", 443));
        assert_eq!(
            (url.authority.as_bytes(), url.target.as_str()),
            (b"[::1]".as_slice(), "/")
        );
    }

    #[test]
    fn what_would_send_a_secret_astray_is_refused() {
        for text in [
            "http://acme.example",
            "ftp://acme.example",
            "acme.example",
            "/x",
            "https://",
            "",
            "https://user@acme.example",
            "https://acme.example#x",
            "https://a b",
            "https://m\u{fc}nchen.example",
            "https://-",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }
}
