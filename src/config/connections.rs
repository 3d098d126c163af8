//! What the connections to targets and to the endpoints of credentials have in common: whom they
//! trust, and an address in place of a name's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::Context;
use super::credentials::secrets;
use super::read::{Given, Reader};
use super::reference::{identifier, reference};
use super::tree::Value;
use crate::dial::via::{Login, Via};
use crate::secret::store::Reference;
use crate::tls::{Authority, Config, Identity, Pin, RootsError, Verification};

/// How the certificate of the other side is verified and what is shown to it, from the `tls` table.
pub(super) fn verification(
    reader: &Reader<'_>,
    context: &Context<'_>,
) -> Option<Arc<Verification>> {
    let authorities = authorities(reader, context);
    let (pins, identity) = reader.table("tls", |it| {
        let pins = it.parsed_texts("pin", Pin::parse);
        (pins, identity(it, context))
    })?;
    let (authorities, known) = authorities?;
    let config = Config {
        pins: pins.into_iter().map(|given| given.value).collect(),
        identity: identity?,
        known,
        ..trusting(authorities, context)
    };
    Some(Arc::new(Verification::new(config)))
}

fn trusting(authorities: Vec<Authority>, context: &Context<'_>) -> Config {
    Config {
        authorities,
        pins: Vec::new(),
        identity: None,
        store: context.store.clone(),
        folder: context.folder.to_path_buf(),
        modes: context.modes,
        known: Vec::new(),
    }
}

/// Authorities, with what is in their files.
type Authorities = (Vec<Authority>, Vec<(PathBuf, Vec<CertificateDer<'static>>)>);

fn authorities(reader: &Reader<'_>, context: &Context<'_>) -> Option<Authorities> {
    let names = reader.table("tls", |it| it.texts("ca"))?;
    if names.is_empty() {
        let help = "leave it out for the machine's own authorities, or name a PEM file";
        let message = format!("`ca` in {} trusts nobody", reader.place());
        context.problems.fault(reader.at(), message, help);
        return None;
    }
    let trusting = trusting(Vec::new(), context);
    let mut known = Vec::new();
    let mut read = |name: &Given<String>| match name.value.as_str() {
        "system" => Some(Authority::System),
        file => {
            let path = PathBuf::from(file);
            let found = noted(trusting.authorities(&path), name, context)?;
            known.push((path.clone(), found));
            Some(Authority::File(path))
        }
    };
    // All of them are read, so that all faults are found.
    let authorities: Vec<Option<Authority>> = names.iter().map(&mut read).collect();
    Some((authorities.into_iter().collect::<Option<_>>()?, known))
}

/// What was read; what is wrong with it is a fault of the configuration.
fn noted<T>(read: Result<T, RootsError>, from: &Given<String>, context: &Context<'_>) -> Option<T> {
    if let Err(error) = &read {
        let message = error.to_string();
        context.problems.fault(&from.at, message, error.help());
    }
    read.ok()
}

/// What is shown to the other side. The outer `None` stands for a fault, which has been noted.
#[expect(clippy::option_option, reason = "a fault is not the absence of a key")]
fn identity(tls: &Reader<'_>, context: &Context<'_>) -> Option<Option<Identity>> {
    let fault = |message: String, help: &str| {
        context.problems.fault(tls.at(), message, help);
        None
    };
    match (tls.has("certificate"), tls.has("key")) {
        (false, false) => return Some(None),
        (true, true) => {}
        (true, false) => {
            let message = format!("`certificate` in {} has no `key`", tls.place());
            return fault(message, "write key = { file = \"…\" }");
        }
        (false, true) => {
            let message = format!("`key` in {} has no `certificate`", tls.place());
            return fault(message, "name the PEM file with the key's certificate");
        }
    }
    let certificate = tls.text("certificate")?;
    let node = tls.node("key")?;
    let place = format!("`key` in {}", tls.place());
    let key = reference(&place, &node, context.problems)?;
    if matches!(key, Reference::Command(_)) {
        // It would be run in the middle of a handshake.
        let message = format!("{place}: a command cannot give this key");
        return fault(message, "refer to a file");
    }
    match (context.store).resolve(&key, context.folder, Some(context.modes)) {
        Ok(resolved) => {
            if let Some(warning) = resolved.warning {
                let message = format!("{place}: {warning}");
                context.problems.warn(&node.at, message, "");
            }
        }
        Err(error) => {
            let message = format!("{place}: {}", error.message);
            context.problems.fault(&node.at, message, error.help);
            return None;
        }
    }
    let identity = Identity {
        certificate: certificate.value.as_str().into(),
        key,
    };
    let config = Config {
        identity: Some(identity.clone()),
        ..trusting(Vec::new(), context)
    };
    noted(config.load(), &certificate, context)?;
    Some(Some(identity))
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
