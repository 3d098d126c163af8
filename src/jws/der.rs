//! As much of DER (X.690) as keys need: reading the members of a SEQUENCE, and writing one.

use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// The explicit tags `[0]` and `[1]`.
pub(super) const EXPLICIT_0: u8 = 0xa0;
pub(super) const EXPLICIT_1: u8 = 0xa1;
/// The implicit tag `[1]` on a primitive type.
pub(super) const IMPLICIT_1: u8 = 0x81;

/// One element: a tag and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
}

/// The members of the one SEQUENCE that `der` is, or `None` where it is anything else.
pub(super) fn sequence(der: &[u8]) -> Option<Vec<Element<'_>>> {
    match elements(der)?.as_slice() {
        [
            Element {
                tag: SEQUENCE,
                value,
            },
        ] => elements(value),
        _ => None,
    }
}

/// The elements that `bytes` consist of.
pub(super) fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = element(bytes)?;
        elements.push(element);
        bytes = rest;
    }
    Some(elements)
}

/// The first element of `bytes`, and what follows it.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        // Lengths of up to four bytes: more than any key, and no overflow.
        0x81..=0x84 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            (
                digits
                    .iter()
                    .fold(0, |length, &digit| length << 8 | usize::from(digit)),
                bytes,
            )
        }
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    Some((Element { tag, value }, rest))
}

/// The contents of a BIT STRING of whole bytes.
pub(super) fn whole_bytes(bit_string: &[u8]) -> Option<&[u8]> {
    bit_string.strip_prefix(&[0])
}

/// An element with this tag that holds the parts one after the other.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let digits = digits
        .iter()
        .position(|&digit| digit != 0)
        .map_or(&[][..], |it| &digits[it..]);
    let mut der = Zeroizing::new(Vec::with_capacity(length + 10));
    der.push(tag);
    match digits {
        [] => der.push(0),
        [short @ 0..=0x7f] => der.push(*short),
        long => {
            // A usize has eight bytes at most, so this is one of 0x81 to 0x88.
            der.push(0x80 + u8::try_from(long.len()).expect("a length has at most 8 bytes"));
            der.extend_from_slice(long);
        }
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}
