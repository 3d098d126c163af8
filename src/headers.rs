//! Which headers end at a proxy.

use http::header::{self, HeaderMap, HeaderName};

/// What callers say about where a request came from and whose it is, or where it really goes. A caller can say
/// anything, so none of it is passed on: a target that trusts one of these would trust whoever can
/// reach this proxy, and one that takes its host or its path from them would pass by the refused
/// paths. `Proxy` becomes `HTTP_PROXY` in a CGI program, which then sends its own requests there.
const CLAIMS: [&str; 14] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "proxy",
    "proxy-host",
    "remote-user",
    "ssl-client-cert",
    "true-client-ip",
];

/// Those of them that begin with `x-`, without that.
const X_CLAIMS: [&str; 32] = [
    "appengine-user-ip",
    "arr-clientcert",
    "azure-clientip",
    "azure-socketip",
    "backend-host",
    "client-cert",
    "client-ip",
    "cluster-client-ip",
    "custom-ip-authorization",
    "envoy-external-address",
    "envoy-original-host",
    "envoy-original-path",
    "forwarded",
    "host",
    "http-destinationurl",
    "http-host-override",
    "original-host",
    "original-path",
    "original-uri",
    "original-url",
    "originating-ip",
    "override-url",
    "proxy-url",
    "proxyuser-ip",
    "real-ip",
    "remote-addr",
    "remote-ip",
    "remote-user",
    "rewrite-url",
    "script-name",
    "ssl-client-cert",
    "waws-unencoded-url",
];

/// Headers that have a server take a request for one with another method.
static METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// The start of the names of a whole family of claims, behind `x-`.
const FORWARDED_PREFIX: &str = "forwarded-";

/// Whether a header ends here, in either direction: those of one connection, which a proxy consumes
/// (RFC 9110 section 7.6.1), with the three that older agents still send (`Keep-Alive`,
/// `Proxy-Connection`, `HTTP2-Settings`). `Proxy-Authorization` and the two that answer it are between
/// a caller and this proxy.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    // Asked of each header of each message: names of the standard are compared as numbers.
    match *name {
        header::CONNECTION
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        _ => matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings"
        ),
    }
}

/// Whether a header claims where a request came from or goes.
#[must_use]
pub fn is_forwarded(name: &HeaderName) -> bool {
    match name.as_str().strip_prefix("x-") {
        Some(rest) => rest.starts_with(FORWARDED_PREFIX) || X_CLAIMS.contains(&rest),
        None => CLAIMS.contains(&name.as_str()),
    }
}

/// Whether a header asks for another method than the one in the request line.
#[must_use]
pub fn is_method_override(name: &HeaderName) -> bool {
    METHOD_OVERRIDES.contains(name)
}

/// The methods that these headers ask for in place of the one in the request line.
pub fn methods_in(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    // There are fewer names in a request than look-ups would cost.
    let overrides = headers.iter().filter(|(name, _)| is_method_override(name));
    overrides.map(|(_, value)| value.as_bytes())
}

/// Whether whoever sends these headers takes trailers with an answer (RFC 9110 section 10.1.4).
#[must_use]
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        let mut members = value.as_bytes().split(|byte| *byte == b',');
        members.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Whether a header has a name that CGI-like servers confuse with another one: they turn both `-`
/// and `_` into `_`, so that `x_user` can stand for `x-user`.
#[must_use]
pub fn is_underscored(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

/// The name that a server reads which takes other signs for `-` as well, as PHP does with `.`; `None`
/// if it is the same.
#[must_use]
pub fn plain(name: &HeaderName) -> Option<HeaderName> {
    let is_sign = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-';
    if !name.as_str().bytes().any(is_sign) {
        return None;
    }
    let plain = |byte| if is_sign(byte) { b'-' } else { byte };
    let plain: Vec<u8> = name.as_str().bytes().map(plain).collect();
    HeaderName::from_bytes(&plain).ok()
}

/// The headers that `Connection` names, which end here too. Members that are no header names are
/// skipped: they name nothing that could be passed on.
#[must_use]
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for member in value.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            // The two members that nearly every `Connection` has name no header worth a look-up.
            if member.eq_ignore_ascii_case(b"close") || member.eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            names.extend(HeaderName::from_bytes(member));
        }
    }
    names
}

/// Removes every header that `ends` says ends here, and those that `Connection` names.
pub fn remove(headers: &mut HeaderMap, ends: impl Fn(&HeaderName) -> bool) {
    let mut doomed = nominated(headers);
    doomed.extend(headers.keys().filter(|name| ends(name)).cloned());
    for name in &doomed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn what_connection_names_ends_here_in_any_spelling() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::CONNECTION,
            HeaderValue::from_static(" X-One ,,close, \tx-TWO"),
        );
        headers.append(
            header::CONNECTION,
            HeaderValue::from_static("x-three,not a name"),
        );
        for name in ["x-one", "x-two", "x-three", "x-four"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        remove(&mut headers, is_hop_by_hop);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-four"]);
    }

    #[test]
    fn claims_about_the_origin_are_recognised_as_a_family() {
        for name in [
            "forwarded",
            "x-real-ip",
            "x-forwarded",
            "x-original-uri",
            "proxy",
            "x-forwarded-for",
            "x-forwarded-anything",
            "x-override-url",
            "x-arr-clientcert",
            "remote-user",
        ] {
            assert!(is_forwarded(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_forwarded(&HeaderName::from_static("x-forward")));
    }
}
