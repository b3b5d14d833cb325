//! Origins that nobody here wrote: Debian's nginx and Python's http.server, on free ports, counting by their own access logs.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::wait::{wait_for, wait_until};

/// How long an origin may take to start.
const START_MAX: Duration = Duration::from_secs(10);
/// Where they answer, unless a host of their own is meant.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// nginx over a directory. Everything it sends is fresh for ten minutes; below `/tagged/` it carries the tags `red` and `blue`.
pub(crate) struct Nginx {
    place: TempDir,
    address: SocketAddr,
    child: Child,
    scheme: &'static str,
}

impl Nginx {
    /// Starts it, empty.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(LOOPBACK, "")
    }

    /// Starts it, empty, at an address of the host this is called on.
    #[track_caller]
    pub(crate) fn start_at(host: IpAddr) -> Self {
        Self::start_with(host, "")
    }

    /// Starts it, empty, with HTTP/2 over TLS.
    #[track_caller]
    pub(crate) fn start_tls(cert: &str, key: &str) -> Self {
        Self::start_with(LOOPBACK, &format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
    }

    /// Starts it, empty, so that it also wants a certificate of `ca` from who asks.
    #[track_caller]
    pub(crate) fn start_asking(cert: &str, key: &str, ca: &str) -> Self {
        Self::start_with(
            LOOPBACK,
            &format!("ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca}; ssl_verify_client on;"),
        )
    }

    #[track_caller]
    fn start_with(host: IpAddr, tls: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("root/tagged")).unwrap();
        // nginx cannot choose a port itself, and somebody may take the one we found before it does.
        for _ in 0..5 {
            let address = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap();
            let config = place.path().join("nginx.conf");
            std::fs::write(&config, configuration(place.path(), address, tls)).unwrap();
            let mut child = Command::new(program())
                .arg("-p")
                .arg(place.path())
                .arg("-e")
                .arg(place.path().join("error.log"))
                .arg("-c")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("nginx does not start: {error}; run make setup"));
            let up = wait_for("nginx", START_MAX, || {
                if child.try_wait().unwrap().is_some() {
                    return Ok(false);
                }
                TcpStream::connect(address).map(|_| true).map_err(|error| error.to_string())
            });
            if up {
                return Self { place, address, child, scheme: if tls.is_empty() { "http" } else { "https" } };
            }
        }
        panic!("nginx ends: {}", std::fs::read_to_string(place.path().join("error.log")).unwrap_or_default());
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Puts a file where it is served, whole.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        put(&self.place.path().join("root"), path, content);
    }

    /// The same as of a time: two origins whose files have one length and time give them one entity tag.
    #[track_caller]
    pub(crate) fn put_as_of(&self, path: &str, content: &[u8], time: std::time::SystemTime) {
        self.put(path, content);
        let file = self.place.path().join("root").join(path.trim_start_matches('/'));
        std::fs::File::options().write(true).open(file).and_then(|file| file.set_modified(time)).unwrap();
    }

    /// By which protocols a path was asked for with success, in order.
    pub(crate) fn protocols(&self, path: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.place.path().join("access.log")).unwrap_or_default();
        let of_path = log.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|words| words.len() == 4 && words[1] == path);
        of_path.filter(|words| words[2] == "200").map(|words| words[3].to_owned()).collect()
    }

    /// How often a path was asked for with success.
    pub(crate) fn served(&self, path: &str) -> usize {
        let log = std::fs::read_to_string(self.place.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| line.split(' ').nth(1) == Some(path) && line.split(' ').nth(2).is_some_and(|code| code != "304")).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let places = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    places.iter().map(PathBuf::from).find(|path| path.exists()).unwrap_or_else(|| PathBuf::from("nginx"))
}

/// One process in the foreground, everything it writes below `place`.
fn configuration(place: &Path, address: SocketAddr, tls: &str) -> String {
    let ssl = if tls.is_empty() { "" } else { " ssl http2" };
    let place = place.display();
    format!(
        "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nerror_log {place}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         log_format counted '$request_method $uri $status $server_protocol';\n\
         access_log {place}/access.log counted;\n\
         client_body_temp_path {place}/body;\nproxy_temp_path {place}/proxy;\nfastcgi_temp_path {place}/fastcgi;\n\
         uwsgi_temp_path {place}/uwsgi;\nscgi_temp_path {place}/scgi;\n\
         server {{\n\
         listen {address}{ssl};\n{tls}\nroot {place}/root;\n\
         location / {{ add_header Cache-Control 'public, max-age=600'; }}\n\
         location /tagged/ {{ add_header Cache-Control 'public, max-age=600'; add_header Cache-Tag 'red, blue'; }}\n\
         }}\n}}\n"
    )
}

/// Python's http.server over a directory. It says nothing of freshness.
pub(crate) struct Python {
    place: TempDir,
    port: u16,
    child: Child,
}

impl Python {
    /// Starts it, empty.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("root")).unwrap();
        let log = std::fs::File::create(place.path().join("access.log")).unwrap();
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1", "--directory"])
            .arg(place.path().join("root"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("python3 does not start: {error}; run make setup"));
        // "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("python3 does not say its port: {line:?}"));
        let python = Self { place, port, child };
        wait_until("python's http.server", START_MAX, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        python
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a file where it is served, whole.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        put(&self.place.path().join("root"), path, content);
    }

    /// How often a path was asked for with success.
    pub(crate) fn served(&self, path: &str) -> usize {
        let log = std::fs::read_to_string(self.place.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!("\"GET {path} HTTP/")) && line.contains("\" 200 ")).count()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file by rename, so that no request sees half of it.
#[track_caller]
fn put(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let partial = path.with_extension("partial");
    std::fs::write(&partial, content).unwrap();
    std::fs::rename(&partial, &path).unwrap();
}
