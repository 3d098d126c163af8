//! `[credentials.NAME.KIND]`

use std::sync::Arc;

use super::kind::one_table;
use super::preset::{Expanded, Guide, Known, SOURCES};
use super::problem::{Problems, Span, did_you_mean};
use super::read::{Given, Reader};
use super::tree::{Node, Table, Value, key as as_written};
use super::{Context, keys, show, targets};
use crate::credential::Config;
use crate::outgoing::Place;

mod claims;
mod identity;
pub(super) mod secrets;
mod sources;

/// A credential as it was read.
#[derive(Debug)]
pub struct Read {
    /// The operator's name for it.
    pub name: String,
    /// Where the name stands.
    pub at: Span,
    /// Its preset or source.
    pub kind: String,
    /// What it is for the stage; `None` if it has faults.
    pub config: Option<Config>,
    /// Where it goes on a request.
    pub place: Place,
    /// A target's defaults, from the preset.
    pub target: Table,
    /// The source's name and table, presets expanded, for showing.
    pub expanded: Option<(String, Node)>,
    /// What its preset knows about refusals.
    pub guide: Arc<Guide>,
    /// What the operator wrote, for variants of it.
    given: Option<(Table, Span)>,
    /// What a route changes about it, if it is a variant.
    pub variant: Option<String>,
}

/// What credentials are read with.
#[derive(Clone, Copy, Debug)]
pub struct Kinds<'a> {
    /// The presets.
    pub presets: &'a Known,
    /// What they need to be read.
    pub context: &'a Context<'a>,
}

impl<'a> Kinds<'a> {
    fn names(&self) -> Vec<&'a str> {
        let usable = self
            .presets
            .presets
            .iter()
            .map(|preset| preset.name.as_str());
        SOURCES.into_iter().chain(usable).collect()
    }

    /// Reads all credentials of the file.
    pub fn read(&self, root: &Reader<'_>) -> Vec<Read> {
        let entries = root.entries("credentials");
        entries
            .iter()
            .map(|(name, table, at)| self.read_one(name, table, at))
            .collect()
    }

    fn read_one(&self, name: &Given<String>, table: &Table, at: &Span) -> Read {
        let problems = self.context.problems;
        if name.value == "none" {
            let help = "a target says `credential = \"none\"` to have no credential at all";
            problems.fault(&name.at, "a credential cannot be called `none`", help);
        }
        let place = format!("credentials.{}", as_written(&name.value));
        let mut read = Read::empty(&name.value, &name.at);
        // What is wrong with the preset has been said where it stands.
        if let [entry] = table.entries.as_slice()
            && self.presets.broken.contains(&entry.name)
        {
            return read;
        }
        if let Some((kind, table, at)) = one_table(&place, table, at, &self.names(), problems) {
            self.expand(&mut read, kind, &table, &at);
            read.given = Some((table, at));
        }
        read
    }

    /// The same credential with other inputs, as a route's `with` gives them.
    #[must_use]
    pub fn variant(&self, of: &Read, with: &Table, at: &Span) -> Option<Read> {
        let (table, given_at) = of.given.as_ref()?;
        let with = self.known(of, with)?;
        let mut table = table.clone();
        table.lay(&with, &[]);
        let mut read = Read::empty(&of.name, at);
        self.expand(&mut read, of.kind.clone(), &table, given_at);
        let variant = show::inline(&with);
        if let Some(config) = &mut read.config {
            config.with = Some(variant.clone());
        }
        read.variant = Some(variant);
        Some(read)
    }

    /// What a route gives, if all of it is known to the credential's kind.
    fn known(&self, of: &Read, with: &Table) -> Option<Table> {
        let names: Vec<&str> = match self.presets.get(&of.kind) {
            Some(preset) => preset.keys().collect(),
            None => keys::source(&of.kind).names().collect(),
        };
        let mut is_sound = true;
        for entry in &with.entries {
            if !names.contains(&entry.name.as_str()) {
                is_sound = false;
                let message = format!(
                    "unknown key `{}` in `with`: credential `{}` is of the kind `{}`",
                    entry.name, of.name, of.kind
                );
                let help = did_you_mean(&entry.name, names.iter().copied());
                self.context.problems.fault(&entry.name_at, message, help);
            }
        }
        is_sound.then(|| with.clone())
    }

    fn expand(&self, read: &mut Read, kind: String, table: &Table, at: &Span) {
        let path = format!("credentials.{}.{kind}", as_written(&read.name));
        if let Some(preset) = self.presets.get(&kind) {
            read.guide = Arc::clone(preset.guide());
        }
        let expanded = match self.presets.get(&kind) {
            Some(preset) => preset.expand(&path, table, at, self.context),
            None => Some(Expanded {
                source: kind.clone(),
                credential: Node {
                    value: Value::Table(table.clone()),
                    at: at.clone(),
                    given: None,
                },
                target: Table::default(),
            }),
        };
        read.kind = kind;
        if let Some(Expanded {
            source,
            credential,
            target,
        }) = expanded
        {
            read.target = target;
            read.config = sources::read(&source, &read.name, &path, &credential, self.context);
            if let Some(config) = &read.config {
                read.place = config.placement.place.clone();
            }
            read.expanded = Some((source, credential));
        }
    }
}

impl Read {
    fn empty(name: &str, at: &Span) -> Self {
        Self {
            name: name.to_owned(),
            at: at.clone(),
            kind: String::new(),
            config: None,
            place: Place::Header(http::header::AUTHORIZATION),
            target: Table::default(),
            expanded: None,
            guide: Arc::default(),
            given: None,
            variant: None,
        }
    }
}

/// Notes credentials that are on no request: a typing error, as a rule.
pub fn note_unused(credentials: &[Read], targets: &[targets::Read], problems: &Problems) {
    // A target whose own faults are noted may well have meant it.
    if problems.has_faults() {
        return;
    }
    for credential in credentials {
        let is_used = targets
            .iter()
            .any(|it| it.credential.as_deref() == Some(&credential.name));
        if !is_used {
            let message = format!("no target uses credential `{}`", credential.name);
            let help = format!(
                "name a target `{0}`, or write credential = \"{0}\" in one",
                credential.name
            );
            problems.warn(&credential.at, message, help);
        }
    }
}
