//! An origin that does what a test tells it to, byte by byte, and remembers every byte of what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What to send for a request, byte by byte, and whether to close the connection afterwards.
pub(crate) struct Reply {
    /// Head and body as they go on the wire.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection ends here.
    pub(crate) close: bool,
    /// Whether it ends with a reset.
    pub(crate) reset: bool,
    /// What comes again and again after that, a little apart, until the other side has enough; with nothing in it the origin is silent.
    pub(crate) without_end: Option<Vec<u8>>,
}

/// The pause between two pieces of what comes without end.
const PAUSE: Duration = Duration::from_millis(50);

impl Reply {
    /// These bytes, and the connection stays.
    pub(crate) fn bytes(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), close: false, reset: false, without_end: None }
    }

    /// A whole answer with these header lines, each ended by CRLF.
    pub(crate) fn whole(status: &str, lines: &str, body: &str) -> Self {
        Self::bytes(&format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// This follows again and again, or nothing at all, and the connection stays.
    pub(crate) fn then_for_ever(mut self, again: &str) -> Self {
        self.without_end = Some(again.as_bytes().to_vec());
        self
    }

    /// These bytes follow.
    pub(crate) fn then(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The connection is reset after it.
    pub(crate) fn then_reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// The connection ends after it.
    pub(crate) fn then_close(mut self) -> Self {
        self.close = true;
        self
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The first line and the fields, as sent.
    pub(crate) head: String,
    /// The content, without its transfer coding.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The origin. Its threads end with their connections.
pub(crate) struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Starts it on a free port.
    #[track_caller]
    pub(crate) fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// Starts it at an address.
    #[track_caller]
    pub(crate) fn start_at(at: SocketAddr, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, noted): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, noted) = (Arc::clone(&script), Arc::clone(&noted));
                std::thread::spawn(move || answer(stream, &script, &noted));
            }
        });
        Self { address, seen }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have come.
    pub(crate) fn all(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What came for a path, queries included, and everything whose first line is no request at all.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let asked = |seen: &&Seen| seen.line().split(' ').nth(1).is_none_or(|target| target == path);
        self.seen.lock().unwrap().iter().filter(asked).cloned().collect()
    }
}

/// Requests of one connection, until either side has enough.
fn answer(stream: TcpStream, script: &Arc<Script>, noted: &Mutex<Vec<Seen>>) {
    stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    let _ = stream.set_nodelay(true);
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read(&mut reader) {
        noted.lock().unwrap().push(seen.clone());
        let reply = script(&seen);
        let is_sent = out.write_all(&reply.bytes).is_ok();
        if reply.reset {
            // What is not sent yet goes with the connection.
            let _ = socket2::SockRef::from(&out).set_linger(Some(Duration::ZERO));
        }
        if !is_sent || reply.close || reply.reset {
            return;
        }
        if let Some(again) = reply.without_end {
            return for_ever(reader, out, &again);
        }
    }
}

/// Until the other side closes.
fn for_ever(reader: BufReader<TcpStream>, mut out: TcpStream, again: &[u8]) {
    let mut stream = reader.into_inner();
    let _ = stream.set_read_timeout(Some(PAUSE));
    loop {
        // The pause is the time to listen for an end.
        match stream.read(&mut [0]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if out.write_all(again).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let mut body = Vec::new();
    if field("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let from = body.len();
            body.resize(from + size + 2, 0);
            reader.read_exact(&mut body[from..]).ok()?;
            body.truncate(from + size);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = field("content-length").and_then(|length| length.parse().ok()) {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some(Seen { head, body })
}
