//! A DNS server for names of origins, which says what a test wants of every name, and for a second only.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The lifetime of its answers, in seconds.
const TTL: u32 = 1;

/// The server. Its thread ends with the test.
pub(crate) struct Names {
    address: SocketAddr,
    says: Arc<Mutex<Option<Vec<Ipv4Addr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    /// Starts it on a free port of loopback; it says this address.
    #[track_caller]
    pub(crate) fn start(says: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let names = Self { address: socket.local_addr().unwrap(), says: Arc::new(Mutex::new(Some(vec![says]))), asked: Arc::default() };
        let (says, asked) = (Arc::clone(&names.says), Arc::clone(&names.asked));
        std::thread::spawn(move || {
            let mut packet = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&packet[..length], says.lock().unwrap().as_deref()) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        names
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Says these from here on, or fails.
    pub(crate) fn say(&self, says: Option<&[Ipv4Addr]>) {
        *self.says.lock().unwrap() = says.map(<[_]>::to_vec);
    }

    /// How many questions it has heard.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The answer to one question (RFC 1035 section 4.1): addresses, none of the other family, or a failure of the server.
fn answer(question: &[u8], says: Option<&[Ipv4Addr]>) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let end = 12 + name + 5;
    let is_v4 = question.get(end - 4..end)? == [0, 1, 0, 1];
    let found = says.filter(|_| is_v4).unwrap_or_default();
    let rcode = if says.is_some() { 0 } else { 2 };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | rcode, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(&question[12..end]);
    for ip in found {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(TTL.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(ip.octets());
    }
    Some(answer)
}
