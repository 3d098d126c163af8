//! `[confine]`, and what the rest of the configuration needs of the system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::problem::Span;
use super::{Context, credentials, listeners, read::Reader, targets};
use crate::admin;
use crate::confine::{Config, Landlock, Need, Needs, beside};
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
    let needs = &mut config.needs;
    let trail = context.store.trail();
    config.runs_programs = trail.runs_programs();
    for file in trail.files().keys() {
        needs.read_beside(file);
    }
    note_written(root, context, needs);
    if let Some(presets) = root.text("presets") {
        let folder = context.folder.join(presets.value);
        needs.note(Need::Read(folder.clone()), &presets.at);
        needs.read.insert(folder);
    }
    let mut ports = Vec::new();
    for listener in listeners {
        match &listener.config.address {
            Address::Ip(address) => {
                let port = Some(address.port()).filter(|port| *port != 0);
                needs.note(Need::Bind(port), &listener.at);
                ports.push(address.port());
            }
            Address::Unix(path) => {
                let folder = path.parent().map(folder);
                let need = folder.clone().map(Need::Write);
                need.into_iter().for_each(|it| needs.note(it, &listener.at));
                needs.write.extend(folder);
            }
            // It is there already.
            Address::Inherited(_) => {}
        }
    }
    note_admin(root, admin, needs, &mut ports);
    let servers = dns.servers.iter().map(SocketAddr::port);
    needs.connect.extend(servers);
    needs.bind = (!ports.contains(&0)).then(|| ports.into_iter().collect());
    for read in credentials {
        let Some(source) = read.config.as_ref().map(|it| &it.source) else {
            continue;
        };
        let mut own = Needs::default();
        connect_for(source, &mut own);
        needs.connect_at(own.connect, &read.at);
        if let Source::Exchange(exchange) = source
            && let Some(kept) = &exchange.kept
        {
            needs.note(Need::Keep(kept.folder().to_owned()), &read.at);
            needs.keep.insert(kept.folder().to_owned());
        }
    }
    let places = root.entries("targets");
    for read in targets {
        let place = places.iter().find(|(name, ..)| name.value == read.name);
        let (Some(target), Some((name, ..))) = (&read.target, place) else {
            continue;
        };
        needs.connect_at(target.endpoints.iter().map(|it| port(it)), &name.at);
    }
    if config.runs_programs && config.landlock == Landlock::Required {
        let at = config.needs.places.get(&Need::Program);
        let place = at.map_or_else(String::new, |at| format!(" (at {at})"));
        let message = format!(
            "`landlock` is required, and a secret comes from a `command`{place}, which may need anything"
        );
        let help = "leave it at \"auto\", or have the secret in a `file`";
        let written = root.written().get("confine");
        root.problems()
            .fault(written.map_or(root.at(), |it| &it.name_at), message, help);
    }
    config
}

/// Notes what the pages take: their port or socket, and where memory and descriptors are counted.
fn note_admin(
    root: &Reader<'_>,
    admin: Option<&admin::Config>,
    needs: &mut Needs,
    ports: &mut Vec<u16>,
) {
    let Some(admin) = admin else {
        return;
    };
    let written = root.written().get("admin");
    let at = written.map_or(root.at(), |it| &it.name_at);
    let counted = PathBuf::from("/proc/self");
    needs.note(Need::Read(counted.clone()), at);
    needs.read.insert(counted);
    match &admin.address {
        Address::Ip(address) => {
            let port = Some(address.port()).filter(|port| *port != 0);
            needs.note(Need::Bind(port), at);
            ports.push(address.port());
        }
        Address::Unix(path) => needs.write.extend(path.parent().map(folder)),
        // It is there already.
        Address::Inherited(_) => {}
    }
}

impl Needs {
    /// Adds ports that something at this place connects to.
    fn connect_at(&mut self, ports: impl IntoIterator<Item = u16>, at: &Span) {
        for port in ports {
            self.note(Need::Connect(port), at);
            self.connect.insert(port);
        }
    }
}

/// Notes where the text of the configuration names files, programs and its own confinement.
fn note_written(root: &Reader<'_>, context: &Context<'_>, needs: &mut Needs) {
    let files = context.store.trail().files();
    root.written().for_each_entry(&mut |entry| {
        match entry.name.as_str() {
            "confine" => needs.note(Need::Settings, &entry.name_at),
            "command" => needs.note(Need::Program, &entry.name_at),
            _ => {}
        }
        let paths = entry.node.literals().into_iter();
        for path in paths
            .map(|it| context.folder.join(it))
            .filter(|it| files.contains_key(it))
        {
            for folder in beside(&path) {
                needs.note(Need::Read(folder), &entry.name_at);
            }
        }
    });
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
