//! Which sockets a configuration needs, given those that there are.

use std::sync::Arc;

use crate::listener::bind::Listening;
use crate::listener::{self, Address, BindError, Id};
use crate::plan::Listener;

/// What came of it.
#[derive(Debug)]
pub(super) struct Succeeded {
    /// All listeners of the configuration, in its order.
    pub(super) listeners: Vec<Listener>,
    /// The new ones' sockets, for each worker.
    pub(super) opened: Vec<Vec<(Id, Listening)>>,
    /// Those that stay and let in other callers than before.
    pub(super) drained: Vec<Id>,
}

/// Keeps the listeners whose address stays, and binds the others. A listener is known again by its
/// name and address, or by its address alone if it has another name now. Those that are gone are
/// still bound when this returns.
///
/// # Errors
///
/// [`BindError`] if an address cannot be bound; whatever else was bound is closed.
pub(super) fn succeed(
    configs: Vec<listener::Config>,
    before: &[Listener],
    workers: usize,
) -> Result<Succeeded, BindError> {
    let mut succeeded = Succeeded {
        listeners: Vec::new(),
        opened: (0..workers).map(|_| Vec::new()).collect(),
        drained: Vec::new(),
    };
    let kept = pair(&configs, before);
    for (config, kept) in configs.into_iter().zip(kept) {
        let listener = match kept {
            Some(before) => {
                if !config.has_rule_of(&before.config) {
                    succeeded.drained.push(before.id);
                }
                Listener {
                    config,
                    ..before.clone()
                }
            }
            None => {
                let bound = listener::bind(&config, workers)?;
                let id = Id::fresh();
                for (worker, socket) in succeeded.opened.iter_mut().zip(bound.sockets) {
                    worker.push((id, socket));
                }
                Listener {
                    id,
                    config,
                    bound: bound.address,
                    room: Arc::default(),
                    file: bound.file,
                }
            }
        };
        succeeded.listeners.push(listener);
    }
    Ok(succeeded)
}

/// Gives the files of sockets that stay the mode that they are to have now.
pub(super) fn set_modes(listeners: &[Listener], before: &[Listener]) {
    for listener in listeners {
        let mode = listener.config.mode;
        let same = before.iter().find(|it| it.id == listener.id);
        let is_other = same.is_some_and(|it| it.config.mode != mode);
        if let Some(file) = listener.file.as_ref().filter(|_| is_other)
            && let Err(error) = file.set_mode(mode)
        {
            let name = &listener.config.name;
            tracing::error!(%error, "the mode of listener `{name}` cannot be changed");
        }
    }
}

/// The listener that each of the configuration's was before.
fn pair<'a>(configs: &[listener::Config], before: &'a [Listener]) -> Vec<Option<&'a Listener>> {
    let mut kept: Vec<Option<&Listener>> = vec![None; configs.len()];
    let is_same: [fn(&listener::Config, &listener::Config) -> bool; 2] = [
        |one, other| one.name == other.name && one.address == other.address,
        |one, other| one.address == other.address && is_one_place(&one.address),
    ];
    for is_same in is_same {
        for (place, config) in configs.iter().enumerate() {
            if kept[place].is_none() {
                let is_free = |it: &&Listener| !kept.iter().flatten().any(|kept| kept.id == it.id);
                let mut same = before.iter().filter(|it| is_same(config, &it.config));
                kept[place] = same.find(is_free);
            }
        }
    }
    kept
}

/// Whether an address means the same port each time.
fn is_one_place(address: &Address) -> bool {
    address.ip().is_none_or(|address| address.port() != 0)
}
