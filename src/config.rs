//! `proxy.toml`: from a text to the configuration of every stage, or to all that is wrong with it.
//!
//! [`keys`] declares what there is, [`tree`] knows where it stands, [`read`] walks one by the
//! other, [`preset`] expands what a vendor needs, and the modules named after the file's tables
//! build the stages' own types. This sits on top: no stage knows of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use crate::app::Config;
use crate::router::{Rule, Table as Routes};
use crate::{body, normalize, plan, telemetry, worker};

pub mod credentials;
pub mod keys;
pub mod listeners;
pub mod preset;
pub mod problem;
pub mod read;

pub mod show;
pub mod targets;
pub mod tree;
pub mod units;

use crate::secret::store::{Modes, Reference, Store};
use preset::{Guide, Known};
use problem::{Problems, Source, Span};
use read::Reader;
use tree::{Node, Text, Value};

/// What there is to say of a configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// What is probably not meant.
    pub warnings: Problems,
    /// The whole of it written out, presets expanded and secrets left out.
    pub shown: String,
    /// What each credential's preset knows about refusals, in the order of the credentials.
    pub guides: Vec<Arc<Guide>>,
}

/// What the parts of a configuration need to be read.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where files are read from.
    pub store: &'a Store,
    /// Where relative paths start.
    pub folder: &'a Path,
    /// How files with secrets are judged.
    pub modes: Modes,
    /// Where problems are noted.
    pub problems: &'a Problems,
}

/// Loads the configuration file at `path`.
///
/// # Errors
///
/// Everything that is wrong with it, each with its place and the way out.
pub fn load(path: &Path, store: &Store) -> Result<Loaded, Problems> {
    match store.read_text(path) {
        Ok(text) => {
            let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
            parse(&path.display().to_string(), &text, &folder, store)
        }
        Err(error) => {
            let problems = Problems::default();
            let help = match path.exists() {
                true => error.help,
                false => "name the file with --config FILE".to_owned(),
            };
            problems.fault_nowhere(error.message, help);
            Err(problems)
        }
    }
}

/// Reads a configuration from its text. `name` is what messages call it, and relative paths in it
/// start at `folder`.
///
/// # Errors
///
/// Everything that is wrong with it, each with its place and the way out.
pub fn parse(name: &str, text: &str, folder: &Path, store: &Store) -> Result<Loaded, Problems> {
    let problems = Problems::default();
    let source = Arc::new(Source {
        name: name.to_owned(),
        text: text.to_owned(),
    });
    let root = tree::parse(&source, &problems);
    if problems.has_faults() {
        // What could be read of a text that is not TOML would only bring follow-up faults.
        return Err(problems);
    }
    let Value::Table(table) = &root.value else {
        unreachable!("a document is a table")
    };
    let reader = Reader::new(&keys::ROOT, "the file", table, &root.at, &problems);
    let read = read_root(&reader, folder, store, &problems);
    match read {
        Some((config, shown, guides)) if !problems.has_faults() => Ok(Loaded {
            config,
            warnings: problems,
            shown,
            guides,
        }),
        _ => Err(problems),
    }
}

fn read_root(
    reader: &Reader<'_>,
    folder: &Path,
    store: &Store,
    problems: &Problems,
) -> Option<(Config, String, Vec<Arc<Guide>>)> {
    let context = Context {
        store,
        folder,
        modes: modes(reader),
        problems,
    };
    let presets = presets(reader, &context);
    let kinds = credentials::Kinds {
        presets: &presets,
        context: &context,
    };
    let mut credentials = kinds.read(reader);
    let mut listeners = listeners::read(reader);
    let (targets, variants) = targets::read(reader, kinds, &credentials, &listeners);
    credentials::note_unused(&credentials, &targets, problems);
    credentials.extend(variants);
    listeners::add_hosts(&mut listeners, &targets);
    let worker = worker::Config {
        head: limit(reader, "head"),
        headers: headers_limit(reader),
        head_timeout: reader.table("timeouts", |it| it.duration("head").value)?,
        drain: reader.duration("drain").value,
    };
    let body = body::Config {
        limit: reader
            .table("limits", |it| it.size("body"))?
            .map(|given| given.value),
        idle: reader.table("timeouts", |it| it.duration("body").value)?,
    };
    let normalize = normalize::Config {
        target: limit(reader, "target"),
    };
    let (workers, log) = (workers(reader), log(reader));
    // Everything has been read, and all faults are noted: from here on the first one ends it.
    let routes = routes(&targets, listeners.len(), problems)?;
    let shown = show::show(&listeners, &credentials, &targets);
    let guides = credentials
        .iter()
        .filter(|credential| credential.config.is_some())
        .map(|credential| Arc::clone(&credential.guide))
        .collect();
    let config = Config {
        workers,
        worker,
        normalize,
        body,
        log: log?,
        listeners: listeners
            .into_iter()
            .map(|listener| listener.config)
            .collect(),
        credentials: credentials
            .into_iter()
            .filter_map(|credential| credential.config)
            .collect(),
        targets: targets
            .into_iter()
            .filter_map(|target| target.target)
            .collect(),
        routes,
    };
    Some((config, shown, guides))
}

