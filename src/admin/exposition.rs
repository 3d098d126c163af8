//! What is counted, in Prometheus' text format, version 0.0.4. Names keep to OpenMetrics: base units,
//! and `_total` for what only grows.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::{Admin, process};
use crate::clock::processor_time;
use crate::credential::report::Report;
use crate::metrics::{BOUNDS, Outcome, Target};
use crate::{telemetry, unwind};

/// The whole page.
pub(super) fn of(admin: &Admin) -> String {
    let mut page = Page::default();
    page.one(
        "countersign_build_info",
        "gauge",
        "Which build this is.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    targets(&mut page, &admin.metrics.targets());
    callers(&mut page, admin);
    let plan = admin.plans.load();
    let reports: Vec<Report> = plan.credentials.iter().map(|it| it.report()).collect();
    credentials(&mut page, &reports);
    certificates(&mut page, admin);
    house(&mut page, admin);
    page.0
}

fn targets(page: &mut Page, targets: &BTreeMap<String, Target>) {
    page.family(
        "countersign_requests_total",
        "counter",
        "Requests that are over, by target and the class of the status that callers got; `aborted` if the caller was gone before.",
    );
    for (name, target) in targets {
        for (word, count) in Outcome::WORDS.iter().zip(target.outcomes()) {
            let labels = [("target", name.as_str()), ("status", word)];
            page.sample("countersign_requests_total", &labels, count);
        }
    }
    page.family(
        "countersign_refusals_total",
        "counter",
        "Requests that this proxy refused itself, by target and code.",
    );
    for (name, target) in targets {
        for (code, count) in target.refusals() {
            let labels = [("target", name.as_str()), ("code", code)];
            page.sample("countersign_refusals_total", &labels, count);
        }
    }
    durations(page, targets);
    for (name, kind, help, count) in COUNTS {
        page.family(name, kind, help);
        for (target, counts) in targets.iter().filter(|(target, _)| !target.is_empty()) {
            page.sample(name, &[("target", target)], count(counts));
        }
    }
}

type PerTarget = (&'static str, &'static str, &'static str, fn(&Target) -> u64);

/// What is one number for each target.
const COUNTS: [PerTarget; 8] = [
    (
        "countersign_requests_active",
        "gauge",
        "Requests under way, to the last byte of their answers.",
        |it| it.active.get(),
    ),
    (
        "countersign_answer_bytes_total",
        "counter",
        "Bytes of answers' bodies that were handed on to callers.",
        |it| it.sent.get(),
    ),
    (
        "countersign_upstream_connections_opened_total",
        "counter",
        "Connections to the target that were opened.",
        |it| it.opened.get(),
    ),
    (
        "countersign_upstream_connections_failed_total",
        "counter",
        "Connections to the target that could not be opened.",
        |it| it.failed.get(),
    ),
    (
        "countersign_upstream_connections_reused_total",
        "counter",
        "Requests that went out on a connection that had been used before.",
        |it| it.reused.get(),
    ),
    (
        "countersign_upstream_retries_total",
        "counter",
        "Requests sent again because their connection had been closed.",
        |it| it.retried.get(),
    ),
    (
        "countersign_replays_total",
        "counter",
        "Requests sent again with a renewed token after a 401.",
        |it| it.replayed.get(),
    ),
    (
        "countersign_echoes_total",
        "counter",
        "Answers that repeated our token in a header, which was taken out.",
        |it| it.echoes.get(),
    ),
];

fn durations(page: &mut Page, targets: &BTreeMap<String, Target>) {
    const NAME: &str = "countersign_request_duration_seconds";
    page.family(
        NAME,
        "histogram",
        "From a request's head to the head of its answer.",
    );
    for (name, target) in targets.iter().filter(|(name, _)| !name.is_empty()) {
        let (bucket, sum, count) = (
            format!("{NAME}_bucket"),
            format!("{NAME}_sum"),
            format!("{NAME}_count"),
        );
        // The count is that of the steps, so that both agree whatever happens meanwhile.
        let mut total = 0;
        let bounds = BOUNDS.iter().map(|&millis| seconds(millis));
        let bounds = bounds.chain([String::from("+Inf")]);
        for (bound, step) in bounds.zip(target.took.steps()) {
            total += step;
            page.sample(&bucket, &[("target", name), ("le", &bound)], total);
        }
        page.sample(&sum, &[("target", name)], target.took.seconds());
        page.sample(&count, &[("target", name)], total);
    }
}

fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    let text = text.trim_end_matches('0');
    // Bounds are written as floats: `1.0`, not `1`.
    if text.ends_with('.') {
        format!("{text}0")
    } else {
        text.to_owned()
    }
}

fn callers(page: &mut Page, admin: &Admin) {
    let metrics = &admin.metrics;
    page.one(
        "countersign_connections_active",
        "gauge",
        "Callers' connections that are open.",
        &[],
        metrics.sum(|worker| &worker.connections),
    );
    page.one(
        "countersign_connections_total",
        "counter",
        "Callers' connections since the start.",
        &[],
        metrics.sum(|worker| &worker.accepted),
    );
    page.one(
        "countersign_accept_errors_total",
        "counter",
        "Connections that could not be accepted, for want of descriptors as a rule.",
        &[],
        metrics.sum(|worker| &worker.accept_errors),
    );
}

fn credentials(page: &mut Page, reports: &[Report]) {
    let mut each = |name, kind, help, value: &dyn Fn(&Report) -> Option<f64>| {
        page.family(name, kind, help);
        for report in reports {
            if let Some(value) = value(report) {
                let label = [("credential", report.name.as_str())];
                let variant = report.with.as_deref().map(|with| ("with", with));
                let labels: Vec<_> = label.into_iter().chain(variant).collect();
                page.sample(name, &labels, value);
            }
        }
    };
    each(
        "countersign_credential_up",
        "gauge",
        "Whether requests get a token right now.",
        &|it| Some(if it.is_good { 1.0 } else { 0.0 }),
    );
    each(
        "countersign_credential_mints_total",
        "counter",
        "Tokens got since the start.",
        &|it| Some(it.minted as f64),
    );
    each(
        "countersign_credential_failures_total",
        "counter",
        "Attempts to get a token that failed.",
        &|it| Some(it.failed as f64),
    );
    each(
        "countersign_credential_expiry_seconds",
        "gauge",
        "How long the present token is still used.",
        &|it| it.token.as_ref().map(|it| it.left.as_secs_f64()),
    );
    each(
        "countersign_credential_waiting_requests",
        "gauge",
        "Requests that wait for a token.",
        &|it| Some(it.waiting as f64),
    );
    each(
        "countersign_credential_clock_offset_seconds",
        "gauge",
        "How far the token endpoint's clock is ahead of this machine's.",
        &|it| Some(it.offset as f64),
    );
}

fn certificates(page: &mut Page, admin: &Admin) {
    const NAME: &str = "countersign_certificate_expiry_seconds";
    page.family(
        NAME,
        "gauge",
        "How long a certificate that is shown to callers, targets or endpoints is still good; negative once it has ended.",
    );
    let now = admin.clock.now().unix();
    for it in admin.plans.load().certificates() {
        let file = it.file.display().to_string();
        let labels = [("kind", it.kind), ("name", &*it.name), ("file", &*file)];
        page.sample(NAME, &labels, i128::from(it.end) - i128::from(now));
    }
}

fn house(page: &mut Page, admin: &Admin) {
    page.family(
        "countersign_reloads_total",
        "counter",
        "Reloads of the configuration.",
    );
    let (done, failed) = admin.reload.counts();
    for (outcome, count) in [("done", done), ("failed", failed)] {
        let labels = [("outcome", outcome)];
        page.sample("countersign_reloads_total", &labels, count);
    }
    page.one(
        "countersign_configuration_current",
        "gauge",
        "Whether the configuration in force is the one that was read last: 0 after a reload that failed.",
        &[],
        u8::from(!admin.reload.is_refused()),
    );
    page.one(
        "countersign_panics_total",
        "counter",
        "Requests and tasks that a bug has ended.",
        &[],
        unwind::count(),
    );
    page.one(
        "countersign_log_lines_lost_total",
        "counter",
        "Lines of the log that could not be written.",
        &[],
        telemetry::lost(),
    );
    page.one(
        "process_start_time_seconds",
        "gauge",
        "When the process started, since the Unix epoch.",
        &[],
        admin.started.wall.as_secs_f64(),
    );
    page.one(
        "process_cpu_seconds_total",
        "counter",
        "Processor time used.",
        &[],
        processor_time().as_secs_f64(),
    );
    let system = [
        (
            "process_open_fds",
            "Descriptors that are open.",
            process::open_files(),
        ),
        (
            "process_max_fds",
            "Descriptors that may be open.",
            process::most_files(),
        ),
        (
            "process_resident_memory_bytes",
            "Memory in use.",
            process::resident(),
        ),
        ("process_threads", "Threads.", process::threads()),
    ];
    for (name, help, value) in system {
        if let Some(value) = value {
            page.one(name, "gauge", help, &[], value);
        }
    }
}

/// A page under way.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    /// A family of one.
    fn one(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.family(name, kind, help);
        self.sample(name, labels, value);
    }
}

/// A label's value, as the format wants it written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("a", "\"\\\n"), ("b", "é")], 1);
        assert_eq!(page.0, "x{a=\"\\\"\\\\\\n\",b=\"é\"} 1\n");
    }

    #[test]
    fn bounds_are_written_as_floats() {
        assert_eq!(seconds(5), "0.005");
        assert_eq!(seconds(2_500), "2.5");
        assert_eq!(seconds(60_000), "60.0");
    }
}
