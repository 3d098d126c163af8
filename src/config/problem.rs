//! What is wrong with a configuration: where, what, and the way out.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// How many problems are noted. Nobody reads more, and a file of another sort altogether, given by
/// mistake, can have one in each of its lines.
const MOST: usize = 500;

/// A text that was read: a configuration file or a preset.
#[derive(Debug)]
pub struct Source {
    /// How the file is called in messages: the path as the operator gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A stretch of a text.
#[derive(Clone, Debug)]
pub struct Span {
    /// The text it lies in.
    pub source: Arc<Source>,
    /// Where it starts, in bytes.
    pub start: usize,
}

impl Span {
    /// Line and column, both counted from 1; columns count characters.
    #[must_use]
    fn line_column(&self) -> (usize, usize) {
        let before = self
            .source
            .text
            .get(..self.start)
            .unwrap_or(&self.source.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |last| last.chars().count())
            + 1;
        (line, column)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// Whether a problem stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Fault,
    /// It can be used, and something about it is probably not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is; `None` where no file could be read at all.
    pub at: Option<Span>,
    /// For a fault inside a preset: the line of the configuration that gave the input.
    pub given: Option<Span>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The way out; empty where the message already says it.
    pub help: String,
}

fn place(at: &Option<Span>) -> Option<(*const Source, usize)> {
    at.as_ref().map(|at| (Arc::as_ptr(&at.source), at.start))
}

impl Problem {
    fn is_same(&self, other: &Self) -> bool {
        self.message == other.message && place(&self.at) == place(&other.at)
    }

    /// Whether one input of a preset is wrong for the same reason in another of its lines.
    fn is_same_input(&self, other: &Self) -> bool {
        let reason = |it: &Self| it.message.rsplit(": ").next().map(str::to_owned);
        let source = |it: &Self| place(&it.at).map(|(source, _)| source);
        self.given.is_some()
            && place(&self.given) == place(&other.given)
            && source(self) == source(other)
            && reason(self) == reason(other)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        for character in self.message.chars() {
            // A message stays on its line, whatever the text that it is about has in it.
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        if let Some(given) = &self.given {
            write!(f, "\n    given at {given}")?;
        }
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Everything that was found. Shared by all that read the same configuration, hence the cell.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Notes a fault at a place.
    pub fn fault(&self, at: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(
            Severity::Fault,
            Some(at.clone()),
            None,
            message.into(),
            help.into(),
        );
    }

    /// Notes something suspicious at a place.
    pub fn warn(&self, at: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(
            Severity::Warning,
            Some(at.clone()),
            None,
            message.into(),
            help.into(),
        );
    }

    /// Notes a fault that has no place in a file.
    pub fn fault_nowhere(&self, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Fault, None, None, message.into(), help.into());
    }

    /// Notes a problem whose value came from elsewhere than the place that uses it.
    pub fn note(
        &self,
        severity: Severity,
        at: &Span,
        given: Option<&Span>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(
            severity,
            Some(at.clone()),
            given.cloned(),
            message.into(),
            help.into(),
        );
    }

    fn push(
        &self,
        severity: Severity,
        at: Option<Span>,
        given: Option<Span>,
        message: String,
        help: String,
    ) {
        let problem = Problem {
            severity,
            at,
            given,
            message,
            help,
        };
        let mut problems = self.0.borrow_mut();
        let is_first_fault = problem.severity == Severity::Fault
            && problems
                .iter()
                .all(|known| known.severity == Severity::Warning);
        if problems.len() >= MOST && !is_first_fault {
            return;
        }
        // A table that several stages read is read several times.
        if !problems
            .iter()
            .any(|known| known.is_same(&problem) || known.is_same_input(&problem))
        {
            problems.push(problem);
        }
    }

    /// Takes over what was found elsewhere.
    pub fn append(&self, other: Self) {
        self.0.borrow_mut().append(&mut other.0.into_inner());
    }

    /// Whether anything in here stops the configuration from being used.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.0
            .borrow()
            .iter()
            .any(|problem| problem.severity == Severity::Fault)
    }

    /// Whether nothing at all was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The problems, sorted by file and place.
    #[must_use]
    pub fn sorted(&self) -> Vec<Problem> {
        let mut sorted = self.0.borrow().clone();
        // Stable: problems of one place stay in the order they were found in. What the operator
        // wrote is named before what a preset made of it.
        sorted.sort_by_key(|problem| {
            let place = problem.given.as_ref().or(problem.at.as_ref());
            place.map(|at| (at.source.name.clone(), at.start))
        });
        sorted
    }

    /// How many faults there are.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|problem| problem.severity == Severity::Fault)
            .count()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.sorted() {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known name that is nearest to a mistyped one, where one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase().replace('_', "-");
    let length = folded.chars().count();
    known
        .into_iter()
        // No need to compare what is a word of another length: the name may be very long.
        .filter(|candidate| length <= 2 * candidate.chars().count().max(3))
        .map(|candidate| (strsim::damerau_levenshtein(&folded, candidate), candidate))
        .min()
        // A third of the letters wrong is a typing error; more is another word.
        .filter(|(distance, candidate)| *distance <= candidate.chars().count() / 3)
        .map(|(_, candidate)| candidate)
}

/// A help text that names the nearest known name, or all of them.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => known_here(known),
    }
}

/// A help text that names all known names.
#[must_use]
pub fn known_here<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = known
        .into_iter()
        .map(|candidate| format!("`{candidate}`"))
        .collect();
    format!("known here: {}", names.join(", "))
}
