//! SIGHUP: an operator asks for the settings to be read again.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A receiver that changes with every SIGHUP, which from now on no longer ends the process. Must be called inside a runtime.
///
/// # Errors
/// One sentence, when signals cannot be watched.
pub(crate) fn watch() -> Result<watch::Receiver<u64>, String> {
    let mut hangups = signal(SignalKind::hangup()).map_err(|error| format!("signals cannot be watched: {error}"))?;
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            sender.send_modify(|hangups| *hangups += 1);
        }
    });
    Ok(receiver)
}
