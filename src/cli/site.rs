//! `skerry site`: what is served, and every version it ever had.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use skerry_config::check::{self, Checked};
use skerry_config::site::Site;
use skerry_config::units::Period;

use super::api::{self, Api, Call, segment};
use super::{Fail, rollout, show};

/// The options of `skerry site`.
pub(crate) type Options = api::With<Command>;

/// The verbs of `skerry site`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new version of a site: a file in TOML, YAML or JSON, checked here first
    Apply {
        /// The site file
        file: PathBuf,
        /// Refuse unless this version is the newest
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
        /// Why, for the history
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        pace: Pace,
    },
    /// All sites
    List,
    /// One site, as TOML
    Show {
        /// The site
        name: String,
        /// A version from its history; by default the newest
        #[arg(long, value_name = "VERSION")]
        version: Option<u64>,
    },
    /// What a file would change, or what changed between two versions
    Diff {
        /// The site
        name: String,
        /// The site file
        #[arg(required_unless_present = "from", conflicts_with = "from")]
        file: Option<PathBuf>,
        /// The version before
        #[arg(long, value_name = "VERSION")]
        from: Option<u64>,
        /// The version after; by default the newest
        #[arg(long, value_name = "VERSION", requires = "from")]
        to: Option<u64>,
    },
    /// All versions of a site
    History {
        /// The site
        name: String,
    },
    /// Return to an earlier version, as a new one
    Rollback {
        /// The site
        name: String,
        /// The version to return to
        version: u64,
        /// Why, for the history
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        pace: Pace,
    },
    /// Stop serving a site; its history stays
    Delete {
        /// The site
        name: String,
        /// Why, for the history
        #[arg(long)]
        reason: Option<String>,
        /// On all nodes at once, before clients have forgotten where DNS sent them
        #[arg(long)]
        now: bool,
        /// Wait until no connected node serves it, at most so long: first clients forget where DNS sent them, five minutes at most
        #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "10m")]
        wait: Option<Period>,
    },
}

/// How a change goes to the nodes.
#[derive(Args)]
pub(crate) struct Pace {
    /// To all nodes at once, for emergencies; without it to one, then its region, then all
    #[arg(long)]
    now: bool,
    /// Wait until it is in force on all nodes, at most so long; fails when it is rolled back
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "10m")]
    wait: Option<Period>,
}

/// Runs one of the verbs.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api();
    let json = options.api.json;
    match options.command {
        Command::Apply { file, if_version, reason, pace } => {
            // The local check first: it names lines, and needs no control plane.
            let site = read(&file)?;
            apply(&api?, &site, if_version, reason.as_deref(), &pace, json).await
        }
        Command::List => list(&api?, json).await,
        Command::Show { name, version } => show_one(&api?, &name, version, json).await,
        Command::Diff { name, file, from, to } => {
            let site = file.as_deref().map(read).transpose()?;
            differences(&api?, &name, site.as_ref(), (from, to), json).await
        }
        Command::History { name } => history(&api?, &name, json).await,
        Command::Rollback { name, version, reason, pace } => rollback(&api?, &name, version, reason.as_deref(), &pace, json).await,
        Command::Delete { name, reason, now, wait } => delete(&api?, &name, reason.as_deref(), (now, wait), json).await,
    }
}

fn read(file: &Path) -> Result<Site, Fail> {
    match check::file(file).map_err(|faults| Fail::faults(file, &faults))? {
        Checked::Site(site) => Ok(*site),
        Checked::Process(_) => Err(Fail::Usage(format!("{} is the settings of a process, not a site", file.display()))),
    }
}

/// The path of a site in the API, with what follows it.
fn path(name: &str, rest: &str) -> String {
    format!("/v1/sites/{}{rest}", segment(name))
}

/// The query that gives a reason, and how fast it is to be.
fn why(reason: Option<&str>, now: bool) -> String {
    let reason = reason.map(|reason| format!("reason={}", segment(reason)));
    let fields: Vec<String> = reason.into_iter().chain(now.then(|| "rollout=now".to_owned())).collect();
    if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
}

async fn apply(api: &Api, site: &Site, if_match: Option<u64>, reason: Option<&str>, pace: &Pace, json: bool) -> Result<(), Fail> {
    let body = serde_json::to_value(site).map_err(|error| Fail::Refused(format!("the site cannot be written as JSON: {error}")))?;
    let path = path(&site.name, &why(reason, pace.now));
    let answer = api.call(Call { if_match, ..Call::put(&path, body) }).await?;
    awaited(api, &answer, pace).await?;
    written(&answer, &site.name, "", pace, json);
    Ok(())
}

/// Waits for what was written, where that is wanted.
async fn awaited(api: &Api, answer: &Value, pace: &Pace) -> Result<(), Fail> {
    match pace.wait {
        Some(limit) => rollout::wait(api, answer, limit).await,
        None => Ok(()),
    }
}

