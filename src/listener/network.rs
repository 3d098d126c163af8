//! Ranges of addresses, as `allow` lists them.

use std::fmt;
use std::net::IpAddr;

/// All addresses that begin with the same bits (RFC 4632 section 3.1). IPv4 in the form of IPv6 is
/// IPv4 here, in ranges and in addresses alike: whether a socket serves both is no matter of who
/// is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// How many bits are the same.
    prefix: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address alone.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let odd = || format!("`{text}` is neither an address nor a range such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| odd())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // `parse` would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| odd())?
            }
            Some(_) => return Err(odd()),
            None => width,
        };
        if prefix > width {
            return Err(format!("`{text}` has more than {width} bits"));
        }
        let network = Self::canonical(address, prefix);
        if masked(network.first, network.prefix) != bits(network.first) {
            let first = network.with_first_of_range();
            return Err(format!(
                "`{text}` has bits after its first {prefix}: `{first}` is that range"
            ));
        }
        Ok(network)
    }

    fn canonical(address: IpAddr, prefix: u32) -> Self {
        match (address.to_canonical(), prefix.checked_sub(96)) {
            (first @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => Self { first, prefix },
            _ => Self {
                first: address,
                prefix,
            },
        }
    }

    fn with_first_of_range(self) -> Self {
        let masked = masked(self.first, self.prefix);
        let first = match self.first {
            // The lower half is all that `bits` fills for IPv4.
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(masked).unwrap_or(0).into()),
            IpAddr::V6(_) => IpAddr::V6(masked.into()),
        };
        Self { first, ..self }
    }

    /// Whether an address is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.first.is_ipv4() == address.is_ipv4()
            && masked(address, self.prefix) == bits(self.first)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The first bits of an address, and zeros.
fn masked(address: IpAddr, prefix: u32) -> u128 {
    let width = if address.is_ipv4() { 32 } else { 128 };
    let free = u128::MAX.checked_shr(128 - (width - prefix)).unwrap_or(0);
    bits(address) & !free
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_addresses_that_begin_like_it() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("192.168.1.0/25", "192.168.1.127", "192.168.1.128"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ] {
            let network = Network::parse(range).expect(range);
            let contains = |text: &str| network.contains(text.parse().expect(text));
            assert!(contains(inside), "{inside} in {range}");
            assert!(!contains(outside), "{outside} in {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_and_a_near_miss_corrected() {
        for (text, reason) in [
            ("10.0.0.0/33", "32 bits"),
            ("::/129", "128 bits"),
            ("10.0.0.1/8", "`10.0.0.0/8` is that range"),
            ("fd00::1/64", "`fd00::/64` is that range"),
            ("10.0.0.0/+8", "neither"),
            ("10.0.0.0/", "neither"),
            ("localhost", "neither"),
            ("10.0.0", "neither"),
        ] {
            let error = Network::parse(text).expect_err(text);
            assert!(error.contains(reason), "{error}");
        }
    }
}
