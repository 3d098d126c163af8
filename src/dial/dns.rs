//! Asks DNS servers that the operator names (RFC 1035): over UDP, over TCP where an answer does not
//! fit, both families at once, and the next server where one does not answer. Names are taken as they
//! are, with no search list.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, header_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one server is waited for, over UDP and TCP together.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How often all servers are asked before none has the answer: a datagram may get lost.
const ROUNDS: usize = 2;

/// How long the other family is waited for once one has addresses (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// The longest chain of aliases that is followed. Real ones have two or three.
const ALIASES: usize = 8;

/// The largest answer over UDP; none larger is asked for.
const DATAGRAM: usize = 4096;

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its addresses, IPv6 first; one at least.
    pub(super) addresses: Vec<IpAddr>,
    /// How long they may be used; `None` where nobody said it for all of them.
    pub(super) ttl: Option<Duration>,
}

/// Looks up a name's addresses of both families.
///
/// # Errors
///
/// What the servers said, or that none of them answered.
pub(super) async fn look_up(name: &str, servers: &[SocketAddr]) -> io::Result<Found> {
    let (v6, v4) = (
        follow(name, TYPE::AAAA, servers),
        follow(name, TYPE::A, servers),
    );
    tokio::pin!(v6, v4);
    let (v6, v4) = tokio::select! {
        v6 = &mut v6 => match has_addresses(&v6) {
            true => (Some(v6), timeout(RESOLUTION_DELAY, v4).await.ok()),
            false => (Some(v6), Some(v4.await)),
        },
        v4 = &mut v4 => match has_addresses(&v4) {
            true => (timeout(RESOLUTION_DELAY, v6).await.ok(), Some(v4)),
            false => (Some(v6.await), Some(v4)),
        },
    };
    joined(v6, v4)
}

fn has_addresses(answer: &io::Result<Records>) -> bool {
    answer.as_ref().is_ok_and(|it| !it.addresses.is_empty())
}

/// The two families' answers as one; `None` for one that was too late.
fn joined(v6: Option<io::Result<Records>>, v4: Option<io::Result<Records>>) -> io::Result<Found> {
    let mut found = Found {
        addresses: Vec::new(),
        ttl: Some(Duration::MAX),
    };
    let mut failure = None;
    for answer in [v6, v4] {
        match answer {
            Some(Ok(records)) if records.addresses.is_empty() => {}
            Some(Ok(records)) => {
                found.ttl = found.ttl.map(|ttl| ttl.min(records.ttl));
                found.addresses.extend(records.addresses);
            }
            // What is there can be used, and the rest is to be asked for again soon.
            None => found.ttl = None,
            Some(Err(error)) => {
                found.ttl = None;
                failure = Some(error);
            }
        }
    }
    if found.addresses.is_empty() {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
        return Err(failure.unwrap_or_else(none));
    }
    Ok(found)
}

/// The records of one answer that are about the name.
#[derive(Debug)]
struct Records {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    /// The name at the end of the aliases, if the answer leaves it at that.
    alias: Option<String>,
}

/// Asks for a name, and for what it is an alias of where the server leaves that to whoever asks.
async fn follow(name: &str, kind: TYPE, servers: &[SocketAddr]) -> io::Result<Records> {
    let mut records = ask(name, kind, servers).await?;
    for _ in 0..ALIASES {
        let Some(alias) = records.alias.take() else {
            return Ok(records);
        };
        let ttl = records.ttl;
        records = ask(&alias, kind, servers).await?;
        records.ttl = records.ttl.min(ttl);
    }
    Err(io::Error::other("its aliases have no end"))
}

/// Asks one server after the other until one knows.
async fn ask(name: &str, kind: TYPE, servers: &[SocketAddr]) -> io::Result<Records> {
    let mut failure = io::Error::other("there is no server to ask");
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        let said = |text: String| io::Error::other(format!("server {server}: {text}"));
        failure = match timeout(ATTEMPT, exchange(name, kind, *server)).await {
            Ok(Ok(Verdict::Records(records))) => return Ok(records),
            // There is one DNS: the others would say the same.
            Ok(Ok(Verdict::NoSuchName)) => {
                let text = format!("server {server}: there is no such name");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Ok(Ok(Verdict::Failed(code))) => said(format!("{code:?}")),
            Ok(Ok(Verdict::Truncated | Verdict::NotOurs)) => said("nonsense".into()),
            Ok(Err(error)) => said(error.to_string()),
            Err(_) => said(format!("no answer within {ATTEMPT:?}")),
        };
    }
    Err(failure)
}

async fn exchange(name: &str, kind: TYPE, server: SocketAddr) -> io::Result<Verdict> {
    let asked = Asked::new(name, kind)?;
    // A port of its own for each question: who wants to answer in the server's place must guess it.
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&asked.query).await?;
    let mut datagram = [0; DATAGRAM];
    loop {
        let length = socket.recv(&mut datagram).await?;
        match asked.judge(&datagram[..length]) {
            // A late answer to somebody else, or a forged one: ours may still come.
            Verdict::NotOurs => {}
            Verdict::Truncated => return over_tcp(&asked, server).await,
            verdict => return Ok(verdict),
        }
    }
}

/// Messages over TCP have their length in front (RFC 1035 section 4.2.2).
async fn over_tcp(asked: &Asked, server: SocketAddr) -> io::Result<Verdict> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.query.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), asked.query.as_slice()].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(asked.judge(&message))
}

/// What a message means to whoever asked.
#[derive(Debug)]
enum Verdict {
    Records(Records),
    NoSuchName,
    /// The server cannot or will not say.
    Failed(RCODE),
    /// There is more, over TCP.
    Truncated,
    /// It is no answer to this question.
    NotOurs,
}

