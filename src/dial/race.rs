//! Several addresses of one name: IPv6 and IPv4 in turns, each a little after the last, and the first
//! that connects wins (RFC 8305). A dead address among living ones costs a moment, not a timeout.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long an attempt is alone before the next one starts beside it: the default of RFC 8305
/// section 8.
const ATTEMPT: Duration = Duration::from_millis(250);

/// The addresses that were tried, each with what came of it.
#[derive(Debug, Default)]
pub struct Tried(Vec<(SocketAddr, Option<io::Error>)>);

impl Tried {
    /// Whether an address had not answered when the time was up.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.iter().any(|(_, error)| error.is_none())
    }

    /// Whether the fault is on this side: no local port or no descriptor was free. An IPv6 address
    /// alone proves nothing, for a machine without IPv6 says the same.
    #[must_use]
    pub fn is_exhaustion(&self) -> bool {
        let is_alone = self.0.len() == 1;
        self.0.iter().any(|(address, error)| match error {
            Some(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                address.is_ipv4() || is_alone
            }
            Some(error) => is_out_of_descriptors(error),
            None => false,
        })
    }

    /// What the addresses said.
    pub fn iter(&self) -> impl Iterator<Item = &(SocketAddr, Option<io::Error>)> {
        self.0.iter()
    }

    /// One address that did not answer.
    #[must_use]
    pub fn in_vain(address: SocketAddr) -> Self {
        Self(vec![(address, None)])
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let out = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let code = error.raw_os_error();
    out.iter().any(|it| Some(it.raw_os_error()) == code)
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address of it was tried to the end");
        }
        for (place, (address, error)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "; " };
            match error {
                Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let port = address.port();
                    write!(
                        f,
                        "{comma}{address}: {error} (this process may connect to the ports alone that it knew at its start: port {port} belongs into `[confine] ports`, or a firewall of this machine refuses it)"
                    )?;
                }
                Some(error) => write!(f, "{comma}{address}: {error}")?,
                None => write!(f, "{comma}{address}: no answer")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Tried {}

/// Connects to whichever address answers first.
///
/// # Errors
///
/// All that were tried, if none answered before the deadline.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Tried> {
    race(&in_turns(addresses), ATTEMPT, deadline, TcpStream::connect).await
}

/// The addresses with their families in turns, beginning with the one that was preferred.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let is_preferred = |it: &&SocketAddr| it.is_ipv6() == begins_with_v6;
    let (preferred, others): (Vec<&SocketAddr>, Vec<_>) = addresses.iter().partition(is_preferred);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(preferred.next().copied());
        turns.extend(others.next().copied());
    }
    turns
}

async fn race<T, F>(
    addresses: &[SocketAddr],
    attempt: Duration,
    deadline: Instant,
    open: impl Fn(SocketAddr) -> F,
) -> Result<T, Tried>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter().copied();
    let mut under_way: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failed = Vec::new();
    loop {
        match waiting.next() {
            Some(address) => under_way.push((address, Box::pin(open(address)))),
            None if under_way.is_empty() => return Err(Tried(failed)),
            None => {}
        }
        let next = match waiting.len() {
            0 => deadline,
            _ => deadline.min(Instant::now() + attempt),
        };
        match timeout_at(next, first(&mut under_way)).await {
            Ok((_, Ok(opened))) => return Ok(opened),
            // Who says no makes room for the next one at once.
            Ok((address, Err(error))) => failed.push((address, Some(error))),
            Err(_) if Instant::now() >= deadline => {
                let silent = under_way.into_iter().map(|(address, _)| address);
                failed.extend(silent.chain(waiting).map(|address| (address, None)));
                return Err(Tried(failed));
            }
            Err(_) => {}
        }
    }
}

