//! A peer to measure beside: Debian's nginx as a caching proxy in front of the same origin.
//!
//! Owns the process, its files and its end.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::processor;

/// Where Debian puts it.
const NGINX: &str = "/usr/sbin/nginx";
/// The host that its certificate is for.
pub const HOST: &str = "peer.test";
/// How many ports are tried; another process may take one between its choice and its use.
const STARTS_MAX: u32 = 3;
/// How long a start or an end may take, in seconds.
const PATIENCE_S: u64 = 10;
/// The pause between two looks at a starting process, in milliseconds.
const LOOK_PAUSE_MS: u64 = 10;

/// The file of the authority of its certificate, below its folder.
const AUTHORITY: &str = "ca.pem";

/// How the process that ends by itself calls itself.
const LOADER: &str = "cache loader";

/// How many processes do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as there are cores.
    OnePerCore,
    /// One, for one core.
    One,
}

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Where it answers over cleartext HTTP/1.1.
    pub address: SocketAddr,
    /// Where it answers over TLS 1.3, HTTP/1.1 and HTTP/2, with a certificate for [`HOST`].
    pub secure: SocketAddr,
    /// Where it answers over cleartext HTTP/2, with prior knowledge.
    pub cleartext_h2: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Nginx {
    /// Whether it is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        Path::new(NGINX).exists()
    }

    /// Its version, as it tells it.
    ///
    /// # Errors
    /// A sentence: it does not run.
    pub async fn version() -> Result<String, String> {
        let output = Command::new(NGINX).arg("-v").output().await.map_err(|error| format!("cannot run {NGINX}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(said.trim().rsplit(": ").next().unwrap_or_default().to_owned())
    }

    /// Starts it on free ports of 127.0.0.1 in front of `origin`, an `http://` URL without path.
    ///
    /// # Errors
    /// A sentence: the origin is none, or nginx does not answer.
    pub async fn start(origin: &str, workers: Workers) -> Result<Self, String> {
        let upstream = origin.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let upstream = upstream.filter(|rest| rest.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-:[]".contains(&octet)));
        let upstream =
            upstream.ok_or_else(|| format!("the origin `{origin}` is not http://host[:port], which nginx is to stand before"))?;
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(upstream, workers).await {
                Ok(nginx) => return Ok(nginx),
                Err(error) => last = error,
            }
        }
        Err(format!("nginx does not start: {last}"))
    }

    async fn try_start(upstream: &str, workers: Workers) -> Result<Self, String> {
        let listen = free_addresses().map_err(|error| format!("no free port: {error}"))?;
        let [address, secure, cleartext_h2] = listen;
        let folder = std::env::temp_dir().join(format!("skerry-loadtest-nginx-{}-{}", std::process::id(), address.port()));
        let [authority, certificate, key] = certificate().map_err(|error| format!("no certificate for nginx: {error}"))?;
        let files = [
            ("nginx.conf", configuration(listen, upstream, workers)),
            (AUTHORITY, authority),
            ("certificate.pem", certificate),
            ("key.pem", key),
        ];
        let written = std::fs::create_dir_all(&folder);
        let written = written.and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text)));
        written.map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|error| format!("cannot run {NGINX}: {error}"))?;
        let mut nginx = Self { address, secure, cleartext_h2, child, folder };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while Instant::now() < deadline {
            if nginx.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                let log = std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
                let _ = std::fs::remove_dir_all(&nginx.folder);
                return Err(log.lines().next_back().unwrap_or("it ended at once").to_owned());
            }
            if TcpStream::connect(address).await.is_ok() && nginx.has_its_processes() {
                return Ok(nginx);
            }
            sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
        }
        nginx.stop().await;
        Err(format!("it does not answer at {address} within {PATIENCE_S} s"))
    }

    /// Its master process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The processes whose work and memory are its own: master, workers and cache manager. The cache loader is none of them: it looks for
    /// what an earlier run left, of which there is nothing, and ends after a minute.
    ///
    /// # Errors
    /// A sentence: it has ended.
    pub fn processes(&self) -> Result<Vec<u32>, String> {
        let all = processor::family(self.pid().ok_or("nginx has ended")?)?;
        Ok(all.into_iter().filter(|pid| !title(*pid).contains(LOADER)).collect())
    }

    /// Whether all that it starts with are there and have the titles by which they are told apart. The listening sockets are there earlier.
    fn has_its_processes(&self) -> bool {
        let family = self.pid().and_then(|pid| processor::family(pid).ok()).unwrap_or_default();
        let titles: Vec<String> = family.into_iter().map(title).collect();
        let is_there = |what: &str| titles.iter().any(|title| title.contains(what));
        titles.iter().all(|title| title.starts_with("nginx: "))
            && is_there("worker process")
            && is_there("cache manager")
            && is_there(LOADER)
    }

    /// The file of the authority that its certificate is from.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join(AUTHORITY)
    }

    /// Stops it, workers first, and removes its files.
    pub async fn stop(mut self) {
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(&self.folder).args(["-c", "nginx.conf", "-e", "error.log", "-s", "stop"]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        if timeout(Duration::from_secs(PATIENCE_S), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a process calls itself; nothing if it has ended.
fn title(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Three of them, held until all are known, so that they differ.
fn free_addresses() -> std::io::Result<[SocketAddr; 3]> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0");
    let held = [bind()?, bind()?, bind()?];
    Ok([held[0].local_addr()?, held[1].local_addr()?, held[2].local_addr()?])
}

/// An authority of its own, a certificate from it for [`HOST`], and the key of that, all in PEM. Keys are on P-256, as most on the web.
fn certificate() -> Result<[String; 3], rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.distinguished_name.push(DnType::CommonName, "loadtest peer CA");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
    Ok([authority_pem, certificate.pem(), key.serialize_pem()])
}

/// A caching proxy as its manual and most operators have it; each line that is not nginx's default has its reason beside it.
fn configuration([cleartext, secure, cleartext_h2]: [SocketAddr; 3], upstream: &str, workers: Workers) -> String {
    // A master that is root gives its workers another user, who could not write below the folder.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = if is_root { "user root;\n" } else { "" };
    let workers = match workers {
        Workers::OnePerCore => "auto",
        Workers::One => "1",
    };
    format!(
        "{user}daemon off;
# One worker for each core that it may use: what the manual advises where the processor is the bound.
worker_processes {workers};
pid nginx.pid;
events {{
    # Room for the idle connections that are measured; the default is 512.
    worker_connections 16384;
}}
http {{
    # Neither side logs requests, so the work of logging is compared with nothing.
    access_log off;
    # Bodies go from the page cache to the socket without a copy, the head in one packet with their beginning.
    sendfile on;
    tcp_nopush on;
    # A connection is not closed under the generator; the default of 1000 would measure new connections too.
    keepalive_requests 100000000;
    # The files of hot objects stay open: without it every hit opens and closes its file.
    open_file_cache max=10000 inactive=60s;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # Files are written where they stay: moving them from one folder to another is a copy when these are different file systems.
    proxy_cache_path store levels=1:2 keys_zone=store:16m max_size=1g inactive=1h use_temp_path=off;
    upstream origin {{
        server {upstream};
        # Connections to the origin are kept, as ours are.
        keepalive 32;
    }}
    server {{
        listen {cleartext} backlog=4096;
        listen {secure} ssl http2 backlog=4096;
        listen {cleartext_h2} http2 backlog=4096;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        # As the other side is measured: TLS 1.3 only, and the first cipher suite that the client names.
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://origin;
            # What keeping connections to an origin needs.
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_cache store;
            proxy_cache_key $request_uri;
            # Whatever the origin says is kept for ten minutes, so that a hit is a hit.
            proxy_cache_valid 200 10m;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
            # Misses of one object are collapsed, as ours are.
            proxy_cache_lock on;
            proxy_cache_lock_timeout 60s;
            # Tells the generator what was a hit.
            add_header X-Cache-Status $upstream_cache_status;
        }}
    }}
}}
"
    )
}
