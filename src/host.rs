//! Host names as they stand in a `Host` header, and patterns that match them.

use std::net::IpAddr;

/// The name in a `Host` value (RFC 9110 section 7.2), without its port. The brackets of an IPv6
/// literal stay. `None` if the value is not a host with an optional port.
#[must_use]
pub fn name_of(value: &str) -> Option<&str> {
    let (name, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest[..end].parse::<std::net::Ipv6Addr>().ok()?;
            value.split_at(end + 2)
        }
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let port_is_fine = match port.strip_prefix(':') {
        // An empty port is legal (RFC 3986 section 3.2.3) and means the default.
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name_is_fine = name.starts_with('[') || (!name.is_empty() && name.bytes().all(is_name));
    (port_is_fine && name_is_fine).then_some(name)
}

/// The address a host name is, if it is a literal.
#[must_use]
pub fn literal(name: &str) -> Option<IpAddr> {
    name.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name)
        .parse()
        .ok()
}

/// Which host names are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This name, in any case.
    Exact(String),
    /// Any name that ends in a dot and this suffix: `*.example.com`.
    Suffix(String),
}

impl Pattern {
    /// Reads `name` or `*.suffix`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (suffix, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        if name_of(name) != Some(name) {
            let message = if name_of(name).is_some() {
                format!("`{text}` has a port, and hosts are matched without one")
            } else {
                format!("`{text}` is neither a host name nor `*.` and a suffix")
            };
            return Err(message);
        }
        Ok(if suffix {
            Self::Suffix(name.to_owned())
        } else {
            Self::Exact(name.to_owned())
        })
    }

    /// Whether a name without a port is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::Suffix(suffix) => ends_with(name, suffix),
        }
    }

    /// Whether every name that `other` means is meant by this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Suffix(mine), Self::Suffix(theirs)) => mine == theirs || ends_with(theirs, mine),
            (Self::Exact(_), Self::Suffix(_)) => false,
        }
    }
}

/// Whether `name` is a name below `suffix`.
fn ends_with(name: &str, suffix: &str) -> bool {
    name.len().checked_sub(suffix.len() + 1).is_some_and(|dot| {
        dot > 0
            && name.as_bytes()[dot] == b'.'
            && name.as_bytes()[dot + 1..].eq_ignore_ascii_case(suffix.as_bytes())
    })
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_with_an_optional_port() {
        assert_eq!(name_of("acme.example"), Some("acme.example"));
        assert_eq!(name_of("localhost:8080"), Some("localhost"));
        assert_eq!(name_of("127.0.0.1:"), Some("127.0.0.1"));
        assert_eq!(name_of("[::1]:8080"), Some("[::1]"));
    }

    #[test]
    fn what_two_servers_could_read_differently_is_no_host() {
        for odd in [
            "",
            ":80",
            "a@b",
            "a, b",
            "h/path",
            "h:80:80",
            "h:8x",
            "[::1",
            "[x]",
            "a b",
            "caf\u{e9}",
            "h:123456",
        ] {
            assert_eq!(name_of(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_suffix_needs_its_dot() {
        let pattern = Pattern::parse("*.Example.com").expect("a pattern");
        assert!(pattern.matches("a.example.COM"));
        assert!(pattern.matches("a.b.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("badexample.com"));
        assert!(!pattern.matches(".example.com"), "a label of nothing");
    }

    #[test]
    fn a_pattern_with_a_port_is_refused_by_name() {
        assert!(
            Pattern::parse("acme:80")
                .expect_err("refused")
                .contains("port")
        );
        assert!(Pattern::parse("*.*.x").is_err());
    }
}
