//! `[confine]`, and what the rest of the configuration needs of the system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Context, credentials, listeners, read::Reader, targets};
use crate::admin;
use crate::confine::{Config, Landlock, Needs};
use crate::credential::Source;
use crate::credential::call::Line;
use crate::credential::exchange::TokenEndpoint;
use crate::dial::{Endpoint, resolver};
use crate::listener::Address;
use crate::url::Url;

/// Reads the table, and adds up what the others need.
pub(super) fn read(
    root: &Reader<'_>,
    context: &Context<'_>,
    listeners: &[listeners::Read],
    credentials: &[credentials::Read],
    targets: &[targets::Read],
    admin: Option<&admin::Config>,
    dns: &resolver::Config,
) -> Config {
    let mut config = root
        .table("confine", |it| table(it, context))
        .unwrap_or_default();
    let trail = context.store.trail();
    config.runs_programs = trail.runs_programs();
    for file in trail.files().keys() {
        config.needs.read_beside(file);
    }
    if let Some(presets) = root.text("presets") {
        config.needs.read.insert(context.folder.join(presets.value));
    }
    let mut ports = Vec::new();
    for address in listeners.iter().map(|it| &it.config.address) {
        match address {
            Address::Ip(address) => ports.push(address.port()),
            Address::Unix(path) => {
                config.needs.write.extend(path.parent().map(folder));
            }
            // It is there already.
            Address::Inherited(_) => {}
        }
    }
    match admin.map(|it| &it.address) {
        Some(admin::Address::Tcp(address)) => ports.push(address.port()),
        Some(admin::Address::Unix(path)) => {
            config.needs.write.extend(path.parent().map(folder));
        }
        None => {}
    }
    if admin.is_some() {
        // Where memory and descriptors are counted.
        config.needs.read.insert("/proc/self".into());
    }
    let servers = dns.servers.iter().map(SocketAddr::port);
    config.needs.connect.extend(servers);
    config.needs.bind = (!ports.contains(&0)).then(|| ports.into_iter().collect());
    let sources = credentials.iter().filter_map(|it| it.config.as_ref());
    for source in sources {
        connect_for(&source.source, &mut config.needs);
        if let Source::Exchange(exchange) = &source.source {
            let kept = exchange.kept.as_ref();
            config
                .needs
                .keep
                .extend(kept.map(|it| it.folder().to_owned()));
        }
    }
    let targets = targets.iter().filter_map(|it| it.target.as_ref());
    for endpoint in targets.flat_map(|it| &it.endpoints) {
        config.needs.connect.insert(port(endpoint));
    }
    config
}

fn folder(path: &Path) -> PathBuf {
    match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_owned(),
    }
}

fn table(reader: &Reader<'_>, context: &Context<'_>) -> Config {
    let landlock = reader.word("landlock").map(|given| given.value);
    let folders = reader.texts("read");
    Config {
        landlock: match landlock.as_deref() {
            Some("off") => Landlock::Off,
            Some("required") => Landlock::Required,
            _ => Landlock::Auto,
        },
        dumpable: reader.boolean("dumpable"),
        runs_programs: false,
        needs: Needs {
            read: folders
                .iter()
                .map(|it| context.folder.join(&it.value))
                .collect(),
            connect: reader
                .integers("ports")
                .into_iter()
                .filter_map(|port| u16::try_from(port).ok())
                .collect(),
            ..Needs::default()
        },
    }
}

fn connect_for(source: &Source, needs: &mut Needs) {
    let mut add = |urls: &[Url], line: &Line| {
        needs
            .connect
            .extend(urls.iter().map(|url| port_for(url, line)));
    };
    match source {
        Source::Exchange(exchange) => match &exchange.endpoint {
            TokenEndpoint::At(urls) => add(urls.all(), &exchange.line),
            TokenEndpoint::Discovered(discovery) => {
                add(discovery.document().all(), &exchange.line);
                // Where endpoints that are discovered stand, as a rule.
                needs.connect.insert(443);
            }
        },
        Source::Login(login) => {
            let refresh = login.refresh.iter().flat_map(|(urls, _)| urls.all());
            let urls: Vec<Url> = login.urls.all().iter().chain(refresh).cloned().collect();
            add(&urls, &login.line);
        }
        Source::SelfSigned(_) | Source::Static(_) => {}
    }
}

/// The port that a connection to an endpoint really goes to.
fn port(endpoint: &Endpoint) -> u16 {
    match (&endpoint.via, endpoint.connect) {
        (Some(via), _) => via.port,
        (None, Some(address)) => address.port(),
        (None, None) => endpoint.port,
    }
}

fn port_for(url: &Url, line: &Line) -> u16 {
    match (&line.via, line.connect) {
        (Some(via), _) => via.port,
        (None, Some(address)) => address.port(),
        (None, None) => url.port,
    }
}
