//! Peers to measure beside: Debian's caching proxies in front of the same origin.
//!
//! Owns their processes, their files and their end. What each of them is told, and which of its processes count, is in the module of its name.

mod nginx;
mod trafficserver;
mod varnish;

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::uri::Authority;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::{machine, processor};

/// The host that the certificate of a peer is for.
pub const HOST: &str = "peer.test";
/// How many ports are tried; another process may take one between its choice and its use.
const STARTS_MAX: u32 = 3;
/// How long a start or an end may take, in seconds. The start of Varnish runs a C compiler, which on a busy machine is not soon done.
const PATIENCE_S: u64 = 30;
/// The pause between two looks at a starting process, in milliseconds.
const LOOK_PAUSE_MS: u64 = 10;
/// The port of an `http://` URL that names none.
const HTTP_PORT: u16 = 80;

/// What a peer is started with; it is of util-linux, which every Debian has.
const GUARD: &str = "setpriv";
/// What a peer says while it runs, below its folder.
const LOG: &str = "output.log";

/// How many processes or threads do a peer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as there are cores.
    OnePerCore,
    /// One, for one core.
    One,
}

/// Which peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx with its `proxy_cache`.
    Nginx,
    /// Varnish.
    Varnish,
    /// Apache Traffic Server.
    TrafficServer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Varnish, Self::TrafficServer];

    const fn make(self) -> &'static Make {
        match self {
            Self::Nginx => &nginx::MAKE,
            Self::Varnish => &varnish::MAKE,
            Self::TrafficServer => &trafficserver::MAKE,
        }
    }

    /// What a person calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.make().name
    }

    /// The package of Debian that it is in.
    #[must_use]
    pub const fn package(self) -> &'static str {
        self.make().package
    }

    /// Whether it is installed.
    #[must_use]
    pub fn is_installed(self) -> bool {
        self.make().must_be_installed().is_ok()
    }

    /// Its name and version, such as `varnish 7.1.1`, as it tells it.
    ///
    /// # Errors
    /// A sentence: it does not run, or tells none.
    pub async fn version(self) -> Result<String, String> {
        let make = self.make();
        let output = Command::new(make.program).arg(make.version_argument).stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| format!("cannot run {}: {error}", make.program))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = (make.version)(&said);
        let version = version.ok_or_else(|| format!("{} {} tells no version: {said:?}", make.program, make.version_argument))?;
        Ok(format!("{} {version}", make.name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("`{text}` is no peer; these are: {}", names.join(", "))
        })
    }
}

/// What the module of a kind tells.
struct Make {
    name: &'static str,
    package: &'static str,
    /// Where Debian puts it.
    program: &'static str,
    version_argument: &'static str,
    /// Finds the version in what it says to that argument.
    version: fn(&str) -> Option<String>,
    prepare: fn(&Order<'_>) -> Result<Prepared, String>,
    /// Lines that it ends with and that tell nothing of why.
    says_nothing: &'static [&'static str],
    /// Whether it has started with all that belongs to it, told by its processes and by what it said. Its listening socket may be there
    /// earlier, or be another's.
    is_complete: fn(&[Member], &str) -> bool,
    /// Whether the work of one of its processes counts.
    counts: fn(&Member) -> bool,
}

impl Make {
    fn must_be_installed(&self) -> Result<(), String> {
        if Path::new(self.program).exists() {
            return Ok(());
        }
        Err(format!("{} is not installed: there is no {}, which is in Debian's package {}", self.name, self.program, self.package))
    }
}

/// What is to be prepared.
struct Order<'a> {
    /// Its own, which is there.
    folder: &'a Path,
    origin: &'a Origin,
    workers: Workers,
}

/// The server that a peer stands before.
struct Origin {
    /// A name or an address, the latter in brackets if it is of IPv6.
    host: String,
    port: u16,
}

