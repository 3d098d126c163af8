//! `[listeners.NAME]`

use std::net::SocketAddr;

use super::problem::Span;
use super::read::{Given, Reader};
use super::targets;
use crate::host::Pattern;
use crate::listener;
use crate::listener::manners::{HalfClose, Manners, Protocols};

/// A listener as it was read.
#[derive(Debug)]
pub struct Read {
    /// What it is for the stage.
    pub config: listener::Config,
    /// Where its name stands.
    pub at: Span,
    /// Whether the operator listed the hosts, so that none are added.
    has_hosts: bool,
}

/// Reads all of them.
pub fn read(root: &Reader<'_>) -> Vec<Read> {
    let listeners = root.named("listeners", read_one);
    if root.is_empty("listeners") {
        let help = "write [listeners.local] with address = \"127.0.0.1:8080\"";
        root.problems()
            .fault(root.at(), "there is no listener", help);
    }
    for (index, listener) in listeners.iter().enumerate() {
        let address = listener.config.address;
        let twin = listeners[..index]
            .iter()
            .find(|it| it.config.address == address);
        if let Some(twin) = twin.filter(|_| address.port() != 0) {
            let message = format!(
                "listener `{}` has the address of listener `{}`, {address}",
                listener.config.name, twin.config.name
            );
            root.problems()
                .fault(&listener.at, message, "give one of them another port");
        }
    }
    listeners
}

fn read_one(name: &Given<String>, reader: &Reader<'_>) -> Read {
    let hosts = reader.texts("hosts");
    let hosts = hosts
        .iter()
        .filter_map(|given| pattern(given, reader))
        .collect();
    // A listener with a fault is one all the same: routes name it.
    let address = reader
        .parsed("address", address)
        .map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |given| given.value);
    let config = listener::Config {
        name: name.value.clone(),
        address,
        hosts,
        manners: Manners {
            protocols: protocols(reader),
            half_close: match reader
                .word("half-close")
                .map(|given| given.value)
                .as_deref()
            {
                Some("serve") => HalfClose::Serve,
                _ => HalfClose::Abort,
            },
        },
        connections: reader
            .integer("connections")
            .map(|given| given.value as usize),
    };
    Read {
        config,
        at: name.at.clone(),
        has_hosts: reader.has("hosts"),
    }
}

fn protocols(reader: &Reader<'_>) -> Protocols {
    let given = reader.texts("protocols");
    let mut has = [false; 2];
    for given in &given {
        match given.value.as_str() {
            "http1" => has[0] = true,
            "http2" => has[1] = true,
            other => reader.problems().fault(
                &given.at,
                format!("`{other}` is no protocol that callers can speak"),
                "there are http1 and http2",
            ),
        }
    }
    match has {
        [true, true] => Protocols::Either,
        [false, true] => Protocols::Http2,
        [true, false] => Protocols::Http1,
        [false, false] => {
            if given.is_empty() {
                let message = format!("`protocols` in {} leaves nothing to speak", reader.place());
                reader
                    .problems()
                    .fault(reader.at(), message, "name http1, http2 or both");
            }
            Protocols::Http1
        }
    }
}

fn pattern(given: &Given<String>, reader: &Reader<'_>) -> Option<Pattern> {
    let noted = |message| reader.problems().fault(&given.at, message, "");
    Pattern::parse(&given.value).map_err(noted).ok()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    })
}

/// Where the operator lists no hosts: localhost, and the names that the listener's routes use.
pub fn add_hosts(listeners: &mut [Read], targets: &[targets::Read]) {
    for (index, listener) in listeners
        .iter_mut()
        .enumerate()
        .filter(|(_, it)| !it.has_hosts)
    {
        listener
            .config
            .hosts
            .push(Pattern::Exact("localhost".into()));
        let routes = targets.iter().flat_map(|target| &target.routes);
        let served = routes.filter(|it| it.rule.listener.is_none_or(|named| named == index));
        for host in served.filter_map(|route| route.rule.host.clone()) {
            if !listener.config.hosts.contains(&host) {
                listener.config.hosts.push(host);
            }
        }
    }
}
