//! Providers behind TLS whose certificate no usual authority has signed, as behind a proxy that inspects TLS: believed where
//! the operator names the authority, and not otherwise. The certificates are made up and end in a hundred years; the
//! authority's key was thrown away.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_gateway::GatewaySettings;
use tollgate_interaction::Outcome;

use crate::harness::{Bench, CHAT, settings};
use crate::provider::{self, Provider, json};
use crate::talker::{Act, Caller, Heard, Talker, agreed};

const AUTHORITY: &str = include_str!("tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// Takes TLS off what comes and hands it to `plain`.
async fn encrypted(plain: SocketAddr) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not believe the certificate hangs up.
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(plain).await.unwrap();
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    address
}

fn trusting(address: SocketAddr, authority: Option<&str>) -> GatewaySettings {
    let mut settings = settings(address);
    for provider in settings.providers.iter_mut().filter(|provider| provider.name == "up") {
        provider.base_url = format!("https://{address}/v1");
        provider.authorities_pem = authority.map(str::to_owned);
    }
    settings
}

#[tokio::test]
async fn a_provider_is_believed_if_the_operator_names_its_authority() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let address = encrypted(up.address).await;
    let body = r#"{"model":"up/small","messages":[{"role":"user","content":"hi"}]}"#;
    let bench = Bench::start(trusting(address, Some(AUTHORITY))).await;
    let answer = bench.post(CHAT, body).await;
    assert_eq!((answer.status.as_u16(), up.received().len()), (200, 1), "{}", answer.body);
    let bench = Bench::start(trusting(address, None)).await;
    let answer = bench.post(CHAT, body).await;
    assert_eq!((answer.status.as_u16(), up.received().len()), (502, 1), "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_conversation_is_held_over_tls() {
    const SESSION: &str = r#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime"}}"#;
    let talker = Talker::start(agreed(""), |text| {
        if text.is_empty() { vec![Act::Say(SESSION.to_owned())] } else { vec![Act::Say(text.to_owned())] }
    })
    .await;
    let address = encrypted(talker.address).await;
    let bench = Bench::start(trusting(address, Some(AUTHORITY))).await;
    let (head, mut caller) = Caller::call(&bench, "up/small").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert_eq!(caller.hear().await, Heard::Text(SESSION.to_owned()));
    let long = format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, "A".repeat(300_000));
    caller.say(&long).await;
    assert_eq!(caller.hear().await, Heard::Text(long));
    caller.close(1000).await;
    assert_eq!(caller.hear().await, Heard::Close(Some(1000), String::new()));
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.model_served.as_deref()), (Outcome::Success, Some("gpt-realtime")));
}
