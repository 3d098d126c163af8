//! What the tests stand on.

pub(crate) mod folder;

pub(crate) use folder::Folder;
