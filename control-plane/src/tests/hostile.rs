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
use skerry_agent::wire::{Adopted, CONTROL_NAME, Hello, Latency, Load, Order, PrefixTimes, Refused, Report, order, report};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Endpoint, Uri};
use tonic::{Status, Streaming};

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
    let (reports, orders) = try_to_follow(house, identity, Hello::default()).await;
    (reports, orders.unwrap())
}

/// The same with a hello of the caller's.
async fn try_to_follow(house: &House, identity: &Identity, hello: Hello) -> (mpsc::Sender<report::What>, Result<Streaming<Order>, Status>) {
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
    reports.send(report::What::Hello(hello)).await.unwrap();
    let said = futures_util::stream::unfold(said, |mut said: mpsc::Receiver<report::What>| async move {
        said.recv().await.map(|what| (Report { what: Some(what) }, said))
    });
    (reports, ControlClient::new(channel).follow(said).await.map(tonic::Response::into_inner))
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

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_clients_that_come_too_often_or_are_none_cost_nothing() {
    let house = House::start().await;
    let mut identities = Vec::new();
    for (role, name) in [(Role::Edge, "edge-1"), (Role::Shield, "shield-1")] {
        let node = house.node(role, name).await;
        identities.push(node.agent.identity());
        node.stop().await;
    }
    let nowhere = Hello { latitude: Some(f64::NAN), longitude: Some(13.0), ..Hello::default() };
    let refused = try_to_follow(&house, &identities[0], nowhere).await.1.unwrap_err();
    assert!(refused.message().contains("a place that is not on earth"), "{refused}");

    let good = PrefixTimes { address: vec![192, 0, 2, 0].into(), length: 24, count: 1, smoothed_micros: 1, least_micros: 1, age_millis: 1 };
    let odd = PrefixTimes { length: 99, ..good.clone() };
    let many = report::What::Latency(Latency { prefixes: [vec![good; 2], vec![odd; 5_000]].concat(), dropped: u64::MAX });
    let mut streams = Vec::new();
    for identity in &identities {
        let (reports, orders) = follow(&house, identity).await;
        for _ in 0..5 {
            reports.send(many.clone()).await.unwrap();
        }
        reports.send(report::What::Load(Load { utilization: Some(u32::MAX), ..Load::default() })).await.unwrap();
        streams.push((reports, orders));
    }
    let count = async |outcome: &str| {
        let metrics = house.get("/metrics").await.text;
        let wanted = format!("skerry_control_latency_prefixes_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&wanted)).unwrap().parse::<u64>().unwrap()
    };
    let all = 5_002;
    eventually("all of it is heard", async || (count("unasked").await == 9 * all).then_some(())).await;
    assert_eq!((count("taken").await, count("malformed").await, count("beyond").await), (1, 1_023, all - 1_024));
    drop(streams);
    house.stop().await;
}
