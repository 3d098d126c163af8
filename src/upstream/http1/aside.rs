//! An answer that began before its request was whole: a task of its own goes on with both.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::sending::Sending;
use super::{Connection, Reading};
use crate::body::Fault;
use crate::upstream::broken::Broken;

/// How long nothing may move of a request that is answered: nobody counts any other time by then.
const PATIENCE: Duration = Duration::from_secs(30);

type Piece = Result<Frame<Bytes>, Broken>;

/// The answer, piece by piece as it is taken.
#[derive(Debug)]
pub struct Aside {
    pieces: mpsc::Receiver<Given>,
    is_over: bool,
}

/// A piece of the answer, if there is one, and whether that is all of it.
#[derive(Debug)]
struct Given {
    piece: Option<Piece>,
    is_last: bool,
}

impl Aside {
    /// Goes on with both, until both are at their end or nobody wants the rest of the answer.
    pub(super) fn begin<L, B>(
        connection: Box<Connection<L>>,
        sending: Sending<B>,
        reading: Reading,
    ) -> Self
    where
        L: AsyncRead + AsyncWrite + Unpin + 'static,
        B: Body<Data = Bytes, Error = Fault> + Unpin + 'static,
    {
        let (given, pieces) = mpsc::channel(1);
        let is_over = reading.is_over();
        let both = Both {
            connection,
            sending,
            rest: Rest::Sending,
            reading,
        };
        spawn_local(both.go_on(given, PATIENCE));
        Self { pieces, is_over }
    }

    /// Whether all of the answer has been taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// A [`Broken`] in place of the rest of the answer.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let Some(given) = ready!(self.pieces.poll_recv(context)) else {
            // The task has come to no end, or to a bad one.
            return Poll::Ready(Some(Err(Broken::Truncated)));
        };
        self.is_over = given.is_last;
        Poll::Ready(given.piece)
    }
}

/// A request and its answer, both on their way.
struct Both<L, B> {
    connection: Box<Connection<L>>,
    sending: Sending<B>,
    rest: Rest,
    reading: Reading,
}

/// What becomes of the rest of the request.
#[derive(Clone, Copy)]
enum Rest {
    Sending,
    /// It does not come any more, and the other side is told that it waits in vain.
    CutOff,
    /// Nothing is left to do.
    Gone,
}

impl<L, B> Both<L, B>
where
    L: AsyncRead + AsyncWrite + Unpin + 'static,
    B: Body<Data = Bytes, Error = Fault> + Unpin + 'static,
{
    async fn go_on(mut self, given: mpsc::Sender<Given>, patience: Duration) {
        while !self.reading.is_over() {
            let piece = select! {
                biased;
                piece = poll_fn(|context| self.poll_frame(context)) => piece,
                () = given.closed() => return,
            };
            let is_broken = matches!(&piece, Some(Err(_)));
            let is_last = self.reading.is_over();
            let mut giving = pin!(given.send(Given { piece, is_last }));
            let is_taken = poll_fn(|context| {
                self.poll_send(context);
                giving.as_mut().poll(context)
            });
            if is_taken.await.is_err() || is_broken {
                return;
            }
        }
        // The caller may wait until all it has to say is heard.
        let mut timer = pin!(sleep(patience));
        poll_fn(|context| {
            let sent = self.sending.sent();
            if self.poll_send(context) {
                return Poll::Ready(());
            }
            if self.sending.sent() != sent {
                timer.as_mut().reset(Instant::now() + patience);
            }
            timer.as_mut().poll(context)
        })
        .await;
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.poll_send(context);
        self.reading.poll_frame(&mut self.connection, context)
    }

    /// Sends on; gives whether nothing is left to send. What cannot be sent any more is no reason
    /// not to read what was answered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> bool {
        let line = &mut self.connection.line;
        if let Rest::Sending = self.rest
            && let Poll::Ready(sent) = self.sending.poll(line, context)
        {
            self.rest = match sent {
                Err(Broken::Body(_)) => Rest::CutOff,
                Ok(()) | Err(_) => Rest::Gone,
            };
        }
        if let Rest::CutOff = self.rest
            && Pin::new(line).poll_shutdown(context).is_ready()
        {
            self.rest = Rest::Gone;
        }
        matches!(self.rest, Rest::Gone)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header::HeaderValue;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;
    use crate::upstream::http1::head::Extent;

    const SOON: Duration = Duration::from_secs(20);

    /// A request of 64 KiB and an answer of 4 bytes, over a narrow line, and that line's other end.
    fn both() -> (
        Both<DuplexStream, impl Body<Data = Bytes, Error = Fault> + Unpin>,
        DuplexStream,
    ) {
        let (near, far) = duplex(64);
        let request = Request::post("/").header("host", "x").body(());
        let body = Full::from(vec![b'x'; 64 * 1024]).map_err(|_| Fault::BrokeOff);
        let authority = HeaderValue::from_static("x");
        let request = request.expect("a request");
        let both = Both {
            connection: Connection::new(near, false),
            sending: Sending::begin(&request, &authority, body, false, Vec::new()),
            rest: Rest::Sending,
            reading: Reading {
                extent: Extent::Length(4),
            },
        };
        (both, far)
    }

    #[tokio::test]
    async fn a_request_that_nobody_takes_is_given_up_once_it_is_answered() {
        let (both, mut far) = both();
        far.write_all(b"done").await.expect("a line");
        let (given, mut pieces) = mpsc::channel(1);
        let over = timeout(SOON, both.go_on(given, Duration::from_millis(20)));
        over.await.expect("it ends");
        let given = pieces.recv().await.expect("a piece");
        assert!(given.is_last && matches!(given.piece, Some(Ok(_))));
    }

    #[tokio::test]
    async fn an_answer_whose_task_is_lost_is_not_taken_for_a_whole_one() {
        let (given, pieces) = mpsc::channel(1);
        let is_over = false;
        let mut aside = Aside { pieces, is_over };
        drop(given);
        let piece = poll_fn(|context| aside.poll_frame(context)).await;
        assert!(matches!(piece, Some(Err(Broken::Truncated))));
        assert!(!aside.is_over());
    }
}
