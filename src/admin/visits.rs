//! The connections to the admin pages: few, short, and the idle ones make room for the next.
//!
//! A probe that finds no room has its process killed, so that whoever holds connections here must
//! keep nobody else out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::answer::Answer;
use crate::listener::stream::Socket;

/// Connections at once: a few scrapers and a few operators.
const MOST: usize = 32;

/// The largest head of a request.
const HEAD: usize = 16 * 1024;

/// How long a caller may take until the head of its next request is there: a scraper that comes
/// every quarter of a minute opens another connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last in all.
const LIFE: Duration = Duration::from_secs(120);

/// Those that are open, the longest idle first.
#[derive(Default)]
pub(super) struct Visits(Rc<RefCell<VecDeque<Rc<Visit>>>>);

/// One of them.
struct Visit {
    /// Whether a request is being answered.
    is_busy: Cell<bool>,
    /// Ends it when it is gone.
    life: Cell<Option<oneshot::Sender<Infallible>>>,
}

impl Visits {
    /// Serves a connection, in place of another one if there are too many.
    pub(super) fn begin<F>(&self, socket: Socket, answer: impl Fn(Request<Incoming>) -> F + 'static)
    where
        F: Future<Output = Answer> + 'static,
    {
        self.make_room();
        let (life, ended) = oneshot::channel();
        let visit = Rc::new(Visit {
            is_busy: Cell::new(false),
            life: Cell::new(Some(life)),
        });
        self.0.borrow_mut().push_back(Rc::clone(&visit));
        let all = Rc::clone(&self.0);
        spawn_local(async move {
            let conversation = pin!(converse(socket, &visit, &all, answer));
            tokio::select! {
                _ = timeout(LIFE, conversation) => {}
                _ = ended => {}
            }
            all.borrow_mut().retain(|it| !Rc::ptr_eq(it, &visit));
        });
    }

    /// Ends the connection that has been idle for longest, or else the one that has waited longest for
    /// its answer: what it asked for goes on without it.
    fn make_room(&self) {
        let mut all = self.0.borrow_mut();
        if all.len() < MOST {
            return;
        }
        let idle = all.iter().position(|it| !it.is_busy.get());
        if let Some(visit) = all.remove(idle.unwrap_or(0)) {
            drop(visit.life.take());
        }
    }
}

async fn converse<F: Future<Output = Answer>>(
    socket: Socket,
    visit: &Rc<Visit>,
    all: &RefCell<VecDeque<Rc<Visit>>>,
    answer: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        visit.is_busy.set(true);
        let answer = answer(request);
        async {
            let answer = answer.await;
            visit.is_busy.set(false);
            // Among those that are idle, it is the last.
            let mut all = all.borrow_mut();
            if let Some(at) = all.iter().position(|it| Rc::ptr_eq(it, visit)) {
                let visit = all.remove(at).expect("it is there");
                all.push_back(visit);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(socket), service)
        .await
}
