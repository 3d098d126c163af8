//! A little DNS server over UDP and TCP, which says what a test wants it to. It reads and writes
//! messages by hand: a second reading of RFC 1035.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// The server.
pub struct Dns {
    /// Where it listens, for both protocols.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A question that came.
pub struct Question {
    /// The name, in lower case.
    pub name: String,
    /// Whether IPv6 addresses are wanted; IPv4 if not.
    pub v6: bool,
    /// Whether it came over TCP.
    pub tcp: bool,
    id: [u8; 2],
    section: Vec<u8>,
}

/// One record of an answer.
pub enum Record<'a> {
    /// An owner has an address, for so many seconds.
    Address(&'a str, IpAddr, u32),
    /// An owner is another name, for so many seconds.
    Alias(&'a str, &'a str, u32),
}

impl Dns {
    /// Answers each question with some messages, none to say nothing.
    pub fn start(answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets();
        let dns = Self {
            address: udp.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let answer = Arc::new(answer);
        let note = |asked: &Arc<Mutex<Vec<String>>>, question: &Question| {
            let mut asked = asked.lock().expect("no test panics while it holds this");
            asked.push(question.name.clone());
        };
        let (asked, answers) = (Arc::clone(&dns.asked), Arc::clone(&answer));
        thread::spawn(move || {
            let mut datagram = [0; 1024];
            while let Ok((length, from)) = udp.recv_from(&mut datagram) {
                let question = Question::read(&datagram[..length], false);
                note(&asked, &question);
                for message in answers(&question) {
                    let _ = udp.send_to(&message, from);
                }
            }
        });
        let asked = Arc::clone(&dns.asked);
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                let mut message = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut message).expect("a message");
                let question = Question::read(&message, true);
                note(&asked, &question);
                for message in answer(&question) {
                    let length = u16::try_from(message.len()).expect("a short message");
                    let _ = stream.write_all(&length.to_be_bytes());
                    let _ = stream.write_all(&message);
                }
            }
        });
        dns
    }

    /// Says that every name has these addresses, for so many seconds.
    pub fn saying(addresses: &[&str], ttl: u32) -> Self {
        let addresses: Vec<IpAddr> = addresses
            .iter()
            .map(|it| it.parse().expect("an address"))
            .collect();
        Self::start(move |question| vec![question.addresses(&addresses, ttl)])
    }

    /// How many questions came about a name.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self
            .asked
            .lock()
            .expect("no test panics while it holds this");
        asked.iter().filter(|it| *it == name).count()
    }
}

/// Two sockets on one port.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")) {
            return (udp, tcp);
        }
    }
}

impl Question {
    fn read(message: &[u8], tcp: bool) -> Self {
        assert_eq!(message[2] & 0x81, 1, "a query that wants recursion");
        assert_eq!(message[4..6], [0, 1], "one question");
        let mut labels = Vec::new();
        let mut at = 12;
        while message[at] > 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..end]).to_ascii_lowercase());
            at = end;
        }
        let kind = message[at + 2];
        assert!([1, 28].contains(&kind), "A or AAAA");
        Self {
            name: labels.join("."),
            v6: kind == 28,
            tcp,
            id: [message[0], message[1]],
            section: message[12..at + 5].to_vec(),
        }
    }

    /// An answer with those of the addresses that are of the family asked for.
    pub fn addresses(&self, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let name = self.name.clone();
        let records: Vec<_> = addresses
            .iter()
            .map(|it| Record::Address(&name, *it, ttl))
            .collect();
        self.records(&records)
    }

    /// An answer with records, without the addresses of the other family.
    pub fn records(&self, records: &[Record<'_>]) -> Vec<u8> {
        let is_wanted = |record: &&Record<'_>| match record {
            Record::Address(_, address, _) => address.is_ipv6() == self.v6,
            Record::Alias(..) => true,
        };
        let wanted: Vec<_> = records.iter().filter(is_wanted).collect();
        let count = u8::try_from(wanted.len()).expect("few records");
        let mut message = self.head(0x80, 0, count);
        for record in wanted {
            let (owner, kind, ttl, data) = match record {
                Record::Address(owner, IpAddr::V4(it), ttl) => {
                    (owner, 1, ttl, it.octets().to_vec())
                }
                Record::Address(owner, IpAddr::V6(it), ttl) => {
                    (owner, 28, ttl, it.octets().to_vec())
                }
                Record::Alias(owner, name, ttl) => (owner, 5, ttl, encoded(name)),
            };
            message.extend(encoded(owner));
            message.extend([0, kind, 0, 1]);
            message.extend(ttl.to_be_bytes());
            message.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            message.extend(data);
        }
        message
    }

    /// An answer without records: 3 is NXDOMAIN, 2 is SERVFAIL.
    pub fn code(&self, code: u8) -> Vec<u8> {
        self.head(0x80, code, 0)
    }

    /// An answer that says there is more over TCP, cut off in the middle of a record.
    pub fn truncated(&self) -> Vec<u8> {
        let mut message = self.head(0x82, 0, 1);
        message.extend([0xc0, 0x0c, 0]);
        message
    }

    fn head(&self, flags: u8, code: u8, answers: u8) -> Vec<u8> {
        let counts = [0, 1, 0, answers, 0, 0, 0, 0];
        let flags = [flags | 1, 0x80 | code];
        [&self.id[..], &flags, &counts, &self.section].concat()
    }
}

/// A name as labels.
fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| {
        let length = u8::try_from(label.len()).expect("a short label");
        [&[length], label.as_bytes()].concat()
    };
    let labels = name.split('.').flat_map(label);
    labels.chain([0]).collect()
}
