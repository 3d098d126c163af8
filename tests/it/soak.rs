//! Hours of use, with faults now and then: whatever goes wrong was made to, and nothing piles up.
//!
//! One request in a hundred meets a fault of its target's, and the token endpoint fails one call in
//! four. Who makes a fault writes it down, so that each answer that is not 200 has to have a reason.

mod callers;
mod faults;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use self::callers::Tally;
use self::faults::Faults;
use crate::support::upstream::NAME;
use crate::support::{Folder, Process, Upstream, acme};

/// How long it takes unless `COUNTERSIGN_SOAK` says another number of seconds.
const AN_HOUR: u64 = 3600;

/// How often something changes that requests must not notice.
const CHANGE: Duration = Duration::from_secs(20);

/// What memory may grow by in an hour once it has warmed up, in KiB; and by what measurements that
/// are shorter may be off.
const GROWTH: f64 = 1024.0;
const NOISE: f64 = 1024.0;

/// Two targets: one whose tokens come from an endpoint, and one whose tokens are signed here.
fn configuration(folder: &Folder, target: &Upstream, endpoint: &Upstream, number: u64) -> String {
    let patience = format!(
        "timeouts.first-byte = \"2s\"\ntimeouts.idle = \"{}s\"",
        30 + number % 30
    );
    let text = acme(folder, target.address, &target.ca_pem, &patience);
    let address = "address = \"127.0.0.1:0\"\n";
    let text = text.replace(
        address,
        &format!("{address}protocols = [\"http1\", \"http2\"]\n"),
    );
    format!(
        r#"
workers = 2
{text}
[credentials.api.exchange]
url = "https://{NAME}/token"
connect = "{}"
tls.ca = "endpoint.pem"
client-id = "a-client"
client-secret = {{ file = "secret" }}
client-authentication = "post"

[targets.api]
url = "https://{NAME}"
connect = "{}"
tls.ca = "ca.pem"
{patience}
"#,
        endpoint.address, target.address
    )
}

/// What a process holds, at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    hours: f64,
    /// In KiB.
    memory: f64,
    descriptors: usize,
}

impl Sample {
    fn of(process: u32, start: Instant) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find(|it| it.starts_with("VmRSS:"));
        let memory = line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
        let open = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
        Self {
            hours: start.elapsed().as_secs_f64() / 3600.0,
            memory: memory.expect("a size"),
            descriptors: open.count(),
        }
    }
}

/// By how much memory grows in an hour: the slope of the line that lies closest to all samples.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (hours, memory) = (mean(&|it| it.hours), mean(&|it| it.memory));
    let together = mean(&|it| (it.hours - hours) * (it.memory - memory));
    together / mean(&|it| (it.hours - hours).powi(2))
}

/// Changes the configuration, for better or worse, and the key.
fn change(process: &Process, folder: &Folder, text: &str, number: u64) {
    match number % 3 {
        0 => {
            folder.write_key("key.pem.new");
            let at = |name: &str| folder.path().join(name);
            fs::rename(at("key.pem.new"), at("key.pem")).expect("renamed");
        }
        1 => {
            folder.write("proxy.toml", text);
            process.signal("HUP");
        }
        _ => {
            folder.write("proxy.toml", "nothing = [");
            process.signal("HUP");
        }
    }
}

#[test]
#[ignore = "takes an hour, or the seconds that COUNTERSIGN_SOAK says; run by ./ci.sh --long"]
fn long_soak_nothing_fails_that_was_not_made_to_and_nothing_piles_up() {
    let seconds = std::env::var("COUNTERSIGN_SOAK").ok();
    let seconds = seconds.map_or(AN_HOUR, |it| {
        it.parse().expect("COUNTERSIGN_SOAK in seconds")
    });
    let length = Duration::from_secs(seconds);

    let (faults, folder) = (Arc::new(Faults::default()), Folder::new());
    let (target, endpoint) = (faults::target(&faults), faults::endpoint(&faults));
    folder.write("endpoint.pem", &endpoint.ca_pem);
    folder.write("secret", "what the client knows");
    let text = |number| configuration(&folder, &target, &endpoint, number);
    folder.write("proxy.toml", text(0));
    let process = Process::start(folder.path(), &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let callers = callers::start(process.address(), &stop);

    let start = Instant::now();
    let (mut samples, mut changes) = (Vec::new(), 0);
    while start.elapsed() < length {
        thread::park_timeout(Duration::from_secs(1));
        samples.push(Sample::of(process.id(), start));
        if start.elapsed() > CHANGE * (changes + 1) {
            change(&process, &folder, &text(changes.into()), changes.into());
            changes += 1;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut tally = Tally::default();
    for caller in callers {
        tally.add(caller.join().expect("no caller panics"));
    }

    // All that is made once is made by then.
    let warm = &samples[samples.len() / 4..];
    let (first, last) = (warm[0], warm[warm.len() - 1]);
    let grows = slope(warm);
    let most = |samples: &[Sample]| samples.iter().map(|it| it.descriptors).max();
    let (early, late) = warm.split_at(warm.len() / 2);
    let (early, late) = (most(early).expect("some"), most(late).expect("some"));
    println!(
        "{} s, {changes} changes: {tally}; {faults}; memory {} KiB, after that {} KiB, {grows:+.0} KiB an hour; descriptors {early}, then {late} at most",
        length.as_secs(),
        first.memory,
        last.memory,
    );
    let unexplained = tally.unexplained(&faults);
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(tally.answered > seconds * 50, "hardly anything was asked");
    let hours = last.hours - first.hours;
    assert!(grows * hours <= GROWTH * hours + NOISE, "{samples:?}");
    assert!(late <= early + 8, "descriptors: {early}, then {late}");
}
