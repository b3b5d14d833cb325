//! An origin that a test plays itself, connection by connection.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::cdn::SOON;

/// An origin whose connections are in the hands of the test, each with the head of its request read.
pub(crate) struct Held {
    pub(crate) url: String,
    requests: Receiver<(String, BufReader<TcpStream>)>,
}

impl Held {
    /// Starts it on a free port. It takes requests for `a.test` only.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                            continue;
                        }
                        return;
                    }
                    if head.to_ascii_lowercase().contains("\r\nhost: a.test\r\n") {
                        let _ = sender.send((head.to_ascii_lowercase(), reader));
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// The next request: its head in lower case, and its connection.
    #[track_caller]
    pub(crate) fn next(&self) -> (String, BufReader<TcpStream>) {
        self.requests.recv_timeout(SOON).unwrap()
    }
}
