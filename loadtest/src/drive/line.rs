//! One connection after another: a connection that has ended is followed by the next.
//!
//! Owns who replaces it; its lock covers just that. Asks for nothing.

use tokio::sync::Mutex;

use crate::client::{Client, Connection};

/// A connection and the ones that come after it when it has ended, shared by its streams.
pub(super) struct Line {
    client: Client,
    current: Mutex<(u64, Option<Connection>)>,
}

/// A connection with its number on its line, from 1.
pub(super) type Numbered = (u64, Connection);

impl Line {
    pub(super) async fn open(client: Client) -> Result<Self, String> {
        let connection = client.connect().await?;
        Ok(Self { client, current: Mutex::new((1, Some(connection))) })
    }

    /// The connection after number `used`, which the caller found no good; 0 for the first.
    pub(super) async fn after(&self, used: u64) -> Result<Numbered, String> {
        let mut current = self.current.lock().await;
        let (number, connection) = &mut *current;
        if *number <= used || connection.as_mut().is_none_or(Connection::is_closed) {
            *connection = Some(self.client.connect().await?);
            *number += 1;
        }
        let connection = match connection.as_ref().and_then(Connection::share) {
            Some(shared) => Some(shared),
            None => connection.take(),
        };
        connection.map(|connection| (*number, connection)).ok_or_else(|| "the connection is gone".to_owned())
    }

    /// Keeps a connection that is still good for whoever comes next.
    pub(super) async fn give_back(&self, number: u64, connection: Connection) {
        let mut current = self.current.lock().await;
        if current.0 == number && current.1.is_none() {
            current.1 = Some(connection);
        }
    }
}
