use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

/// A folder in the system's one for such, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("countersign-confine-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, "content").expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `test` on a thread that is confined, which no other test notices. Where the kernel has too
/// little of Landlock there is only that to see.
fn confined(needs: Needs, least: i32, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let held = landlock::restrict(&needs).expect("it is asked for correctly");
        if held.version >= least {
            test();
        } else {
            assert!(held.missing().is_some());
            eprintln!("not tested: {}", held.describe(&needs));
        }
    });
    thread.join().expect("no test in it failed");
}

fn is_denied<T>(tried: std::io::Result<T>) -> bool {
    tried.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn files_are_read_where_the_configuration_has_some_and_nowhere_else() {
    let scratch = Scratch::new();
    let (inside, outside) = (scratch.file("a/inside"), scratch.file("b/outside"));
    let mut needs = Needs::default();
    needs.read_beside(&inside);
    confined(needs, 1, move || {
        assert!(File::open(&inside).is_ok());
        assert!(File::open("/etc/hosts").is_ok());
        assert!(is_denied(File::open(&outside)));
        assert!(is_denied(fs::write(&inside, "changed")));
        assert!(is_denied(fs::write(inside.with_file_name("new"), "made")));
        assert!(is_denied(
            Command::new("/bin/sh").arg("-c").arg(":").status()
        ));
        drop(scratch);
    });
}

#[test]
fn a_file_that_is_renamed_over_another_or_linked_elsewhere_is_read() {
    let scratch = Scratch::new();
    let real = scratch.file("versions/1/key");
    let link = scratch.0.join("current");
    fs::create_dir(&link).expect("a folder");
    let link = link.join("key");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let mut needs = Needs::default();
    needs.read_beside(&link);
    let (renamed, is_renamed) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        landlock::restrict(&needs).expect("it is asked for correctly");
        is_renamed.recv().expect("it is");
        File::open(&link).is_ok()
    });
    // By another process, as a rule; here by a thread that is not confined.
    let new = scratch.file("versions/1/new");
    fs::rename(new, real).expect("renamed");
    renamed.send(()).expect("it waits");
    assert!(thread.join().expect("a thread"));
}

#[test]
fn sockets_are_made_and_removed_where_they_are_to_be() {
    let scratch = Scratch::new();
    let (inside, outside) = (scratch.file("a/file"), scratch.file("b/file"));
    let needs = Needs {
        write: [inside.parent().expect("a folder").to_owned()].into(),
        ..Needs::default()
    };
    confined(needs, 1, move || {
        let socket = inside.with_file_name("socket");
        assert!(UnixListener::bind(&socket).is_ok());
        assert!(fs::remove_file(&socket).is_ok());
        assert!(is_denied(UnixListener::bind(
            outside.with_file_name("socket")
        )));
        assert!(is_denied(fs::write(inside.with_file_name("new"), "made")));
        drop(scratch);
    });
}

#[test]
fn connections_go_to_ports_in_use_and_to_no_other() {
    let used = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let other = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = |socket: &TcpListener| socket.local_addr().expect("an address");
    let needs = Needs {
        connect: [address(&used).port()].into(),
        bind: Some([address(&used).port()].into()),
        ..Needs::default()
    };
    confined(needs, 4, move || {
        assert!(TcpStream::connect(address(&used)).is_ok());
        assert!(is_denied(TcpStream::connect(address(&other))));
        assert!(is_denied(TcpListener::bind("127.0.0.1:0")));
        let again = TcpListener::bind(address(&used)).map(drop);
        assert!(again.is_err_and(|error| error.kind() == ErrorKind::AddrInUse));
    });
}

#[test]
fn any_port_is_listened_on_where_the_system_picks_one() {
    let needs = Needs::default();
    confined(needs, 4, || {
        assert!(TcpListener::bind("127.0.0.1:0").is_ok());
    });
}

fn in_force(config: &Config) -> InForce {
    InForce {
        config: config.clone(),
        held: Held::of(7),
    }
}

#[test]
fn another_configuration_may_need_less_and_not_more() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.file(name).parent().expect("a folder").to_owned();
    let config = Config {
        needs: Needs {
            read: [path("a/file")].into(),
            write: [path("run/file")].into(),
            keep: [path("kept/file")].into(),
            connect: [443, 8443].into(),
            bind: Some([8080].into()),
            ..Needs::default()
        },
        ..Config::default()
    };
    let now = in_force(&config);
    let asked = |change: &dyn Fn(&mut Config)| {
        let mut asked = config.clone();
        change(&mut asked);
        now.allows(&asked).map_err(|error| error.to_string())
    };
    assert_eq!(asked(&|_| ()), Ok(()));
    assert_eq!(
        asked(&|it| it.needs = Needs {
            bind: Some([].into()),
            ..Needs::default()
        }),
        Ok(())
    );
    assert_eq!(
        asked(&|it| it.needs.read = [path("a/deeper/file")].into()),
        Ok(())
    );
    let refused = |change: &dyn Fn(&mut Config), what: &str| {
        let said = asked(change).expect_err(what);
        assert!(
            said.contains(what) && said.contains("restart needed"),
            "{said}"
        );
    };
    refused(&|it| it.landlock = Landlock::Off, "settings in [confine]");
    refused(&|it| it.dumpable = true, "settings in [confine]");
    refused(&|it| it.runs_programs = true, "a `command`");
    refused(
        &|it| it.needs.read = [path("b/file")].into(),
        "a file is read below",
    );
    refused(
        &|it| it.needs.write = [path("a/file")].into(),
        "a socket is made in",
    );
    refused(
        &|it| it.needs.keep = [path("a/file")].into(),
        "files are kept in",
    );
    refused(
        &|it| it.needs.connect = [444].into(),
        "port 444 is connected to",
    );
    refused(
        &|it| it.needs.bind = Some([8081].into()),
        "port 8081 is listened on",
    );
    refused(&|it| it.needs.bind = None, "a port that the system picks");

    let all = asked(&|it| {
        it.needs.connect = [444, 445].into();
        it.needs.bind = Some([8081].into());
        it.needs.note(Need::Connect(445), &"proxy.toml:7:1");
    });
    let all = all.expect_err("three things");
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(
        all.contains("\nproxy.toml:7:1: port 445 is connected to"),
        "{all}"
    );
}

#[test]
fn what_a_kernel_does_not_hold_is_said_and_not_asked_for() {
    let config = Config {
        needs: Needs {
            connect: [443].into(),
            bind: Some([].into()),
            ..Needs::default()
        },
        ..Config::default()
    };
    let said = |version| Held::of(version).describe(&config.needs);
    assert_eq!(said(0), "not confined: this kernel has no Landlock");
    assert!(said(3).ends_with("; this kernel's Landlock (version 3) knows no ports"));
    assert!(!said(3).contains("443"));
    assert!(said(7).ends_with("connects to port 443, listens on no port"));
    let old = InForce {
        config: config.clone(),
        held: Held::of(3),
    };
    let mut more = config;
    more.needs.connect.insert(444);
    assert_eq!(old.allows(&more), Ok(()));
}
