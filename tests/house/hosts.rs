//! A CDN whose parts are on hosts of their own: a control plane, two shields, two edges, two origins and a client.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::cdn::SOON;
use super::command::{Ran, binary, kill, run};
use super::net::Net;
use super::scripted::Seen;
use super::{Reply, Scripted, wait_until};

/// The hosts, by the names of what runs on them.
const HOSTS: [&str; 8] = ["control", "shield-1", "shield-2", "edge-1", "edge-2", "origin", "second", "client"];

/// See the module. Dropping it stops everything.
pub(crate) struct Hosts {
    pub(crate) net: Arc<Net>,
    place: TempDir,
    processes: Vec<(String, Child)>,
}

impl Hosts {
    /// Starts all but the origin, and waits until every node follows; `None`, with the reason told, where the kernel refuses.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        Self::start_on(Net::make(&HOSTS), "20s")
    }

    /// The same far from each other, as far as [`Net::set_way`] says, and with answers of DNS that live so long.
    #[track_caller]
    pub(crate) fn start_apart(ttl: &str) -> Option<Self> {
        Self::start_on(Net::make_apart(&HOSTS), ttl)
    }

    #[track_caller]
    fn start_on(net: Result<Net, String>, ttl: &str) -> Option<Self> {
        let net = match net {
            Ok(net) => Arc::new(net),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "no hosts here, and CI has to have them: {why}");
                eprintln!("skipped: no hosts of their own on this machine: {why}");
                return None;
            }
        };
        let mut hosts = Self { net, place: tempfile::tempdir().unwrap(), processes: Vec::new() };
        let control = hosts.net.address("control");
        let settings = format!(
            "role = \"control\"\ndata = \"{}\"\nlisten = {{ api = \"{control}:8400\", nodes = \"{control}:8401\", dns = \"{control}:5300\" }}\n\
             [dns]\nzone = \"cdn.test\"\nttl = \"{ttl}\"\nnameservers = [{{ name = \"ns1.cdn.test\", addresses = [\"{control}\"] }}]\n[rollout]\nhold = \"0s\"\n",
            hosts.data("control").display(),
        );
        hosts.begin("control", &settings);
        for node in ["shield-1", "shield-2", "edge-1", "edge-2"] {
            let role = node.split('-').next().unwrap();
            let token = hosts.skerry(&["node", "token", "create", "--role", role, "--region", "north"]).fine().stdout;
            let own = hosts.net.address(node);
            let listen = match role {
                "shield" => format!("{{ tier = \"{own}:8402\", admin = \"{own}:9100\" }}"),
                _ => format!(
                    "{{ http = [\"{own}:80\"], admin = \"{own}:9100\" }}\npublic_addresses = [\"{own}\"]\n\
                     limits = {{ connections_per_address = 10000, new_connections_per_second = 10000 }}"
                ),
            };
            let settings = format!(
                "role = \"{role}\"\nname = \"{node}\"\ndata = \"{}\"\ncontrol = {{ address = \"{control}:8401\", join_token = \"{}\" }}\n\
                 listen = {listen}\n[origins]\nallow = [\"10.77.0.0/24\"]\n",
                hosts.data(node).display(),
                token.trim(),
            );
            hosts.begin(node, &settings);
        }
        wait_until("every node to follow", SOON, || HOSTS[1..5].iter().all(|node| hosts.follows(node)));
        Some(hosts)
    }

    /// An origin on its host that answers as the script says.
    pub(crate) fn origin(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Scripted {
        self.origin_on("origin", script)
    }

    /// Another origin on another host.
    pub(crate) fn second_origin(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Scripted {
        self.origin_on("second", script)
    }

    fn origin_on(&self, host: &str, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Scripted {
        let at = SocketAddr::new(self.net.address(host).into(), 0);
        self.net.on(host, || Scripted::start_at(at, script))
    }

    /// Where an edge answers.
    pub(crate) fn edge(&self, number: usize) -> String {
        format!("{}:80", self.net.address(&format!("edge-{number}")))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn begin(&mut self, name: &str, settings: &str) {
        std::fs::write(self.place.path().join(format!("{name}.toml")), settings).unwrap();
        self.start_again(name);
    }

    /// Starts a process on its host, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_again(&mut self, name: &str) {
        let ready = self.data(name).join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(self.place.path().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(binary());
        command
            .args([name.split('-').next().unwrap(), "--config"])
            .arg(self.place.path().join(format!("{name}.toml")))
            .env("SKERRY_STOP_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = self.net.on(name, || command.spawn().unwrap());
        wait_until(&format!("{name} to be ready"), SOON, || {
            assert!(child.try_wait().unwrap().is_none(), "{name} ended: {}", self.log(name));
            ready.exists()
        });
        self.processes.retain(|(other, _)| other != name);
        self.processes.push((name.to_owned(), child));
    }

    /// Sends a signal to a process.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let child = self.processes.iter().find(|(other, _)| other == name).map(|(_, child)| child);
        kill(signal, u64::from(child.expect("a process").id()));
    }

    /// Runs an operator's command beside the control plane.
    #[track_caller]
    pub(crate) fn skerry(&self, arguments: &[&str]) -> Ran {
        let token = std::fs::read_to_string(self.data("control").join("admin.token")).unwrap();
        let api = format!("http://{}:8400", self.net.address("control"));
        let mut command = Command::new(binary());
        command.args(arguments).env("SKERRY_API", api).env("SKERRY_TOKEN", token.trim());
        self.net.on("control", || run(&mut command))
    }

    /// Has sites, by their files' texts, in force on all nodes.
    #[track_caller]
    pub(crate) fn apply(&self, sites: &[String]) {
        for (index, site) in sites.iter().enumerate() {
            let path = self.place.path().join(format!("site-{index}.toml"));
            std::fs::write(&path, site).unwrap();
            self.skerry(&["site", "apply", path.to_str().unwrap()]).fine();
        }
        wait_until("every node to follow", SOON, || HOSTS[1..5].iter().all(|node| self.follows(node)));
    }

    /// Whether a node is connected and has everything.
    pub(crate) fn follows(&self, name: &str) -> bool {
        let status: Value = serde_json::from_str(&self.skerry(&["status", "--json"]).fine().stdout).unwrap();
        let node = status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).cloned().unwrap_or_default();
        node["connected"] == true && node["snapshot"] == status["snapshot"]
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.place.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for (name, child) in &mut self.processes {
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.place.path().join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
