//! When a process stops: on SIGTERM or SIGINT, and, where a parent asks for it, at the end of standard input.

use std::io::Read as _;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Set to `1` by a parent that holds our standard input: when that ends, for whatever reason, so do we. This is how the children of
/// `skerry dev` never outlive it, even when it is killed.
pub(crate) const WITH_STDIN: &str = "SKERRY_STOP_WITH_STDIN";

/// The exit code of a process that was signalled twice.
const IMPATIENT_EXIT: i32 = 130;

/// A receiver that turns true when this process should stop cleanly. A second signal ends the process at once.
///
/// Must be called inside a runtime.
///
/// # Errors
/// One sentence, when signals cannot be watched.
pub(crate) fn watch() -> Result<watch::Receiver<bool>, String> {
    let failed = |error| format!("signals cannot be watched: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (sender, receiver) = watch::channel(false);
    let sender = Arc::new(sender);
    if std::env::var_os(WITH_STDIN).is_some_and(|value| value == "1") {
        let sender = Arc::clone(&sender);
        // A thread, as a read of standard input cannot be cancelled and must not hold up the end of the runtime.
        std::thread::spawn(move || {
            wait_for_end_of_stdin();
            sender.send_replace(true);
        });
    }
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if *sender.borrow() {
                break;
            }
            sender.send_replace(true);
        }
        std::process::exit(IMPATIENT_EXIT);
    });
    Ok(receiver)
}

fn wait_for_end_of_stdin() {
    let mut stdin = std::io::stdin().lock();
    let mut scrap = [0; 256];
    loop {
        match stdin.read(&mut scrap) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
