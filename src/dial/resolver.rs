//! Looks names up on the control thread: one look-up under way for each name, whoever asks. Answers
//! are published to everybody for as long as they hold, so that a name which is known costs a worker
//! no wait.
//!
//! A name that had addresses keeps them for a while when it cannot be looked up any more, for
//! whatever reason (RFC 8767): a server that is away and a zone that is emptied by mistake look
//! alike from here, and an address that is no longer right cannot show the certificate.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::dns::{self, Found};
use super::hosts;

/// How long an answer is used of which nobody knows how long it holds: the system's resolver keeps
/// that to itself.
const UNKNOWN: Duration = Duration::from_secs(5);

/// The bounds of what a server says about that. Below, every connection would ask; above, a move
/// would take too long to be noticed.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// How long the last good answer is used beyond its end while there is no new one.
const STALE: Duration = Duration::from_secs(300);

/// How long a look-up may take before those who wait for it get the last good answer. It goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a failure stands before the name is looked up again.
const FAILED: Duration = Duration::from_millis(500);

type Addresses = Arc<[IpAddr]>;
type Answer = Result<Addresses, String>;

/// What everybody knows: names with their answers, and until when these hold.
type Known = HashMap<String, (Answer, Instant)>;

/// Whom names are asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// DNS servers; without any, the system's resolver is asked.
    pub servers: Vec<SocketAddr>,
}

/// Gives the addresses of names.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Arc<[SocketAddr]>,
    known: Arc<ArcSwap<Known>>,
    queries: mpsc::UnboundedSender<Query>,
}

#[derive(Debug)]
struct Query {
    host: String,
    answer: oneshot::Sender<Answer>,
}

/// The control thread's side. [`Lookups::serve`] answers until every [`Resolver`] is gone.
#[derive(Debug)]
pub struct Lookups {
    servers: Arc<[SocketAddr]>,
    known: Arc<ArcSwap<Known>>,
    queries: mpsc::UnboundedReceiver<Query>,
}

/// Makes the two sides.
#[must_use]
pub fn channel(config: Config) -> (Resolver, Lookups) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let known: Arc<ArcSwap<Known>> = Arc::default();
    let servers: Arc<[SocketAddr]> = config.servers.into();
    let resolver = Resolver {
        servers: Arc::clone(&servers),
        known: Arc::clone(&known),
        queries: sender,
    };
    let lookups = Lookups {
        servers,
        known,
        queries: receiver,
    };
    (resolver, lookups)
}

impl Resolver {
    /// The DNS servers that are asked; the system's resolver is if there are none.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The addresses of a name, in the order of preference.
    ///
    /// # Errors
    ///
    /// What the servers or the system's resolver said.
    pub async fn resolve(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        if let Some((answer, until)) = self.known.load().get(host)
            && Instant::now() < *until
        {
            return answer.clone().map_err(io::Error::other);
        }
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the resolver has stopped");
        let host = host.to_owned();
        let query = Query { host, answer };
        self.queries.send(query).map_err(|_| gone())?;
        let answer = answered.await.map_err(|_| gone())?;
        answer.map_err(io::Error::other)
    }
}

/// What happens on the control thread beside queries.
enum Event {
    /// A look-up has ended.
    Ended(String, io::Result<Found>),
    /// One has been under way for as long as anybody waits.
    Late(String),
}

/// What the control thread alone knows of a name.
#[derive(Default)]
struct Name {
    /// The last good answer, and when it is no longer to be used.
    last: Option<(Addresses, Instant)>,
    waiting: Vec<oneshot::Sender<Answer>>,
    state: State,
    /// Whether the last look-up failed, which is told once.
    is_failing: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Idle,
    Asking,
    /// Asking for longer than anybody waits who can have the last good answer.
    Late,
}

impl Name {
    fn last_good(&self) -> Option<Addresses> {
        let (addresses, until) = self.last.as_ref()?;
        (Instant::now() < *until).then(|| Arc::clone(addresses))
    }

