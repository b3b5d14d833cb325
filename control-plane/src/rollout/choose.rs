//! Which nodes a stage reaches: a pure choice among the nodes that there are.
//!
//! The first stage is one edge and one shield: a change of an origin shows at a shield and a change for clients at an edge, and both are nodes like
//! any other. Both are those that the changed sites have most of their traffic at, as far as that is known, else the first by name.

use std::collections::BTreeSet;

use skerry_agent::Role;

use super::StageName;

/// A node, as far as it counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) region: String,
    /// Whether it is connected and gets clients.
    pub(super) serves: bool,
    /// Requests for the changed sites since its process began.
    pub(super) requests: u64,
}

/// The stage after `last`, which reached `reached`, and the nodes it reaches; `None` when there is none to come.
pub(super) fn next(last: Option<StageName>, reached: &BTreeSet<String>, nodes: &[Candidate]) -> Option<(StageName, BTreeSet<String>)> {
    let all: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let is_all = |stage: &BTreeSet<String>| all.is_subset(stage);
    match last {
        None => {
            let first: BTreeSet<String> = [Role::Edge, Role::Shield].into_iter().filter_map(|role| first(role, nodes)).collect();
            // Without a node that serves there is nothing to see.
            let stage = if first.is_empty() { StageName::All } else { StageName::Node };
            Some((stage, first))
        }
        Some(_) if is_all(reached) => None,
        Some(StageName::Node) => {
            let region = region(reached, nodes);
            let more: BTreeSet<String> = nodes.iter().filter(|node| Some(&node.region) == region).map(|node| node.name.clone()).collect();
            let more: BTreeSet<String> = more.union(reached).cloned().collect();
            if more == *reached || is_all(&more) { Some((StageName::All, all)) } else { Some((StageName::Region, more)) }
        }
        Some(StageName::Region) => Some((StageName::All, all)),
        Some(StageName::All) => None,
    }
}

fn first(role: Role, nodes: &[Candidate]) -> Option<String> {
    let serving = nodes.iter().filter(|node| node.role == role && node.serves);
    // Of two with as many requests the first by name.
    let chosen = serving.min_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));
    chosen.map(|node| node.name.clone())
}

/// The region of the edge of the first stage, else of its shield.
fn region<'a>(reached: &BTreeSet<String>, nodes: &'a [Candidate]) -> Option<&'a String> {
    let of = |role| nodes.iter().find(|node| node.role == role && reached.contains(&node.name)).map(|node| &node.region);
    of(Role::Edge).or_else(|| of(Role::Shield))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, region: &str, requests: u64) -> Candidate {
        let role = if name.starts_with('e') { Role::Edge } else { Role::Shield };
        Candidate { name: name.to_owned(), role, region: region.to_owned(), serves: true, requests }
    }

    /// All stages, one after another, as words.
    fn stages(nodes: &[Candidate]) -> Vec<String> {
        let (mut last, mut reached, mut said) = (None, BTreeSet::new(), Vec::new());
        while let Some((stage, nodes)) = next(last, &reached, nodes) {
            said.push(format!("{} {}", stage.word(), nodes.iter().cloned().collect::<Vec<_>>().join(" ")));
            (last, reached) = (Some(stage), nodes);
        }
        said
    }

    #[test]
    fn stages_grow_from_the_node_with_the_traffic_to_its_region_to_all() {
        let nodes = [
            node("e1", "north", 5),
            node("e2", "south", 90),
            node("e3", "south", 90),
            node("s1", "north", 0),
            node("s2", "south", 0),
            node("s3", "south", 7),
        ];
        assert_eq!(stages(&nodes), ["node e2 s3", "region e2 e3 s2 s3", "all e1 e2 e3 s1 s2 s3"]);
    }

    #[test]
    fn a_stage_that_would_reach_nobody_new_is_left_out() {
        assert_eq!(stages(&[node("e1", "north", 0)]), ["node e1"]);
        assert_eq!(stages(&[node("e1", "north", 0), node("e2", "north", 0)]), ["node e1", "all e1 e2"]);
        assert_eq!(stages(&[node("e1", "north", 0), node("e2", "south", 0)]), ["node e1", "all e1 e2"]);
        let idle = Candidate { serves: false, ..node("e1", "north", 0) };
        assert_eq!(stages(&[idle.clone(), node("s1", "south", 0)]), ["node s1", "all e1 s1"]);
        assert_eq!(stages(&[idle]), ["all "]);
        assert_eq!(stages(&[]), ["all "]);
    }
}
