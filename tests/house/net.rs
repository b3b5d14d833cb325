//! Several hosts on one machine: network namespaces, each with a cable to one switch, which can be pulled out; or far from each other, so that what is sent
//! takes its time.
//!
//! Nothing of it is to be seen from the machine itself, or from another test: the switch is in a namespace of its own. Needs root, and a kernel that lets
//! it make namespaces.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::DeviceBuilder;

use super::apart::Apart;
use super::command::{is_running, run};

/// Where `ip netns` keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// Nets made by this process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Hosts, and what joins them. Dropping it takes all of them away.
pub(crate) struct Net {
    /// The ways between hosts that have no switch.
    apart: Option<Apart>,
    /// What the names of its namespaces begin with.
    prefix: String,
    hosts: Vec<String>,
}

impl Net {
    /// Makes a net of these hosts at one switch, the first of which is 10.77.0.1; or says why this machine cannot.
    pub(crate) fn make(hosts: &[&str]) -> Result<Self, String> {
        let mut net = Self::begin()?;
        let switch = net.name("switch");
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        for (index, host) in hosts.iter().enumerate() {
            net.add(host)?;
            let (own, port) = (net.name(host), format!("port{index}"));
            ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &own])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &own, "address", "add", &format!("{}/24", address(index)), "dev", "eth0"])?;
            ip(&["-n", &own, "link", "set", "eth0", "up"])?;
        }
        Ok(net)
    }

    /// The same without a switch: everything takes its time from one host to another, none until that is told.
    pub(crate) fn make_apart(hosts: &[&str]) -> Result<Self, String> {
        let mut net = Self::begin()?;
        let mut devices = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            net.add(host)?;
            let device = net.on(host, || {
                let device = DeviceBuilder::new().name("eth0").build_sync()?;
                device.set_nonblocking(true).map(|()| device)
            });
            devices.push((address(index), device.map_err(|error| format!("a TUN device: {error}"))?));
            let own = net.name(host);
            ip(&["-n", &own, "address", "add", &format!("{}/24", address(index)), "dev", "eth0"])?;
            ip(&["-n", &own, "link", "set", "eth0", "up"])?;
        }
        net.apart = Some(Apart::start(devices));
        Ok(net)
    }

    /// From now on what is sent from one of two hosts to the other takes this long, and an answer as long again.
    #[track_caller]
    pub(crate) fn set_way(&self, one: &str, other: &str, way: Duration) {
        self.apart.as_ref().expect("hosts that are apart").set((self.address(one), self.address(other)), way);
    }

    /// The namespace in which a switch can be, so that addresses begin behind it.
    fn begin() -> Result<Self, String> {
        clear_away();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let mut net = Self { apart: None, prefix: format!("skerry-{}-{number}-", std::process::id()), hosts: Vec::new() };
        net.add("switch")?;
        Ok(net)
    }

    fn add(&mut self, host: &str) -> Result<(), String> {
        let name = self.name(host);
        ip(&["netns", "add", &name])?;
        self.hosts.push(host.to_owned());
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    /// The address of a host.
    #[track_caller]
    pub(crate) fn address(&self, host: &str) -> Ipv4Addr {
        // The switch is the first, and no host.
        address(self.hosts.iter().position(|other| other == host).expect("a host") - 1)
    }

    /// Does something on a host: sockets that are made meanwhile, threads and processes that are started, are there.
    #[track_caller]
    pub(crate) fn on<T: Send>(&self, host: &str, what: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("{NAMESPACES}/{}", self.name(host))).expect("a host");
        let done = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                what()
            });
            there.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Pulls the cable of a host out, or puts it in: what is on its way is lost, and nobody is told.
    #[track_caller]
    pub(crate) fn plug(&self, host: &str, plugged: bool) {
        let port = format!("port{}", self.address(host).octets()[3] - 1);
        // Of the switch rather than of the host, whose own end would tell its processes.
        let master = if plugged { ["master", "bridge"].as_slice() } else { &["nomaster"] };
        ip(&[&["-n", &self.name("switch"), "link", "set", &port], master].concat()).unwrap();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = ip(&["netns", "delete", &self.name(host)]);
        }
    }
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).expect("a small net"))
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = run(Command::new("ip").args(arguments));
    if ran.code == 0 { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), ran.stderr.trim())) }
}

/// Takes away what tests left that were killed.
fn clear_away() {
    for entry in std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("skerry-").and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !is_running(pid)) {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}
