//! Requests that Schemathesis makes from the description of the API: whatever is asked, the answer is one that the description names.

use crate::house::control::Control;
use crate::house::python::python;

/// What is looked at: all that Schemathesis knows but `positive_data_acceptance`, which holds that a schema can say everything. It cannot say that a host belongs to one
/// site, or that a key fits its certificate.
const CHECKS: &[&str] = &[
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
];

/// The description has more operations.
const OPERATIONS_MIN: u32 = 20;

/// Asks with a token, so many examples an operation.
#[track_caller]
fn fuzz(control: &Control, token: &str, examples: u32) {
    let url = format!("http://{}/openapi.json", control.api());
    let token = format!("Authorization: Bearer {token}");
    let (checks, each) = (CHECKS.join(","), examples.to_string());
    // The stream of events has no end; its wrong requests are in the control plane's own tests.
    let ran = python(
        "api_fuzz.py",
        &[
            "run",
            &url,
            "-H",
            &token,
            "--checks",
            &checks,
            "--max-examples",
            &each,
            "--exclude-path",
            "/v1/events",
            "--seed",
            "1",
            "--request-timeout",
            "10",
            "--no-color",
        ],
    );
    let said = ran.fine().stdout;
    let made = said.lines().find_map(|line| line.trim().split_once(" generated, ")?.0.parse::<u32>().ok());
    assert!(made.is_some_and(|made| made > OPERATIONS_MIN * examples), "{said}");
}

#[test]
fn every_answer_is_one_that_the_description_names() {
    let control = Control::start(tempfile::tempdir().unwrap(), "", "127.0.0.1:0");
    let (url, admin) = (format!("http://{}", control.api()), control.token());
    fuzz(&control, &admin, 8);
    let made = control.ask(&url, &admin, None, &["token", "create", "--role", "viewer", "--site", "shop"]).fine();
    fuzz(&control, made.stdout.trim(), 3);
    assert!(!control.log().contains("panicked"), "{}", control.log());
}
