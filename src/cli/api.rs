//! The control API as commands use it: where it is, who we are, and its refusals as sentences.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde_json::Value;
use skerry_transport::tls;

use super::Fail;
use crate::ask::{Secured, Unanswered, ask};

/// How long an answer may take, beside a wait that the request asks for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where the control API is, who asks, and how the answer is printed.
#[derive(Args, Clone, Debug)]
#[group(id = "api-options")]
pub(crate) struct Options {
    /// The control API, such as http://127.0.0.1:8080
    #[arg(long, global = true, env = "SKERRY_API", value_name = "URL")]
    api: Option<String>,
    /// The PEM file of the authorities that vouch for the control API over https; those of the system by default
    #[arg(long, global = true, env = "SKERRY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A token of the control API; the first one is in admin.token in the control plane's data directory
    #[arg(long, global = true, env = "SKERRY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The options of a command that has verbs.
#[derive(Args)]
pub(crate) struct With<C: Subcommand> {
    #[command(flatten)]
    pub(crate) api: Options,
    #[command(subcommand)]
    pub(crate) command: C,
}

/// The control API, as one operator reaches it.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// `host:port`.
    address: String,
    secured: Option<Secured>,
    token: String,
}

/// One request to the API.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    /// The method; GET by default.
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) path: &'a str,
    /// The body, if there is one.
    pub(crate) body: Option<Value>,
    /// The version that must be the newest for the write to happen.
    pub(crate) if_match: Option<u64>,
    /// How long the request itself asks the API to wait.
    pub(crate) wait: Duration,
}

impl<'a> Call<'a> {
    /// Reads.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { path, ..Self::default() }
    }

    /// Makes something.
    pub(crate) fn post(path: &'a str, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    /// Writes something whole.
    pub(crate) fn put(path: &'a str, body: Value) -> Self {
        Self { method: Method::PUT, body: Some(body), ..Self::get(path) }
    }

    /// Deletes.
    pub(crate) fn delete(path: &'a str) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }
}

/// What an answer was not.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no answer.
    Unanswered(Unanswered),
    /// An answer that is no success, as a sentence.
    Status(StatusCode, String),
}

impl Options {
    /// The API that the operator named.
    pub(crate) fn api(&self) -> Result<Api, Fail> {
        let url = self.api.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| {
            Fail::Usage("where the control API is was not said; give --api URL or set SKERRY_API, such as http://127.0.0.1:8080".to_owned())
        })?;
        let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()).ok_or_else(|| {
            Fail::Usage(
                "no token was given; give --token TOKEN or set SKERRY_TOKEN; the first one is in admin.token in the control plane's data directory"
                    .to_owned(),
            )
        })?;
        Api::new(url, token, self.ca.as_deref()).map_err(Fail::Usage)
    }
}

impl Api {
    /// The API at `url`, asked with `token`; over https the authorities in the file `ca` vouch for it, or those of the system.
    ///
    /// # Errors
    /// One sentence, when either cannot be used.
    pub(crate) fn new(url: &str, token: &str, ca: Option<&Path>) -> Result<Self, String> {
        let wrong = || format!("the API address {url:?} is not usable; write http://HOST:PORT or https://HOST:PORT");
        let (is_secured, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").unwrap_or(url)),
        };
        let address = rest.trim_end_matches('/');
        let authority: http::uri::Authority = address.parse().map_err(|_| wrong())?;
        if authority.port_u16().is_none() {
            return Err(wrong());
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token has characters that no token has; copy it again, without spaces and line ends".to_owned());
        }
        let secured = is_secured.then(|| secured(authority.host(), ca)).transpose()?;
        Ok(Self { address: authority.as_str().to_owned(), secured, token: token.to_owned() })
    }

