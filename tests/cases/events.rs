//! Streams of events through edge and shield: each event before the next is sent, for each client alone, and for as long as the site allows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::house::Cdn;

/// How long an event may take.
const SOON: Duration = Duration::from_secs(20);

/// An origin of endless answers: each request that comes is one stream, in the hands of the test.
struct Origin {
    url: String,
    streams: Receiver<(String, TcpStream)>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, streams): (Sender<_>, _) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut head = String::new();
                    let mut reader = BufReader::new(stream);
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                            continue;
                        }
                        return;
                    }
                    let mut stream = reader.into_inner();
                    // `skerry dev` looks whether everything answers.
                    if !head.contains("Host: a.test\r\n") && !head.contains("host: a.test\r\n") {
                        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                        return;
                    }
                    let lines = "Content-Type: text/event-stream\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
                    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{lines}").as_bytes());
                    let _ = sender.send((head, stream));
                });
            }
        });
        Self { url, streams }
    }

    /// The next request, with the stream to answer it by.
    #[track_caller]
    fn next(&self) -> TcpStream {
        self.streams.recv_timeout(SOON).unwrap().1
    }
}

fn send(stream: &mut TcpStream, text: &str) {
    let data = format!("data: {text}\n\n");
    write!(stream, "{:x}\r\n{data}\r\n", data.len()).unwrap();
}

/// A client that hears events as they come.
struct Listening {
    child: Child,
    lines: Receiver<String>,
}

impl Listening {
    fn start(edge: &str, path: &str, more: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--no-buffer", "--noproxy", "*", "--max-time", "50", "--header", "Host: a.test"]).args(more);
        let mut child = command.arg(format!("http://{edge}{path}")).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).filter(|line| !line.is_empty()).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    #[track_caller]
    fn hears(&self, text: &str) {
        assert_eq!(self.lines.recv_timeout(SOON).unwrap(), format!("data: {text}"));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ways to ask: both protocols, and as an `EventSource` or not.
const WAYS: [&[&str]; 4] = [
    &["--http1.1", "--header", "Accept: text/event-stream", "--header", "Cache-Control: no-cache"],
    &["--http2-prior-knowledge", "--header", "Accept: text/event-stream"],
    &["--http1.1"],
    &["--http2-prior-knowledge", "--header", "Cache-Control: no-cache"],
];

#[test]
fn each_event_is_heard_before_the_next_is_sent_and_by_one_client_alone() {
    let origin = Origin::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    for way in ["through the shield", "past it"] {
        for (number, more) in WAYS.iter().enumerate() {
            let path = format!("/{number}{}", way.len());
            let first = Listening::start(cdn.edge(1), &path, more);
            let mut to_first = origin.next();
            for event in ["1", "2", "3"] {
                send(&mut to_first, event);
                first.hears(event);
            }
            // Another client is not made to wait, and gets a stream of its own.
            let second = Listening::start(cdn.edge(1), &path, more);
            let mut to_second = origin.next();
            send(&mut to_second, "other");
            second.hears("other");
            send(&mut to_first, "4");
            first.hears("4");
        }
        if way == "through the shield" {
            cdn.kill("shield-1");
        }
    }
}

#[test]
fn the_origin_is_told_when_a_client_leaves() {
    let origin = Origin::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    for more in &WAYS[..2] {
        let client = Listening::start(cdn.edge(1), "/leaves", more);
        let mut stream = origin.next();
        send(&mut stream, "1");
        client.hears("1");
        drop(client);
        stream.set_read_timeout(Some(SOON)).unwrap();
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "{more:?}");
    }
}

#[test]
fn silence_is_allowed_for_as_long_as_the_site_says() {
    let origin = Origin::start();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    let times = "between_bytes_timeout = \"1s\"\n[pass]\nevents_idle_timeout = \"4s\"";
    std::fs::write(&file, format!("name = \"default\"\nhosts = [\"*\"]\n[origin]\nurls = [\"{}\"]\n{times}\n", origin.url)).unwrap();
    let cdn = Cdn::start(&["--site", file.to_str().unwrap()]);
    for more in WAYS {
        let client = Listening::start(cdn.edge(1), "/silent", more);
        let mut stream = origin.next();
        send(&mut stream, "1");
        client.hears("1");
        // Longer than other answers may be silent, through both tiers.
        let began = Instant::now();
        assert_eq!(client.lines.recv_timeout(Duration::from_millis(2500)), Err(RecvTimeoutError::Timeout), "{more:?}");
        send(&mut stream, "2");
        client.hears("2");
        // The end of the lines is the end of the stream.
        assert_eq!(client.lines.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected), "{more:?}");
        assert!(began.elapsed() >= Duration::from_secs(4), "{more:?}");
    }
}
