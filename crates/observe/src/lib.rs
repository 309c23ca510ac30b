//! What the program says about itself: metrics, log lines, requests that came, and the log side of the reason table.

mod access;
mod line;
mod log;
mod metrics;
mod refusal;
mod sink;

pub use access::Access;
pub use log::{Format, LogGuard, LogSettings, init};
pub use metrics::{Metrics, OpenConnection};
pub use refusal::log_refusal;
