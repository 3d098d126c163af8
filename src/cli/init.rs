//! `countersign init`: a configuration for a preset, to paste and fill in.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::config::preset::{self, BLANK, Input, InputKind, Preset};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::tree::quoted;
use crate::secret::store::Store;

/// Prints the configuration of a preset, or a list of the presets.
pub(super) fn run(name: Option<&str>) -> ExitCode {
    let known = preset::known(&Store::Disk, None, &Problems::default());
    let Some(name) = name else {
        return super::say(&list(&known.presets));
    };
    match known.get(name) {
        Some(preset) => super::say(&block(preset)),
        None => {
            let names = known.presets.iter().map(|preset| preset.name.as_str());
            super::misused(
                format!("there is no preset `{name}`"),
                did_you_mean(name, names),
            )
        }
    }
}

fn list(presets: &[Preset]) -> String {
    let width = presets.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for preset in presets {
        let _ = writeln!(out, "{:width$}  {}", preset.name, preset.about);
    }
    out.push_str("\n`countersign init PRESET` prints a configuration to paste and fill in\n");
    out
}

/// Everything of the preset, what must be given first.
fn block(preset: &Preset) -> String {
    let name = format!("my-{}", preset.name);
    let mut out = String::new();
    comment(&mut out, &preset.about);
    wrapped(&mut out, &preset.reference, "#");
    out.push_str("\n[listeners.local]\naddress = \"127.0.0.1:8080\"\n\n");
    let _ = writeln!(out, "[credentials.{name}.{}]", preset.name);
    let is_asked =
        |input: &&Input| input.required && input.default.is_none() && input.read_from().is_none();
    for input in preset.inputs.iter().filter(is_asked) {
        describe(&mut out, input);
        let _ = writeln!(out, "{} = {}", input.name, placeholder(preset, input));
    }
    for input in preset.inputs.iter().filter(|it| !is_asked(it)) {
        out.push('\n');
        describe(&mut out, input);
        if let Some(file) = input.read_from() {
            comment(&mut out, &format!("Read from `{file}` if it is left out."));
        }
        let example = match input.shown_default() {
            Some((default, true)) => default,
            Some((default, false)) => {
                comment(&mut out, &format!("If left out: {default}"));
                placeholder(preset, input)
            }
            None => placeholder(preset, input),
        };
        let _ = writeln!(out, "# {} = {example}", input.name);
    }
    let _ = writeln!(out, "\n[targets.{name}]");
    if let Some(url) = preset.url() {
        comment(&mut out, &format!("Requests go to {url}"));
    }
    comment(
        &mut out,
        "Where an authority of your own signed the certificate: tls.ca = [\"ca.pem\"], here and above.",
    );
    let _ = writeln!(out, "# routes = [{{ path = \"/{name}\" }}]\n");
    next_steps(&mut out, preset, &name);
    out
}

fn describe(out: &mut String, input: &Input) {
    comment(out, &input.doc);
    if !input.choices.is_empty() {
        let words: Vec<&str> = input
            .choices
            .iter()
            .map(|(word, _)| word.as_str())
            .collect();
        comment(out, &format!("One of {}.", words.join(", ")));
    }
}

fn next_steps(out: &mut String, preset: &Preset, name: &str) {
    let mut steps = Vec::new();
    if let Some(key) = &preset.key {
        steps.push(format!(
            "`countersign keygen {}` makes {}; {}.",
            preset.name, key.private, key.next
        ));
    }
    steps.push(format!(
        "Write a value in place of each {BLANK}. Secrets go into files that only you may read (chmod 600)."
    ));
    steps.push("`countersign check` finds what is wrong with the file, `countersign check --online` what is wrong beyond it.".into());
    let path = preset.guide().probe.as_deref().unwrap_or("/");
    steps.push(format!(
        "`countersign` runs the proxy: curl http://127.0.0.1:8080/{name}{path}"
    ));
    comment(out, "Next:");
    for (number, step) in steps.iter().enumerate() {
        wrapped(out, &format!("{}. {step}", number + 1), "#   ");
    }
}

fn placeholder(preset: &Preset, input: &Input) -> String {
    match input.kind {
        InputKind::Text | InputKind::Label => quoted(BLANK),
        InputKind::Url => quoted(&format!("https://{BLANK}.example")),
        // A text in its place, so that it cannot be overlooked.
        InputKind::Integer => format!("{}  # a number", quoted(BLANK)),
        InputKind::Texts => format!("[{}]", quoted(BLANK)),
        InputKind::Duration => quoted("30s"),
        InputKind::Secret => {
            let key = preset.key.as_ref().filter(|_| input.name == "key");
            let file = key.map_or_else(
                || format!("secrets/{}-{}", preset.name, input.name),
                |key| key.private.clone(),
            );
            format!("{{ file = {} }}", quoted(&file))
        }
        InputKind::Claims => format!("{{ {BLANK} = \"${{now}}\" }}"),
    }
}

/// A text as comments, a sentence from its first letter on.
fn comment(out: &mut String, text: &str) {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    let text: String = first.into_iter().chain(letters).collect();
    wrapped(out, &text, "#");
}

/// A text as comments of at most 100 characters a line, the second and further ones behind `hang`.
fn wrapped(out: &mut String, text: &str, hang: &str) {
    let mut line = String::from("#");
    let mut length = line.len();
    for word in text.split_whitespace() {
        let next = word.chars().count() + 1;
        if length + next > 100 && length > hang.len() {
            let _ = writeln!(out, "{line}");
            line = hang.to_owned();
            length = line.len();
        }
        line.push(' ');
        line.push_str(word);
        length += next;
    }
    let _ = writeln!(out, "{line}");
}
