//! What `countersign serve` denies itself, and others about itself.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use crate::support::caller::PATIENCE;
use crate::support::{Folder, Process, Upstream, acme, get};

/// A user that no test belongs to.
const NOBODY: u32 = 65534;

fn configured(upstream: &Upstream, confine: &str) -> Folder {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write("proxy.toml", format!("{confine}\n{text}"));
    folder
}

fn serve(folder: &Folder) -> Process {
    Process::start(folder.path(), &[])
}

/// A line of a file in `/proc`, about a process.
fn line(process: &Process, file: &str, name: &str) -> String {
    let path = format!("/proc/{}/{file}", process.id());
    let text = fs::read_to_string(path).expect("everybody may read it");
    let line = text.lines().find(|it| it.starts_with(name));
    line.unwrap_or_default().to_owned()
}

/// A process that has been allowed the largest core file that there is.
fn with_cores(folder: &Folder, program: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c $(ulimit -H -c); exec $0", program])
        .current_dir(folder.path());
    command
}

#[test]
fn a_process_that_aborts_leaves_no_core_file() {
    let upstream = Upstream::saying("");
    let program = env!("CARGO_BIN_EXE_countersign");
    let aborted = |confine: &str| {
        let folder = configured(&upstream, confine);
        let process = Process::spawn(with_cores(&folder, program));
        process.address();
        let limit = line(&process, "limits", "Max core file size");
        process.signal("ABRT");
        let (status, _) = process.wait();
        assert_eq!(status.signal(), Some(6));
        (status.core_dumped(), limit)
    };
    let (has_core, limit) = aborted("");
    assert!(!has_core);
    let soft = limit.split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{limit}");

    // Whether this machine makes any is its own affair; whether debugging gets them is not.
    let folder = Folder::new();
    let shell = with_cores(&folder, "sh")
        .args(["-c", "kill -ABRT $$"])
        .status();
    let makes_cores = shell.expect("a shell").core_dumped();
    let (has_core, _) = aborted("confine.dumpable = true");
    assert_eq!(has_core, makes_cores);
}

/// Starts the program as somebody who is not root: root may read everything anyway.
fn as_somebody(folder: &Folder) -> Process {
    if !is_root() {
        return serve(folder);
    }
    let program = folder.path().join("countersign");
    fs::copy(env!("CARGO_BIN_EXE_countersign"), &program).expect("a copy");
    for entry in fs::read_dir(folder.path()).expect("a folder").flatten() {
        chown(entry.path(), Some(NOBODY), None).expect("root may");
    }
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY).current_dir(folder.path());
    Process::spawn(command)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether another process of its user may open a file about it.
fn may_open(process: &Process, file: &str) -> bool {
    let mut command = Command::new("sh");
    let path = format!("/proc/{}/{file}", process.id());
    command.args(["-c", ": < \"$0\"", &path]);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("a shell").status.success()
}

#[test]
fn other_processes_of_its_user_see_neither_its_memory_nor_its_environment() {
    let upstream = Upstream::saying("");
    let folder = configured(&upstream, "");
    let process = as_somebody(&folder);
    assert_eq!(get(process.address(), "/acme").status, 200);
    for file in ["mem", "environ", "maps"] {
        assert!(!may_open(&process, file), "{file}");
    }
    let folder = configured(&upstream, "confine.dumpable = true");
    let process = as_somebody(&folder);
    process.address();
    assert!(may_open(&process, "environ"), "it was asked to be open");
}

#[test]
fn it_gains_no_rights_and_says_what_it_denied_itself() {
    let upstream = Upstream::saying("");
    let folder = configured(&upstream, "");
    let process = serve(&folder);
    let said = process.wait_for("/acme goes to");
    assert_eq!(line(&process, "status", "NoNewPrivs"), "NoNewPrivs:\t1");
    if has_landlock(&said) {
        let port = upstream.address.port();
        assert!(said.contains(&format!("connects to port {port}")), "{said}");
        // Keys, authorities and the configuration are in there, by two names of it.
        let (path, line) = (folder.path().display().to_string(), "confined by Landlock");
        let line = said
            .lines()
            .find(|it| it.contains(line))
            .expect("just seen");
        assert_eq!(line.matches(&path).count(), 1, "{line}");
        assert!(
            line.contains(&format!("reads below {path} and")) || line.contains("/proc"),
            "{line}"
        );
        assert!(!line.contains(", ."), "{line}");
    }
}

/// Whether the kernel here has it, as the program says that it has or has not.
fn has_landlock(said: &str) -> bool {
    let has = said.contains("confined by Landlock");
    assert!(
        has || said.contains("not confined: this kernel has no Landlock"),
        "{said}"
    );
    has
}

