//! Which addresses may be connected to. Asked of the address itself at connect time, after every resolution, so that no
//! spelling of a host, no redirect and no change of mind of a resolver gets around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Which addresses may be connected to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guard {
    /// Whether private networks and this machine itself may be. Link-local addresses, metadata services and what is no
    /// single machine's address stay refused.
    pub allow_private: bool,
    /// Networks that may be, whatever is said above.
    pub allow: Vec<IpNet>,
    /// Networks that may not be, whatever is said above.
    pub deny: Vec<IpNet>,
}

/// What an address is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Anybody's on the Internet.
    Public,
    /// This machine's, or a network's behind a router.
    Private,
    /// Nobody's that a source could have.
    Never,
}

impl Guard {
    /// Whether the address may be connected to.
    pub fn allows(&self, address: IpAddr) -> bool {
        let inner = embedded(address);
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address) || net.contains(&inner));
        if within(&self.deny) {
            return false;
        }
        if within(&self.allow) {
            return true;
        }
        match (kind(address), self.allow_private) {
            (Kind::Public, _) | (Kind::Private, true) => true,
            (Kind::Private, false) | (Kind::Never, _) => false,
        }
    }
}

/// The IPv4 address that an IPv6 one stands for, or the address itself: mapped, compatible, translated (NAT64) and 6to4.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let [a, b, c, d, e, f, g, h] = six.segments();
    let four = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) => four(g, h),
        // ::1 and :: are no embedded addresses.
        (0, 0, 0, 0, 0, 0) if (g, h) > (0, 1) => four(g, h),
        (0x64, 0xff9b, 0, 0, 0, 0) => four(g, h),
        (0x2002, high, low, ..) => four(high, low),
        _ => address,
    }
}

fn kind(address: IpAddr) -> Kind {
    match embedded(address) {
        IpAddr::V4(four) => kind_v4(four),
        IpAddr::V6(six) => kind_v6(six),
    }
}

/// By the IANA registry of special-purpose addresses.
fn kind_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // Alibaba's metadata service, within the carriers' shared range; Azure's, within the public one.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Kind::Never,
        [10, ..] | [127, ..] | [192, 168, ..] => Kind::Private,
        [172, 16..=31, ..] | [100, 64..=127, ..] => Kind::Private,
        // This network; link-local, with the metadata service of most clouds.
        [0, ..] | [169, 254, ..] => Kind::Never,
        // Protocol assignments, documentation, the 6to4 relays, benchmarks.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Never,
        [192, 88, 99, _] | [198, 18 | 19, ..] => Kind::Never,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Kind::Never,
        _ => Kind::Public,
    }
}

/// Only global unicast is public, less what is set apart in it.
fn kind_v6(address: Ipv6Addr) -> Kind {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private,
        // Amazon's metadata service.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Kind::Never,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // Teredo, benchmarks, ORCHID and whatever else is a protocol's.
        [0x2001, 0..=0x1ff, ..] => Kind::Never,
        // Documentation.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Never,
        // ISATAP: an IPv4 address behind a tunnel.
        [.., 0 | 0x200, 0x5efe, _, _] => Kind::Never,
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: [&str; 9] = [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "193.0.0.1",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ];
    const PRIVATE: [&str; 14] = [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fd12:3456::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ];
    const NEVER: [&str; 33] = [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "192.88.99.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        "64:ff9b:1::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2a00:1450::200:5efe:a00:1",
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_told_apart() {
        for (list, kind_wanted) in [(&PUBLIC[..], Kind::Public), (&PRIVATE, Kind::Private), (&NEVER, Kind::Never)] {
            for text in list {
                assert_eq!(kind(address(text)), kind_wanted, "{text}");
            }
        }
    }

    #[test]
    fn what_is_allowed_follows() {
        let strict = Guard::default();
        let private = Guard { allow_private: true, ..Guard::default() };
        for text in PUBLIC {
            assert!(strict.allows(address(text)) && private.allows(address(text)), "{text}");
        }
        for text in PRIVATE {
            assert!(!strict.allows(address(text)) && private.allows(address(text)), "{text}");
        }
        for text in NEVER {
            assert!(!strict.allows(address(text)) && !private.allows(address(text)), "{text}");
        }
    }

    #[test]
    fn lists_go_before_kinds_and_deny_before_allow() {
        let guard = Guard {
            allow_private: false,
            allow: vec!["10.1.0.0/16".parse().unwrap(), "fe80::/10".parse().unwrap()],
            deny: vec!["10.1.2.0/24".parse().unwrap(), "8.8.8.0/24".parse().unwrap()],
        };
        let table = [
            ("10.1.0.1", true),
            ("::ffff:10.1.0.1", true),
            ("fe80::1", true),
            ("10.2.0.1", false),
            ("10.1.2.3", false),
            ("::ffff:10.1.2.3", false),
            ("8.8.8.8", false),
            ("8.8.4.4", true),
        ];
        for (text, wanted) in table {
            assert_eq!(guard.allows(address(text)), wanted, "{text}");
        }
    }
}
