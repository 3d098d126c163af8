//! Looks names up on the control thread: one look-up under way for each name, whoever asks.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long an answer is used again. The system's resolver keeps the record's own lifetime to
/// itself; a name that moves is found within this time.
const KEEP: Duration = Duration::from_secs(5);

type Answer = Result<Arc<[SocketAddr]>, String>;
type Key = (String, u16);

/// Asks the control thread for addresses.
#[derive(Clone, Debug)]
pub struct Resolver {
    queries: mpsc::UnboundedSender<Query>,
}

#[derive(Debug)]
struct Query {
    key: Key,
    answer: oneshot::Sender<Answer>,
}

/// The control thread's side. [`Lookups::serve`] answers until every [`Resolver`] is gone.
#[derive(Debug)]
pub struct Lookups {
    queries: mpsc::UnboundedReceiver<Query>,
}

/// Makes the two sides.
#[must_use]
pub fn channel() -> (Resolver, Lookups) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Resolver { queries: sender }, Lookups { queries: receiver })
}

impl Resolver {
    /// The addresses of a name, in the resolver's order.
    ///
    /// # Errors
    ///
    /// What the system's resolver said.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the resolver has stopped");
        let query = Query {
            key: (host.to_owned(), port),
            answer,
        };
        self.queries.send(query).map_err(|_| gone())?;
        answered
            .await
            .map_err(|_| gone())?
            .map_err(io::Error::other)
    }
}

impl Lookups {
    /// Answers queries.
    pub async fn serve(mut self) {
        let mut known: HashMap<Key, (Arc<[SocketAddr]>, Instant)> = HashMap::new();
        let mut waiting: HashMap<Key, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                query = self.queries.recv() => {
                    let Some(Query { key, answer }) = query else { return };
                    match known.get(&key) {
                        Some((addresses, until)) if Instant::now() < *until => {
                            // Whoever asked may have given up meanwhile.
                            let _ = answer.send(Ok(Arc::clone(addresses)));
                        }
                        _ => {
                            let waiters = waiting.entry(key.clone()).or_default();
                            if waiters.is_empty() {
                                under_way.spawn(look_up(key));
                            }
                            waiters.push(answer);
                        }
                    }
                }
                Some(Ok((key, answer))) = under_way.join_next() => {
                    if let Ok(addresses) = &answer {
                        known.insert(key.clone(), (Arc::clone(addresses), Instant::now() + KEEP));
                    }
                    for waiter in waiting.remove(&key).unwrap_or_default() {
                        let _ = waiter.send(answer.clone());
                    }
                }
            }
        }
    }
}

async fn look_up(key: Key) -> (Key, Answer) {
    let answer = match tokio::net::lookup_host((key.0.as_str(), key.1)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(error.to_string()),
    };
    (key, answer)
}
