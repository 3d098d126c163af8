//! The second stage: which route a request takes.
//!
//! The rules are put in order once, when the table is built: the listener named before any, the
//! exact host before a suffix before none, the longer path, methods named before any, more headers
//! before fewer. A request takes the first rule that matches, and a rule that no request could
//! ever reach is a fault of the configuration.

use std::cmp::Reverse;

use http::{HeaderName, HeaderValue, Method};

use crate::host::Pattern;
use crate::normalize::Normalized;
use crate::normalize::spelling::{is_plain, plain, segments};

/// What a request must be to take a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The listener it comes in at, by its index; any if `None`.
    pub listener: Option<usize>,
    /// The name in its `Host`; any, and none at all, if `None`.
    pub host: Option<Pattern>,
    /// The port in its `Host`, where one and the same name leads to several places; any if `None`.
    pub port: Option<u16>,
    /// The segments its path starts with, without a slash at the end; empty for every path.
    pub path: String,
    /// Its method; any if empty.
    pub methods: Vec<Method>,
    /// Headers it must have; with any value if `None`.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
}

impl Rule {
    fn rank(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(Pattern::Exact(_)) => 0,
            // A longer suffix is the more exact one.
            Some(Pattern::Suffix(suffix)) => usize::MAX - 1 - suffix.len(),
            None => usize::MAX,
        };
        (
            self.listener.is_none(),
            host,
            self.port.is_none(),
            Reverse(self.path.len()),
            self.methods.is_empty(),
            Reverse(self.headers.len()),
        )
    }

    fn matches_all_but_method<B>(&self, listener: usize, request: &Normalized<B>) -> bool {
        starts_with(request.path(), &self.path) && self.matches_around_path(listener, request)
    }

    /// Whether everything matches that stands beside the path.
    fn matches_around_path<B>(&self, listener: usize, request: &Normalized<B>) -> bool {
        self.listener.is_none_or(|named| named == listener)
            && self
                .host
                .as_ref()
                .is_none_or(|host| request.host().is_some_and(|name| host.matches(name)))
            && self.port.is_none_or(|own| port(request) == Some(own))
            && self.headers.iter().all(|(name, value)| match value {
                Some(value) => request
                    .headers()
                    .get_all(name)
                    .iter()
                    .any(|found| found == value),
                None => request.headers().contains_key(name),
            })
    }

    /// A rule for certain methods takes no request that asks for another one in a header or the query:
    /// servers that listen to it would do what the rule was to keep out.
    fn takes_method<B>(&self, request: &Normalized<B>) -> bool {
        self.methods.is_empty()
            || (self.methods.contains(request.method()) && request.other_methods().next().is_none())
    }

    /// Whether a less exact server takes a request's path for one of this rule's; `path` is the
    /// request's in the plain spelling, if it has another one.
    fn leads_plainly<B>(&self, request: &Normalized<B>, path: Option<&[u8]>) -> bool {
        let Some(path) = path else {
            return starts_with(request.path(), &self.path);
        };
        let own = plain(&self.path);
        let mut found = segments(path);
        segments(&own).all(|segment| found.next() == Some(segment))
    }

    /// Whether a less exact server does for a request what a method of this rule's says.
    fn takes_method_plainly<B>(&self, request: &Normalized<B>) -> bool {
        let is_own = |it: &[u8]| {
            let mut own = self.methods.iter();
            own.any(|method| method.as_str().as_bytes().eq_ignore_ascii_case(it))
        };
        let mut others = request.other_methods().peekable();
        self.methods.is_empty()
            || match others.peek() {
                Some(_) => others.any(|it| is_own(&it)),
                None => is_own(request.method().as_str().as_bytes()),
            }
    }

    /// Whether every request at `listener` that matches `other` matches this rule too.
    fn covers(&self, other: &Self, listener: usize) -> bool {
        self.listener.is_none_or(|named| named == listener)
            && match (&self.host, &other.host) {
                (None, _) => true,
                (Some(mine), Some(theirs)) => mine.covers(theirs),
                (Some(_), None) => false,
            }
            && (self.port.is_none() || self.port == other.port)
            && starts_with(&other.path, &self.path)
            && (self.methods.is_empty()
                || (!other.methods.is_empty()
                    && other
                        .methods
                        .iter()
                        .all(|method| self.methods.contains(method))))
            && self.headers.iter().all(|mine| {
                other
                    .headers
                    .iter()
                    .any(|theirs| theirs.0 == mine.0 && (mine.1.is_none() || mine.1 == theirs.1))
            })
    }
}

/// The port of a URL that says none.
pub const HTTP: u16 = 80;

fn port<B>(request: &Normalized<B>) -> Option<u16> {
    match request.port() {
        "" => Some(HTTP),
        port => port.parse().ok(),
    }
}

/// Whether `path` starts with the whole segments of `prefix`.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
}

