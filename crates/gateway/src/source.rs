//! From where a call comes: the address of the connection, or, where that is a proxy of the operator's own, what the proxy
//! says in `x-forwarded-for`. Anybody can write that header; only what a trusted proxy has added is believed.

use std::net::IpAddr;

use http::HeaderMap;
use tollgate_policy::key::Network;

/// The caller's address; `None` if a trusted proxy forwards something that is no address.
pub(crate) fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
    if !is_trusted(&peer) {
        return Some(peer.to_canonical());
    }
    let mut nearest = peer;
    // The last to forward wrote last.
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        for part in line.to_str().ok()?.rsplit(',') {
            nearest = part.trim().parse().ok()?;
            if !is_trusted(&nearest) {
                return Some(nearest.to_canonical());
            }
        }
    }
    Some(nearest.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(line));
        }
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        source(peer.parse().unwrap(), &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_added() {
        assert_eq!(found("192.0.2.1", &["203.0.113.9"]).unwrap(), "192.0.2.1");
        assert_eq!(found("10.0.0.1", &["203.0.113.9"]).unwrap(), "203.0.113.9");
        assert_eq!(
            found("10.0.0.1", &["127.0.0.1, 203.0.113.9"]).unwrap(),
            "203.0.113.9",
            "the caller wrote the first"
        );
        assert_eq!(found("10.0.0.1", &["127.0.0.1", "203.0.113.9, 10.9.9.9"]).unwrap(), "203.0.113.9");
        assert_eq!(found("::ffff:10.0.0.1", &["2001:db8::1"]).unwrap(), "2001:db8::1");
        assert_eq!(found("10.0.0.1", &[]).unwrap(), "10.0.0.1");
        assert_eq!(found("10.0.0.1", &["unknown"]), None);
    }
}
