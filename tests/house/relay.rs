//! A relay between two processes that a test can hold: what is under way then stays there, and nobody is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Passes on every connection to one address, until it is held.
pub(crate) struct Relay {
    address: SocketAddr,
    held: Arc<Held>,
    passed: Arc<AtomicU64>,
}

#[derive(Default)]
struct Held {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Relay {
    /// Starts it on a free port.
    pub(crate) fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (to, held) = (to.to_owned(), Arc::<Held>::default());
        let (holds, passed) = (Arc::clone(&held), Arc::<AtomicU64>::default());
        let counts = Arc::clone(&passed);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&to) else { continue };
                for (from, into, counts) in [(&near, &far, None), (&far, &near, Some(Arc::clone(&counts)))] {
                    let (Ok(from), Ok(into)) = (from.try_clone(), into.try_clone()) else { continue };
                    let held = Arc::clone(&holds);
                    std::thread::spawn(move || pass_on(from, into, &held, counts.as_deref()));
                }
            }
        });
        Self { address, held, passed }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The octets that went back along it, to who connected.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// From here on nothing goes along, or everything does again.
    pub(crate) fn hold(&self, hold: bool) {
        *self.held.is.lock().unwrap() = hold;
        self.held.changed.notify_all();
    }
}

fn pass_on(mut from: TcpStream, mut into: TcpStream, held: &Held, counts: Option<&AtomicU64>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut piece) {
        drop(held.changed.wait_while(held.is.lock().unwrap(), |held| *held).unwrap());
        if let Some(counts) = counts {
            counts.fetch_add(read as u64, Ordering::Relaxed);
        }
        if read == 0 || into.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(std::net::Shutdown::Write);
}