fn written(answer: &Value, name: &str, what: &str, pace: &Pace, json: bool) {
    if json {
        return show::json(answer);
    }
    if answer.get("changed").and_then(Value::as_bool) == Some(false) {
        return show::line(&format!("site {name}: version {} is this already; nothing changes", show::text(answer, "version")));
    }
    let (version, snapshot) = (show::text(answer, "version"), show::text(answer, "snapshot"));
    let rollout = show::text(answer, "rollout");
    let became = match (pace.wait.is_some() || rollout == "-", pace.now) {
        (true, _) => "is in force".to_owned(),
        (false, true) => "goes to all nodes at once".to_owned(),
        (false, false) => format!("is being rolled out: skerry rollout show {rollout}"),
    };
    show::line(&format!("site {name}: version {version}{what}, in snapshot {snapshot}, {became}"));
}

async fn list(api: &Api, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get("/v1/sites")).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let rows: Vec<_> = show::list(&answer, "sites")
        .iter()
        .map(|entry| {
            let own = ["name", "version", "settled", "rollout"].map(|field| show::text(entry, field));
            own.into_iter().chain([show::text(&entry["site"], "hosts")]).collect()
        })
        .collect();
    show::table(&["NAME", "VERSION", "ON ALL NODES", "ROLLOUT", "HOSTS"], &rows);
    Ok(())
}

async fn show_one(api: &Api, name: &str, version: Option<u64>, json: bool) -> Result<(), Fail> {
    let path = path(name, &version.map(|version| format!("/versions/{version}")).unwrap_or_default());
    let answer = api.call(Call::get(&path)).await?;
    if json {
        show::json(&answer);
    } else {
        show::line(as_toml(&site_of(&answer)?)?.trim_end());
    }
    Ok(())
}

/// The site in an answer of the API.
fn site_of(answer: &Value) -> Result<Site, Fail> {
    let site = answer.get("site").cloned().ok_or_else(|| Fail::Refused("this version deleted the site; show the one before".to_owned()))?;
    serde_json::from_value(site).map_err(|error| {
        Fail::Refused(format!("the control plane's site cannot be read ({error}); use a skerry of the control plane's version, or --json"))
    })
}

fn as_toml(site: &Site) -> Result<String, Fail> {
    toml::to_string(site).map_err(|error| Fail::Refused(format!("the site cannot be written as TOML: {error}; use --json")))
}

async fn differences(api: &Api, name: &str, site: Option<&Site>, versions: (Option<u64>, Option<u64>), json: bool) -> Result<(), Fail> {
    let rest = match (site, versions) {
        (None, (from, to)) => {
            let to = to.map(|to| format!("&to={to}")).unwrap_or_default();
            format!("/diff?from={}{to}", from.unwrap_or_default())
        }
        (Some(site), _) if site.name == name => "/diff".to_owned(),
        (Some(site), _) => {
            return Err(Fail::Usage(format!("the file is site {:?}, not {name:?}; name the site of the file", site.name)));
        }
    };
    let body = site.map(serde_json::to_value).transpose();
    let body = body.map_err(|error| Fail::Refused(format!("the site cannot be written as JSON: {error}")))?;
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let answer = api.call(Call { method, body, ..Call::get(&path(name, &rest)) }).await?;
    if json {
        show::json(&answer);
    } else if answer.get("changed").and_then(Value::as_bool) == Some(false) {
        show::line("no difference");
    } else {
        show::list(&answer, "diff").iter().filter_map(Value::as_str).for_each(show::line);
    }
    Ok(())
}

async fn history(api: &Api, name: &str, json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::get(&path(name, "/versions"))).await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let row = |version: &Value| {
        let mut row = ["version", "at", "author", "reason"].map(|field| show::text(version, field)).to_vec();
        row.push(if version.get("deleted").and_then(Value::as_bool) == Some(true) { "deleted" } else { "" }.to_owned());
        row
    };
    show::table(&["VERSION", "AT", "AUTHOR", "REASON", ""], &show::list(&answer, "versions").iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn rollback(api: &Api, name: &str, version: u64, reason: Option<&str>, pace: &Pace, json: bool) -> Result<(), Fail> {
    let path = path(name, "/rollback");
    let speed = if pace.now { "now" } else { "staged" };
    let body = json!({"version": version, "reason": reason, "rollout": speed});
    let answer = api.call(Call::post(&path, body)).await?;
    awaited(api, &answer, pace).await?;
    written(&answer, name, &format!(" (what version {version} was)"), pace, json);
    Ok(())
}

async fn delete(api: &Api, name: &str, reason: Option<&str>, (now, wait): (bool, Option<Period>), json: bool) -> Result<(), Fail> {
    let answer = api.call(Call::delete(&path(name, &why(reason, now)))).await?;
    if let Some(limit) = wait {
        rollout::wait_gone(api, name, limit).await?;
    }
    if json {
        show::json(&answer);
        return Ok(());
    }
    let became = match wait {
        Some(_) => "no connected node serves it any more",
        None => "it leaves DNS now; nodes serve it until clients have forgotten it",
    };
    show::line(&format!("site {name}: {became}; its history stays: skerry site history {name}"));
    Ok(())
}
