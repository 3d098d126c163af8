//! What the process asks of the system for itself, and how it is told to end.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app::Running;
use crate::supervisor::{self, State};

/// The exit code of a process that has lost one of its threads to a bug (`EX_SOFTWARE` of
/// sysexits.h).
const BROKEN: u8 = 70;

/// How long after the first a signal is still the same one: nobody types as fast.
const TOGETHER: Duration = Duration::from_millis(100);

/// Takes all the descriptors that the process may have: each request under way needs two.
pub(super) fn prepare() {
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            ..files
        },
    ) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// Waits for SIGTERM or Ctrl-C. `ready` is called once either would be noticed, and says
/// whether there is anything to wait for.
#[cfg(feature = "emulator")]
pub(super) fn wait_for_signal(ready: impl FnOnce() -> bool) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        if !ready() {
            return Ok(());
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Waits for SIGTERM or Ctrl-C, then drains; a second one ends the process at once. SIGHUP has the
/// configuration read again. `ready` is called once signals are noticed: whoever is told that it runs
/// may send one at once.
pub(super) fn run_until_signal(running: Running, ready: impl FnOnce(&Running)) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(format!("cannot wait for signals: {error}")),
    };
    runtime.block_on(async {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::hangup()),
        );
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = signals else {
            return super::fail("cannot wait for signals");
        };
        ready(&running);
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let reload = running.reload().clone();
        tokio::spawn(async move {
            while hang_up.recv().await.is_some() {
                reload.request();
            }
        });
        tokio::select! {
            () = next() => {}
            () = running.broken() => {
                super::fail("a bug has ended one of the threads, and so this process; the log says which");
                return ExitCode::from(BROKEN);
            }
        }
        supervisor::tell(State::Stopping);
        tracing::info!("ending: finishing what is under way; a second signal ends at once");
        let (drained, is_drained) = oneshot::channel();
        thread::spawn(move || {
            running.drain();
            let _ = drained.send(());
        });
        tokio::select! {
            _ = is_drained => {
                tracing::info!("ended");
                ExitCode::SUCCESS
            }
            () = second(next) => super::fail("ended at once by a second signal"),
        }
    })
}

/// Returns at a signal that somebody has sent again. `timeout` and others send theirs to the process
/// and to its group, so that one comes twice.
async fn second(mut next: impl AsyncFnMut()) {
    let same = async {
        loop {
            next().await;
        }
    };
    let _: Result<(), _> = timeout(TOGETHER, same).await;
    next().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_twice_at_once_is_one() {
        let (send, mut signals) = tokio::sync::mpsc::channel(1);
        let next = async || match signals.recv().await {
            Some(()) => {}
            None => std::future::pending().await,
        };
        send.send(()).await.expect("room for one");
        let ended = timeout(2 * TOGETHER, second(next)).await;
        assert!(ended.is_err());
    }
}
