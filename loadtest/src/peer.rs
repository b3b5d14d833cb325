//! A peer to measure beside: Debian's nginx as a caching proxy in front of the same origin.
//!
//! Owns the process, its files and its end.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Where Debian puts it.
const NGINX: &str = "/usr/sbin/nginx";
/// How many ports are tried; another process may take one between its choice and its use.
const STARTS_MAX: u32 = 3;
/// How long a start or an end may take, in seconds.
const PATIENCE_S: u64 = 10;
/// The pause between two looks at a starting process, in milliseconds.
const LOOK_PAUSE_MS: u64 = 10;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Where it answers.
    pub address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Nginx {
    /// Whether it is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        Path::new(NGINX).exists()
    }

    /// Starts it on a free port of 127.0.0.1 in front of `origin`, an `http://` URL without path.
    ///
    /// # Errors
    /// A sentence: the origin is none, or nginx does not answer.
    pub async fn start(origin: &str) -> Result<Self, String> {
        let upstream = origin.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let upstream = upstream.filter(|rest| rest.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-:[]".contains(&octet)));
        let upstream =
            upstream.ok_or_else(|| format!("the origin `{origin}` is not http://host[:port], which nginx is to stand before"))?;
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(upstream).await {
                Ok(nginx) => return Ok(nginx),
                Err(error) => last = error,
            }
        }
        Err(format!("nginx does not start: {last}"))
    }

    async fn try_start(upstream: &str) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let folder = std::env::temp_dir().join(format!("skerry-loadtest-nginx-{}-{}", std::process::id(), address.port()));
        let written =
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("nginx.conf"), configuration(address, upstream)));
        written.map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|error| format!("cannot run {NGINX}: {error}"))?;
        let mut nginx = Self { address, child, folder };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while Instant::now() < deadline {
            if nginx.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                let log = std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
                let _ = std::fs::remove_dir_all(&nginx.folder);
                return Err(log.lines().next_back().unwrap_or("it ended at once").to_owned());
            }
            if TcpStream::connect(address).await.is_ok() {
                return Ok(nginx);
            }
            sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
        }
        nginx.stop().await;
        Err(format!("it does not answer at {address} within {PATIENCE_S} s"))
    }

    /// Its process; its workers are children of that one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
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

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A caching proxy as the manual advises: kept-alive origin connections, collapsed misses, whatever the origin says kept for ten
/// minutes so that a hit is a hit, no access log on either side.
fn configuration(address: SocketAddr, upstream: &str) -> String {
    // A master that is root gives its workers another user, who could not write below the folder.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = if is_root { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;
worker_processes auto;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    proxy_cache_path store levels=1:2 keys_zone=store:16m max_size=1g inactive=1h use_temp_path=off;
    upstream origin {{ server {upstream}; keepalive 32; }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_cache store;
            proxy_cache_key $request_uri;
            proxy_cache_valid 200 10m;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 60s;
            add_header X-Cache-Status $upstream_cache_status;
        }}
    }}
}}
"
    )
}
