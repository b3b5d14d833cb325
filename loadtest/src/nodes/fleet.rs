//! Many nodes in this process: the agent that edges and shields run, with duties that only write down what they were told and when.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;
use skerry_agent::question::{Answer, Explain};
use skerry_agent::{Agent, Duties, Load, Role, Settings};
use skerry_config::process::ControlLink;
use skerry_config::purge::Purge;
use skerry_config::snapshot::Snapshot;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::board::{Board, Kind, Progress, content};
use super::{JOIN_MAX, LOOK};
use crate::api::Api;

/// Nodes that join at once, up to their first configuration: a thousand that are sent ten thousand sites at the same time have no time to answer a ping.
const JOINS_AT_ONCE: usize = 32;
/// The port in the tier addresses of shields. Nobody connects to it.
const TIER_PORT: u16 = 8402;

/// One node.
#[derive(Debug)]
struct Node {
    name: String,
    board: Arc<Board>,
    progress: Mutex<Progress>,
}

impl Node {
    /// Writes down what was taken; a fault fails the run.
    fn note(&self, take: impl FnOnce(&mut Progress) -> Result<(), String>) -> bool {
        let taken = take(&mut self.progress.lock());
        taken.map_err(|why| self.board.fail(format!("{}: {why}", self.name))).is_ok()
    }
}

impl Duties for Node {
    fn share(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.board.share(snapshot)
    }

    fn adopt(&self, snapshot: Arc<Snapshot>) -> Result<(), String> {
        let version = snapshot.version();
        if self.note(|progress| progress.adopted(version)) {
            self.board.in_force(Kind::Snapshot, version, version);
        }
        Ok(())
    }

    fn purge(&self, purges: &[Purge]) {
        if self.note(|progress| progress.purged(purges)) {
            for Purge { seq, targets } in purges {
                self.board.in_force(Kind::Purge, *seq, content(targets.urls.iter().map(String::as_str)));
            }
        }
    }

    fn purge_all_through(&self, seq: u64) {
        self.note(|progress| progress.stands(seq));
    }

    fn caught_up(&self) {
        self.progress.lock().caught_up();
    }

    fn load(&self) -> Load {
        Load::default()
    }

    fn explain(self: Arc<Self>, _: Explain) -> Answer {
        Box::pin(std::future::ready(Ok(Value::Null)))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fleet {
    nodes: Vec<Arc<Node>>,
    stop: watch::Sender<bool>,
    following: Vec<JoinHandle<()>>,
}

/// How many of each role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) shields: usize,
    pub(super) edges: usize,
}

impl Fleet {
    /// Has all of them join, each with a token of its own and a data directory below `folder`, and follow.
    pub(super) async fn join(size: Size, folder: &Path, nodes_address: &str, api: &Api, board: &Arc<Board>) -> Result<Self, String> {
        let (stop, stopped) = watch::channel(false);
        let places = Arc::new(Semaphore::new(JOINS_AT_ONCE));
        let mut joining = JoinSet::new();
        for index in 0..size.shields + size.edges {
            let role = if index < size.shields { Role::Shield } else { Role::Edge };
            let (api, board, places, stopped) = (api.clone(), Arc::clone(board), Arc::clone(&places), stopped.clone());
            let mut settings = settings(role, index, folder, nodes_address);
            joining.spawn(async move {
                let _place = places.acquire().await.map_err(|error| error.to_string())?;
                settings.control.join_token = Some(api.join_token(role.word()).await?);
                let node = Arc::new(Node { name: settings.name.clone(), board, progress: Mutex::default() });
                let agent = Agent::prepare(settings).await?;
                let following = agent.follow(Arc::clone(&node) as Arc<dyn Duties>, stopped);
                let began = Instant::now();
                while !node.progress.lock().follows(1) {
                    node.board.sound()?;
                    if began.elapsed() > JOIN_MAX {
                        return Err(format!("{} does not follow after {JOIN_MAX:?}", node.name));
                    }
                    sleep(LOOK).await;
                }
                Ok((node, following))
            });
        }
        let mut fleet = Self { nodes: Vec::new(), stop, following: Vec::new() };
        while let Some(joined) = joining.join_next().await {
            let (node, following) = joined.map_err(|error| format!("a node did not join: {error}"))??;
            fleet.nodes.push(node);
            fleet.following.push(following);
        }
        Ok(fleet)
    }

    /// How many follow, with at least this configuration.
    pub(super) fn following(&self, snapshot: u64) -> usize {
        self.nodes.iter().filter(|node| node.progress.lock().follows(snapshot)).count()
    }

    /// How many streams were opened beyond one a node.
    ///
    /// # Errors
    /// A sentence: a node's last purge is not `seq`.
    pub(super) fn reconnects(&self, seq: u64) -> Result<u64, String> {
        let mut reconnects = 0;
        for node in &self.nodes {
            let (streams, last) = node.progress.lock().end();
            if last != seq {
                return Err(format!("{} ends at purge {last}, not at {seq}", node.name));
            }
            reconnects += streams.saturating_sub(1);
        }
        Ok(reconnects)
    }

    /// Ends all of them.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        for following in self.following {
            // A panic of one was seen as a purge that it did not apply.
            let _ = following.await;
        }
    }
}

fn settings(role: Role, index: usize, folder: &Path, nodes_address: &str) -> Settings {
    let name = format!("{}-{index}", role.word());
    let [high, low] = u16::try_from(index).unwrap_or(u16::MAX).to_be_bytes();
    let address = std::net::Ipv4Addr::new(127, 64, high, low);
    Settings {
        role,
        data: folder.join(&name),
        name,
        control: ControlLink { address: nodes_address.to_owned(), join_token: None },
        public_addresses: if role == Role::Edge { vec![address.into()] } else { Vec::new() },
        tier_address: (role == Role::Shield).then(|| (address, TIER_PORT).into()),
        location: None,
    }
}
