use super::*;

/// What is read of the bytes, and how many of them are left.
fn read_all(bytes: &[u8]) -> (Result<Option<Announced>, Malformed>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut rest = bytes;
    let result = runtime.block_on(read(&mut rest));
    (result, rest.len())
}

fn announced(source: &str, destination: &str) -> Announced {
    Announced {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a short block");
    [
        &SIGNATURE[..],
        &[command, family],
        &length.to_be_bytes(),
        block,
    ]
    .concat()
}

const TCP4: [u8; 12] = [192, 168, 0, 1, 192, 168, 0, 11, 0xdc, 0x04, 0x01, 0xbb];

/// Every header that is as it should be, with what it announces.
fn good() -> Vec<(Vec<u8>, Option<Announced>)> {
    let four = Some(announced("192.168.0.1", "192.168.0.11"));
    let six = Some(announced("2001:db8::1", "2001:db8::2"));
    let mut tcp6 = Vec::new();
    tcp6.extend("2001:db8::1".parse::<Ipv6Addr>().expect("one").octets());
    tcp6.extend("2001:db8::2".parse::<Ipv6Addr>().expect("one").octets());
    tcp6.extend([0xdc, 0x04, 0x01, 0xbb]);
    let with_more = [&TCP4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
    vec![
        // The examples of section 2.1.
        (
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".into(),
            four,
        ),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".into(),
            Some(announced("255.255.255.255", "255.255.255.255")),
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".into(),
            six,
        ),
        (b"PROXY UNKNOWN\r\n".into(), None),
        (format!("{longest}\r\n").into(), None),
        (format!("{longest:<105}\r\n").into(), None),
        // Section 2.2.
        (binary(0x21, 0x11, &TCP4), four),
        (binary(0x21, 0x11, &with_more), four),
        (binary(0x21, 0x21, &tcp6), six),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &TCP4), None),
        (binary(0x20, 0xff, &[1, 2, 3]), None),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x12, &TCP4), None),
        (binary(0x21, 0x31, &[0; 216]), None),
    ]
}

#[test]
fn a_header_is_read_to_its_end_and_no_further() {
    for (bytes, expected) in good() {
        let with_request = [&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        let (found, left) = read_all(&with_request);
        assert_eq!(found.ok(), Some(expected), "{}", bytes.escape_ascii());
        assert_eq!(left, 18, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_header_that_is_cut_off_anywhere_is_none() {
    for (bytes, _) in good() {
        for cut in 0..bytes.len() {
            let (found, _) = read_all(&bytes[..cut]);
            assert!(
                matches!(found, Err(Malformed::Ended(_))),
                "{}",
                bytes[..cut].escape_ascii()
            );
        }
    }
}

#[test]
fn a_header_with_one_byte_changed_never_reads_on_into_the_request() {
    for (bytes, _) in good() {
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x15;
            let request = b"GET / HTTP/1.1\r\n\r\n".repeat(300);
            let (found, left) = read_all(&[&changed[..], &request].concat());
            // A length or the end of a line that was changed is taken at its word; all else is
            // an error or ends where it did.
            let is_length = bytes.starts_with(&SIGNATURE) && (14..16).contains(&place);
            let is_end = !bytes.starts_with(&SIGNATURE) && place + 2 >= bytes.len();
            if !is_length && !is_end {
                assert!(
                    found.is_err() || left == request.len(),
                    "{}",
                    changed.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn hostile_headers_are_refused() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNX 1.2.3.4\r\n",
    ] {
        let (found, _) = read_all(line.as_bytes());
        assert!(matches!(found, Err(Odd(_))), "{line:?}: {found:?}");
    }
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE));
    assert!(matches!(read_all(too_long.as_bytes()).0, Err(Odd(_))));
    for bytes in [
        binary(0x11, 0x11, &TCP4),
        binary(0x22, 0x11, &TCP4),
        binary(0x2f, 0x11, &TCP4),
        binary(0x21, 0x11, &TCP4[..11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x21, 0x41, &TCP4),
        binary(0x21, 0x13, &TCP4),
        binary(0x21, 0x11, &[0; LONGEST_BLOCK + 1]),
    ] {
        let (found, _) = read_all(&bytes);
        assert!(matches!(found, Err(Odd(_))), "{}", bytes.escape_ascii());
    }
}
