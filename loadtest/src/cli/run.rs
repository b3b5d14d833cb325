//! `run`: one URL, over and over.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::header::{HOST, HeaderName, HeaderValue};
use skerry_loadtest::arrivals::Arrivals;
use skerry_loadtest::check::Digest;
use skerry_loadtest::client::{Client, Protocol, Trust};
use skerry_loadtest::drive::{self, Objects, Plan, Until};
use skerry_loadtest::target::{Resolve, Target};
use skerry_loadtest::{check, client, processor};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to ask for, `http://` or `https://`; the latter over TLS 1.3, or QUIC.
    #[arg(long)]
    url: String,
    /// h1, h2 (over cleartext with prior knowledge) or h3.
    #[arg(long, default_value = "h1")]
    protocol: Protocol,
    /// The authorities that the certificate of an `https://` URL must come from, in PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How many connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How many requests at once on each connection; over h1 no more than one.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// How long a connection may take to come, in seconds.
    #[arg(long, default_value_t = client::CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=client::CONNECT_TIMEOUT_MAX_S))]
    connect_timeout: u64,
    /// How long, in seconds.
    #[arg(long, conflicts_with = "requests", default_value_t = 10)]
    seconds: u64,
    /// How many requests in all, in place of a time.
    #[arg(long)]
    requests: Option<u64>,
    /// Send so many requests a second, all connections together, whatever becomes of those before (open loop); latency counts from when each
    /// was due.
    #[arg(long, conflicts_with = "requests")]
    rate: Option<f64>,
    /// With --rate: constant, or poisson as of many clients who do not know of one another.
    #[arg(long, default_value = "poisson", value_parser = ["poisson", "constant"], requires = "rate")]
    arrivals: String,
    /// HOST:PORT:ADDRESS, HOST:ADDRESS or HOST:ADDRESS:PORT, in place of what the name system says; IPv6 in brackets. May be given several times.
    #[arg(long)]
    resolve: Vec<Resolve>,
    /// A header field of every request, as `NAME: VALUE`; the `Host` is that of the URL. May be given several times.
    #[arg(long, value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The SHA-256 that every body must have; without it, that of the first body.
    #[arg(long, value_parser = check::digest)]
    expect_sha256: Option<Digest>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> Result<(), String> {
    let target = Target::find(&options.url, &options.resolve).await?;
    let trust = options.ca.as_deref().map(Trust::read).transpose()?;
    let client = Client::new(target, options.protocol, trust.as_ref())?.connecting_within(Duration::from_secs(options.connect_timeout));
    let client = client.with_fields(options.header.into_iter().collect());
    let plan = Plan {
        client,
        others: Vec::new(),
        connections: options.connections,
        streams: options.streams,
        until: options.requests.map_or(Until::Elapsed(Duration::from_secs(options.seconds)), Until::Requests),
        objects: Objects::Same,
        expected: options.expect_sha256,
        arrivals: match options.rate {
            None => Arrivals::Closed,
            Some(rate) if options.arrivals == "constant" => Arrivals::Constant(rate),
            Some(rate) => Arrivals::Poisson(rate),
        },
        answer: drive::ANSWER_TIMEOUT,
        progress: true,
    };
    let own = processor::used(&[std::process::id()])?;
    let mut report = drive::run(plan).await?;
    report.generator_s = Some(processor::used(&[std::process::id()])?.saturating_sub(own).as_secs_f64());
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        println!("{report}");
    }
    report.failure().map_or(Ok(()), Err)
}

/// A header field of a request.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = |why: &str| format!("`{text}` is no header field, which is `NAME: VALUE`: {why}");
    let (name, value) = text.split_once(':').ok_or_else(|| wrong("there is no colon"))?;
    let name: HeaderName = name.trim().parse().map_err(|_| wrong("the name is none"))?;
    if name == HOST {
        return Err(wrong("the host is that of --url; --resolve says where it is"));
    }
    Ok((name, value.trim().parse().map_err(|_| wrong("the value has letters that none may have"))?))
}
