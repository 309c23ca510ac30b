//! What benches do alike. Each is a program of its own in this folder.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "for programs for people at a terminal")]

use std::fs;

use testkit::process::Proxy;

/// The columns of the rows to come.
pub fn head(peer: &str) {
    println!("{:44} {:>10} {peer:>10} {:>8}", "", "this", "ratio");
}

/// What both have, and how much of the other's this one has.
pub fn row(name: &str, this: f64, that: f64) {
    println!("{name:44} {this:>10.1} {that:>10.1} {:>8.3}", this / that);
}

/// Two rows of what both have in memory.
pub fn memory(when: &str, ours: &Proxy, theirs: &Proxy) {
    let (this, that) = (ours.resident_kib(), theirs.resident_kib());
    row(&format!("RSS {when}, MiB"), this.0 as f64 / 1024.0, that.0 as f64 / 1024.0);
    row(&format!("anonymous RSS {when}, MiB"), this.1 as f64 / 1024.0, that.1 as f64 / 1024.0);
}

/// User and system time of a process. The scheduler's own clock: the usual ticks are too coarse.
pub fn cpu_micros(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs").map_while(Result::ok);
    let nanos = tasks.map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default()
    });
    nanos.sum::<f64>() / 1e3
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
