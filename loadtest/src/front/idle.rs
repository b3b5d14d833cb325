//! Memory of connections that were asked once and have nothing to do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::client::{Client, Connection};
use crate::processor;

/// Connections that come and go before anything is measured, so that code and tables that all share are there.
const FIRST: usize = 64;
/// How many of this machine's addresses they come from, so that no bound for one client is met.
const SOURCES: usize = 200;
/// The pause between two looks at memory that may still grow, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;
/// How often it is looked at, at most.
const LOOKS_MAX: usize = 50;

/// Opens connections, asks each once, and keeps them.
///
/// # Errors
/// A sentence: one of them did not come, or was not answered with success.
pub(super) async fn hold(client: &Client, count: usize) -> Result<Vec<Connection>, String> {
    let mut held = Vec::with_capacity(count);
    for index in 0..count {
        let client = match source(client, index) {
            Some(source) => client.clone().connecting_from(source),
            None => client.clone(),
        };
        let mut connection = client.connect().await.map_err(|error| format!("connection {} of {count}: {error}", index + 1))?;
        let head = connection.ask(client.request(&client.target().path)?, |_| ()).await;
        let head = head.map_err(|error| format!("connection {} of {count}: {error}", index + 1))?;
        if !head.status.is_success() {
            return Err(format!("connection {} of {count} was answered with {}", index + 1, head.status));
        }
        held.push(connection);
    }
    Ok(held)
}

/// Another address of 127.0.0.0/8, all of which is this machine, if the server is there.
fn source(client: &Client, index: usize) -> Option<IpAddr> {
    let last = u8::try_from(index % SOURCES + 1).ok()?;
    match client.target().address.ip() {
        IpAddr::V4(address) if address.is_loopback() => Some(Ipv4Addr::new(127, 1, 0, last).into()),
        _ => None,
    }
}

/// Lets some connections come and go.
///
/// # Errors
/// As of [`hold`].
pub(super) async fn touch(client: &Client) -> Result<(), String> {
    hold(client, FIRST).await.map(drop)
}

/// Resident memory, when it has come to rest.
///
/// # Errors
/// A sentence: a process is not there, or memory does not come to rest.
pub(super) async fn resident(pids: &[u32]) -> Result<u64, String> {
    let mut last = processor::resident(pids)?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
        let current = processor::resident(pids)?;
        if current == last {
            return Ok(current);
        }
        last = current;
    }
    Err(format!("memory of processes {pids:?} does not come to rest: {last} bytes"))
}

/// Whether connections that were held are still there: a server that has closed them has freed their memory.
pub(super) fn are_open(held: &mut [Connection]) -> Result<(), String> {
    match held.iter_mut().map(Connection::is_closed).filter(|closed| *closed).count() {
        0 => Ok(()),
        closed => Err(format!("the server closed {closed} of {} idle connections while memory was measured", held.len())),
    }
}
