//! An answer that began before its request was whole: a task of its own goes on with both.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::sending::Sending;
use super::{Connection, Reading};
use crate::upstream::broken::Broken;

type Piece = Result<Frame<Bytes>, Broken>;

/// The answer, piece by piece as it is taken.
#[derive(Debug)]
pub(in crate::upstream) struct Aside {
    /// `None` is the answer's end, which may come before the request's.
    pieces: mpsc::Receiver<Option<Piece>>,
    is_over: bool,
}

impl Aside {
    /// Goes on with both, until both are at their end or nobody wants the rest of the answer.
    pub(super) fn begin(connection: Box<Connection>, sending: Sending, reading: Reading) -> Self {
        let (given, pieces) = mpsc::channel(1);
        let both = Both {
            connection,
            sending,
            is_sent: false,
            reading,
        };
        spawn_local(both.go_on(given));
        Self {
            pieces,
            is_over: false,
        }
    }

    /// Whether all of the answer has been taken.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next piece.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Piece>> {
        self.pieces.poll_recv(context).map(|piece| {
            let piece = piece.flatten();
            self.is_over = piece.is_none();
            piece
        })
    }
}

/// A request and its answer, both on their way.
struct Both {
    connection: Box<Connection>,
    sending: Sending,
    is_sent: bool,
    reading: Reading,
}

impl Both {
    async fn go_on(mut self, given: mpsc::Sender<Option<Piece>>) {
        loop {
            let piece = select! {
                biased;
                piece = poll_fn(|context| self.poll_frame(context)) => piece,
                () = given.closed() => return,
            };
            let is_last = !matches!(&piece, Some(Ok(_)));
            let mut giving = pin!(given.send(piece));
            let is_taken = poll_fn(|context| {
                self.poll_send(context);
                giving.as_mut().poll(context)
            });
            match is_taken.await {
                Ok(()) if !is_last => {}
                Ok(()) => break,
                Err(_) => return,
            }
        }
        // The caller may wait until all it has to say is heard.
        poll_fn(|context| match self.poll_send(context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
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
        self.is_sent = self.is_sent
            || self
                .sending
                .poll(&mut self.connection.line, context)
                .is_ready();
        self.is_sent
    }
}
