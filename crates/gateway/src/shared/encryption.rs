//! TLS to the server of a shared ledger, by the means that providers are reached by: rustls with ring, the usual authorities and
//! those that the operator names.

use std::sync::Arc;

use redis::{ConnectionAddr, ErrorKind, RedisError};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::ServerError;
use crate::settings::LedgerSettings;
use crate::trust;

/// How the server shows who it is.
pub(super) struct Encryption {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Encryption {
    /// The URL to speak to behind it, and the encryption itself; `None` if the URL asks for none.
    ///
    /// # Errors
    /// [`ServerError`] if the URL names no server that could show who it is, or the authorities are none.
    pub(super) fn of(settings: &LedgerSettings) -> Result<(String, Option<Encryption>), ServerError> {
        let url = settings.url.reveal();
        let Some(rest) = url.strip_prefix("rediss://") else { return Ok((url.to_owned(), None)) };
        let plain = format!("redis://{rest}");
        let invalid = || {
            let why = "it names no server whose certificate could be looked at";
            ServerError::Url(RedisError::from((ErrorKind::InvalidClientConfig, why)))
        };
        let host =
            redis::parse_redis_url(&plain).and_then(|url| url.host_str().map(str::to_owned)).ok_or_else(invalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| invalid())?;
        let config = trust::client_config(settings.authorities_pem.as_deref())?;
        Ok((plain, Some(Encryption { connector: TlsConnector::from(Arc::new(config)), name })))
    }

    /// Reaches the server and has it show its certificate.
    ///
    /// # Errors
    /// If it cannot be reached, or is not believed.
    pub(super) async fn connect(&self, address: &ConnectionAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let ConnectionAddr::Tcp(host, port) = address else { return Err(std::io::ErrorKind::Unsupported.into()) };
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        self.connector.connect(self.name.clone(), stream).await
    }
}
