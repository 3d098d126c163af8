//! What the connections to targets and to the endpoints of credentials have in common: whom they
//! trust, and an address in place of a name's own.

use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Context;
use super::credentials::secrets;
use super::read::{Given, Reader};
use super::reference::identifier;
use super::tree::Value;
use crate::dial::via::{Login, Via};
use crate::tls::{Authority, Verification};

/// Whom a connection trusts, from the `tls` table.
pub(super) fn authorities(reader: &Reader<'_>, context: &Context<'_>) -> Option<Vec<Authority>> {
    let names = reader.table("tls", |it| it.texts("ca"))?;
    if names.is_empty() {
        let help = "leave it out for the machine's own authorities, or name a PEM file";
        let message = format!("`ca` in {} trusts nobody", reader.place());
        context.problems.fault(reader.at(), message, help);
        return None;
    }
    let read = |name: &Given<String>| match name.value.as_str() {
        "system" => Some(Authority::System),
        file => certificates(&context.folder.join(file), name, context),
    };
    // All of them are read, so that all faults are found.
    let authorities: Vec<Option<Authority>> = names.iter().map(read).collect();
    authorities.into_iter().collect()
}

fn certificates(path: &Path, name: &Given<String>, context: &Context<'_>) -> Option<Authority> {
    let fault = |message: String, help: &str| {
        context.problems.fault(&name.at, message, help);
        None
    };
    let text = match context.store.read_text(path) {
        Ok(text) => text,
        Err(error) => return fault(error.message, &error.help),
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let shown = path.display();
    match certificates {
        Ok(certificates) if certificates.is_empty() => fault(
            format!("{shown} has no certificate in it"),
            "it must be PEM: -----BEGIN CERTIFICATE-----",
        ),
        Ok(certificates) => {
            let authority = Authority::Certificates(certificates);
            match Verification::new(vec![authority.clone()]).config() {
                Ok(_) => Some(authority),
                Err(error) => fault(format!("{shown}: {error}"), ""),
            }
        }
        Err(error) => fault(format!("{shown} is not PEM: {error}"), ""),
    }
}

/// The parent proxy on the way, if there is one; an error if what stands there is none.
pub(super) fn via(reader: &Reader<'_>, context: &Context<'_>) -> Result<Option<Via>, Faulty> {
    let Some(node) = reader.node("via") else {
        return Ok(None);
    };
    let via = match node.value {
        Value::Table(_) => reader
            .table("via", |it| via_with_login(it, context))
            .flatten(),
        _ => reader.parsed("via", Via::parse).map(|given| given.value),
    };
    via.map(Some).ok_or(Faulty)
}

/// What has a fault, which is noted.
#[derive(Debug)]
pub(super) struct Faulty;

fn via_with_login(reader: &Reader<'_>, context: &Context<'_>) -> Option<Via> {
    let url = reader.parsed("url", Via::parse);
    let place = format!("`user` in {}", reader.place());
    let user = reader
        .node("user")
        .and_then(|node| identifier(&place, &node, context)?.as_literal());
    let password = match reader.has("password") {
        true => secrets::text(reader, "password", context),
        false => None,
    };
    if reader.has("user") != reader.has("password") {
        let message = format!("{} has only one of `user` and `password`", reader.place());
        let help = "give both, or `url` alone for a proxy that does not ask";
        context.problems.fault(reader.at(), message, help);
    }
    let mut via = url?.value;
    if let (Some(user), Some(password)) = (user, password) {
        let Some(password) = password.get() else {
            let message = format!(
                "`password` in {}: a command is not run for this",
                reader.place()
            );
            let help = "refer to a file, or to a variable of the environment";
            context.problems.fault(reader.at(), message, help);
            return None;
        };
        match Login::basic(&user, &password) {
            Ok(login) => via.login = Some(login),
            Err(message) => {
                let message = format!("{place}: {message}");
                context.problems.fault(reader.at(), message, "");
            }
        }
    }
    reader.is_sound().then_some(via)
}

/// An IP address, with or without a port.
pub(super) fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let with_port = text.parse().or_else(|_| {
        let alone = text.trim_start_matches('[').trim_end_matches(']').parse();
        alone.map(|address| SocketAddr::new(address, port))
    });
    with_port.map_err(|_| format!("`{text}` is no IP address with an optional port"))
}
