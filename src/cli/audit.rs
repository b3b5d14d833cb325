//! `skerry audit`: who changed what.

use clap::Args;
use serde_json::Value;

use super::api::{self, Call};
use super::{Fail, show};

/// The options of `skerry audit`.
#[derive(Args)]
pub(crate) struct Options {
    /// Lines with a higher number, in order; without it the newest ones
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "LINES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    api: api::Options,
}

/// Prints the lines.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let after = options.after.map_or_else(String::new, |after| format!("&after={after}"));
    let path = format!("/v1/audit?limit={}{after}", options.limit);
    let answer = api.call(Call::get(&path)).await?;
    if options.api.json {
        show::json(&answer);
        return Ok(());
    }
    let fields = ["number", "time", "author", "address", "method", "path", "outcome"];
    let row = |line: &Value| fields.map(|field| show::text(line, field)).to_vec();
    let rows: Vec<_> = show::list(&answer, "lines").iter().map(row).collect();
    show::table(&["NUMBER", "TIME", "AUTHOR", "ADDRESS", "METHOD", "PATH", "OUTCOME"], &rows);
    Ok(())
}
