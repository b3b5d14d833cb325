//! `skerry rollout`: how changes of sites reach the nodes, and what came of them.

use std::time::{Duration, Instant};

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use skerry_config::units::Period;

use super::api::{self, Api, Call, segment};
use super::{Fail, Refusal, show};

/// Time between two looks at a rollout that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The options of `skerry rollout`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry rollout`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// The last rollouts, and what waits for the next one
    List,
    /// One rollout: its stages, its sites, and why which were rolled back
    Show {
        /// Its number
        id: u64,
    },
    /// End a rollout and put back what was in force before, as versions of their own
    Abort {
        /// Its number
        id: u64,
    },
    /// Do not hold the present stage any longer
    Proceed {
        /// Its number
        id: u64,
    },
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let (api, json) = (options.api.api()?, options.api.json);
    let post = |id: u64, verb: &str| (Method::POST, format!("/v1/rollouts/{id}/{verb}"));
    let (method, path) = match options.command {
        Command::List => return list(&api, json).await,
        Command::Show { id } => (Method::GET, format!("/v1/rollouts/{id}")),
        Command::Abort { id } => post(id, "abort"),
        Command::Proceed { id } => post(id, "proceed"),
    };
    let body = (method == Method::POST).then(|| json!({}));
    let rollout = api.call(Call { method, body, ..Call::get(&path) }).await?;
    if json {
        show::json(&rollout);
    } else {
        lines(&rollout).iter().for_each(|line| show::line(line));
    }
    Ok(())
}

async fn list(api: &Api, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get("/v1/rollouts")).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let row = |rollout: &Value| {
        let mut row = ["id", "state"].map(|field| show::text(rollout, field)).to_vec();
        row.push(stage(rollout));
        row.push(show::list(rollout, "sites").iter().map(|site| show::text(site, "name")).collect::<Vec<_>>().join(", "));
        row.extend(["began", "ended"].map(|field| show::text(rollout, field)));
        row
    };
    let rows: Vec<_> = show::list(&answer, "rollouts").iter().map(row).collect();
    show::table(&["ROLLOUT", "STATE", "STAGE", "SITES", "BEGAN", "ENDED"], &rows);
    if !show::list(&answer, "waiting").is_empty() {
        show::line(&format!("not on all nodes yet: {}", show::text(&answer, "waiting")));
    }
    Ok(())
}

/// The stage of a rollout in words.
fn stage(rollout: &Value) -> String {
    show::list(rollout, "stages").last().map_or_else(|| "-".to_owned(), |stage| show::text(stage, "name"))
}

/// A rollout for people.
fn lines(rollout: &Value) -> Vec<String> {
    let text = |field| show::text(rollout, field);
    let mut lines = vec![format!("rollout {}: {}, snapshot {}, began {}", text("id"), text("state"), text("snapshot"), text("began"))];
    if text("reason") != "-" {
        lines.push(text("reason"));
    }
    for stage in show::list(rollout, "stages") {
        let nodes = show::text(stage, "nodes");
        let (name, of) = (show::text(stage, "name"), if nodes == "-" { "every node".to_owned() } else { nodes });
        let stands = match (show::text(stage, "ended"), show::text(stage, "adopted")) {
            (ended, _) if ended != "-" => format!("ended {ended}"),
            (_, adopted) if adopted != "-" => format!("in force since {adopted}, held"),
            _ => "waiting for its nodes".to_owned(),
        };
        lines.push(format!("stage {name} ({of}): {stands}"));
    }
    for site in show::list(rollout, "sites") {
        let (name, from, to) = (show::text(site, "name"), show::text(site, "from"), show::text(site, "to"));
        let from = if from == "-" { "new".to_owned() } else { format!("version {from}") };
        let came = match (reason(site), site.get("superseded").and_then(Value::as_bool)) {
            (Some(reason), _) => format!(", rolled back: {reason}"),
            (None, Some(true)) => ", superseded by a change at once".to_owned(),
            (None, _) => String::new(),
        };
        lines.push(format!("site {name}: {from} -> version {to}{came}"));
    }
    lines
}

fn reason(site: &Value) -> Option<&str> {
    site.pointer("/rolled_back/reason").and_then(Value::as_str)
}

