//! The state in force, compiled: for those who are asked now and then why, or where to. DNS compiles for itself.
//!
//! The lock is held while a state is compiled, so that one is compiled once; who asks meanwhile waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use skerry_dns::state::{Site, State};
use skerry_dns::zone::Zone;
use tokio::sync::Mutex;

/// See the module.
pub(crate) struct Compiler {
    state: Arc<ArcSwap<State>>,
    last: Mutex<Option<Arc<Compiled>>>,
}

/// A compiled state.
pub(crate) struct Compiled {
    /// The zone.
    pub(crate) zone: Zone,
    /// The sites by name.
    names: HashMap<String, usize>,
    /// The sites by host: exact, or what comes after `*.`.
    exact: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    /// The site that owns every host that no other does.
    rest: Option<usize>,
}

impl Compiler {
    /// Of the states that are put here.
    pub(crate) fn new(state: Arc<ArcSwap<State>>) -> Self {
        Self { state, last: Mutex::const_new(None) }
    }

    /// The state in force.
    ///
    /// # Errors
    /// One sentence, when compiling it failed.
    pub(crate) async fn now(&self) -> Result<Arc<Compiled>, String> {
        let mut last = self.last.lock().await;
        let state = self.state.load_full();
        if let Some(last) = last.as_ref().filter(|last| Arc::ptr_eq(last.zone.state(), &state)) {
            return Ok(Arc::clone(last));
        }
        let before = last.take();
        let compiled = tokio::task::spawn_blocking(move || Arc::new(Compiled::next(before.as_deref(), state)));
        let compiled = compiled.await.map_err(|error| format!("the zone could not be compiled: {error}"))?;
        *last = Some(Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl Compiled {
    fn next(before: Option<&Self>, state: Arc<State>) -> Self {
        let (mut exact, mut wildcards, mut rest) = (HashMap::new(), HashMap::new(), None);
        for (number, site) in state.sites.iter().enumerate() {
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    _ if host == "*" => rest = Some(number),
                    Some(after) => drop(wildcards.insert(after.to_owned(), number)),
                    None => drop(exact.insert(host.clone(), number)),
                }
            }
        }
        let zone = before.map_or_else(|| Zone::build(Arc::clone(&state)), |before| before.zone.next(Arc::clone(&state)));
        let names = state.sites.iter().zip(0..).map(|(site, number)| (site.name.clone(), number)).collect();
        Self { zone, names, exact, wildcards, rest }
    }

    /// The site that owns a host, as edges see it: its exact name, else the longest name after `*.` that it is below, else `*`.
    pub(crate) fn owner(&self, host: &str) -> Option<&Site> {
        let around = || {
            let ends = host.match_indices('.').map(|(at, _)| host.get(at + 1..).unwrap_or_default());
            ends.into_iter().find_map(|end| self.wildcards.get(end))
        };
        let number = self.exact.get(host).or_else(around).or(self.rest.as_ref())?;
        self.zone.state().sites.get(*number)
    }

    /// The site of this name.
    pub(crate) fn site(&self, name: &str) -> Option<&Site> {
        self.zone.state().sites.get(*self.names.get(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_owned_as_on_the_edges_and_another_state_is_compiled_when_it_is_asked_for() {
        let site = |name: &str, hosts: &[&str]| Site {
            name: name.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..Site::default()
        };
        let sites =
            vec![site("shop", &["shop.test", "*.img.test", "*.shop.cdn.test"]), site("deep", &["*.deep.img.test"]), site("all", &["*"])];
        let state = Arc::new(ArcSwap::from_pointee(State { zone: "cdn.test".to_owned(), sites: sites[..2].to_vec(), ..State::default() }));
        let compiler = Compiler::new(Arc::clone(&state));
        let first = compiler.now().await.unwrap();
        let owner = |compiled: &Compiled, host: &str| compiled.owner(host).map(|site| site.name.clone());
        for (host, name) in [
            ("shop.test", Some("shop")),
            ("a.img.test", Some("shop")),
            ("a.b.img.test", Some("shop")),
            ("a.deep.img.test", Some("deep")),
            ("deep.img.test", Some("shop")),
            ("img.test", None),
            ("edge-1.shop.cdn.test", Some("shop")),
            ("other.test", None),
        ] {
            assert_eq!(owner(&first, host).as_deref(), name, "{host}");
        }
        assert!(Arc::ptr_eq(&first, &compiler.now().await.unwrap()));
        state.store(Arc::new(State { zone: "cdn.test".to_owned(), serial: 1, sites, ..State::default() }));
        assert_eq!(owner(&compiler.now().await.unwrap(), "other.test").as_deref(), Some("all"));
    }
}
