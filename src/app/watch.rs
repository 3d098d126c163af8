//! Sees that the configuration has changed, by looking.
//!
//! Files are looked at rather than listened to: an editor's rename, a link that a mount changes
//! over, and a file on another machine all show in what stands at the path, and not all of them
//! where a listener was put.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::reload::Reload;
use crate::secret::trail::{Stamp, Trace};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(2);

/// How long everything must have stayed as it is before it is read: a file that is being written
/// changes again within that.
const QUIET: Duration = Duration::from_millis(200);

/// What is watched: the files of the last reading, and whether it was refused.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) files: BTreeMap<PathBuf, Trace>,
    pub(super) is_refused: bool,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Watched {
    /// The files as they were. Secrets are looked after where they are used; only if one of them
    /// may be the reason of a refusal does it matter here.
    fn stamps(&self) -> Stamps {
        let is_ours = |trace: &Trace| !trace.is_secret || self.is_refused;
        let files = self.files.iter().filter(|(_, trace)| is_ours(trace));
        files
            .map(|(path, trace)| (path.clone(), trace.stamp))
            .collect()
    }
}

/// Asks for a reload whenever something has changed, for as long as the task lives.
pub(super) async fn watch(watched: Rc<RefCell<Watched>>, reload: Reload) {
    // What a reload was asked for already: it may take a while until it has been read.
    let mut asked = Stamps::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let known = watched.borrow().stamps();
        let Some(now) = look(&known).await else {
            continue;
        };
        if now != known && now != asked && is_quiet(&now).await {
            reload.ask(false);
            asked = now;
        }
    }
}

async fn is_quiet(now: &Stamps) -> bool {
    tokio::time::sleep(QUIET).await;
    look(now).await.as_ref() == Some(now)
}

/// What stands at these paths now. A path on a server that hangs holds up this task alone.
async fn look(known: &Stamps) -> Option<Stamps> {
    let paths: Vec<PathBuf> = known.keys().cloned().collect();
    let look = move || {
        let stamped = paths.into_iter().map(|path| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        });
        stamped.collect()
    };
    spawn_blocking(look).await.ok()
}