    fn tell(&mut self, answer: &Answer) {
        for waiter in self.waiting.drain(..) {
            // Whoever asked may have given up meanwhile.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl Lookups {
    /// Answers queries.
    pub async fn serve(mut self) {
        let mut names: HashMap<String, Name> = HashMap::new();
        // As many as there are names in the configuration, at most: a resolver that hangs holds so
        // many threads of the system's and no more.
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                query = self.queries.recv() => {
                    let Some(query) = query else { return };
                    self.take(query, &mut names, &mut under_way);
                }
                Some(Ok(event)) = under_way.join_next() => match event {
                    Event::Ended(host, outcome) => {
                        let name = names.entry(host.clone()).or_default();
                        self.end(host, outcome, name);
                    }
                    Event::Late(host) => {
                        let name = names.entry(host).or_default();
                        if name.state == State::Asking && let Some(last) = name.last_good() {
                            name.state = State::Late;
                            name.tell(&Ok(last));
                        }
                    }
                },
            }
        }
    }

    fn take(
        &self,
        Query { host, answer }: Query,
        names: &mut HashMap<String, Name>,
        under_way: &mut JoinSet<Event>,
    ) {
        // Another one's query may have been answered while this one was on its way.
        if let Some((known, until)) = self.known.load().get(&host)
            && Instant::now() < *until
        {
            let _ = answer.send(known.clone());
            return;
        }
        let name = names.entry(host.clone()).or_default();
        match (name.state, name.last_good()) {
            (State::Late, Some(last)) => {
                let _ = answer.send(Ok(last));
            }
            (State::Idle, last) => {
                name.state = State::Asking;
                name.waiting.push(answer);
                under_way.spawn(look_up(host.clone(), Arc::clone(&self.servers)));
                if last.is_some() {
                    under_way.spawn(async {
                        sleep(PATIENCE).await;
                        Event::Late(host)
                    });
                }
            }
            (State::Asking | State::Late, _) => name.waiting.push(answer),
        }
    }

    fn end(&self, host: String, outcome: io::Result<Found>, name: &mut Name) {
        name.state = State::Idle;
        let now = Instant::now();
        let (answer, until) = match outcome {
            Ok(found) => {
                let ttl = found
                    .ttl
                    .map_or(UNKNOWN, |ttl| ttl.clamp(SHORTEST, LONGEST));
                let addresses: Addresses = found.addresses.into();
                if std::mem::take(&mut name.is_failing) {
                    tracing::info!(name = host, "can be looked up again");
                }
                name.last = Some((Arc::clone(&addresses), now + ttl + STALE));
                (Ok(addresses), now + ttl)
            }
            Err(error) => match name.last_good() {
                Some(last) => {
                    if !std::mem::replace(&mut name.is_failing, true) {
                        tracing::warn!(name = host, %error, "cannot be looked up; its last addresses are used for five minutes more");
                    }
                    (Ok(last), now + SHORTEST)
                }
                None => (Err(error.to_string()), now + FAILED),
            },
        };
        name.tell(&answer);
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            known.insert(host.clone(), (answer.clone(), until));
            known
        });
    }
}

async fn look_up(host: String, servers: Arc<[SocketAddr]>) -> Event {
    let outcome = if servers.is_empty() {
        ask_system(&host).await
    } else {
        match hosts::look_up(&host).await {
            own if own.is_empty() => dns::look_up(&host, &servers).await,
            addresses => Ok(Found {
                addresses,
                ttl: None,
            }),
        }
    };
    Event::Ended(host, outcome)
}

/// Asks the system's resolver, on a thread of its own.
async fn ask_system(host: &str) -> io::Result<Found> {
    let found = tokio::net::lookup_host((host, 0)).await?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|it| it.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        let none = "the name has no addresses";
        return Err(io::Error::new(io::ErrorKind::NotFound, none));
    }
    Ok(Found {
        addresses,
        ttl: None,
    })
}
