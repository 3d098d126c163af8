//! The machine's own list of names, `/etc/hosts`, and `localhost`. Operators expect both to be
//! honoured whatever servers are asked for the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the list is.
const HOSTS: &str = "/etc/hosts";

/// The addresses that this machine itself has for a name; none for one that is to be asked for.
pub(super) async fn look_up(name: &str) -> Vec<IpAddr> {
    let wanted = name.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let text = std::fs::read_to_string(HOSTS).unwrap_or_default();
        find(&text, &wanted)
    });
    let found = read.await.unwrap_or_default();
    if found.is_empty() && is_localhost(name) {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    found
}

/// Names that never leave the machine (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// The addresses of a name in a text of lines with an address and names, as hosts(5) describes it.
fn find(text: &str, wanted: &str) -> Vec<IpAddr> {
    let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(wanted))
            .then_some(address)
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n\n# 10.0.0.9 acme.example\n10.0.0.1  other acme.example # ours\nnonsense acme.example\n10.0.0.2 acme.example.org\n";
        let found = |name| {
            let found = find(text, name);
            found.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("Localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("acme.EXAMPLE."), ["10.0.0.1"]);
        assert!(found("ours").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn localhost_and_all_names_below_it_are_this_machine() {
        for name in ["localhost", "a.localhost", "LocalHost."] {
            assert!(is_localhost(name), "{name}");
        }
        for name in ["localhost.example", "notlocalhost", ""] {
            assert!(!is_localhost(name), "{name}");
        }
    }
}
