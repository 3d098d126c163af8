//! A crowd of callers that are slow on purpose, in every way that there is, and those beside them.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::leaving::descriptors;
use super::room::cpu_time;
use super::{GET, configuration, takes_little, wait_until};
use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Process, Upstream};

/// What one slow caller may cost in a release build. Two of three hold a connection to the upstream,
/// whose TLS is most of it.
const EACH: usize = 64 * 1024;

/// For how long nothing must have moved.
const SETTLE: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug)]
struct Figures {
    /// How long 99 of 100 requests took at most, of a caller that had the proxy to itself.
    alone: Duration,
    /// The same beside the crowd.
    beside: Duration,
    /// Bytes of memory for each of the crowd.
    each: usize,
    /// From when the crowd was complete until it was gone.
    gone: Duration,
}

/// An upstream that answers at once, or with more than fits into any buffer.
fn upstream() -> Upstream {
    Upstream::with(|conversation| {
        while let Some(head) = conversation.read_head() {
            let is_large = head.starts_with("GET /large");
            if head.starts_with("POST") {
                // The rest of its body never comes.
                while conversation.read_exact(&mut [0]) {}
                return;
            }
            if is_large {
                conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                while conversation.write([b'x'; 8192]) {}
                return;
            }
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx");
        }
    })
}

/// A third of them send a head, byte by byte; a third send a body, and stop; and a third take
/// nothing of their answers.
fn crowd(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let beginnings = [
        "G",
        "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome of it",
        "GET /acme/large HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    let slow = (0..count).map(|number| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        takes_little(&stream);
        let beginning = beginnings[number % beginnings.len()];
        stream.write_all(beginning.as_bytes()).expect("it is taken");
        stream
    });
    slow.collect()
}

/// Asks for so long, one request after the other; gives how long 99 of 100 took at most.
fn p99(caller: &mut Caller, span: Duration, mut between: impl FnMut()) -> Duration {
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < span {
        let asked = Instant::now();
        assert_eq!(caller.write(GET).read().text(), "xx");
        took.push(asked.elapsed());
        between();
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|it| it.starts_with("VmRSS:"));
    let size = line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
    size.map(|it: usize| it * 1024).expect("a size")
}

/// Lets so many slow callers in, whose deadlines are this long.
fn measure(count: usize, deadline: Duration) -> Figures {
    let (upstream, folder) = (upstream(), Folder::new());
    let millis = deadline.as_millis();
    let timeouts = format!(
        "timeouts.head = \"{millis}ms\"\ntimeouts.body = \"{millis}ms\"\ntimeouts.send = \"{millis}ms\""
    );
    folder.write(
        "proxy.toml",
        configuration(&folder, &upstream, &format!("workers = 1\n{timeouts}"), ""),
    );
    let process = Process::start(folder.path(), &[]);
    let (address, id) = (process.address(), process.id());
    let mut healthy = Caller::connect(address);
    let span = Duration::from_millis(1000);
    let alone = p99(&mut healthy, span, || {});
    let (memory, open) = (resident(id), descriptors(id));

    let mut slow = crowd(address, count);
    wait_until("the crowd is inside", || {
        // One of them may have taken over the connection that was there.
        upstream.connections() >= count * 2 / 3
    });
    // All that fits into buffers is in there.
    let mut spent = cpu_time(id);
    wait_until("nothing moves any more", || {
        thread::park_timeout(SETTLE);
        let before = std::mem::replace(&mut spent, cpu_time(id));
        spent - before < Duration::from_millis(30)
    });
    let complete = Instant::now();
    let mut dripping = (0..count).step_by(3).cycle();
    let beside = p99(&mut healthy, span, || {
        // As fast as the healthy one is answered, one of the crowd sends one more byte of a head.
        let _ = slow[dripping.next().expect("for ever")].write_all(b"x");
    });
    let each = resident(id).saturating_sub(memory) / count;
    let both = descriptors(id) - open;
    assert!(both > count, "{both} descriptors: the crowd is not inside");
    wait_until("the crowd is gone", || descriptors(id) <= open + 4);
    Figures {
        alone,
        beside,
        each,
        gone: complete.elapsed(),
    }
}

#[test]
fn slow_callers_cost_little_hold_up_nobody_and_are_gone_in_time() {
    // Deadlines begin while the crowd still gathers, and no caller may be gone before it is complete.
    let deadline = Duration::from_secs(12);
    let figures = measure(150, deadline);
    // Whoever is held up by one of them is held up until its deadline.
    assert!(figures.beside < deadline / 2, "{figures:?}");
    // The development profile's futures are larger, and less is shared among so few.
    assert!(figures.each <= 2 * EACH, "{figures:?}");
    assert!(figures.gone <= deadline + SOON, "{figures:?}");
}

#[test]
#[ignore = "a measurement, of use in a release build alone; run by ./ci.sh --long"]
fn long_a_thousand_slow_callers_at_once_make_nobody_else_wait_twice_as_long() {
    let deadline = Duration::from_secs(15);
    let figures = measure(1000, deadline);
    println!("{figures:?}");
    // What is shorter than this is told apart by nobody.
    let alone = figures.alone.max(Duration::from_millis(1));
    assert!(figures.beside <= 2 * alone, "{figures:?}");
    assert!(figures.each <= EACH, "{figures:?}");
    assert!(
        figures.gone <= deadline + Duration::from_secs(1),
        "{figures:?}"
    );
}
