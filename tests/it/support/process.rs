//! The built program as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use super::caller::PATIENCE;
use super::canary;

/// The program at work; killed when it is dropped.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the program with these arguments in a folder.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(folder: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(folder);
        Self::spawn(command)
    }

    /// Starts the program the way that this command does.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::run(command)
    }

    /// The same, with what the command has on its standard input.
    pub fn run(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let readers = vec![
            follow(out, Arc::clone(&said)),
            follow(err, Arc::clone(&said)),
        ];
        Self {
            child,
            said,
            readers,
        }
    }

    /// All that it has said so far, on both of its outputs.
    pub fn said(&self) -> String {
        self.said
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// Waits until it has said this, and gives all that it has said.
    pub fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let said = self.said();
            if said.contains(text) {
                return said;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        panic!("it did not say {text:?}, but:\n{}", self.said());
    }

    /// The address that it says it listens on.
    pub fn address(&self) -> SocketAddr {
        let said = self.wait_for("listening on http://");
        let (_, rest) = said.split_once("listening on http://").expect("just seen");
        let end = rest.find(' ').expect("a word");
        rest[..end].parse().expect("an address")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until it ends; gives its status and all that it said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                for reader in self.readers.drain(..) {
                    reader.join().expect("a reader");
                }
                return (status, self.said());
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end; it said:\n{}",
                self.said()
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("no test panics while it holds this");
            canary::output(&line);
            said.push_str(&line);
            said.push('\n');
        }
    })
}
