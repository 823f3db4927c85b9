//! Addresses that are never called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether this machine may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// As everywhere outside a rehearsal.
    Refused,
    /// With http too.
    Allowed,
}

/// Whether nobody may connect to this address: link-local, unspecified, multicast, broadcast, a service of EC2 itself, and
/// loopback where it is refused. An IPv4 address within an IPv6 address counts as what it is.
#[must_use]
pub fn is_refused_address(address: IpAddr, loopback: Loopback) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4, loopback),
        IpAddr::V6(v6) => is_refused_v6(v6, loopback),
    }
}

fn is_refused_v4(v4: Ipv4Addr, loopback: Loopback) -> bool {
    v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_multicast()
        || v4.is_broadcast()
        || (v4.is_loopback() && loopback == Loopback::Refused)
}

fn is_refused_v6(v6: Ipv6Addr, loopback: Loopback) -> bool {
    if v6.is_loopback() {
        return loopback == Loopback::Refused;
    }
    if let Some(v4) = embedded_v4(v6) {
        return is_refused_v4(v4, loopback);
    }
    // fd00:ec2::/32 holds the metadata, time and name services of EC2.
    let is_ec2_service = matches!(v6.segments(), [0xfd00, 0x0ec2, ..]);
    v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || is_ec2_service
}

/// The IPv4 address within an IPv4-mapped, IPv4-compatible or NAT64 (64:ff9b::/96) address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    if v6.is_unspecified() {
        return None;
    }
    let [.., a, b, c, d] = v6.octets();
    let is_nat64 = matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
    v6.to_ipv4().or_else(|| is_nat64.then(|| Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_never_called() {
        // (address, refused, refused where loopback is allowed)
        let table = [
            ("10.0.3.7", false, false),
            ("192.0.2.1", false, false),
            ("127.0.0.1", true, false),
            ("127.1.2.3", true, false),
            ("169.254.169.254", true, true),
            ("169.254.170.2", true, true),
            ("0.0.0.0", true, true),
            ("224.0.0.1", true, true),
            ("255.255.255.255", true, true),
            ("2001:db8::1", false, false),
            ("fd00::1", false, false),
            ("::1", true, false),
            ("::", true, true),
            ("fe80::1", true, true),
            ("ff02::1", true, true),
            ("fd00:ec2::254", true, true),
            ("fd00:ec2::23", true, true),
            ("::ffff:10.0.3.7", false, false),
            ("::ffff:127.0.0.1", true, false),
            ("::ffff:169.254.169.254", true, true),
            ("::ffff:0.0.0.0", true, true),
            ("::169.254.169.254", true, true),
            ("64:ff9b::a9fe:a9fe", true, true),
            ("64:ff9b::7f00:1", true, false),
            ("64:ff9b::a00:307", false, false),
        ];
        for (text, refused, refused_even_so) in table {
            let address = text.parse().unwrap();
            assert_eq!(is_refused_address(address, Loopback::Refused), refused, "{text}");
            assert_eq!(is_refused_address(address, Loopback::Allowed), refused_even_so, "{text}");
        }
    }
}
