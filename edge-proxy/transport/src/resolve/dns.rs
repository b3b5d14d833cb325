//! DNS, and the file of hosts before it, as the system is set up. Keeps no answer.
//!
//! The lock covers what was read of the system's files, which are read again after a time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use parking_lot::Mutex;

use super::{Answer, LOOKUP_TIME_MAX, Source};

/// How long the files of the system count as read.
const FILES_READ_FOR: Duration = Duration::from_secs(10);
/// How long what the file of hosts says is used: it has no lifetimes.
const HOSTS_TTL: Duration = FILES_READ_FOR;
/// How long one server may take before it, or the next one, is asked again.
const SERVER_TIME_MAX: Duration = Duration::from_secs(2);
/// How often a question is asked again that a server did not answer.
const ASKED_AGAIN_MAX: usize = 1;

/// See the module.
pub(super) struct Dns {
    servers: Vec<SocketAddr>,
    read: Mutex<Option<(Instant, Arc<System>)>>,
}

/// What the files of the system say.
struct System {
    hosts: Hosts,
    resolver: TokioResolver,
}

impl Dns {
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), read: Mutex::default() }
    }

    async fn system(&self) -> Result<Arc<System>, String> {
        if let Some((at, system)) = &*self.read.lock()
            && at.elapsed() < FILES_READ_FOR
        {
            return Ok(Arc::clone(system));
        }
        let servers = self.servers.clone();
        let read = tokio::task::spawn_blocking(move || System::read(&servers)).await;
        let system = Arc::new(read.map_err(|_| "the settings of the system's resolver could not be read".to_owned())??);
        *self.read.lock() = Some((Instant::now(), Arc::clone(&system)));
        Ok(system)
    }
}

impl System {
    fn read(servers: &[SocketAddr]) -> Result<Self, String> {
        let hosts = Hosts::from_system().unwrap_or_default();
        let (config, mut options) = if servers.is_empty() {
            // Without a word on servers, the one of this machine, as resolv.conf(5) has it.
            system_conf::read_system_conf()
                .unwrap_or_else(|_| (of_servers(&[SocketAddr::from(([127, 0, 0, 1], 53))]), ResolverOpts::default()))
        } else {
            (of_servers(servers), ResolverOpts::default())
        };
        options.timeout = SERVER_TIME_MAX;
        options.attempts = ASKED_AGAIN_MAX;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| format!("no resolver can be made: {error}"))?;
        Ok(Self { hosts, resolver })
    }

    /// What the file of hosts says, of both families together.
    fn in_hosts(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(host) else { return Vec::new() };
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [of(RecordType::AAAA), of(RecordType::A)];
        found.iter().flatten().flat_map(|lookup| lookup.answers()).filter_map(|record| record.data.ip_addr()).collect()
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect())
}

#[async_trait]
impl Source for Dns {
    async fn ask(&self, host: &str) -> Result<Answer, String> {
        let system = self.system().await?;
        let listed = system.in_hosts(host);
        if !listed.is_empty() {
            return Ok(Answer { addresses: listed.into(), ttl: HOSTS_TTL });
        }
        let asked = tokio::time::timeout(LOOKUP_TIME_MAX, system.resolver.lookup_ip(host)).await;
        let found = asked.map_err(|_| format!("{host} could not be resolved in {LOOKUP_TIME_MAX:?}"))?;
        let found = found.map_err(|error| format!("{host} could not be resolved: {error}"))?;
        let addresses: Arc<[IpAddr]> = found.iter().collect();
        if addresses.is_empty() {
            return Err(format!("{host} has no address"));
        }
        let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        Ok(Answer { addresses, ttl: Duration::from_secs(ttl.into()) })
    }
}
