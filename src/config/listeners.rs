//! `[listeners.NAME]`

use std::path::PathBuf;

use super::problem::Span;
use super::read::{Given, Reader};
use super::{Context, show, targets};
use crate::host::Pattern;
use crate::listener::manners::{HalfClose, Manners, Protocols};
use crate::listener::network::Network;
use crate::listener::{self, Address, Senders};

mod required;
mod tls;

/// A listener as it was read.
#[derive(Debug)]
pub struct Read {
    /// What it is for the stage.
    pub config: listener::Config,
    /// Where its name stands.
    pub at: Span,
    /// Whether it speaks TLS, or would without faults.
    pub has_tls: bool,
    /// What callers must be and may speak, for showing: keys and values in TOML.
    pub shown: Vec<(&'static str, String)>,
    /// Whether the operator listed the hosts, so that none are added.
    has_hosts: bool,
}

/// Reads all of them.
pub fn read(root: &Reader<'_>, context: &Context<'_>) -> Vec<Read> {
    let listeners = root.named("listeners", |name, it| read_one(name, it, context));
    if root.is_empty("listeners") {
        let help = "write [listeners.local] with address = \"127.0.0.1:8080\"";
        root.problems()
            .fault(root.at(), "there is no listener", help);
    }
    for (index, listener) in listeners.iter().enumerate() {
        let address = &listener.config.address;
        let mut before = listeners[..index].iter();
        if let Some(twin) = before.find(|it| it.config.address.is_taken_by(address)) {
            let message = format!(
                "listener `{}` has the address of listener `{}`, {address}",
                listener.config.name, twin.config.name
            );
            root.problems()
                .fault(&listener.at, message, "give one of them another address");
        }
    }
    listeners
}

fn read_one(name: &Given<String>, reader: &Reader<'_>, context: &Context<'_>) -> Read {
    let hosts = reader.texts("hosts");
    let hosts = hosts
        .iter()
        .filter_map(|given| pattern(given, reader))
        .collect();
    let address = reader.parsed("address", |text| Address::parse(text, context.folder));
    let has_address = address.is_some();
    if let Some(given) = &address {
        note_missing_folder(given, reader);
    }
    // A listener with a fault is one all the same: routes name it.
    let address = address.map_or(Address::Ip(([0, 0, 0, 0], 0).into()), |given| given.value);
    let manners = Manners {
        protocols: protocols(reader),
        half_close: match reader
            .word("half-close")
            .map(|given| given.value)
            .as_deref()
        {
            Some("serve") => HalfClose::Serve,
            _ => HalfClose::Abort,
        },
    };
    let config = listener::Config {
        hosts,
        forward: reader.boolean("forward"),
        mode: mode(reader).unwrap_or(listener::MODE),
        peer_uids: uids(reader),
        allow: networks(reader),
        senders: senders(reader),
        tls: tls::read(reader, context, manners.protocols),
        require: required::read(reader, context),
        manners,
        connections: reader
            .integer("connections")
            .map(|given| given.value as usize),
        ..listener::Config::at(&name.value, address)
    };
    if has_address {
        note_misplaced(reader, &config);
    }
    Read {
        config,
        at: name.at.clone(),
        has_tls: reader.has("tls"),
        shown: shown(reader),
        has_hosts: reader.has("hosts"),
    }
}

/// The folder of a socket must be there: one that is made by mistake is made for everybody.
fn note_missing_folder(given: &Given<Address>, reader: &Reader<'_>) {
    let Address::Unix(path) = &given.value else {
        return;
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return,
    };
    if !folder.is_dir() {
        let message = format!("there is no folder {} for the socket", folder.display());
        let help =
            "make one that this process's user may write; under systemd, RuntimeDirectory= does";
        reader.problems().fault(&given.at, message, help);
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

fn shown(reader: &Reader<'_>) -> Vec<(&'static str, String)> {
    let names = [
        "protocols",
        "half-close",
        "connections",
        "mode",
        "peer-uids",
        "proxy-protocol",
        "allow",
        "require-header",
        "tls",
    ];
    let shown = names.into_iter().filter_map(|name| {
        let mut node = reader.node(name)?;
        if name == "require-header" {
            required::hide(&mut node);
        }
        Some((name, show::value(&node)))
    });
    shown.collect()
}

fn pattern(given: &Given<String>, reader: &Reader<'_>) -> Option<Pattern> {
    let noted = |message| reader.problems().fault(&given.at, message, "");
    Pattern::parse(&given.value).map_err(noted).ok()
}

/// In octal, as chmod(1) takes it.
fn mode(reader: &Reader<'_>) -> Option<u32> {
    let mode = reader.parsed("mode", |text| {
        let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|it| it.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok();
        mode.filter(|mode| is_octal && *mode <= 0o777)
            .ok_or_else(|| format!("`{text}` is no mode such as \"0600\" or \"0660\""))
    });
    mode.map(|given| given.value)
}

fn uids(reader: &Reader<'_>) -> Option<Vec<u32>> {
    note_empty(
        reader,
        "peer-uids",
        "leave it out for whoever the mode lets",
    );
    reader
        .has("peer-uids")
        .then(|| reader.integers("peer-uids"))
}

fn networks(reader: &Reader<'_>) -> Option<Vec<Network>> {
    note_empty(reader, "allow", "leave it out for everybody");
    let networks = reader.parsed_texts("allow", Network::parse);
    let networks = networks.into_iter().map(|given| given.value).collect();
    reader.has("allow").then_some(networks)
}

/// Who may announce others. Nobody is never meant: every connection would be closed.
fn senders(reader: &Reader<'_>) -> Option<Senders> {
    note_empty(
        reader,
        "proxy-protocol",
        "leave it out for callers that connect themselves",
    );
    let senders = reader.parsed_texts("proxy-protocol", |text| match text {
        "unix" => Ok(None),
        text => Network::parse(text).map(Some),
    });
    let senders: Vec<Option<Network>> = senders.into_iter().map(|given| given.value).collect();
    reader.has("proxy-protocol").then(|| Senders {
        processes: senders.contains(&None),
        networks: senders.into_iter().flatten().collect(),
    })
}

/// A list that nobody is on lets nobody in.
fn note_empty(reader: &Reader<'_>, name: &str, help: &str) {
    if let Some(node) = reader.node(name).filter(|_| reader.is_empty_list(name)) {
        reader.fault(
            name,
            &node,
            "the list is empty, so that nobody would be let in",
            help,
        );
    }
}

/// Notes keys that mean nothing at such an address: whoever wrote them relies on them.
fn note_misplaced(reader: &Reader<'_>, config: &listener::Config) {
    let fault = |name: &str, message: &str, help: &str| {
        if let Some(node) = reader.node(name).filter(|_| reader.has(name)) {
            reader.fault(name, &node, message, help);
        }
    };
    let is_ip = matches!(config.address, Address::Ip(_));
    let is_unix = matches!(config.address, Address::Unix(_));
    if is_ip {
        fault(
            "peer-uids",
            "only a Unix socket tells who connects",
            "`allow` lists addresses",
        );
    }
    match config.address {
        Address::Ip(_) => fault(
            "mode",
            "there is no file whose mode it could be",
            "take it out",
        ),
        Address::Inherited(_) => fault(
            "mode",
            "systemd makes the file",
            "write SocketMode= in the unit",
        ),
        Address::Unix(_) => {}
    }
    let Some(senders) = &config.senders else {
        if is_unix {
            fault(
                "allow",
                "callers of a Unix socket have no address",
                "`mode` and `peer-uids` say who may connect",
            );
        }
        return;
    };
    if is_unix && !senders.processes {
        let help = "write [\"unix\"]: `mode` and `peer-uids` say who may connect";
        fault(
            "proxy-protocol",
            "those who connect to a Unix socket have no address",
            help,
        );
    }
    if is_ip && senders.processes && senders.networks.is_empty() {
        let help = "list the addresses of the load balancer";
        fault(
            "proxy-protocol",
            "nobody comes here by way of a Unix socket",
            help,
        );
    }
}

/// The files of a list, in the folder of the configuration.
fn paths(reader: &Reader<'_>, name: &str) -> Vec<Given<PathBuf>> {
    reader.parsed_texts(name, |text| Ok(PathBuf::from(text)))
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
