//! The wish of whoever started this to see it end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal to stop; its name.
pub async fn asked() -> &'static str {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "SIGINT",
    }
}