/// A question on its way.
struct Asked {
    name: String,
    kind: TYPE,
    id: u16,
    query: Vec<u8>,
}

impl Asked {
    fn new(name: &str, kind: TYPE) -> io::Result<Self> {
        let [first, second, ..] = getrandom::u32().map_err(io::Error::other)?.to_ne_bytes();
        let id = u16::from_ne_bytes([first, second]);
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let asked = Name::new(name).map_err(io::Error::other)?;
        let question = Question::new(asked, kind.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        let query = packet.build_bytes_vec().map_err(io::Error::other)?;
        let name = name.to_owned();
        Ok(Self {
            name,
            kind,
            id,
            query,
        })
    }

    fn judge(&self, message: &[u8]) -> Verdict {
        if header_buffer::id(message) != Ok(self.id)
            || header_buffer::has_flags(message, PacketFlag::RESPONSE) != Ok(true)
        {
            return Verdict::NotOurs;
        }
        // Some servers cut in the middle of a record, and the rest could not be read.
        if header_buffer::has_flags(message, PacketFlag::TRUNCATION) == Ok(true) {
            return Verdict::Truncated;
        }
        let (Ok(packet), Ok(name)) = (Packet::parse(message), Name::new(&self.name)) else {
            return Verdict::NotOurs;
        };
        match packet.questions.as_slice() {
            [question] if question.qname == name && question.qtype == self.kind.into() => {}
            _ => return Verdict::NotOurs,
        }
        match packet.rcode() {
            RCODE::NoError => Verdict::Records(self.records(&packet, &name)),
            RCODE::NameError => Verdict::NoSuchName,
            code => Verdict::Failed(code),
        }
    }

    /// The addresses at the end of the aliases. Whatever else stands in the answer is about other
    /// names, which nobody asked for.
    fn records(&self, packet: &Packet<'_>, name: &Name<'_>) -> Records {
        let of = |owner: &Name<'_>| {
            let owner = owner.clone().into_owned();
            let answers = packet.answers.iter();
            answers.filter(move |it| it.class == CLASS::IN && it.name == owner)
        };
        let (mut end, mut ttl) = (name.clone().into_owned(), u32::MAX);
        for _ in 0..ALIASES {
            let alias = of(&end).find_map(|record| match &record.rdata {
                RData::CNAME(alias) => Some((alias.0.clone().into_owned(), record.ttl)),
                _ => None,
            });
            let Some((alias, alias_ttl)) = alias else {
                break;
            };
            (end, ttl) = (alias, ttl.min(alias_ttl));
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for record in of(&end) {
            let address = match (&record.rdata, self.kind) {
                (RData::A(it), TYPE::A) => Ipv4Addr::from(it.address).into(),
                (RData::AAAA(it), TYPE::AAAA) => Ipv6Addr::from(it.address).into(),
                _ => continue,
            };
            addresses.push(address);
            ttl = ttl.min(record.ttl);
        }
        let is_alias_alone = addresses.is_empty() && end != *name;
        Records {
            addresses,
            ttl: Duration::from_secs(ttl.into()),
            alias: is_alias_alone.then(|| end.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    use super::*;

    /// A question and a whole answer to it, with an alias in it.
    fn asked_and_answered() -> (Asked, Vec<u8>) {
        let asked = Asked::new("acme.example", TYPE::A).expect("a name");
        let mut packet = Packet::new_reply(asked.id);
        let name = |text: &'static str| Name::new(text).expect("a name");
        let question = Question::new(
            name("ACME.example"),
            TYPE::A.into(),
            CLASS::IN.into(),
            false,
        );
        packet.questions.push(question);
        let alias = RData::CNAME(CNAME(name("www.acme.example")));
        let address = RData::A(A {
            address: 0x7f00_0001,
        });
        for (owner, ttl, data) in [("acme.example", 9, alias), ("www.acme.example", 7, address)] {
            let record = ResourceRecord::new(name(owner), CLASS::IN, ttl, data);
            packet.answers.push(record);
        }
        let message = packet.build_bytes_vec_compressed().expect("a message");
        (asked, message)
    }

    #[test]
    fn an_answer_holds_for_as_long_as_its_shortest_record() {
        let (asked, message) = asked_and_answered();
        let Verdict::Records(records) = asked.judge(&message) else {
            panic!("an answer");
        };
        assert_eq!(records.addresses, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        assert_eq!(records.ttl, Duration::from_secs(7));
        assert_eq!(records.alias, None);
    }

    #[test]
    fn no_message_makes_it_panic() {
        let (asked, message) = asked_and_answered();
        for length in 0..message.len() {
            let _ = asked.judge(&message[..length]);
        }
        // Behind the head, which has to be right for the rest to be looked at.
        for place in 4..message.len() {
            for byte in 0..=255 {
                let mut message = message.clone();
                message[place] = byte;
                let _ = asked.judge(&message);
            }
        }
    }

    #[test]
    fn what_one_family_has_is_used_while_the_other_fails() {
        let records = |address: IpAddr, ttl| {
            Some(Ok(Records {
                addresses: vec![address],
                ttl: Duration::from_secs(ttl),
                alias: None,
            }))
        };
        let (v6, v4) = (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into());
        let found = joined(records(v6, 60), records(v4, 30)).expect("addresses");
        assert_eq!(found.addresses, [v6, v4]);
        assert_eq!(found.ttl, Some(Duration::from_secs(30)));
        let failure = || Some(Err(io::Error::other("a failure")));
        for bad in [failure(), None] {
            let found = joined(bad, records(v4, 30)).expect("addresses");
            assert_eq!((found.addresses, found.ttl), (vec![v4], None));
        }
        joined(failure(), None).expect_err("nothing at all");
    }
}
