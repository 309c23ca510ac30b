//! What `cargo fuzz` has found once, and bytes near to it, on a stable compiler: each file of fuzz/corpus/ is given to its
//! target, and so are some thousand that differ from one of them a little. The same ones in each run.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop and say so")]

#[path = "../../fuzz/src/lib.rs"]
pub mod bodies;
mod near;

use std::{fs, panic, path::PathBuf};

use bodies::TARGETS;
use near::Near;

/// For targets that open no connection; the others have [`FEW`].
const MANY: usize = 4000;
const FEW: usize = 150;
/// What is larger is no longer looked at by anybody.
const LARGEST: usize = 2048;

#[test]
fn every_target_has_its_binary_and_a_corpus() {
    let folder = folder();
    let names = |path: &str, end: &str| {
        let entries = fs::read_dir(folder.join(path)).expect("the folder is there").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().trim_end_matches(end).to_owned()).collect();
        names.sort();
        names
    };
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!((names("fuzz_targets", ".rs"), names("corpus", "")), (owned(&targets), owned(&targets)));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    for (name, _) in TARGETS {
        let body = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("a binary");
        assert!(body.contains(&format!("::{name}(data)")) && manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let corpus = corpus(name);
        assert!((4..=48).contains(&corpus.len()), "{name} has {} files", corpus.len());
        assert!(corpus.iter().all(|(_, data)| data.len() <= LARGEST), "a file of {name} is too large");
    }
}

macro_rules! replayed {
    ($($test:ident: $name:ident, $count:expr;)*) => {
        $(#[test]
        fn $test() {
            replay(stringify!($name), $count);
        })*
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

replayed! {
    command_lines_are_respelled: command_line, MANY;
    config_files_mean_one_thing: config, MANY;
    credentials_are_read_as_in_go: credentials, FEW;
    issuers_are_believed_of_themselves_alone: discovery, FEW / 3;
    heads_have_one_meaning: head, MANY;
    bytes_of_http1_are_decided_before_they_pass: http1, FEW;
    frames_of_http2_are_decided_before_they_pass: http2, FEW;
    proxies_of_the_environment_stay_out_of_the_way: http_proxy, MANY;
    key_sets_hold_keys_for_signatures: key_set, MANY;
    manifests_allow_nobody_whom_they_do_not_name: manifests, MANY;
    paths_lead_to_one_place: path, 10 * MANY;
    patterns_match_what_go_matches: pattern, MANY;
    certificates_and_keys_fit: pem, MANY;
    queries_have_no_value_that_is_not_checked: query, MANY;
    answers_of_the_api_server_say_a_clear_yes: reviews, FEW;
    scalars_are_read_back: scalars, 10 * MANY;
    templates_fill_in_a_value_and_nothing_else: template, 10 * MANY;
    tokens_say_what_was_signed: token, MANY;
    token_files_name_their_users: token_file, MANY;
    json_is_yaml: yaml, MANY;
}

#[test]
fn every_target_is_replayed() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(REPLAYED, targets);
}

/// A promise that is broken, and the bytes that break it, are told from those that are not.
#[test]
fn a_broken_promise_is_reported_with_its_bytes() {
    let broken = |data: &[u8]| {
        assert!(!data.starts_with(b"/a"));
        true
    };
    assert_eq!(fault(broken, b"/b"), Ok(true));
    assert!(fault(broken, b"/a\xff").expect_err("reported").contains(r#"b"/a\xff""#));
}

fn replay(name: &str, count: usize) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let corpus = corpus(name);
    let mut good = 0;
    for (file, data) in &corpus {
        match fault(target, data) {
            Ok(is_good) => good += usize::from(is_good),
            Err(fault) => panic!("{file}: {fault}"),
        }
    }
    // A target that takes everything for bad, or for good, promises nothing.
    assert!((1..corpus.len()).contains(&good), "{good} of {} files are good for something", corpus.len());
    let seeds: Vec<&[u8]> = corpus.iter().map(|(_, data)| data.as_slice()).collect();
    for data in Near::new(&seeds, LARGEST).take(count) {
        if let Err(fault) = fault(target, &data) {
            panic!("near {name}: {fault}");
        }
    }
}

/// Whether the bytes are good for something, or what the target says of them.
fn fault(target: impl Fn(&[u8]) -> bool, data: &[u8]) -> Result<bool, String> {
    panic::catch_unwind(panic::AssertUnwindSafe(|| target(data))).map_err(|broken| {
        let text = broken.downcast_ref::<String>().map(String::as_str).or_else(|| broken.downcast_ref::<&str>().copied());
        format!("{} with b\"{}\"", text.unwrap_or("?"), data.escape_ascii())
    })
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("corpus").join(name)).expect("a corpus").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<(String, Vec<u8>)> =
        entries.map(|path| (path.display().to_string(), fs::read(&path).expect("a readable file"))).collect();
    files.sort();
    files
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
