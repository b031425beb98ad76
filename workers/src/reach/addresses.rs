//! Which addresses a request may go to: judged by the address that is connected to, whatever name or spelling led there.
//!
//! Some are never meant: there a cloud hands its keys to whoever asks. They are refused unless the configuration of this
//! machine names them. Its own network is what operations are about, and is open unless the configuration closes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the configuration of this machine says about requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Open in any case but for `deny`.
    pub allow: Vec<Network>,
    pub deny: Vec<Network>,
    /// This machine and private networks are closed.
    pub public_only: bool,
}

/// `10.0.0.0/8`, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Addresses {
    /// Why a request may not go there.
    pub fn refusal(&self, address: IpAddr) -> Option<String> {
        let meant = meant(address);
        if let Some(refused) = std::iter::once(address).chain(meant.iter().copied()).find_map(|it| self.denied(it)) {
            return Some(refused);
        }
        // What may be meant by an address of one's own NAT64 depends on its prefix, which whoever allows it knows.
        let is_known = is_local_nat64(address) && self.allow.iter().any(|network| network.contains(address));
        if is_known { None } else { meant.into_iter().find_map(|address| self.refusal_of(address)) }
    }

    fn denied(&self, address: IpAddr) -> Option<String> {
        let network = self.deny.iter().find(|network| network.contains(address))?;
        Some(format!("{address} is refused by `http.deny` ({network}) of this machine"))
    }

    fn refusal_of(&self, address: IpAddr) -> Option<String> {
        if self.allow.iter().any(|network| network.contains(address)) {
            return None;
        }
        if let Some(what) = never_meant(address) {
            return Some(format!(
                "{address} is {what}: no request goes there. If it is meant, name it in `http.allow` of this machine's runward.toml"
            ));
        }
        (self.public_only && is_private(address)).then(|| {
            format!(
                "{address} is an address of this machine or of a private network, and `http.private` is `deny`. Name the \
                 network in `http.allow` of this machine's runward.toml"
            )
        })
    }
}

/// The address behind the ways to write an address of IPv4 as one of IPv6; all, where more than one may be meant.
fn meant(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else { return vec![address] };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        // Mapped, translated (SIIT, RFC 2765), and through the known prefix of NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![v4(high, low)],
        // NAT64 of somebody's own network (RFC 8215): how long its prefix is only they know.
        [0x64, 0xff9b, 1, ..] => local_nat64(v6.octets(), address),
        // Deprecated, and still understood by some.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => vec![v4(high, low)],
        // 6to4.
        [0x2002, high, low, ..] => vec![v4(high, low)],
        // ISATAP (RFC 5214): within any network.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![address, v4(high, low)],
        // Teredo (RFC 4380): turned over.
        [0x2001, 0, .., high, low] => vec![address, v4(!high, !low)],
        _ => vec![address],
    }
}

fn is_local_nat64(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[..3] == [0x64, 0xff9b, 1])
}

/// For each length of a prefix that is possible; its ninth byte is never a part of the address (RFC 6052, 2.2).
fn local_nat64(octets: [u8; 16], address: IpAddr) -> Vec<IpAddr> {
    let ways = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let found = ways.map(|places| Ipv4Addr::from(places.map(|at| octets[at])));
    let found: Vec<IpAddr> = found.into_iter().filter(|v4| v4.octets()[0] != 0).map(IpAddr::V4).collect();
    if found.is_empty() { vec![address] } else { found }
}

fn never_meant(address: IpAddr) -> Option<&'static str> {
    // Alibaba, Oracle, Azure; Amazon (also the keys of its pods, and its name server), Google, Oracle.
    const METADATA: [IpAddr; 8] = [
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253)),
        IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    ];
    if METADATA.contains(&address) {
        return Some("where a cloud keeps the keys of its machines");
    }
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => {
            Some("a link-local address, where a cloud keeps the keys of its machines")
        }
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("no address of anybody"),
        IpAddr::V4(v4) if v4.is_multicast() || v4.octets()[0] >= 240 => Some("no address of one machine"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("no address of anybody"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("no address of one machine"),
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => Some("a link-local address"),
        _ => None,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        // The last one is that of providers, between them and their customers.
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.segments()[0] & 0xfe00 == 0xfc00 || v6.segments()[0] & 0xffc0 == 0xfec0
        }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("`{text}` is no network: write for example `10.0.0.0/8`, `fd00::/8` or one address");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse::<u8>).map_err(|_| wrong())?;
        if bits > all { Err(wrong()) } else { Ok(Network { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(addresses: &Addresses, address: &str) -> bool {
        addresses.refusal(address.parse().unwrap()).is_some()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn where_a_cloud_keeps_its_keys_nothing_goes_however_it_is_written() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            // SIIT, NAT64 with prefixes of 48, 56, 64 and 96 bits, ISATAP, Teredo.
            "::ffff:0:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1::a9:fea9:fe00:0",
            "64:ff9b:1::169.254.169.254",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "fe80::1",
            "febf::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "ff02::1",
        ] {
            assert!(refused(&Addresses::default(), address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "fd12::1",
            "100.64.0.1",
            "1.1.1.1",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
            "64:ff9b:1::1.1.1.1",
            "2001:db8::5efe:1.1.1.1",
        ] {
            assert!(!refused(&Addresses::default(), address), "{address}");
        }
    }

    #[test]
    fn the_configuration_closes_and_opens() {
        let closed = Addresses {
            public_only: true,
            allow: networks(&["10.1.0.0/16", "::1"]),
            deny: networks(&["10.1.9.0/24", "1.1.1.1"]),
        };
        for address in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "10.2.0.1",
            "10.1.9.1",
            "::ffff:10.1.9.1",
            "192.168.0.1",
            "fd00::1",
            "100.64.0.1",
            "1.1.1.1",
        ] {
            assert!(refused(&closed, address), "{address}");
        }
        for address in ["10.1.2.3", "::1", "8.8.8.8", "2002:808:808::1"] {
            assert!(!refused(&closed, address), "{address}");
        }
        let own = |text| Addresses { deny: networks(&[text]), ..Addresses::default() };
        assert!(
            refused(&own("64:ff9b:1::/48"), "64:ff9b:1::1.1.1.1")
                && refused(&own("::ffff:0:0:0/96"), "::ffff:0:1.1.1.1")
        );
        let allowed = Addresses { allow: networks(&["64:ff9b:1:a9fe::/96"]), ..Addresses::default() };
        assert!(
            !refused(&allowed, "64:ff9b:1:a9fe::1.1.1.1") && refused(&Addresses::default(), "64:ff9b:1:a9fe::1.1.1.1")
        );
        let metadata = Addresses { allow: networks(&["169.254.169.254"]), ..Addresses::default() };
        assert!(!refused(&metadata, "169.254.169.254") && refused(&metadata, "169.254.169.253"));
    }

    #[test]
    fn a_network_reads_as_it_is_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0", "127.0.0.1/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert!(refused(&Addresses { deny: networks(&["0.0.0.0/0"]), ..Addresses::default() }, "9.9.9.9"));
        for text in ["10.0.0.0/33", "10.0.0", "example.com", "::/129", "10.0.0.0/x", ""] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
