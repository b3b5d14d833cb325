//! `skerry dev`
#[derive(clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: Options, _: crate::log::Format) -> Result<(), crate::cli::Fail> {
    let _ = crate::stop::WITH_STDIN;
    Ok(())
}