/// How a peer is to be run.
struct Prepared {
    /// Names below its folder, and what they hold.
    files: Vec<(&'static str, String)>,
    arguments: Vec<String>,
    address: SocketAddr,
    secure: Option<SocketAddr>,
    cleartext_h2: Option<SocketAddr>,
    authority: Option<&'static str>,
}

/// One of the processes of a peer.
struct Member {
    pid: u32,
    /// How it was started, or what it calls itself since; nothing if it has ended.
    title: String,
    /// The name of its first thread.
    name: String,
}

impl Member {
    fn family(pid: u32) -> Result<Vec<Self>, String> {
        let read = |pid, file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let member = |pid| Self { pid, title: read(pid, "cmdline"), name: read(pid, "comm").trim_end().to_owned() };
        Ok(processor::family(pid)?.into_iter().map(member).collect())
    }
}

/// A folder that is gone when nobody has it any more.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// A folder that only this user can look into.
    fn new(name: &str) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = machine::files().join(format!("skerry-loadtest-{name}-{}-{number}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running peer. It is asked to end when it is dropped; [`stop`](Self::stop) waits for that.
#[derive(Debug)]
pub struct Peer {
    kind: Kind,
    address: SocketAddr,
    secure: Option<SocketAddr>,
    cleartext_h2: Option<SocketAddr>,
    authority: Option<PathBuf>,
    child: Child,
    folder: Folder,
}

impl Peer {
    /// Starts a peer on free ports of 127.0.0.1 in front of `origin`, an `http://` URL without path. It ends no later than the thread that
    /// has called this, whatever ends that: a worker of the runtime, or the one that blocks on it.
    ///
    /// # Errors
    /// A sentence: the peer is not installed, the origin is none, or the peer does not answer.
    pub async fn start(kind: Kind, origin: &str, workers: Workers) -> Result<Self, String> {
        let make = kind.make();
        make.must_be_installed()?;
        let upstream = upstream(origin)
            .ok_or_else(|| format!("the origin `{origin}` is not http://host[:port], which {} is to stand before", make.name))?;
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(kind, &upstream, workers).await {
                Ok(peer) => return Ok(peer),
                Err(error) => last = error,
            }
        }
        Err(format!("{} does not start: {last}", make.name))
    }

    async fn try_start(kind: Kind, origin: &Origin, workers: Workers) -> Result<Self, String> {
        let make = kind.make();
        let folder = Folder::new(make.name)?;
        let prepared = (make.prepare)(&Order { folder: &folder.0, origin, workers })?;
        let written = prepared.files.iter().try_for_each(|(name, text)| std::fs::write(folder.0.join(name), text));
        let log = written.and_then(|()| std::fs::File::create(folder.0.join(LOG))).and_then(|log| Ok((log.try_clone()?, log)));
        let (stdout, stderr) = log.map_err(|error| format!("cannot write below {}: {error}", folder.0.display()))?;
        // The system asks it to end if this process ends in whatever way: setpriv says so, and then becomes the peer.
        let mut command = Command::new(GUARD);
        command.args(["--pdeathsig", "TERM", "--", make.program]).args(&prepared.arguments).current_dir(&folder.0);
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        let child = child.map_err(|error| format!("cannot run {GUARD}: {error}"))?;
        let Prepared { address, secure, cleartext_h2, authority, .. } = prepared;
        let authority = authority.map(|name| folder.0.join(name));
        let mut peer = Self { kind, address, secure, cleartext_h2, authority, child, folder };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while Instant::now() < deadline {
            if peer.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(peer.last_words().unwrap_or_else(|| "it ended at once".to_owned()));
            }
            if TcpStream::connect(address).await.is_ok() && (make.is_complete)(&peer.family().unwrap_or_default(), &peer.log()) {
                return Ok(peer);
            }
            sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
        }
        let last = peer.last_words().map(|line| format!("; it said: {line}")).unwrap_or_default();
        peer.stop().await;
        Err(format!("it does not answer at {address} within {PATIENCE_S} s{last}"))
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What a person calls it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Where it answers over cleartext HTTP/1.1.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers over TLS 1.3, HTTP/1.1 and HTTP/2, with a certificate for [`HOST`]; none if it is not told to.
    #[must_use]
    pub const fn secure(&self) -> Option<SocketAddr> {
        self.secure
    }

    /// Where it answers over cleartext HTTP/2, with prior knowledge; none if it is not told to.
    #[must_use]
    pub const fn cleartext_h2(&self) -> Option<SocketAddr> {
        self.cleartext_h2
    }

    /// The file of the authority that its certificate is from, if it has one.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// The processes whose work and memory are its own: all that it has but those that its module says do not count.
    ///
    /// # Errors
    /// A sentence: it has ended.
    pub fn processes(&self) -> Result<Vec<u32>, String> {
        let counts = self.kind.make().counts;
        Ok(self.family()?.into_iter().filter(counts).map(|member| member.pid).collect())
    }

    fn family(&self) -> Result<Vec<Member>, String> {
        Member::family(self.child.id().ok_or_else(|| format!("{} has ended", self.name()))?)
    }

    /// The last line that says something.
    fn last_words(&self) -> Option<String> {
        let says = |line: &&str| !line.is_empty() && !self.kind.make().says_nothing.contains(line);
        self.log().lines().rev().map(str::trim).find(says).map(str::to_owned)
    }

    /// All that it has said.
    fn log(&self) -> String {
        std::fs::read(self.folder.0.join(LOG)).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Asks its first process to end, which ends the others before.
    fn ask_to_end(&self) {
        if let Some(pid) = self.child.id().and_then(pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Stops it, workers first, and removes its files.
    pub async fn stop(mut self) {
        self.ask_to_end();
        if timeout(Duration::from_secs(PATIENCE_S), self.child.wait()).await.is_err() {
            let family = self.family().unwrap_or_default();
            for pid in family.iter().filter_map(|member| pid(member.pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ask_to_end();
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// The server that an `http://` URL without path names.
fn upstream(origin: &str) -> Option<Origin> {
    let rest = origin.strip_prefix("http://")?.trim_end_matches('/');
    // These alone mean nothing in any configuration that they are put into.
    let is_plain = rest.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-:[]".contains(&octet));
    let authority: Authority = rest.parse().ok().filter(|_| is_plain)?;
    let (host, port) = (authority.host(), authority.port_u16());
    let is_whole = !host.is_empty() && (port.is_some() || host.len() == rest.len());
    is_whole.then(|| Origin { host: host.to_owned(), port: port.unwrap_or(HTTP_PORT) })
}

/// The cores that this process may use, and so its children.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Some of them, held until all are known, so that they differ.
fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT], String> {
    let error = |error| format!("no free port: {error}");
    let held: Vec<_> = (0..COUNT).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(error)?;
    let addresses: Vec<_> = held.iter().map(std::net::TcpListener::local_addr).collect::<Result<_, _>>().map_err(error)?;
    addresses.try_into().map_err(|_| "no free port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_installed_is_told_with_its_package() {
        let absent = Make { program: "/nowhere/traffic_server", ..trafficserver::MAKE };
        let expected = "trafficserver is not installed: there is no /nowhere/traffic_server, which is in Debian's package trafficserver";
        assert_eq!(absent.must_be_installed(), Err(expected.to_owned()));
    }

    #[test]
    fn an_origin_is_a_host_and_perhaps_a_port() {
        let found = |origin| upstream(origin).map(|origin| (origin.host, origin.port));
        for (origin, host, port) in
            [("http://a.test", "a.test", 80), ("http://127.0.0.1:8080/", "127.0.0.1", 8080), ("http://[::1]:81", "[::1]", 81)]
        {
            assert_eq!(found(origin), Some((host.to_owned(), port)), "{origin}");
        }
        for origin in [
            "",
            "a.test",
            "https://a.test",
            "http://",
            "http://a.test/path",
            "http://:80",
            "http://a.test:",
            "http://a.test:99999",
            "http://a b",
            "http://a\";",
            "http://a;b",
            "http://u@a.test",
        ] {
            assert_eq!(found(origin), None, "{origin}");
        }
    }

    #[test]
    fn a_version_is_what_stands_in_what_is_said() {
        let version = |kind: Kind, said: &str| (kind.make().version)(said);
        assert_eq!(version(Kind::Nginx, "nginx version: nginx/1.22.1\n").as_deref(), Some("1.22.1"));
        assert_eq!(version(Kind::Varnish, "varnishd (varnish-7.1.1 revision 7cee)\nCopyright").as_deref(), Some("7.1.1"));
        assert_eq!(version(Kind::TrafficServer, "Traffic Server 9.2.9 Apr  4 2026 14:52:39 localhost\n").as_deref(), Some("9.2.9"));
        assert!(Kind::ALL.into_iter().all(|kind| version(kind, "no such option").is_none()));
    }
}