/// Rules in the order they are tried, each with what it leads to.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<(Rule, T)>,
}

/// Why a request takes no route.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// No rule matches.
    #[error("no route leads anywhere from here")]
    NoRoute,
    /// A whole URL was asked for, and no target has its host.
    #[error(
        "no target's URL has the host `{0}` (and its port, if it says one) and this path, and this proxy leads to its targets alone"
    )]
    NoTarget(String),
    /// A server that is less exact would take this for what another route is for.
    #[error(
        "this is another spelling of what has a route of its own; write path and method as that route does"
    )]
    Spelling,
    /// Rules match, but for other methods: these.
    #[error("no route takes this method here")]
    Method(Vec<Method>),
}

/// A rule that no request can reach.
#[derive(Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The rule, by its place in the list given to [`Table::build`].
    pub rule: usize,
    /// A rule that takes its requests.
    pub by: usize,
}

impl<T> Table<T> {
    /// Puts rules in order, for so many listeners.
    ///
    /// # Errors
    ///
    /// The rules that no request can reach, because others take all of theirs.
    pub fn build(rules: Vec<(Rule, T)>, listeners: usize) -> Result<Self, Vec<Hidden>> {
        let mut order: Vec<usize> = (0..rules.len()).collect();
        order.sort_by_key(|&index| rules[index].0.rank());
        let hidden: Vec<Hidden> = order
            .iter()
            .enumerate()
            .filter_map(|(place, &rule)| {
                hidden_by(rule, &order[..place], &rules, listeners).map(|by| Hidden { rule, by })
            })
            .collect();
        if !hidden.is_empty() {
            return Err(hidden);
        }
        let mut entries: Vec<Option<(Rule, T)>> = rules.into_iter().map(Some).collect();
        let entries = order
            .into_iter()
            .map(|index| {
                entries[index]
                    .take()
                    .expect("an order names each rule once")
            })
            .collect();
        Ok(Self { entries })
    }

    /// The first rule that matches.
    ///
    /// # Errors
    ///
    /// [`Miss::Method`] with the methods that would have matched, or [`Miss::NoRoute`].
    pub fn select<B>(&self, listener: usize, request: &Normalized<B>) -> Result<&T, Miss> {
        let mut methods = Vec::new();
        for (rule, leads_to) in &self.entries {
            if rule.matches_all_but_method(listener, request) {
                if rule.takes_method(request) {
                    return Ok(leads_to);
                }
                methods.extend(
                    rule.methods
                        .iter()
                        .filter(|it| !methods.contains(*it))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
        }
        Err(if methods.is_empty() {
            Miss::NoRoute
        } else {
            Miss::Method(methods)
        })
    }

    /// Whether a rule that is tried before the one that leads to `found` would have taken the request
    /// if it were spelt in another way: `/%61dmin` or `//admin` for `/admin`, `delete` for `DELETE`,
    /// or a header that stands for the method. It is asked of the rules that lead to what `concerns`
    /// says: a server decides by itself what its paths mean, and what a rule keeps from some callers
    /// must not reach it by another rule.
    pub fn is_disguised<B>(
        &self,
        found: &T,
        listener: usize,
        request: &Normalized<B>,
        concerns: impl Fn(&T) -> bool,
    ) -> bool {
        let mut path = None;
        let before = self.entries.iter();
        before
            .take_while(|(_, it)| !std::ptr::eq(it, found))
            .any(|(rule, leads_to)| {
                let is_meant = concerns(leads_to)
                    && rule.matches_around_path(listener, request)
                    && rule.takes_method_plainly(request);
                is_meant && {
                    let spell = || (!is_plain(request.path())).then(|| plain(request.path()));
                    rule.leads_plainly(request, path.get_or_insert_with(spell).as_deref())
                }
            })
    }

    /// Changes what the rules lead to; `None` if it cannot be changed for any of them.
    pub fn try_map<U>(self, change: impl Fn(T) -> Option<U>) -> Option<Table<U>> {
        let entries = self
            .entries
            .into_iter()
            .map(|(rule, it)| Some((rule, change(it)?)));
        Some(Table {
            entries: entries.collect::<Option<_>>()?,
        })
    }

    /// The rules in the order they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &(Rule, T)> {
        self.entries.iter()
    }
}

/// The rule that hides `rule`: at every listener that it serves, an earlier one covers it.
fn hidden_by<T>(
    rule: usize,
    earlier: &[usize],
    rules: &[(Rule, T)],
    listeners: usize,
) -> Option<usize> {
    let own = &rules[rule].0;
    let mut by = None;
    for listener in (0..listeners).filter(|it| own.listener.is_none_or(|named| named == *it)) {
        by = earlier
            .iter()
            .copied()
            .find(|&other| rules[other].0.covers(own, listener));
        by?;
    }
    by
}

#[cfg(test)]
mod tests;
