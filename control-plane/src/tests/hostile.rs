//! A node that keeps to no rule: what it says costs it little and others nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use skerry_agent::Role;
use skerry_agent::identity::Identity;
use skerry_agent::wire::control_client::ControlClient;
use skerry_agent::wire::{Adopted, CONTROL_NAME, Hello, Load, Order, Refused, Report, order, report};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Streaming;
use tonic::codegen::Service;
use tonic::transport::{Endpoint, Uri};

use super::events::read;
use super::house::{House, eventually};

/// Gives out the one connection there is.
struct Once(Option<TokioIo<TlsStream<TcpStream>>>);

impl Service<Uri> for Once {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take();
        Box::pin(async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) })
    }
}

/// Follows by a certificate, and leaves everything that is said to the caller.
async fn follow(house: &House, identity: &Identity) -> (mpsc::Sender<report::What>, Streaming<Order>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.ca.clone())).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut tls = builder.with_client_auth_cert(vec![CertificateDer::from(identity.certificate.clone())], key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(house.address("nodes")).await.unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(CONTROL_NAME).unwrap(), stream).await.unwrap();
    let once = Once(Some(TokioIo::new(stream)));
    let channel = Endpoint::from_static("http://control.skerry").connect_with_connector(once).await.unwrap();
    let (reports, said) = mpsc::channel(64);
    reports.send(report::What::Hello(Hello::default())).await.unwrap();
    let said = futures_util::stream::unfold(said, |mut said: mpsc::Receiver<report::What>| async move {
        said.recv().await.map(|what| (Report { what: Some(what) }, said))
    });
    (reports, ControlClient::new(channel).follow(said).await.unwrap().into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_asked_for_are_no_events_and_a_reason_is_cut() {
    let house = House::start().await;
    let node = house.node(Role::Edge, "edge-1").await;
    let identity = node.agent.identity();
    node.stop().await;
    let view = async || house.get("/v1/nodes/edge-1").await.json();
    eventually("the node is away", async || (view().await["connected"] == false).then_some(())).await;

    let (reports, mut orders) = follow(&house, &identity).await;
    let version = loop {
        if let Some(order::What::Snapshot(part)) = orders.message().await.unwrap().unwrap().what {
            break part.version;
        }
    };
    for number in 0..200 {
        let refused = Refused { version, reason: "x".repeat(64 << 10), sites: vec!["s".to_owned(); 5_000] };
        for what in [
            report::What::Adopted(Adopted { version: version + 1 + number }),
            report::What::Refused(refused),
            report::What::Adopted(Adopted { version }),
        ] {
            reports.send(what).await.unwrap();
        }
    }
    reports.send(report::What::Load(Load { requests: 77, ..Load::default() })).await.unwrap();
    let told = eventually("all of it is heard", async || Some(view().await).filter(|view| view["requests"] == 77)).await;
    assert_eq!(told["refused"].as_str().unwrap().len(), 1_024);

    house.post("/v1/purges", json!({"all": true})).await;
    let events = read(&house, "?kinds=node,purge", Some("0"), 7).await;
    let words: Vec<_> = events.iter().map(|(_, kind, data)| data["what"].as_str().unwrap_or(kind)).collect();
    assert_eq!(words, ["joined", "connected", "adopted", "disconnected", "connected", "refused", "purge"]);
    assert_eq!(events[5].2["reason"].as_str().unwrap().len(), 1_024);
    drop((reports, orders));
    house.stop().await;
}