/// The attempt that ends first, taken out of those that are under way.
async fn first<T, F: Future<Output = io::Result<T>>>(
    under_way: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
) -> (SocketAddr, io::Result<T>) {
    let (place, outcome) = std::future::poll_fn(|context| {
        for (place, (_, attempt)) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = attempt.as_mut().poll(context) {
                return Poll::Ready((place, outcome));
            }
        }
        Poll::Pending
    })
    .await;
    (under_way.remove(place).0, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("an address");
        texts.iter().map(parse).collect()
    }

    const SILENT: &str = "192.0.2.1:443";
    const SILENT_TOO: &str = "[2001:db8::1]:443";
    /// How long an attempt is alone in these tests.
    const SOON: Duration = Duration::from_millis(20);
    const REFUSES: &str = "192.0.2.2:443";
    const ANSWERS: &str = "192.0.2.3:443";

    /// What a network with these addresses does, and how long it took.
    async fn raced(texts: &[&str], patience: Duration) -> (Result<SocketAddr, Tried>, Duration) {
        raced_by(texts, SOON, patience).await
    }

    async fn raced_by(
        texts: &[&str],
        attempt: Duration,
        patience: Duration,
    ) -> (Result<SocketAddr, Tried>, Duration) {
        let begin = Instant::now();
        let open = async |address: SocketAddr| match address.to_string().as_str() {
            REFUSES => Err(io::ErrorKind::ConnectionRefused.into()),
            ANSWERS => Ok(address),
            _ => std::future::pending().await,
        };
        let outcome = race(&addresses(texts), attempt, begin + patience, open).await;
        (outcome, begin.elapsed())
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(in_turns(&given), turns);
        let given = addresses(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(in_turns(&given), given);
    }

    #[tokio::test]
    async fn a_silent_address_costs_a_moment() {
        let patience = Duration::from_secs(60);
        let (outcome, took) = raced(&[SILENT, ANSWERS], patience).await;
        assert_eq!(outcome.expect("one answers").to_string(), ANSWERS);
        assert!(took >= SOON && took < patience, "{took:?}");
        let (outcome, took) = raced_by(&[REFUSES, REFUSES, ANSWERS], patience, patience).await;
        outcome.expect("one answers");
        assert!(took < patience, "a refusal costs nothing: {took:?}");
        let (outcome, took) = raced(&[SILENT, REFUSES, SILENT_TOO, ANSWERS], patience).await;
        assert_eq!(outcome.expect("one answers").to_string(), ANSWERS);
        assert!(took >= 2 * SOON && took < patience, "{took:?}");
    }

    #[tokio::test]
    async fn all_share_one_deadline() {
        // Long enough for all attempts to have begun.
        let patience = Duration::from_secs(3);
        let (outcome, took) = raced(&[SILENT, REFUSES, SILENT_TOO], patience).await;
        let tried = outcome.expect_err("none answers");
        assert!(tried.is_late());
        assert!(took >= patience, "{took:?}");
        assert_eq!(
            tried.to_string(),
            "192.0.2.2:443: connection refused; 192.0.2.1:443: no answer; [2001:db8::1]:443: no answer"
        );
    }

    #[test]
    fn a_lack_of_local_ports_is_no_fault_of_the_other_side() {
        let failed = |text: &str, kind: io::ErrorKind| {
            (
                text.parse().expect("an address"),
                Some(io::Error::from(kind)),
            )
        };
        let none_free = io::ErrorKind::AddrNotAvailable;
        assert!(Tried(vec![failed(ANSWERS, none_free)]).is_exhaustion());
        let no_v6 = Tried(vec![
            failed(SILENT_TOO, none_free),
            failed(REFUSES, io::ErrorKind::ConnectionRefused),
        ]);
        assert!(!no_v6.is_exhaustion());
        let mut many = Tried::in_vain(ANSWERS.parse().expect("an address"));
        assert!(!many.is_exhaustion());
        many.0[0].1 = Some(rustix::io::Errno::MFILE.into());
        assert!(many.is_exhaustion());
    }
}
