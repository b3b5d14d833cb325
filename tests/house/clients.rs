//! Clients: curl and dig as users run them, and a plain socket for many at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::command::{Ran, run};

/// How long a socket may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An answer, as curl saw it.
#[derive(Debug)]
pub(crate) struct Got {
    /// The status code.
    pub(crate) status: u16,
    /// The header fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The content.
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// The values of a field, joined; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> String {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a tier did, from `Cache-Status` (RFC 9211): `hit`, or what it forwarded for, such as `fwd=miss`.
    #[track_caller]
    pub(crate) fn at(&self, tier: &str) -> String {
        let status = self.field("cache-status");
        let member = status.split(',').map(str::trim).find(|member| member.split(';').next() == Some(tier));
        let member = member.unwrap_or_else(|| panic!("{tier} is not in Cache-Status: {status:?}"));
        let said = member.split(';').map(str::trim).find(|parameter| *parameter == "hit" || parameter.starts_with("fwd="));
        said.unwrap_or_default().to_owned()
    }

    /// Whether the answer came out of a tier's store.
    #[track_caller]
    pub(crate) fn is_hit_at(&self, tier: &str) -> bool {
        self.at(tier) == "hit"
    }
}

/// Runs curl; panics when it gets no answer, or not all of it.
#[track_caller]
pub(crate) fn curl(arguments: &[&str]) -> Got {
    let (got, ran) = curl_to_the_end(arguments);
    ran.fine();
    got
}

/// Runs curl, whose answer may break off, and tells how it ended.
#[track_caller]
pub(crate) fn curl_to_the_end(arguments: &[&str]) -> (Got, Ran) {
    let place = tempfile::tempdir().unwrap();
    let (head, body) = (place.path().join("head"), place.path().join("body"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50", "--noproxy", "*", "--dump-header"]).arg(&head).arg("--output").arg(&body);
    let ran = run(command.args(arguments));
    let head = String::from_utf8_lossy(&std::fs::read(&head).unwrap()).into_owned();
    // The last head: informational answers come before it.
    let last = head.trim_end().split("\r\n\r\n").last().unwrap_or_default().to_owned();
    let mut lines = last.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let fields = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let got = Got {
        status: status.unwrap_or_else(|| panic!("no status in {head:?}: {ran:?}")),
        fields: fields.collect(),
        body: std::fs::read(&body).unwrap_or_default(),
    };
    (got, ran)
}

/// Asks `edge` (`address:port`) for `path` of `host`.
#[track_caller]
pub(crate) fn get(edge: &str, host: &str, path: &str) -> Got {
    curl(&["--path-as-is", "--header", &format!("Host: {host}"), &format!("http://{edge}{path}")])
}

/// Runs dig against a server; its lines.
#[track_caller]
pub(crate) fn dig(server: &str, arguments: &[&str]) -> Vec<String> {
    let (address, port) = server.rsplit_once(':').expect("address:port");
    let mut command = Command::new("dig");
    command.args([&format!("@{address}"), "-p", port, "+short", "+tries=1", "+time=5"]).args(arguments);
    run(&mut command).fine().stdout.lines().map(str::to_owned).collect()
}

/// Runs kdig against a server; all it says, with one space wherever it has some.
#[track_caller]
pub(crate) fn kdig(server: &str, arguments: &[&str]) -> String {
    let (address, port) = server.rsplit_once(':').expect("address:port");
    let mut command = Command::new("kdig");
    command.args([&format!("@{address}"), "-p", port, "+retry=0", "+time=5"]).args(arguments);
    run(&mut command).fine().stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asks over a plain socket and compares the content with `expected` as it comes; what is wrong, if anything.
pub(crate) fn fetch_and_compare(edge: &str, host: &str, path: &str, expected: &[u8]) -> Result<(), String> {
    let broken = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(edge).map_err(broken)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(broken)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").map_err(broken)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut length = None;
    let mut chunked = false;
    let mut line = String::new();
    reader.read_line(&mut line).map_err(broken)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(format!("answered {:?}", line.trim_end()));
    }
    loop {
        line.clear();
        if reader.read_line(&mut line).map_err(broken)? == 0 {
            return Err("the head broke off".to_owned());
        }
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse::<usize>().ok(),
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
    if chunked {
        return compare_chunks(&mut reader, expected);
    }
    let length = length.unwrap_or(expected.len());
    if length != expected.len() {
        return Err(format!("says {length} bytes where {} were due", expected.len()));
    }
    compare(&mut reader, expected)
}

fn compare_chunks(reader: &mut impl std::io::BufRead, mut expected: &[u8]) -> Result<(), String> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| format!("broke off, {} bytes missing", expected.len()))?;
        if size == 0 {
            return if expected.is_empty() { Ok(()) } else { Err(format!("{} bytes missing", expected.len())) };
        }
        let (now, later) = expected.split_at_checked(size).ok_or("more bytes than were due")?;
        compare(reader, now)?;
        expected = later;
        line.clear();
        reader.read_line(&mut line).map_err(|error| error.to_string())?;
    }
}

fn compare(reader: &mut impl std::io::Read, expected: &[u8]) -> Result<(), String> {
    let mut seen = 0;
    let mut piece = vec![0; 256 << 10];
    while seen < expected.len() {
        let room = piece.len().min(expected.len() - seen);
        let read = reader.read(&mut piece[..room]).map_err(|error| format!("broke after {seen} bytes: {error}"))?;
        if read == 0 {
            return Err(format!("ended after {seen} of {} bytes", expected.len()));
        }
        if piece[..read] != expected[seen..seen + read] {
            return Err(format!("differs after byte {seen}"));
        }
        seen += read;
    }
    Ok(())
}
