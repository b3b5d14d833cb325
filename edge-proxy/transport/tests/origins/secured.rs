//! Origins over TLS whose certificates come from authorities of their own.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use skerry_config::site::HttpVersion;
use skerry_transport::client_certificate::ClientCertificate;
use skerry_transport::target::{Endpoint, Target, TlsTo};
use skerry_transport::trust::Trust;
use skerry_transport::upstream::{Client, UpstreamError, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::house::{origins, request, to};

const NAME: &str = "origin.test";

/// An authority, and its certificate as a site has it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// An origin with a certificate of this authority, changed as a test wants it. Its port.
    async fn origin(&self, change: impl FnOnce(&mut CertificateParams)) -> u16 {
        self.origin_for(WebPkiClientVerifier::no_client_auth(), change).await
    }

    /// One that asks for certificates of this authority.
    async fn origin_that_asks(&self) -> u16 {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        self.origin_for(clients, |_| {}).await
    }

    /// A certificate of this authority with its key.
    fn client(&self) -> (String, String) {
        let mut params = CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    async fn origin_for(&self, clients: Arc<dyn ClientCertVerifier>, change: impl FnOnce(&mut CertificateParams)) -> u16 {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(clients).with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => asked.push(byte),
                        Err(_) => break,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        });
        port
    }
}

fn secured(port: u16, name: &str, ca: Option<&str>) -> Target {
    let trust = ca.map(|pem| Trust::of(pem).unwrap());
    shown(port, name, trust, None)
}

fn shown(port: u16, name: &str, trust: Option<Arc<Trust>>, client: Option<Arc<ClientCertificate>>) -> Target {
    let tls = TlsTo { server_name: name.to_owned(), verify: true, trust, client, private: None };
    to(Endpoint::new("127.0.0.1".to_owned(), port, Some(tls), HttpVersion::Auto))
}

async fn ask(client: &Arc<Client>, target: Target) -> Result<u16, UpstreamError> {
    client.request(&[target], &request()).await.map(|incoming| incoming.status.as_u16())
}

async fn refused(target: Target) -> String {
    let error = ask(&Client::new(&origins(&[])), target).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Tls, "{error}");
    error.detail
}

#[tokio::test]
async fn an_authority_of_its_own_vouches_for_an_origin_and_no_other_one_does() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let port = own.origin(|_| {}).await;
    let client = Client::new(&origins(&[]));
    assert_eq!(ask(&client, secured(port, NAME, Some(&own.pem))).await, Ok(200));
    let both = format!("{}{}", other.pem, own.pem);
    assert_eq!(ask(&client, secured(port, NAME, Some(&both))).await, Ok(200), "one of several is enough");
    for ca in [Some(other.pem.as_str()), None] {
        // By the same client, whose pool has connections that others were vouched for.
        let error = ask(&client, secured(port, NAME, ca)).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Tls, "{error}");
        assert!(error.detail.contains("UnknownIssuer"), "{error}");
    }
}

#[tokio::test]
async fn an_origin_that_asks_for_a_certificate_gets_that_of_the_site_alone() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let port = own.origin_that_asks().await;
    let client = Client::new(&origins(&[]));
    let showing = |certificate: Option<(String, String)>| {
        let certificate = certificate.map(|(chain, key)| ClientCertificate::of(&chain, &key).unwrap());
        shown(port, NAME, Trust::of(&own.pem), certificate)
    };
    let own_certificate = own.client();
    for _ in 0..2 {
        assert_eq!(ask(&client, showing(Some(own_certificate.clone()))).await, Ok(200));
        // By the same client, whose pool has a connection over which the right one was shown.
        for certificate in [None, Some(other.client())] {
            assert!(ask(&client, showing(certificate.clone())).await.is_err(), "{certificate:?}");
        }
    }
}

#[test]
fn what_is_no_certificate_with_its_key_is_none() {
    let (chain, key) = Authority::new("own").client();
    assert!(ClientCertificate::of(&chain, &key).is_some());
    for (chain, key) in [(chain.as_str(), chain.as_str()), (key.as_str(), key.as_str()), ("", key.as_str()), (chain.as_str(), "")] {
        assert!(ClientCertificate::of(chain, key).is_none(), "{chain:?} {key:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_sentence() {
    let own = Authority::new("own");
    let port = own.origin(|_| {}).await;
    let says = refused(secured(port, "elsewhere.test", Some(&own.pem))).await;
    assert!(says.contains("not valid for name") && says.contains("elsewhere.test"), "{says}");
}

#[tokio::test]
async fn a_certificate_that_is_over_is_a_sentence() {
    let own = Authority::new("own");
    let port = own.origin(|params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    let says = refused(secured(port, NAME, Some(&own.pem))).await;
    assert!(says.contains("expired"), "{says}");
}

#[test]
fn what_is_no_authority_is_none() {
    for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Trust::of(pem).is_none(), "{pem:?}");
    }
}
