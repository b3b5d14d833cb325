//! The settings file under a running edge: read again when it changes or when someone asks, and put in force as far as that can be done live.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use skerry_agent::reload::{INTERVAL, Watched};
use skerry_config::check;
use skerry_config::process::{self, Process};
use skerry_transport::certificates::Certificates;
use skerry_transport::gate::Gate;
use tokio::sync::watch;

use crate::listeners::Listeners;
use crate::quic::Quic;

/// Where settings come from, and who asks for them to be read again.
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// Changes whenever the file is to be read again though it may not have changed.
    pub asked: watch::Receiver<u64>,
}

/// What became of one reading, for the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All the file says is in force.
    Applied,
    /// Some of it is not: it needs a restart, or could not be done.
    Partly,
    /// The file is at fault; what was read before stays in force.
    Refused,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Applied, Self::Partly, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partly => "partly",
            Self::Refused => "refused",
        }
    }
}

/// Readings by their outcome, and whether the last one is in force.
struct Readings {
    all: IntCounterVec,
    in_force: IntGauge,
}

impl Readings {
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    fn new(registry: &Registry) -> Self {
        let all = Opts::new("skerry_edge_settings_readings_total", "Readings of the settings file after the start, by their outcome.");
        let all = IntCounterVec::new(all, &["outcome"]).expect("valid");
        let says = "Whether everything that the settings file said when it was read last is in force: 1, or else 0.";
        let in_force = IntGauge::new("skerry_edge_settings_in_force", says).expect("valid");
        registry.register(Box::new(all.clone())).expect("registered once");
        registry.register(Box::new(in_force.clone())).expect("registered once");
        for outcome in Outcome::ALL {
            all.with_label_values(&[outcome.as_str()]).inc_by(0);
        }
        in_force.set(1);
        Self { all, in_force }
    }

    fn count(&self, outcome: Outcome) {
        self.all.with_label_values(&[outcome.as_str()]).inc();
        self.in_force.set(i64::from(outcome == Outcome::Applied));
    }
}

/// See the module.
pub(crate) struct Live {
    source: Source,
    /// What the edge was started with: what cannot change live is compared with it.
    started: process::Edge,
    tls: process::Tls,
    file: Watched,
    certificate_files: Watched,
    readings: Readings,
    parts: Parts,
}

/// What settings are put in force on.
pub(crate) struct Parts {
    pub(crate) listeners: Listeners,
    pub(crate) quic: Quic,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) gate: Gate,
    /// The admin listener, for `ready.json`.
    pub(crate) admin: SocketAddr,
}

impl Parts {
    /// What `ready.json` says.
    pub(crate) fn addresses(&self) -> serde_json::Value {
        let mut addresses = self.listeners.addresses();
        addresses["h3"] = self.quic.addresses().into();
        addresses["pid"] = std::process::id().into();
        addresses["admin"] = self.admin.to_string().into();
        addresses
    }
}

/// The files of the certificates that settings name.
pub(crate) fn certificate_files(tls: &process::Tls) -> Vec<PathBuf> {
    tls.certificates.iter().flat_map(|files| [files.cert.clone(), files.key.clone()]).collect()
}

impl Live {
    /// `file` and `certificate_files` were noted before they were read.
    pub(crate) fn new(
        source: Source,
        started: process::Edge,
        (file, certificate_files): (Watched, Watched),
        parts: Parts,
        registry: &Registry,
    ) -> Self {
        let tls = started.tls.clone();
        Self { source, started, tls, file, certificate_files, readings: Readings::new(registry), parts }
    }

    /// Follows the files until stopped.
    pub(crate) async fn follow(mut self, mut stop: watch::Receiver<bool>) {
        let mut is_asked = true;
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                asked = self.source.asked.changed(), if is_asked => {
                    // Who could ask may be gone; the file is watched all the same.
                    is_asked = asked.is_ok();
                    is_asked
                }
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if self.file.changed().await || asked {
                self.read().await;
            }
            if self.certificate_files.changed().await {
                match self.parts.certificates.reload(&self.tls) {
                    Ok(()) => tracing::info!(what = "certificates", "files read again"),
                    Err(error) => {
                        self.certificate_files.failed();
                        let why = "files not read again; what was read before stays in force, and it is tried again";
                        tracing::error!(what = "certificates", error, "{why}");
                    }
                }
            }
        }
    }

    async fn read(&mut self) {
        let file = self.source.file.display().to_string();
        let outcome = match self.edge() {
            Ok(settings) => self.put_in_force(settings, &file).await,
            Err(faults) => {
                self.file.failed();
                tracing::error!(file, faults, "settings refused; those in force stay");
                Outcome::Refused
            }
        };
        self.readings.count(outcome);
    }

    /// The settings of the file, or all its faults in one line.
    fn edge(&self) -> Result<process::Edge, String> {
        match check::process_file(&self.source.file) {
            Ok(Process::Edge(settings)) => Ok(settings),
            Ok(_) => Err("role is no longer \"edge\"; another role needs a process of its own".to_owned()),
            Err(faults) => Err(faults.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    }

    async fn put_in_force(&mut self, settings: process::Edge, file: &str) -> Outcome {
        let mut failed = Vec::new();
        // Before the listeners, which may come with certificates of their own.
        let certificates = Watched::new(certificate_files(&settings.tls));
        match self.parts.certificates.reload(&settings.tls) {
            Ok(()) => (self.tls, self.certificate_files) = (settings.tls.clone(), certificates),
            Err(error) => {
                self.file.failed();
                failed.push(error);
            }
        }
        self.parts.gate.set_limits(self.started.shares().bound(&settings.limits));
        failed.extend(self.parts.listeners.change(&settings.listen).await);
        failed.extend(self.parts.quic.change(&settings.listen.h3));
        let addresses = self.parts.addresses();
        if let Err(error) = skerry_agent::ready::write(&self.started.data, &addresses) {
            failed.push(format!("ready.json cannot be written: {error}"));
        }
        let waiting = need_a_restart(&self.started, &settings);
        if !waiting.is_empty() {
            tracing::warn!(file, fields = waiting.join(", "), "settings that are not in force before the next start");
        }
        for error in &failed {
            tracing::error!(file, error, "a setting could not be put in force");
        }
        tracing::info!(file, %addresses, "settings read again");
        if failed.is_empty() && waiting.is_empty() { Outcome::Applied } else { Outcome::Partly }
    }
}

/// The fields that differ and cannot change live. A join token is none: it may go once it has been used.
fn need_a_restart(started: &process::Edge, settings: &process::Edge) -> Vec<&'static str> {
    let process::Edge {
        name,
        data,
        control,
        listen,
        public_addresses,
        location,
        cache,
        disk,
        memory_limit,
        tls,
        geo,
        limits: _,
        origins,
        measuring,
        capacity,
    } = started;
    let fields = [
        ("name", *name == settings.name),
        ("data", *data == settings.data),
        ("control.address", control.address == settings.control.address),
        ("listen.admin", listen.admin == settings.listen.admin),
        ("public_addresses", *public_addresses == settings.public_addresses),
        ("location", *location == settings.location),
        ("cache", *cache == settings.cache),
        ("disk", *disk == settings.disk),
        ("memory_limit", *memory_limit == settings.memory_limit),
        ("tls.issuer", tls.issuer == settings.tls.issuer),
        ("geo", *geo == settings.geo),
        ("origins", *origins == settings.origins),
        ("measuring", *measuring == settings.measuring),
        ("capacity", *capacity == settings.capacity),
    ];
    fields.iter().filter(|(_, same)| !same).map(|(field, _)| *field).collect()
}