/// Waits until what a write of a site answered is in force on every connected node; an error when it was rolled back, or not within `limit`.
pub(crate) async fn wait(api: &Api, written: &Value, limit: Period) -> Result<(), Fail> {
    let Some(mut id) = written.get("rollout").and_then(Value::as_u64) else { return Ok(()) };
    let name = show::text(written, "name");
    let began = Instant::now();
    loop {
        let told = match api.try_call(Call::get(&format!("/v1/rollouts/{id}"))).await {
            Ok(rollout) => {
                let Some(site) = show::list(&rollout, "sites").iter().find(|site| show::text(site, "name") == name) else {
                    // It had as many sites as one may have.
                    id += 1;
                    continue;
                };
                if let Some(reason) = reason(site) {
                    return Err(Fail::Refused(format!("site {name} was rolled back by rollout {id}: {reason}")));
                }
                let now = rollout.get("now").and_then(Value::as_bool) == Some(true);
                if show::text(&rollout, "ended") != "-" && (!now || show::number(&rollout, "behind") == 0) {
                    return Ok(());
                }
                format!("is at stage {}", stage(&rollout))
            }
            // It has not begun.
            Err(Refusal::Status(http::StatusCode::NOT_FOUND, _)) => "waits for the one before".to_owned(),
            Err(refusal) => return Err(api.fail(refusal)),
        };
        if began.elapsed() >= limit.0 {
            let says = "it goes on: see skerry rollout show";
            return Err(Fail::Refused(format!("site {name} is not in force on all nodes after {limit}, rollout {id} {told}; {says}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until no connected node has a site that was deleted; an error when there is one again, or not within `limit`.
pub(crate) async fn wait_gone(api: &Api, name: &str, limit: Period) -> Result<(), Fail> {
    let began = Instant::now();
    loop {
        let answer = api.call(Call { path: "/v1/rollouts", ..Call::default() }).await?;
        let has = |list: &str| show::list(&answer, list).iter().any(|site| site.as_str() == Some(name));
        // Without any, no node ever had it.
        let last = last_of(show::list(&answer, "rollouts"), name);
        let told = if has("lingering") {
            "nodes serve it until clients have forgotten where DNS sent them".to_owned()
        } else if has("waiting") {
            last.map_or_else(|| "its rollout waits for the one before".to_owned(), |id| format!("see skerry rollout show {id}"))
        } else if is_there(api, name).await? {
            return Err(Fail::Refused(format!("site {name} was made anew since")));
        } else {
            let behind = match last {
                Some(id) => show::number(&api.call(Call { path: &format!("/v1/rollouts/{id}"), ..Call::default() }).await?, "behind"),
                None => 0,
            };
            if behind == 0 {
                return Ok(());
            }
            format!("{behind} nodes have not heard of it")
        };
        if began.elapsed() >= limit.0 {
            return Err(Fail::Refused(format!(
                "site {name} has left DNS, but not every connected node after {limit}: {told}; it goes on by itself"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The number of the last rollout of a site. One that waits has its number before it begins, so that it is the configuration that tells which was the last.
fn last_of(rollouts: &[Value], name: &str) -> Option<u64> {
    let is_of_it = |rollout: &&Value| show::list(rollout, "sites").iter().any(|site| show::text(site, "name") == name);
    let of_it = rollouts.iter().filter(is_of_it).map(|rollout| (show::number(rollout, "snapshot"), show::number(rollout, "id")));
    of_it.max().map(|(_, id)| id)
}

async fn is_there(api: &Api, name: &str) -> Result<bool, Fail> {
    match api.try_call(Call { path: &format!("/v1/sites/{}", segment(name)), ..Call::default() }).await {
        Ok(_) => Ok(true),
        Err(Refusal::Status(http::StatusCode::NOT_FOUND, _)) => Ok(false),
        Err(refusal) => Err(api.fail(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_says_where_it_is_and_what_was_taken_back() {
        let rollout = json!({"id": 4, "state": "running", "snapshot": 9, "now": false, "began": "then",
            "stages": [{"name": "node", "nodes": ["edge-1"], "began": "then", "adopted": "a", "ended": "b"},
                {"name": "all", "nodes": [], "began": "then"}],
            "sites": [{"name": "shop", "from": 1, "to": 2, "rolled_back": {"version": 3, "reason": "it failed"}}, {"name": "new", "to": 1}]});
        assert_eq!(
            lines(&rollout),
            [
                "rollout 4: running, snapshot 9, began then",
                "stage node (edge-1): ended b",
                "stage all (every node): waiting for its nodes",
                "site shop: version 1 -> version 2, rolled back: it failed",
                "site new: new -> version 1"
            ]
        );
    }

    #[test]
    fn the_last_rollout_of_a_site_is_that_of_the_newest_configuration() {
        let of = |id: u64, snapshot: u64, site: &str| json!({"id": id, "snapshot": snapshot, "sites": [{"name": site}]});
        let rollouts = [of(7, 12, "other"), of(6, 9, "shop"), of(5, 11, "shop"), of(4, 3, "shop")];
        assert_eq!((last_of(&rollouts, "shop"), last_of(&rollouts, "none")), (Some(5), None));
    }
}