    /// Makes a call; a refusal is a sentence that says what to do.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Value, Fail> {
        self.try_call(call).await.map_err(|refusal| self.fail(refusal))
    }

    /// A refusal as a sentence that says what to do.
    pub(crate) fn fail(&self, refusal: Refusal) -> Fail {
        Fail::Refused(match refusal {
            Refusal::Unanswered(Unanswered::Connect(error)) => {
                format!("the control API at {} cannot be reached ({error}); is the control plane running there?", self.address)
            }
            Refusal::Unanswered(Unanswered::Untrusted(error)) => format!(
                "the control API at {} is not trusted ({error}); give the authority of its certificate with --ca FILE, ca.pem of its data directory where that issued it",
                self.address
            ),
            Refusal::Unanswered(other) => format!("the control API at {} did not answer: {other}", self.address),
            Refusal::Status(StatusCode::UNAUTHORIZED, _) => format!(
                "the control API at {} does not know this token; use the one in admin.token in its data directory, or one made from it",
                self.address
            ),
            Refusal::Status(_, says) => says,
        })
    }

    /// Makes a call; a refusal is left to the caller.
    pub(crate) async fn try_call(&self, call: Call<'_>) -> Result<Value, Refusal> {
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::HOST, &self.address)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, "application/json");
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(version) = call.if_match {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Refusal::Unanswered(Unanswered::Broken(error.to_string())))?;
        let answer = ask(&self.address, self.secured.as_ref(), request, ANSWER_MAX + call.wait).await.map_err(Refusal::Unanswered)?;
        let status = answer.status();
        let value: Option<Value> = serde_json::from_slice(answer.body()).ok();
        if !status.is_success() {
            return Err(Refusal::Status(status, says(status, value.as_ref())));
        }
        match value {
            Some(value) => Ok(value),
            None if answer.body().is_empty() => Ok(Value::Null),
            None => Err(Refusal::Status(status, format!("{} is not a control API: its answer is no JSON", self.address))),
        }
    }
}

fn secured(host: &str, ca: Option<&Path>) -> Result<Secured, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
    let config = match ca {
        None => tls::to_server(None).map_err(|_| "this system has no certificate authorities; give --ca FILE".to_owned()),
        Some(path) => std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|pem| tls::to_server(Some(&pem)))
            .map_err(|error| format!("the authorities in {} cannot be used: {error}", path.display())),
    };
    Ok(Secured { config: config?, name })
}

/// A refusal of the API (RFC 9457) as a sentence, with a line for each fault it names.
fn says(status: StatusCode, problem: Option<&Value>) -> String {
    let field = |name: &str| problem.and_then(|problem| problem.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut text = field("detail").or_else(|| field("title")).map_or_else(|| format!("the control API answered {status}"), str::to_owned);
    let errors = problem.map_or(&[][..], |problem| super::show::list(problem, "errors"));
    for error in errors {
        let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let (path, detail) = (part("path"), part("detail"));
        text.push_str(&if path.is_empty() { format!("\n  {detail}") } else { format!("\n  {path}: {detail}") });
    }
    text
}

/// `text` as one segment of a path: what RFC 3986 does not call unreserved is percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for (url, fine) in [
            ("http://127.0.0.1:8080", true),
            ("http://control.internal:8080/", true),
            ("127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://127.0.0.1", false),
            ("https://127.0.0.1:8080", true),
            ("https://[::1]:8080", true),
            ("https://127.0.0.1", false),
            ("http://a b:1", false),
            ("http://a:1/v1", false),
            ("", false),
        ] {
            assert_eq!(Api::new(url, "t", None).is_ok(), fine, "{url}");
        }
        assert!(Api::new("http://a:1", "two\nlines", None).is_err());
        let missing = Api::new("https://a:1", "t", Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
    }

    #[test]
    fn a_problem_is_said_with_its_faults() {
        let problem = serde_json::json!({
            "title": "site has faults", "detail": "the site has 2 faults",
            "errors": [{"path": "hosts[0]", "detail": "belongs to site \"a\""}, {"path": "", "detail": "has no origin"}],
        });
        assert_eq!(
            says(StatusCode::UNPROCESSABLE_ENTITY, Some(&problem)),
            "the site has 2 faults\n  hosts[0]: belongs to site \"a\"\n  has no origin"
        );
        assert_eq!(says(StatusCode::BAD_GATEWAY, None), "the control API answered 502 Bad Gateway");
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("../v1?x"), "..%2Fv1%3Fx");
        assert_eq!(segment("shop-1"), "shop-1");
    }
}
