//! `[admin]`

use std::path::Path;

use super::listeners;
use super::read::{Given, Reader};
use crate::admin::{Config, Ready};
use crate::host::Pattern;
use crate::listener::Address;

/// Reads it, if it is there.
pub(super) fn read(
    root: &Reader<'_>,
    folder: &Path,
    listeners: &[listeners::Read],
) -> Option<Config> {
    root.table("admin", |reader| {
        let address = reader.parsed("address", |text| address(text, folder));
        if let Some(given) = &address {
            note_taken(given, reader, listeners);
        }
        let hosts = if reader.has("hosts") {
            let hosts = reader.parsed_texts("hosts", Pattern::parse);
            hosts.into_iter().map(|given| given.value).collect()
        } else {
            vec![Pattern::Exact("localhost".into())]
        };
        let ready = match reader.word("ready")?.value.as_str() {
            "all" => Ready::All,
            _ => Ready::Attempts,
        };
        Some(Config {
            address: address?.value,
            hosts,
            ready,
        })
    })
    .flatten()
}

fn note_taken(given: &Given<Address>, reader: &Reader<'_>, listeners: &[listeners::Read]) {
    let own = &given.value;
    let mut listeners = listeners.iter().map(|it| &it.config);
    if let Some(listener) = listeners.find(|it| it.address.is_taken_by(own)) {
        let message = format!(
            "[admin] has the address of listener `{}`, {own}",
            listener.name
        );
        reader
            .problems()
            .fault(&given.at, message, "give one of them another address");
    }
}

fn address(text: &str, folder: &Path) -> Result<Address, String> {
    if text.starts_with("unix:") {
        return Address::parse(text, folder);
    }
    text.parse().map(Address::Ip).map_err(|_| {
        format!("`{text}` is neither an address and a port, such as 127.0.0.1:9901, nor unix:PATH")
    })
}
