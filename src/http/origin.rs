//! Where a request comes from and under which address its client knows the server.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, header};

use super::Settings;
use super::request::Context;
use crate::scim::discovery::SCIM_PATH;

/// The base address and the client's address, with the word of a trusted proxy believed.
pub(super) fn of(settings: &Settings, request: &Request) -> Context {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let proxied = peer.is_some_and(|peer| is_trusted(settings, peer));
    let base = settings.public_url.clone().unwrap_or_else(|| address(request.headers(), proxied));
    let from = if proxied { client(settings, request.headers()).or(peer) } else { peer };
    Context { base: base + SCIM_PATH, from, ..Context::default() }
}

fn is_trusted(settings: &Settings, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    settings.trusted_proxies.iter().any(|net| net.contains(&ip))
}

/// `scheme://host`, as the client wrote it.
fn address(headers: &HeaderMap, proxied: bool) -> String {
    let forwarded = |name: &str| {
        let value = headers.get(name).filter(|_| proxied)?.to_str().ok()?;
        value.split(',').next().map(str::trim)
    };
    let scheme = match forwarded("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    let host = forwarded("x-forwarded-host")
        .or_else(|| headers.get(header::HOST)?.to_str().ok())
        .filter(|host| is_host(host))
        .unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// Whether a text can stand as `host[:port]` in an address.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(allowed)
}

/// The last address in `X-Forwarded-For` that is not a trusted proxy's own. Some proxies write the port
/// too; behind an entry that is no address, nothing can be believed.
fn client(settings: &Settings, headers: &HeaderMap) -> Option<IpAddr> {
    let chain = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = chain.flat_map(|value| value.split(',')).map(str::trim).collect();
    let address = |hop: &&str| {
        hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|peer| peer.ip()))
    };
    hops.iter().rev().map_while(address).find(|hop| !is_trusted(settings, *hop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn origin(settings: &Settings, peer: &str, headers: &[(&str, &str)]) -> (String, String) {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: IpAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 4711))));
        let context = of(settings, &request);
        (context.base, context.from.unwrap().to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let proxy = Settings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        let forwarded = [
            ("host", "inside:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "people.example.com"),
            ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.1.1"),
        ];
        let (base, from) = origin(&proxy, "10.2.2.2", &forwarded);
        assert_eq!(
            (base.as_str(), from.as_str()),
            ("https://people.example.com/scim/v2", "203.0.113.7")
        );
        let ported = [("x-forwarded-for", "6.6.6.6, 203.0.113.7:4711")];
        assert_eq!(origin(&proxy, "10.2.2.2", &ported).1, "203.0.113.7");
        let junk = [("x-forwarded-for", "6.6.6.6, unknown")];
        assert_eq!(origin(&proxy, "10.2.2.2", &junk).1, "10.2.2.2");
        let (base, from) = origin(&proxy, "192.0.2.1", &forwarded);
        assert_eq!((base.as_str(), from.as_str()), ("http://inside:8080/scim/v2", "192.0.2.1"));
    }

    #[test]
    fn a_configured_address_wins_and_a_strange_host_is_not_repeated() {
        let fixed = Settings {
            public_url: Some("https://people.example.com".to_owned()),
            ..Settings::default()
        };
        assert_eq!(origin(&fixed, "::1", &[("host", "x")]).0, "https://people.example.com/scim/v2");
        let strange = [("host", "evil\"<script>")];
        assert_eq!(origin(&Settings::default(), "::1", &strange).0, "http://localhost/scim/v2");
    }
}
