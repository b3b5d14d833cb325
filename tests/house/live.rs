//! A running edge whose settings change, and what it counts.

use std::net::SocketAddr;

use serde_json::Value;

use super::cdn::SOON;
use super::clients::curl;
use super::{Cdn, kill, wait_until};

impl Cdn {
    /// What an edge says of a series, such as `skerry_edge_connections{protocol="opening"}`; 0 when it does not know it.
    #[track_caller]
    pub(crate) fn metric(&self, edge: usize, series: &str) -> f64 {
        let text = curl(&[&format!("{}/metrics", self.at(&format!("/edges/{}/admin", edge - 1)))]).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_default()
    }

    /// How often an edge has read its settings again, with this outcome.
    #[track_caller]
    pub(crate) fn readings(&self, edge: usize, outcome: &str) -> f64 {
        self.metric(edge, &format!("skerry_edge_settings_readings_total{{outcome=\"{outcome}\"}}"))
    }

    /// Writes an edge's settings file anew and says nothing of it to the edge.
    #[track_caller]
    pub(crate) fn rewrite(&self, edge: usize, text: &str) {
        let (_, config) = self.process(&format!("edge-{edge}"));
        let beside = format!("{config}.new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &config).unwrap();
    }

    /// The settings of an edge as they are in its file.
    #[track_caller]
    pub(crate) fn settings(&self, edge: usize) -> toml::Table {
        let (_, config) = self.process(&format!("edge-{edge}"));
        std::fs::read_to_string(config).unwrap().parse().unwrap()
    }

    /// Changes an edge's settings, asks it with a signal to read them, and waits until it has done so with this outcome.
    #[track_caller]
    pub(crate) fn change(&self, edge: usize, outcome: &str, change: impl FnOnce(&mut toml::Table)) {
        let mut settings = self.settings(edge);
        change(&mut settings);
        self.reread(edge, outcome, &toml::to_string(&settings).unwrap());
    }

    /// The same with the text of the settings.
    #[track_caller]
    pub(crate) fn reread(&self, edge: usize, outcome: &str, text: &str) {
        let before = self.readings(edge, outcome);
        self.rewrite(edge, text);
        kill("HUP", self.process(&format!("edge-{edge}")).0);
        wait_until(&format!("settings read again and {outcome}"), SOON, || self.readings(edge, outcome) > before);
    }

    /// The addresses of a kind on which an edge says that it listens.
    #[track_caller]
    pub(crate) fn listening(&self, edge: usize, kind: &str) -> Vec<SocketAddr> {
        let ready = std::fs::read_to_string(self.data(&format!("edge-{edge}")).join("ready.json")).unwrap();
        let ready: Value = serde_json::from_str(&ready).unwrap();
        ready[kind].as_array().unwrap().iter().map(|address| address.as_str().unwrap().parse().unwrap()).collect()
    }

    /// The log of a process, as far as it has come.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.data(&format!("{name}.log"))).unwrap_or_default()
    }
}

/// Adds an address to a list of an edge's listeners.
pub(crate) fn listen(settings: &mut toml::Table, kind: &str, address: &str) {
    let listen = settings["listen"].as_table_mut().unwrap();
    let list = listen.entry(kind).or_insert_with(|| toml::Value::Array(Vec::new()));
    list.as_array_mut().unwrap().push(address.into());
}

/// Sets a limit of an edge's settings.
pub(crate) fn limit(settings: &mut toml::Table, name: &str, value: impl Into<toml::Value>) {
    let limits = settings.entry("limits").or_insert_with(|| toml::Table::new().into());
    limits.as_table_mut().unwrap().insert(name.to_owned(), value.into());
}