#[test]
fn a_file_outside_of_its_folders_is_out_of_its_reach_once_it_runs() {
    let upstream = Upstream::saying("");
    let (folder, elsewhere) = (configured(&upstream, ""), Folder::new());
    elsewhere.write_key("key.pem");
    let process = serve(&folder);
    let said = process.wait_for("has a token");
    let link = |to: &Path| {
        symlink(to, folder.path().join("link")).expect("a link");
        fs::rename(folder.path().join("link"), folder.path().join("key.pem")).expect("renamed");
    };
    link(&elsewhere.path().join("key.pem"));
    if has_landlock(&said) {
        process.wait_for("denied itself at its start");
    }
    assert_eq!(
        get(process.address(), "/acme").status,
        200,
        "the key from before stays"
    );
}

#[test]
fn a_reload_that_needs_what_was_denied_changes_nothing_and_says_so() {
    let upstream = Upstream::saying("");
    let folder = configured(&upstream, "");
    let process = serve(&folder);
    let said = process.wait_for("has a token");
    let text = fs::read_to_string(folder.path().join("proxy.toml")).expect("just written");
    let more = r#"
[targets.more]
url = "https://more.example:9"
credential = "none"
[targets.most]
url = "https://most.example:10"
credential = "none"
[admin]
address = "127.0.0.1:11"
"#;
    let both = format!("{text}{more}");
    let line = |name: &str| {
        let (before, _) = both.split_once(name).expect("just written");
        before.lines().count()
    };
    folder.write("proxy.toml", &both);
    process.signal("HUP");
    if has_landlock(&said) {
        for (target, port) in [("targets.more", 9), ("targets.most", 10)] {
            let place = format!("proxy.toml:{}:", line(target));
            let said = process.wait_for(&format!("port {port} is connected to, which the process denied itself at its start: restart needed"));
            let lack = format!("port {port} is connected to");
            let lack = said
                .lines()
                .find(|it| it.contains(&lack))
                .expect("just seen");
            assert!(lack.contains(&place), "{place} in {lack}");
            assert!(
                lack.contains("`ports` in [confine] leaves room for more"),
                "{lack}"
            );
        }
        let pages = format!(
            "proxy.toml:{}:2: a file is read below /proc/self",
            line("admin]")
        );
        process.wait_for(&pages);
        assert_eq!(get(process.address(), "/more").status, 404);
    }
    assert_eq!(get(process.address(), "/acme").status, 200);
}

#[test]
fn a_folder_to_come_can_be_named_before() {
    let upstream = Upstream::saying("");
    let elsewhere = Folder::new();
    elsewhere.write_key("key.pem");
    let more = format!("confine.read = [{:?}]", elsewhere.path());
    let folder = configured(&upstream, &more);
    let process = serve(&folder);
    process.wait_for("has a token");
    get(process.address(), "/acme");
    let before = upstream.request();
    symlink(elsewhere.path().join("key.pem"), folder.path().join("link")).expect("a link");
    fs::rename(folder.path().join("link"), folder.path().join("key.pem")).expect("renamed");
    let start = tokio::time::Instant::now();
    loop {
        get(process.address(), "/acme");
        if upstream.requests().last() != Some(&before) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the new key is not used");
        assert!(
            !process.said().contains("denied itself"),
            "{}",
            process.said()
        );
        std::thread::yield_now();
    }
}

#[test]
fn landlock_can_be_switched_off_or_required() {
    let upstream = Upstream::saying("");
    let folder = configured(&upstream, "confine.landlock = \"off\"");
    let process = serve(&folder);
    process.wait_for("not confined by Landlock: switched off in [confine]");

    let folder = configured(&upstream, "confine.landlock = \"required\"");
    let process = serve(&folder);
    let start = tokio::time::Instant::now();
    let said = loop {
        let said = process.said();
        if said.contains("[confine]") || said.contains("listening on") {
            break said;
        }
        assert!(start.elapsed() < PATIENCE, "{said}");
        std::thread::yield_now();
    };
    match said.contains("listening on") {
        true => assert!(said.contains("confined by Landlock"), "{said}"),
        false => assert_eq!(process.wait().0.code(), Some(1), "{said}"),
    }
}

#[test]
fn a_secret_from_a_command_leaves_the_process_free_and_says_so() {
    let upstream = Upstream::saying("");
    let from_command = |confine: &str| {
        let folder = configured(&upstream, confine);
        let text = fs::read_to_string(folder.path().join("proxy.toml")).expect("just written");
        let command = "{ command = [\"cat\", \"key.pem\"] }";
        folder.write(
            "proxy.toml",
            text.replace("{ file = \"key.pem\" }", command),
        );
        folder
    };
    let folder = from_command("");
    let process = serve(&folder);
    process.wait_for("not confined: a secret comes from a `command`");
    assert_eq!(get(process.address(), "/acme").status, 200);

    let folder = from_command("confine.landlock = \"required\"");
    let (status, said) = serve(&folder).wait();
    assert_eq!(status.code(), Some(78));
    assert!(said.contains("a secret comes from a `command`"), "{said}");
}
