//! `[listeners.NAME.tls]`

use std::path::PathBuf;
use std::sync::Arc;

use super::paths;
use crate::config::Context;
use crate::config::problem::Span;
use crate::config::read::{Given, Reader};
use crate::config::reference::reference;
use crate::listener::tls::{Clients, Config, Files, Identity, Terminator};
use crate::secret::store::{Reference, Unresolved};

/// Reads it, and the files that it names.
pub(super) fn read(listener: &Reader<'_>, context: &Context<'_>) -> Option<Arc<Terminator>> {
    listener.table("tls", |it| read_table(it, context))?
}

fn read_table(reader: &Reader<'_>, context: &Context<'_>) -> Option<Arc<Terminator>> {
    let files = Files {
        folder: context.folder.to_path_buf(),
        store: context.store.clone(),
        modes: context.modes,
    };
    let identities = reader.tables("certificates", |it| identity(it, &files, context));
    if reader.is_empty_list("certificates") {
        let help = "list { certificate = \"…\", key = { file = \"…\" } }";
        let message = format!("`certificates` in {} lists none", reader.place());
        context.problems.fault(reader.at(), message, help);
    }
    let clients = clients(reader, &files, context);
    if !reader.is_sound() {
        return None;
    }
    let config = Config {
        identities: identities.into_iter().collect::<Option<_>>()?,
        clients,
        protocols: vec![b"http/1.1".to_vec()],
        files,
    };
    let terminator = Terminator::load(config);
    terminator
        .map_err(|error| note(reader.at(), reader, error))
        .map(Arc::new)
        .ok()
}

fn note(at: &Span, reader: &Reader<'_>, error: Unresolved) {
    reader.problems().fault(at, error.message, error.help);
}

fn identity(reader: &Reader<'_>, files: &Files, context: &Context<'_>) -> Option<Identity> {
    let certificate = reader.text("certificate");
    let node = reader.node("key")?;
    let place = format!("`key` in {}", reader.place());
    let key = reference(&place, &node, context.problems)?;
    if let Reference::Command(_) = key {
        let help = "have the command write a file, which is read again whenever it changes";
        reader.fault("key", &node, "a command is only for credentials", help);
        return None;
    }
    let identity = Identity {
        certificate: PathBuf::from(certificate?.value),
        key,
    };
    match files.identity(&identity) {
        Ok((_, warning)) => {
            if let Some(warning) = warning {
                let message = format!("{place}: {warning}");
                context.problems.warn(&node.at, message, "");
            }
            Some(identity)
        }
        Err(error) => {
            note(reader.at(), reader, error);
            None
        }
    }
}

fn clients(reader: &Reader<'_>, files: &Files, context: &Context<'_>) -> Option<Clients> {
    let word = reader.word("client-certificate");
    if !reader.has("client-ca") {
        if reader.has("client-certificate") {
            let message = format!("{} names nobody who vouches for callers", reader.place());
            let help = "write client-ca = [\"clients.pem\"]";
            context.problems.fault(reader.at(), message, help);
        }
        return None;
    }
    let given = paths(reader, "client-ca");
    if reader.is_empty_list("client-ca") {
        let message = format!("`client-ca` in {} trusts nobody", reader.place());
        let help = "leave it out for callers without certificates";
        context.problems.fault(reader.at(), message, help);
    }
    for Given { value, at, .. } in &given {
        if let Err(error) = files.authorities(std::slice::from_ref(value)) {
            note(at, reader, error);
        }
    }
    Some(Clients {
        authorities: given.into_iter().map(|it| it.value).collect(),
        is_required: word?.value == "required",
    })
}
