//! `proxy.toml`: from a text to the configuration of every stage, or to all that is wrong with it.
//!
//! [`keys`] declares what there is, [`tree`] knows where it stands, [`read`] walks one by the
//! other, [`preset`] expands what a vendor needs, and the modules named after the file's tables
//! build the stages' own types. This sits on top: no stage knows of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;
use tracing::level_filters::LevelFilter;

use crate::app::Config;
use crate::dial::resolver;
use crate::limits::Limits;
use crate::{body, caller, normalize, telemetry};

mod admin;
mod confine;
mod connections;
pub mod credentials;
mod forwards;
mod headers;
pub mod keys;
mod kind;
pub mod listeners;
mod origin;
pub mod preset;
pub mod problem;
pub mod read;
mod reference;
pub mod routes;
pub mod show;
pub mod targets;
pub mod tree;
pub mod units;

pub use origin::origin;

use crate::secret::store::{Modes, Store};
use preset::{Guide, Known};
use problem::{Problems, Source};
use read::Reader;
use tree::Value;

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
    /// The folder where secrets are kept that endpoints replace.
    pub state: Option<&'a Path>,
    /// Where problems are noted.
    pub problems: &'a Problems,
}

/// Loads the configuration file at `path`.
///
/// # Errors
///
/// Everything that is wrong with it, each with its place and the way out.
pub fn load(path: &Path, store: &Store) -> Result<Loaded, Problems> {
    let store = &store.noted();
    match store.read_text(path) {
        Ok(text) => {
            let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
            parse(&path.display().to_string(), &text, &folder, store)
        }
        Err(error) => {
            let problems = Problems::default();
            let help = match path.exists() {
                true => error.help,
                false => {
                    "name the file with --config FILE; without it, ./proxy.toml is read, else /etc/countersign/proxy.toml; `countersign init` prints one to begin with".to_owned()
                }
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
    let state = state(reader, folder);
    let context = Context {
        store,
        folder,
        modes: modes(reader),
        state: state.as_deref(),
        problems,
    };
    let presets = presets(reader, &context);
    let kinds = credentials::Kinds {
        presets: &presets,
        context: &context,
    };
    let mut credentials = kinds.read(reader);
    let mut listeners = listeners::read(reader, &context);
    let (targets, variants) = targets::read(reader, kinds, &credentials, &listeners);
    credentials::note_unused(&credentials, &targets, problems);
    credentials.extend(variants);
    listeners::add_hosts(&mut listeners, &targets);
    let caller = caller::Config {
        head: limit(reader, "head"),
        headers: headers_limit(reader),
        deadlines: reader.table("timeouts", |it| caller::deadlines::Config {
            head: it.duration("head").value,
            keep_alive: it.duration("keep-alive").value,
            send: it.duration("send").value,
        })?,
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
        headers: headers_limit(reader),
    };
    let connections = reader.table("limits", |it| it.integer("connections"))?;
    let (workers, log, dns) = (workers(reader), log(reader), dns(reader));
    let admin = admin::read(reader, folder, &listeners);
    let limits = Limits {
        requests: targets::requests(reader),
        rate: None,
    };
    // Everything has been read, and all faults are noted: from here on the first one ends it.
    let routes = routes::table(&targets, listeners.len(), problems)?;
    let forwards = forwards::table(&targets, &listeners, problems)?;
    let shown = show::show(reader, &listeners, &credentials, &targets);
    let guides = credentials
        .iter()
        .filter(|credential| credential.config.is_some())
        .map(|credential| Arc::clone(&credential.guide))
        .collect();
    let config = Config {
        confine: confine::read(
            reader,
            &context,
            &listeners,
            &credentials,
            &targets,
            admin.as_ref(),
            &dns,
        ),
        workers,
        caller,
        connections: connections.map(|given| given.value as usize),
        normalize,
        body,
        dns,
        log: log?,
        admin,
        limits,
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
        forwards,
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

/// The folder for what is kept. It must be there: one that is made where a mount is missing is gone
/// with the container.
fn state(reader: &Reader<'_>, folder: &Path) -> Option<PathBuf> {
    let given = reader.table("secrets", |it| it.text("state")).flatten()?;
    let path = folder.join(&given.value);
    let fault = |message: String, help: &str| reader.problems().fault(&given.at, message, help);
    if !path.is_dir() {
        let help = "make one that this process's user may write, and nobody else read";
        fault(format!("there is no folder {}", path.display()), help);
    } else if rustix::fs::access(&path, Access::WRITE_OK).is_err() {
        let user = rustix::process::geteuid().as_raw();
        let help = format!("this process runs as uid {user}");
        fault(format!("{} may not be written", path.display()), &help);
    }
    Some(path)
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

fn dns(reader: &Reader<'_>) -> resolver::Config {
    let server = |text: &str| connections::address(text, 53);
    let servers = reader.table("dns", |it| it.parsed_texts("servers", server));
    let servers = servers.unwrap_or_default().into_iter();
    resolver::Config {
        servers: servers.map(|given| given.value).collect(),
    }
}

fn log(reader: &Reader<'_>) -> Option<telemetry::Config> {
    reader.table("log", |it| {
        let level = it.word("level")?.value.parse::<LevelFilter>().ok()?;
        Some(telemetry::Config {
            level,
            format: match it.word("format")?.value.as_str() {
                "json" => telemetry::Format::Json,
                _ => telemetry::Format::Text,
            },
            requests: it.boolean("requests"),
        })
    })?
}
