//! A secret in use, with the place it came from: read again when the file changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::Secret;
use super::store::{Modes, Reference, Store, Unresolved};
use super::trail::Stamp;

/// Where a secret stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// What names it.
    pub reference: Reference,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// Where files are read from.
    pub store: Store,
    /// How the file's mode is judged.
    pub modes: Modes,
}

type Parse<T> = Box<dyn Fn(&Secret) -> Result<T, String> + Send + Sync>;

/// A secret made into what it is used as: a key that signs, or a text.
pub struct Material<T> {
    place: Place,
    parse: Parse<T>,
    current: ArcSwapOption<T>,
    stamp: Mutex<Option<Stamp>>,
}

impl<T> std::fmt::Debug for Material<T> {
    /// Shows where it stands, and nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("place", &self.place.reference)
            .finish_non_exhaustive()
    }
}

impl<T> Material<T> {
    /// Reads a secret for the first time. The output of a command is left for later: whether a
    /// program runs says nothing about the configuration. Gives a warning about the place, if any.
    ///
    /// # Errors
    ///
    /// What is wrong with the place or the secret, and the way out.
    pub fn load(
        place: Place,
        parse: impl Fn(&Secret) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<(Self, Option<String>), Unresolved> {
        let material = Self {
            place,
            parse: Box::new(parse),
            current: ArcSwapOption::empty(),
            stamp: Mutex::default(),
        };
        let warning = match material.place.reference {
            Reference::Command(_) => {
                material.place.store.note_program();
                None
            }
            _ => material.read()?,
        };
        Ok((material, warning))
    }

    /// The secret as it was last read; `None` before a command has run.
    #[must_use]
    pub fn get(&self) -> Option<Arc<T>> {
        self.current.load_full()
    }

    /// Looks at the secret as it was last read, without keeping it.
    pub fn look<R>(&self, look: impl FnOnce(Option<&T>) -> R) -> R {
        look(self.current.load().as_deref())
    }

    /// What names it, for messages.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.place.reference
    }

    /// Whether it is the output of a command, which nothing tells the age of.
    #[must_use]
    pub fn is_command(&self) -> bool {
        matches!(self.place.reference, Reference::Command(_))
    }

    /// Reads it again if its file is another one than before. What was read before stays in use if
    /// it cannot be read. Gives whether there is a new one.
    ///
    /// # Errors
    ///
    /// A sentence that says why it cannot be read.
    pub fn refresh(&self) -> Result<bool, String> {
        let stamp = self
            .place
            .store
            .stamp(&self.place.reference, &self.place.folder);
        if stamp == *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(false);
        }
        self.read().map(|_| true).map_err(|error| error.message)
    }

    /// Runs the command. Blocks until it is done.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn run(&self) -> Result<(), String> {
        self.read().map(drop).map_err(|error| error.message)
    }

    fn read(&self) -> Result<Option<String>, Unresolved> {
        let Place {
            reference,
            folder,
            store,
            modes,
        } = &self.place;
        // Taken before the content is read: a change in between is seen the next time.
        let stamp = store.stamp(reference, folder);
        let resolved = store.resolve(reference, folder, Some(*modes))?;
        let value = (self.parse)(&resolved.secret)
            .map_err(|error| Unresolved::new(format!("{reference}: {error}"), ""))?;
        self.current.store(Some(Arc::new(value)));
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
        Ok(resolved.warning)
    }
}
