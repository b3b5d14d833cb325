//! Open files: every connection is one, and the soft limit that a shell or service manager gives is often 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most open files asked for: more than all listeners, pools and files of a node together can use.
const OPEN_FILES_MAX: u64 = 131_072;

/// Raises the soft limit to the hard one, as far as [`OPEN_FILES_MAX`]. Where that is not allowed the node goes on with what it has, and says so.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX);
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::warn!(?current, wanted, %error, "the limit of open files stays low; raise it with ulimit -n or LimitNOFILE=");
    }
}
