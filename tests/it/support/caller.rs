//! Callers: blocking sockets that send exactly what a test says and show exactly what comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::canary;

/// No test waits longer than this for a byte.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is done at once is done within this, on a machine where threads wait seconds for their turn.
/// Whatever else would bring it about in the end takes longer in the tests that use this.
pub const SOON: Duration = Duration::from_secs(20);

/// A connection to the proxy.
pub struct Caller<S = TcpStream> {
    reader: BufReader<S>,
}

/// An answer as it came over the wire, its body without chunk framing.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head's lines after the first, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the header of that name, in lower case, if it is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(it, _)| it.eq_ignore_ascii_case(name));
        let value = values.next()?;
        assert!(
            values.next().is_none(),
            "{name} is there twice: {:?}",
            self.headers
        );
        Some(&value.1)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The code of a refusal, with the status and `Proxy-Status` that belong to it.
    pub fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert!(
            self.header("proxy-status")
                .expect("ours")
                .starts_with("countersign")
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().expect("a code").to_owned()
    }
}

impl Caller {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }
}

impl<S: Read + Write> Caller<S> {
    /// Speaks over a connection that a test has made.
    pub fn over(stream: S) -> Self {
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// The socket itself.
    pub fn stream(&self) -> &S {
        self.reader.get_ref()
    }

    /// The socket, of a caller that has read nothing yet.
    pub fn into_stream(self) -> S {
        self.reader.into_inner()
    }

    /// Writes bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.reader
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("the proxy takes bytes");
        self
    }

    /// Reads as many bytes; whether they came.
    pub fn read_exact(&mut self, bytes: &mut [u8]) -> bool {
        self.reader.read_exact(bytes).is_ok()
    }

    /// Reads an answer to a request that was not HEAD.
    pub fn read(&mut self) -> Answer {
        self.read_answer(true).expect("an answer")
    }

    /// Reads an answer to HEAD.
    pub fn read_head(&mut self) -> Answer {
        self.read_answer(false).expect("an answer")
    }

    /// Reads an answer, or the reason why there is none.
    pub fn try_read(&mut self) -> std::io::Result<Answer> {
        self.read_answer(true)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn read_answer(&mut self, has_body: bool) -> std::io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if has_body && !matches!(status, 100..200 | 204 | 304) {
            answer.body = self.read_body(&answer)?;
        }
        canary::answered(&answer);
        Ok(answer)
    }

    fn read_body(&mut self, answer: &Answer) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.line()?;
                let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
                let start = body.len();
                body.resize(start + size, 0);
                self.reader.read_exact(&mut body[start..])?;
                assert_eq!(self.line()?, "", "a chunk ends with its line");
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => {
                body.resize(length.parse().expect("a length"), 0);
                self.reader.read_exact(&mut body)?;
            }
            None => {
                self.reader.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    /// Whether the proxy closes the connection now, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Sends one request on a connection of its own.
pub fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    Caller::connect(address).write(request).read()
}

/// A plain GET.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    )
}