fn modes(reader: &Reader<'_>) -> Modes {
    let word = reader.table("secrets", |it| it.word("modes")).flatten();
    match word.map(|given| given.value).as_deref() {
        Some("warn") => Modes::Warn,
        _ => Modes::Refuse,
    }
}

fn presets(reader: &Reader<'_>, context: &Context<'_>) -> Known {
    let folder = reader.text("presets");
    let path: Option<PathBuf> = folder
        .as_ref()
        .map(|given| context.folder.join(&given.value));
    let own = path.as_deref().zip(folder.as_ref().map(|given| &given.at));
    preset::known(context.store, own, context.problems)
}

/// As many as there are cores, and no more than 8: beyond that the upstream is the limit.
fn workers(reader: &Reader<'_>) -> usize {
    let cores = || {
        std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(8)
    };
    reader
        .integer("workers")
        .map_or_else(cores, |given| given.value as usize)
}

fn limit(reader: &Reader<'_>, name: &str) -> usize {
    let size = reader.table("limits", |it| it.size(name)).flatten();
    size.and_then(|given| usize::try_from(given.value).ok())
        .unwrap_or(usize::MAX)
}

fn headers_limit(reader: &Reader<'_>) -> usize {
    let count = reader.table("limits", |it| it.integer("headers")).flatten();
    count.map_or(0, |given| given.value as usize)
}

fn log(reader: &Reader<'_>) -> Option<telemetry::Config> {
    reader.table("log", |it| {
        let level = it.word("level")?.value.parse::<LevelFilter>().ok()?;
        Some(telemetry::Config {
            level,
            requests: it.boolean("requests"),
        })
    })?
}

/// Puts the routes of all targets into one table.
fn routes(
    targets: &[targets::Read],
    listeners: usize,
    problems: &Problems,
) -> Option<Routes<plan::Route>> {
    let routes = || targets.iter().flat_map(|target| &target.routes);
    let places: Vec<(&Rule, &Span, &str)> = routes()
        .map(|route| (&route.rule, &route.at, route.target_name.as_str()))
        .collect();
    let rules = routes()
        .map(|route| (route.rule.clone(), route.route.clone()))
        .collect();
    let rules: Vec<(Rule, Option<plan::Route>)> = rules;
    match Routes::build(rules, listeners) {
        Ok(table) => table.try_map(|route| route),
        Err(hidden) => {
            for hidden in hidden {
                let (rule, at, target) = places[hidden.rule];
                let (other, other_at, other_target) = places[hidden.by];
                let message = format!(
                    "no request can take this route of target `{target}`: the one of target `{other_target}` at {other_at} takes them all"
                );
                let help = if targets::is_same(rule, other) {
                    "the two are equal; tell them apart by path, host, listener, methods or headers"
                } else {
                    "routes are tried in this order: a listener named, an exact host, a suffix, the longest path, methods named, most headers, the place in the file"
                };
                problems.fault(at, message, help);
            }
            None
        }
    }
}

/// An identifier: a text that stands in the configuration itself, or one that is referred to.
fn identifier(place: &str, node: &Node, context: &Context<'_>) -> Option<Text> {
    let fault = |message: String, help: &str| {
        let message = format!("{place}: {message}");
        context.problems.fault(&node.at, message, help);
        None
    };
    if let Value::Text(text) = &node.value {
        return match text.as_literal().as_deref() {
            Some("") => fault("this is empty".into(), ""),
            _ => Some(text.clone()),
        };
    }
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("text in quotes wanted, {} found", node.value.kind());
        return fault(message, "or refer to it: { file = \"…\" }");
    }
    let reference = preset::reference(place, node, context.problems)?;
    if let Reference::Command(_) = reference {
        let help = "write the text itself, or refer to a file";
        return fault("a command is only for secrets".into(), help);
    }
    let resolved = match context.store.resolve(&reference, context.folder, None) {
        Ok(resolved) => resolved,
        Err(error) => return fault(error.message, &error.help),
    };
    let wrong_file = "is it the right file? An identifier is one line of text";
    match resolved.secret.expose_str().map(str::trim) {
        None => fault(format!("{reference} is not text"), wrong_file),
        Some("") => fault(format!("{reference} is empty"), ""),
        // An identifier is put into tokens, and a private key in its place would be sent away.
        Some(text) if text.contains("PRIVATE KEY-----") => {
            fault(format!("{reference} is a private key"), wrong_file)
        }
        Some(text) if text.contains(char::is_control) => {
            fault(format!("{reference} is more than one line"), wrong_file)
        }
        Some(text) => Some(Text {
            origin: Some(reference.to_string()),
            ..Text::literal(text)
        }),
    }
}

#[cfg(test)]
mod tests;
