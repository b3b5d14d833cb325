//! The control plane's API as measurements need it: one kept HTTP/2 connection, on which any number of requests are under way.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// See the module. Clones are the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    send: SendRequest<Full<Bytes>>,
    authority: String,
    token: String,
}

impl Api {
    /// Connects to `authority`, which is `host:port`.
    pub(crate) async fn connect(authority: &str, token: &str) -> Result<Self, String> {
        let failed = |why: String| format!("cannot connect to the API at {authority}: {why}");
        let stream = TcpStream::connect(authority).await.map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        // It ends with the last handle; a request that is under way then says why.
        tokio::spawn(connection);
        Ok(Self { send, authority: authority.to_owned(), token: token.to_owned() })
    }

    /// Asks; the status and what the answer says.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Value), String> {
        let failed = |why: String| format!("{method} {path}: {why}");
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{}{path}", self.authority))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(error.to_string()))?;
        let mut send = self.send.clone();
        let answer = async {
            send.ready().await?;
            let (head, body) = send.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head.status, body.collect().await?.to_bytes()))
        };
        let (status, body) = timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| failed(format!("no answer within {ANSWER_TIMEOUT:?}")))?
            .map_err(|error| failed(error.to_string()))?;
        let said = serde_json::from_slice(&body).map_err(|error| failed(format!("{status} with no JSON: {error}")))?;
        Ok((status, said))
    }

    /// Asks for what has to succeed.
    async fn fine(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Value, String> {
        match self.ask(method.clone(), path, body).await? {
            (status, said) if status.is_success() => Ok(said),
            (status, said) => Err(format!("{method} {path}: {status}: {said}")),
        }
    }

    /// Makes a token with which one node can join.
    pub(crate) async fn join_token(&self, role: &str) -> Result<String, String> {
        let wish = json!({ "kind": "join", "role": role, "region": "here" });
        let made = self.fine(Method::POST, "/v1/tokens", wish.to_string().into()).await?;
        made["token"].as_str().map(str::to_owned).ok_or_else(|| format!("no token in {made}"))
    }

    /// Puts a site, on all nodes at once; the number of the configuration that has it.
    pub(crate) async fn put_site(&self, name: &str, origin_port: u64) -> Result<u64, String> {
        let site = json!({ "name": name, "hosts": [format!("{name}.example.com")], "origin": { "urls": [format!("http://127.0.0.1:{origin_port}")] } });
        let written = self.fine(Method::PUT, &format!("/v1/sites/{name}?rollout=now"), site.to_string().into()).await?;
        number(&written, "snapshot")
    }

    /// The number of the configuration in force.
    pub(crate) async fn snapshot(&self) -> Result<u64, String> {
        number(&self.fine(Method::GET, "/v1/sites", Vec::new()).await?, "snapshot")
    }

    /// Purges; the number of the purge, `None` when it was refused because too many wait.
    pub(crate) async fn purge(&self, targets: Vec<u8>) -> Result<Option<u64>, String> {
        match self.ask(Method::POST, "/v1/purges", targets).await? {
            (StatusCode::ACCEPTED, said) => number(&said, "seq").map(Some),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => Ok(None),
            (status, said) => Err(format!("POST /v1/purges: {status}: {said}")),
        }
    }

    /// How many nodes have not confirmed a purge.
    pub(crate) async fn unconfirmed(&self, seq: u64) -> Result<usize, String> {
        let said = self.fine(Method::GET, &format!("/v1/purges/{seq}"), Vec::new()).await?;
        let count = |list: &str| said["nodes"][list].as_array().map(Vec::len).ok_or_else(|| format!("purge {seq} has no list {list}"));
        Ok(count("pending")? + count("away")?)
    }
}

fn number(said: &Value, name: &str) -> Result<u64, String> {
    said[name].as_u64().ok_or_else(|| format!("no {name} in {said}"))
}
