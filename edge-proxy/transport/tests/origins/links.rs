//! Links between tiers: opened before anybody asks, kept open, and only to the very shield.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use skerry_config::snapshot::{Document, Shield, Snapshot};
use skerry_transport::private::Private;
use skerry_transport::target::Target;
use skerry_transport::tls;
use skerry_transport::upstream::{Client, UpstreamErrorKind};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::house::{origins, request, soon, target, whole};

/// The authority of a CDN.
struct Cdn {
    issuer: Issuer<'static, KeyPair>,
    ca: Vec<u8>,
}

impl Cdn {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), ca }
    }

    /// The certificate and the key of a node, which may say that it is another one.
    fn node(&self, role: &str, name: &str, says: &str) -> (Vec<u8>, Vec<u8>) {
        let uri = Ia5String::try_from(format!("spiffe://skerry/{role}/{name}")).unwrap();
        let mut params = CertificateParams::new(vec![says.to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().to_vec(), key.serialize_der())
    }

    fn client(&self) -> Arc<Client> {
        let (certificate, key) = self.node("edge", "edge-1", "edge-1");
        Client::with_links(&origins(&[]), Arc::new(Private::new(&certificate, &key, &self.ca).unwrap()))
    }

    /// A shield by the certificate of a node, which tells of each of its connections how to end it.
    async fn shield(&self, (certificate, key): (Vec<u8>, Vec<u8>), speaks: &[u8]) -> (SocketAddr, mpsc::UnboundedReceiver<AbortHandle>) {
        let mut config =
            Arc::unwrap_or_clone(tls::for_nodes(Arc::new(Private::new(&certificate, &key, &self.ca).unwrap()), "edge").unwrap());
        config.alpn_protocols = vec![speaks.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, opened) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let serving = tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut asked))) = connection.accept().await {
                        let mut body = asked.send_response(Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
                    }
                });
                let _ = tell.send(serving.abort_handle());
            }
        });
        (address, opened)
    }
}

fn named(name: &str, address: SocketAddr) -> Shield {
    Shield { name: name.to_owned(), region: "r".to_owned(), address }
}

fn snapshot(shields: &[Shield]) -> Snapshot {
    Snapshot::build(Document { version: 1, shields: shields.to_vec(), ..Document::default() }).unwrap()
}

fn to(client: &Client, shield: &Shield) -> Target {
    client.shield(shield, target("127.0.0.1", 1).times, None).unwrap()
}

#[tokio::test]
async fn a_link_is_there_before_it_is_needed_and_comes_back() {
    let cdn = Cdn::new();
    let (address, mut opened) = cdn.shield(cdn.node("shield", "shield-1", "shield-1"), b"h2").await;
    let (client, shield) = (cdn.client(), named("shield-1", address));
    client.configure(&snapshot(std::slice::from_ref(&shield)));
    let first = soon(opened.recv()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(whole(&client, &to(&client, &shield), &request()).await, Ok((200, "hello".to_owned())));
    }
    assert!(opened.try_recv().is_err(), "the link was there");
    first.abort();
    let _second = soon(opened.recv()).await.unwrap();
    assert_eq!(whole(&client, &to(&client, &shield), &request()).await, Ok((200, "hello".to_owned())));
    assert!(opened.try_recv().is_err(), "the link was there again");
}

#[tokio::test]
async fn a_shield_that_is_gone_from_the_configuration_has_no_link() {
    let cdn = Cdn::new();
    let (address, mut opened) = cdn.shield(cdn.node("shield", "shield-1", "shield-1"), b"h2").await;
    let client = cdn.client();
    client.configure(&snapshot(&[named("shield-1", address)]));
    let link = soon(opened.recv()).await.unwrap();
    client.configure(&snapshot(&[named("shield-1", address)]));
    assert!(!link.is_finished() && opened.try_recv().is_err(), "what stays is left as it is");
    client.configure(&snapshot(&[]));
    let ended = async {
        while !link.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    soon(ended).await;
    assert!(opened.try_recv().is_err(), "it was opened again");
}

#[tokio::test]
async fn nobody_but_the_very_shield_is_taken_for_it() {
    let (cdn, other) = (Cdn::new(), Cdn::new());
    for (who, node, speaks, why) in [
        ("another shield", cdn.node("shield", "shield-2", "shield-2"), &b"h2"[..], "not valid for name"),
        ("another shield that says it is this one", cdn.node("shield", "shield-2", "shield-1"), b"h2", "ApplicationVerificationFailure"),
        ("an edge of that name", cdn.node("edge", "shield-1", "shield-1"), b"h2", "ApplicationVerificationFailure"),
        ("one that speaks something else", cdn.node("shield", "shield-1", "shield-1"), b"http/1.1", ""),
    ] {
        let (address, _opened) = cdn.shield(node, speaks).await;
        let (client, shield) = (cdn.client(), named("shield-1", address));
        let error = whole(&client, &to(&client, &shield), &request()).await.unwrap_err();
        assert!(error.kind == UpstreamErrorKind::Tls && error.detail.contains(why), "{who}: {error:?}");
    }
    let (address, _opened) = other.shield(other.node("shield", "shield-1", "shield-1"), b"h2").await;
    let (client, shield) = (cdn.client(), named("shield-1", address));
    let error = whole(&client, &to(&client, &shield), &request()).await.unwrap_err();
    assert!(error.kind == UpstreamErrorKind::Tls && error.detail.contains("cannot be reached"), "another CDN's shield: {error:?}");
}
