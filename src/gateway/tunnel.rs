//! Two connections that speak something else than HTTP from here on: bytes are passed on both ways
//! and not looked at.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until};

/// How much is held for each direction. Nothing more is read from a side until the other one has
/// taken that.
const BUFFER: usize = 16 * 1024;

/// How a tunnel ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have said all they had to say: so many bytes of the caller's, and of the target's.
    Whole(u64, u64),
    /// A connection broke.
    Broken(io::Error),
    /// Nothing came from either side for too long.
    Idle,
}

/// Passes bytes on until both sides are at their end, one breaks, or nothing has come for `idle`.
/// The end of one direction is passed on and leaves the other one open.
pub(super) async fn connect<A, B>(caller: A, upstream: B, idle: Duration) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let last = Rc::new(Cell::new(Instant::now()));
    let mut caller = Heard::new(caller, &last);
    let mut upstream = Heard::new(upstream, &last);
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut caller, &mut upstream, BUFFER, BUFFER) => {
            match copied {
                Ok((sent, received)) => End::Whole(sent, received),
                Err(error) => End::Broken(error),
            }
        }
        () = silence(&last, idle) => End::Idle,
    }
}

/// Returns when nothing has been heard for so long. One timer for both directions, which is set anew
/// when it goes off and not at each byte.
async fn silence(last: &Cell<Instant>, idle: Duration) {
    loop {
        let end = last.get() + idle;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// Notes when something was last read or written.
struct Heard<S> {
    inner: S,
    last: Rc<Cell<Instant>>,
}

impl<S> Heard<S> {
    fn new(inner: S, last: &Rc<Cell<Instant>>) -> Self {
        Self {
            inner,
            last: Rc::clone(last),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        this.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, bytes))?;
        // A side that takes a large piece slowly is not silent.
        this.last.set(Instant::now());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("a runtime")
            .block_on(test)
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_open() {
        run(async {
            let (mut caller, near) = duplex(64);
            let (far, mut upstream) = duplex(64);
            let tunnel = tokio::task::spawn_local(connect(near, far, Duration::from_secs(5)));
            caller.write_all(b"question").await.expect("written");
            caller.shutdown().await.expect("half closed");
            let mut asked = String::new();
            upstream.read_to_string(&mut asked).await.expect("an end");
            assert_eq!(asked, "question");
            upstream.write_all(b"answer").await.expect("written");
            upstream.shutdown().await.expect("closed");
            let mut told = String::new();
            caller.read_to_string(&mut told).await.expect("an end");
            assert_eq!(told, "answer");
            assert!(matches!(tunnel.await.expect("ended"), End::Whole(8, 6)));
        });
    }

    #[test]
    fn a_tunnel_ends_when_neither_side_is_heard_for_too_long() {
        run(async {
            let (mut caller, near) = duplex(64);
            let (far, mut upstream) = duplex(64);
            let idle = Duration::from_secs(3);
            let tunnel = tokio::task::spawn_local(connect(near, far, idle));
            let began = Instant::now();
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(600)).await;
                caller.write_all(b"x").await.expect("still open");
                upstream.read_u8().await.expect("passed on");
            }
            assert!(matches!(tunnel.await.expect("ended"), End::Idle));
            assert!(began.elapsed() >= Duration::from_millis(4 * 600 + 3000));
        });
    }

    #[test]
    fn no_more_is_read_than_the_other_side_takes() {
        run(async {
            let (mut caller, near) = duplex(64);
            let (far, _upstream) = duplex(64);
            let _tunnel = tokio::task::spawn_local(connect(near, far, Duration::from_secs(3600)));
            let mut taken = 0;
            let flood = async {
                while let Ok(written) = caller.write(&[0; 64]).await {
                    taken += written;
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(100), flood).await;
            assert!(taken <= BUFFER + 64 + 64, "{taken}");
        });
    }
}
