//! The control plane: a process that can be stopped, killed and started again where it was, and its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::chance::rest;
use crate::house::command::binary;

/// The time it has to be ready, or gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The rest between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Plane {
    place: PathBuf,
    pub(super) api: Api,
    pub(super) nodes: SocketAddr,
    child: Option<Child>,
}

/// Its API, whether or not it runs.
#[derive(Clone)]
pub(super) struct Api {
    address: SocketAddr,
    token: String,
}

impl Plane {
    /// Starts it on free ports, with everything it keeps in `place`.
    pub(super) async fn start(place: &Path) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let child = spawn(place, [any; 3]).await;
        let ready: Value = serde_json::from_slice(&std::fs::read(place.join("control/ready.json")).unwrap()).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
        let token = std::fs::read_to_string(place.join("control/admin.token")).unwrap().trim().to_owned();
        let api = Api { address: address("api"), token };
        Self { place: place.to_owned(), api, nodes: address("nodes"), child: Some(child) }
    }

    /// Ends it: in order, or as a power cut would.
    pub(super) async fn end(&mut self, kill: bool) {
        let mut child = self.child.take().unwrap();
        if kill {
            child.start_kill().unwrap();
        }
        drop(child.stdin.take());
        timeout(PATIENCE, child.wait()).await.expect("the control plane ends").unwrap();
    }

    /// Starts it again where it was.
    pub(super) async fn again(&mut self) {
        let _ = std::fs::remove_file(self.place.join("control/ready.json"));
        let any = "127.0.0.1:0".parse().unwrap();
        self.child = Some(spawn(&self.place, [self.api.address, self.nodes, any]).await);
    }
}

async fn spawn(place: &Path, [api, nodes, dns]: [SocketAddr; 3]) -> Child {
    let text = format!(
        "role = \"control\"\ndata = {:?}\nlisten = {{ api = \"{api}\", nodes = \"{nodes}\", dns = \"{dns}\" }}\nnames = [\"127.0.0.1\"]\nrollout = {{ hold = \"0s\" }}\n\
         dns = {{ zone = \"cdn.test\", nameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"127.0.0.1\"] }}] }}\n",
        place.join("control")
    );
    let config = place.join("control.toml");
    std::fs::write(&config, text).unwrap();
    let log = std::fs::OpenOptions::new().create(true).append(true).open(place.join("control.log")).unwrap();
    let mut child = Command::new(binary())
        .args(["control", "--config"])
        .arg(config)
        .env("SKERRY_STOP_WITH_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ready = async {
        while !place.join("control/ready.json").exists() {
            assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(place.join("control.log")).unwrap());
            rest(LOOK).await;
        }
    };
    timeout(PATIENCE, ready).await.expect("the control plane is ready");
    child
}

impl Api {
    /// Asks once; `None` when there was no whole answer, after which nobody knows whether it was done.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        timeout(ANSWER_MAX, self.exchange(method, path, body)).await.ok()?
    }

    async fn exchange(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    /// A token for one node to join with.
    pub(super) async fn join_token(&self, role: &str) -> String {
        let answer = self.ask("POST", "/v1/tokens", &json!({"kind": "join", "role": role, "region": "north"})).await.expect("an answer");
        answer.1["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }
}
