//! PEM as it is found in the wild: wrapped at any width or not at all, with the markers glued to
//! the base64, with `\n` spelled out by a JSON or environment file, amid other text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use zeroize::Zeroizing;

use super::error::KeyError;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// The one private key of a PEM file, decoded.
pub(super) struct Pem {
    pub(super) der: Zeroizing<Vec<u8>>,
    /// The contents of an `EC PARAMETERS` block, which OpenSSL writes in front of the key.
    pub(super) parameters: Option<Zeroizing<Vec<u8>>>,
}

/// Where the first block begins.
pub(super) fn start(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(BEGIN.len())
        .position(|it| it == BEGIN.as_bytes())
}

/// Finds the one private key among the blocks. Certificates and public keys beside it are passed
/// over: many tools write both into one file.
pub(super) fn private_key(text: &str) -> Result<Pem, KeyError> {
    let blocks: Vec<Block<'_>> = Blocks(text).collect();
    let mut keys = blocks.iter().filter(|it| it.label.ends_with("PRIVATE KEY"));
    let Some(key) = keys.next() else {
        return Err(without_private_key(&blocks));
    };
    match keys.count() {
        0 => {}
        more => return Err(KeyError::Several { count: more + 1 }),
    }
    let parameters = blocks.iter().find(|it| it.label == "EC PARAMETERS");
    Ok(Pem {
        der: key.decode()?,
        parameters: parameters.map(Block::decode).transpose()?,
    })
}

/// What to say of a file that has blocks but no private key among them.
fn without_private_key(blocks: &[Block<'_>]) -> KeyError {
    let any = |part: &str| blocks.iter().any(|it| it.label.contains(part));
    if any("PUBLIC KEY") {
        KeyError::PublicKey
    } else if any("CERTIFICATE") {
        KeyError::Certificate
    } else if any("EC PARAMETERS") {
        KeyError::OnlyParameters
    } else {
        KeyError::NotAKey
    }
}

/// Text between a BEGIN and its END.
struct Block<'a> {
    label: &'a str,
    /// `None` where END is missing.
    body: Option<&'a str>,
}

impl Block<'_> {
    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if self.label == "OPENSSH PRIVATE KEY" {
            return Err(KeyError::OpenSsh);
        }
        let body = self.body.ok_or(KeyError::CutOff)?;
        if self.label == "ENCRYPTED PRIVATE KEY" || body.contains("Proc-Type:") {
            return Err(KeyError::Encrypted);
        }
        let base64 = compact(body);
        // Room for everything from the start: growing would leave copies behind.
        let mut der = Zeroizing::new(Vec::with_capacity(base64.len()));
        STANDARD_PAD_INDIFFERENT
            .decode_vec(base64.as_slice(), &mut der)
            .map_err(|_| KeyError::Base64)?;
        Ok(der)
    }
}

/// The base64 without white space, be it real or spelled out as `\n`, `\r` or `\t`.
fn compact(body: &str) -> Zeroizing<Vec<u8>> {
    let mut compact = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut bytes = body.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let escape = byte == b'\\' && bytes.next_if(|it| b"nrt".contains(it)).is_some();
        if !escape && !byte.is_ascii_whitespace() {
            compact.push(byte);
        }
    }
    compact
}

/// The blocks of a text, in order.
struct Blocks<'a>(&'a str);

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let (_, after_begin) = self.0.split_once(BEGIN)?;
        let Some((label, rest)) = after_begin.split_once(DASHES) else {
            // Cut off within the marker itself.
            self.0 = "";
            return Some(Block {
                label: after_begin.trim_end(),
                body: None,
            });
        };
        let end = format!("-----END {label}-----");
        let (body, rest) = match rest.split_once(&end) {
            Some((body, rest)) => (Some(body), rest),
            None => (None, rest),
        };
        self.0 = rest;
        Some(Block { label, body })
    }
}

/// `der` as PEM, wrapped at 64 columns as RFC 7468, section 2, has it.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    const COLUMNS: usize = 64;
    let base64 = Zeroizing::new(STANDARD_PAD_INDIFFERENT.encode(der));
    let lines = base64.len().div_ceil(COLUMNS);
    let mut pem = Zeroizing::new(String::with_capacity(
        base64.len() + lines + 2 * label.len() + 40,
    ));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
