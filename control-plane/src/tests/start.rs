//! What keeps a control plane from starting, each said in one sentence that names it; and DNS, which starts with it.

use std::net::SocketAddr;

use http::Method;
use serde_json::json;
use skerry_agent::Role;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::house::{House, eventually, settings};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_or_unwritable_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken_udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let fails = async |change: &dyn Fn(&mut skerry_config::process::Control)| {
        let mut settings = settings(&directory.path().join("control"));
        change(&mut settings);
        let (_stop, stopped) = watch::channel(false);
        let error = crate::run(settings, stopped).await.unwrap_err();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(fails(&|settings| settings.listen.api = address).await.contains(&format!("{address} (listen.api)")));
    assert!(fails(&|settings| settings.listen.nodes = address).await.contains(&format!("{address} (listen.nodes)")));
    assert!(fails(&|settings| settings.listen.dns = address).await.contains(&format!("{address} (listen.dns)")));
    let udp = taken_udp.local_addr().unwrap();
    assert!(fails(&|settings| settings.listen.dns = udp).await.contains(&format!("{udp} (listen.dns)")));
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("control");
    assert!(fails(&|settings| settings.data.clone_from(&below)).await.contains(&below.display().to_string()));

    let house = House::start().await;
    let data = house.settings.data.clone();
    assert!(fails(&|settings| settings.data.clone_from(&data)).await.contains("in use by another process"));
    assert!(data.join("ready.json").exists(), "the second process took the first one's ready.json away");
    for (file, mode) in [("admin.token", 0o600), ("ca.key", 0o600), ("audit.log", 0o600)] {
        let found = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(data.join(file)).unwrap()) & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zone_follows_sites_and_nodes_at_once() {
    let house = House::start().await;
    assert_eq!(answers(house.address("dns"), "shop.cdn.test").await, None);
    house.put_site("shop", "shop.test").await;
    let node = house.node(Role::Edge, "edge-1").await;
    let is = async |wanted: Option<Vec<[u8; 4]>>, what: &str| {
        eventually(what, async || (answers(house.address("dns"), "shop.cdn.test").await == wanted).then_some(())).await;
    };
    is(Some(vec![[127, 0, 0, 9]]), "the edge is answered").await;
    house.call(Method::POST, "/v1/nodes/edge-1/drain", &json!({})).await;
    is(Some(vec![]), "a drained edge is not").await;
    house.call(Method::POST, "/v1/nodes/edge-1/resume", &json!({})).await;
    is(Some(vec![[127, 0, 0, 9]]), "it is again").await;
    node.stop().await;
    house.call(Method::DELETE, "/v1/nodes/edge-1", &json!({})).await;
    is(Some(vec![]), "a removed edge is not").await;
    house.stop().await;
}

/// The addresses of a name, `None` when there is no such name.
pub(super) async fn answers(server: SocketAddr, name: &str) -> Option<Vec<[u8; 4]>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut query = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send_to(&query, server).await.unwrap();
    let mut answer = [0; 512];
    let received = tokio::time::timeout(std::time::Duration::from_secs(5), socket.recv(&mut answer)).await.unwrap().unwrap();
    let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
    // Each record: a compressed name of two bytes, ten bytes of head, four of address.
    let records = answer[query.len()..received].chunks(16).take(count).map(|record| record[12..16].try_into().unwrap());
    (answer[3] & 0xf == 0).then(|| records.collect())
}
