//! Where the servers listen and what they accept.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::key::Network;

use super::{mistake, unwritten};

/// The `server` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address of the gateway, `HOST:PORT`; port 0 picks a free one.
    #[schemars(with = "String")]
    pub gateway: Spanned<String>,
    /// Address of the console and the JSON API.
    #[schemars(with = "String")]
    pub console: Spanned<String>,
    /// Address of the console as its readers reach it, for links; default: the address it listens on.
    pub console_url: Option<String>,
    /// Address of the gateway as its callers reach it, without a path, for the settings on `/setup`; default: the address
    /// it listens on.
    pub gateway_url: Option<String>,
    /// Proxies in front of the gateway, as addresses or ranges (`10.0.0.0/8`): they are believed when they say in
    /// `x-forwarded-for` for whom they ask, which keys that are for some addresses only go by.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Spanned<String>>,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Largest request head, in bytes.
    pub max_header_bytes: usize,
    /// Connections served at once; further ones wait.
    pub max_connections: usize,
    /// How long a provider may take to its first byte, in seconds.
    pub first_byte_seconds: u64,
    /// How long a stream may be silent, in seconds.
    pub idle_stream_seconds: u64,
    /// How long a provider may take to accept a connection, in seconds.
    pub connect_seconds: u64,
    /// How long a whole call may take, in seconds; conversations have their own.
    pub total_seconds: u64,
    /// How long a caller may take to send its request, in seconds.
    pub request_body_seconds: u64,
    /// How long both sides of a conversation over a WebSocket (`/v1/realtime`) may be silent, pings included, in seconds.
    pub session_idle_seconds: u64,
    /// How long such a conversation may last, in seconds.
    pub session_total_seconds: u64,
    /// Largest message of such a conversation, in bytes.
    pub max_message_bytes: usize,
    /// How long a stopping server waits for calls in flight, in seconds.
    pub drain_seconds: u64,
}

impl Default for Server {
    fn default() -> Self {
        const MEBIBYTE: usize = 1 << 20;
        Server {
            gateway: unwritten("127.0.0.1:8080"),
            console: unwritten("127.0.0.1:8081"),
            console_url: None,
            trusted_proxies: Vec::new(),
            gateway_url: None,
            max_body_bytes: 32 * MEBIBYTE,
            max_header_bytes: 64 * 1024,
            max_connections: 10_000,
            first_byte_seconds: 300,
            idle_stream_seconds: 120,
            connect_seconds: 10,
            total_seconds: 900,
            request_body_seconds: 60,
            session_idle_seconds: 900,
            // OpenAI ends them after an hour.
            session_total_seconds: 4_000,
            max_message_bytes: 16 * MEBIBYTE,
            drain_seconds: 30,
        }
    }
}

impl Server {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        for address in [&self.gateway, &self.console] {
            address_of(address)?;
        }
        self.trusted_proxies.iter().try_for_each(|written| match Network::parse(&written.value) {
            Some(_) => Ok(()),
            None => {
                let message =
                    format!("`{}` is no address and no range of them; write `10.0.0.7` or `10.0.0.0/8`", written.value);
                Err(mistake(written.referenced, message))
            }
        })
    }

    /// The proxies that are believed. What is none was refused when the file was read.
    pub(super) fn proxies(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|written| Network::parse(&written.value)).collect()
    }
}

/// The socket address that a value names.
///
/// # Errors
/// If it is not `HOST:PORT` with a numeric host.
fn address_of(value: &Spanned<String>) -> Result<SocketAddr, SourceError> {
    value.value.parse().map_err(|_| {
        mistake(
            value.referenced,
            format!("`{}` is not an address; write HOST:PORT, such as `127.0.0.1:8080`", value.value),
        )
    })
}
