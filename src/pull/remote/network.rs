//! What the operator allows: which networks may be reached, whom to trust, how much and how long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use super::fault::Fault;

/// The bytes that a file may have.
pub const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long a fetch may take from beginning to end.
pub const TOTAL_TIME_MAX: Duration = Duration::from_mins(15);

/// How long it may take to find a host, and again to connect to it.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a server may say nothing.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// What the operator allows to those who enter addresses.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Networks that are not public and may be reached all the same.
    pub allowed: Vec<IpNet>,
    /// A PEM file of certification authorities to trust besides those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// How much and how long.
    pub limits: Limits,
}

/// How much may be fetched, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The bytes of the file.
    pub bytes_max: u64,
    /// The time of the whole fetch.
    pub total: Duration,
    /// The time for finding the host, and again for connecting to it, TLS included.
    pub connect: Duration,
    /// The time from the request, connecting included, to the beginning of the answer; then the time
    /// between any two pieces of it.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: BYTES_MAX,
            total: TOTAL_TIME_MAX,
            connect: CONNECT_TIME_MAX,
            idle: IDLE_TIME_MAX,
        }
    }
}

impl Network {
    /// Whether an address may be connected to; what kind of address it is if it may not.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), &'static str> {
        let meant = meant_by(address);
        let allowed = |ip| self.allowed.iter().any(|net| net.contains(&ip));
        match kind_of(meant) {
            Some(kind) if !allowed(meant) && !allowed(address) => Err(kind),
            _ => Ok(()),
        }
    }

    /// The addresses of a host that may be connected to.
    ///
    /// A host may have addresses of both kinds; those that are not allowed are left out.
    pub(super) async fn resolve(
        &self,
        host: &str,
        literal: Option<IpAddr>,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let found = match literal {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => self.look_up(host, port).await?,
        };
        self.admit(host, found)
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        let unknown = |reason| Fault::UnknownHost { host: host.to_owned(), reason };
        let limit = self.limits.connect;
        match timeout(limit, tokio::net::lookup_host((host, port))).await {
            Err(_) => Err(unknown(format!("no answer within {limit:?}"))),
            Ok(Err(error)) => Err(unknown(error.to_string())),
            Ok(Ok(found)) => Ok(found.collect()),
        }
    }

    fn admit(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
        let mut refused = None;
        let mut admitted = Vec::new();
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => admitted.push(address),
                Err(kind) => refused = refused.or(Some((address.ip(), kind))),
            }
        }
        match refused {
            _ if !admitted.is_empty() => Ok(admitted),
            Some((address, kind)) => {
                Err(Fault::AddressRefused { host: host.to_owned(), address, kind })
            }
            None => {
                let reason = "it has no address".to_owned();
                Err(Fault::UnknownHost { host: host.to_owned(), reason })
            }
        }
    }

    /// How servers prove who they are: to the authorities of the operating system and to those of the
    /// operator. They are read anew each time, so that a change needs no restart.
    pub(super) async fn tls(&self) -> Result<ClientConfig, Fault> {
        let ca_file = self.ca_file.clone();
        let reading = tokio::task::spawn_blocking(move || tls(ca_file.as_deref())).await;
        reading.unwrap_or_else(|error| Err(Fault::Trust { reason: error.to_string() }))
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Fault> {
    let distrust = |error: rustls::Error| Fault::Trust { reason: error.to_string() };
    let authorities = ca_file.map_or(Ok(Vec::new()), read_authorities)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(
        authorities,
        Arc::clone(&provider),
    )
    .map_err(distrust)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(distrust)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let unreadable = |reason| Fault::CaFile { path: path.to_owned(), reason };
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<CertificateDer<'static>>, _>>)
        .map_err(|error| unreadable(error.to_string()))?;
    if read.is_empty() {
        return Err(unreadable("it has no certificate in it".to_owned()));
    }
    Ok(read)
}

/// The IPv4 address that an IPv6 address leads to, if it is one of the forms that do; or itself.
fn meant_by(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        // Mapped; translated by RFC 6052 §2.1; 6to4, RFC 3056 §2.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

/// What an address is, unless it is one of the public internet.
fn kind_of(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            let within = |(net, prefix, _): &&([u8; 4], u8, &str)| {
                Ipv4Net::new((*net).into(), *prefix).is_ok_and(|net| net.contains(&v4))
            };
            V4_KINDS.iter().find(within).map(|(_, _, kind)| *kind)
        }
        IpAddr::V6(v6) => kind_of_v6(v6),
    }
}

/// The IPv4 networks that are not public: the special-purpose registry of RFC 6890.
const V4_KINDS: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 32, "the unspecified address"),
    ([0, 0, 0, 0], 8, "an address of this network"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "a shared address of a provider's network"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "a documentation address"),
    ([192, 88, 99, 0], 24, "a reserved address"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([198, 51, 100, 0], 24, "a documentation address"),
    ([203, 0, 113, 0], 24, "a documentation address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// Only `2000::/3` is public, and not all of it.
fn kind_of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, ..] = address.segments();
    Some(match (a, b) {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        _ if address.is_unique_local() => "a private address",
        _ if address.is_unicast_link_local() => "a link-local address",
        (0x2001, 0xdb8) | (0x3fff, 0..=0xfff) => "a documentation address",
        // Teredo, benchmarks and other protocols, RFC 6890 §2.2.3.
        (0x2001, 0..=0x1ff) => "a reserved address",
        (0x2000..=0x3fff, _) => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached_unless_the_operator_says_so() {
        let closed = Network::default();
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.9.10",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "64:ff9b:1::1",
            "5f00::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::1",
        ];
        for text in refused {
            assert!(closed.check(text.parse().unwrap()).is_err(), "{text}");
        }
        let reached = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "193.5.6.7",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
        ];
        for text in reached {
            assert_eq!(closed.check(text.parse().unwrap()), Ok(()), "{text}");
        }
    }

    #[test]
    fn an_allowed_network_is_allowed_in_every_form() {
        let network = Network {
            allowed: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()],
            ..Network::default()
        };
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5", "8.8.8.8"] {
            assert_eq!(network.check(text.parse().unwrap()), Ok(()), "{text}");
        }
        for text in ["10.2.0.1", "::ffff:10.2.0.1", "fd00:2::5", "127.0.0.1"] {
            assert!(network.check(text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_only_the_allowed_remain() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443)).collect()
        };
        let closed = Network::default();
        let mixed = closed.admit("example.org", at(&["127.0.0.1", "8.8.8.8", "::1"]));
        assert_eq!(mixed.unwrap(), at(&["8.8.8.8"]));
        let inside = closed.admit("example.org", at(&["10.0.0.1", "::1"])).unwrap_err();
        assert!(matches!(inside, Fault::AddressRefused { kind: "a private address", .. }));
        assert!(matches!(closed.admit("example.org", at(&[])), Err(Fault::UnknownHost { .. })));
    }
}
