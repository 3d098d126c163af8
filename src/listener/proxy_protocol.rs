//! The PROXY protocol, versions 1 and 2: a load balancer says in front of a connection whose it is
//! (<https://www.haproxy.org/download/3.3/doc/proxy-protocol.txt>, called "the specification" here).
//!
//! A header is read exactly to its end and never guessed at: where it is configured it must be
//! there, and where it is not it is bytes like any other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Version 2 begins with this, which is the beginning of nothing else (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, with its CRLF (section 2.1).
const LONGEST_LINE: usize = 107;

/// The most that is read behind the first 16 bytes of version 2. Addresses take 216 at most; the
/// rest is what senders say of themselves and their TLS, which is skipped.
const LONGEST_BLOCK: usize = 4096;

/// Whose connection it is. Ports are left out: nothing is decided by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The caller's address.
    pub source: IpAddr,
    /// The address that the caller connected to.
    pub destination: IpAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The connection ended or broke in the middle.
    #[error("the connection ended before it")]
    Ended(#[from] io::Error),
    /// What came is something else.
    #[error("{0}")]
    Odd(&'static str),
}

use Malformed::Odd;

/// Reads a header and nothing behind it. `None` where the sender speaks for itself (`LOCAL`) or does
/// not know (`UNKNOWN`, `UNSPEC`), or the caller has no IP address.
///
/// # Errors
///
/// [`Malformed`]; the connection is of no more use then.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Announced>, Malformed> {
    // Less than the shortest header of either version.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(Odd("it begins otherwise"));
    }
    read_line(stream, start).await
}

/// Version 1 says nowhere how long it is: reading more than a byte at a time would read what is
/// behind it.
async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    start: [u8; SIGNATURE.len()],
) -> Result<Option<Announced>, Malformed> {
    let mut line = Vec::with_capacity(LONGEST_LINE);
    line.extend_from_slice(&start);
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(Odd("the line is longer than 107 bytes"));
        }
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    parse_line(str::from_utf8(&line).map_err(|_| Odd("the line is not ASCII"))?)
}

fn parse_line(line: &str) -> Result<Option<Announced>, Malformed> {
    let words: Vec<&str> = line.split(' ').collect();
    let (source, destination, ports) = match words[..] {
        // Whatever else stands there is to be ignored (section 2.1).
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", source, destination, from, to] => (
            ip::<Ipv4Addr>(source)?,
            ip::<Ipv4Addr>(destination)?,
            [from, to],
        ),
        ["PROXY", "TCP6", source, destination, from, to] => (
            ip::<Ipv6Addr>(source)?,
            ip::<Ipv6Addr>(destination)?,
            [from, to],
        ),
        _ => {
            return Err(Odd(
                "the line is not `PROXY`, a protocol, two addresses and two ports",
            ));
        }
    };
    if !ports.iter().all(|port| is_port(port)) {
        return Err(Odd("a port is no number up to 65535"));
    }
    Ok(Some(Announced {
        source,
        destination,
    }))
}

fn ip<T: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    let parsed = text.parse::<T>().map(Into::into);
    parsed.map_err(|_| Odd("an address is none of its protocol"))
}

/// Decimal, without a sign or a zero in front (section 2.1).
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.parse::<u16>().is_ok()
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Announced>, Malformed> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Odd("its version or command is unknown")),
    };
    if length > LONGEST_BLOCK {
        return Err(Odd("it is longer than any header"));
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    if is_local {
        // Of no meaning then, family and addresses alike (section 2.2).
        return Ok(None);
    }
    parse_block(family, &block)
}

/// The family is in the upper four bits, the transport in the lower (section 2.2). Combinations that
/// mean nothing here count as unknown to the sender; values that mean nothing at all are errors.
fn parse_block(family: u8, block: &[u8]) -> Result<Option<Announced>, Malformed> {
    let short = || Odd("its addresses are cut off");
    match family {
        0x11 => {
            let [source, destination] = pair::<4>(block).ok_or_else(short)?;
            Ok(Some(Announced {
                source: source.into(),
                destination: destination.into(),
            }))
        }
        0x21 => {
            let [source, destination] = pair::<16>(block).ok_or_else(short)?;
            Ok(Some(Announced {
                source: source.into(),
                destination: destination.into(),
            }))
        }
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(None),
        _ => Err(Odd("its address family or transport is unknown")),
    }
}

/// Two addresses and, behind them, the two ports that belong to them.
fn pair<const N: usize>(block: &[u8]) -> Option<[[u8; N]; 2]> {
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    (rest.len() >= 4).then_some([*source, *destination])
}

#[cfg(test)]
mod tests;
