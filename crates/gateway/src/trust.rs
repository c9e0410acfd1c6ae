//! Whom the gateway believes when a provider says who it is: the web's usual authorities and, for one provider, those that
//! the operator names beside them, such as that of a proxy which inspects TLS. Nothing here switches the check off.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why certificates of authorities make none.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text holds no certificate.
    #[error("it holds no certificate; it has to be PEM, with `-----BEGIN CERTIFICATE-----`")]
    None,
    /// A certificate cannot be read.
    #[error("its certificate number {number} cannot be read; replace it")]
    Unreadable {
        /// From 1, in the order of the text.
        number: usize,
    },
    /// TLS itself cannot be set up.
    #[error("TLS for upstream connections cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Whether `pem` holds certificates that can be believed in.
///
/// # Errors
/// [`TrustError`] says what is wrong with it.
pub fn check_authorities(pem: &str) -> Result<(), TrustError> {
    add(&mut RootCertStore::empty(), pem)
}

/// How providers are connected to whose certificates come from the usual authorities or from one of `own`.
///
/// # Errors
/// [`TrustError`] if `own` are none.
pub(crate) fn client_config(own: Option<&str>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = own {
        add(&mut roots, pem)?;
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    Ok(builder.map_err(TrustError::Tls)?.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, pem: &str) -> Result<(), TrustError> {
    let mut number = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        number += 1;
        let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        added.ok_or(TrustError::Unreadable { number })?;
    }
    if number == 0 { Err(TrustError::None) } else { Ok(()) }
}
