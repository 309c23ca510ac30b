//! What the program says about itself: metrics, log lines, and the log side of the reason table.

mod line;
mod log;
mod metrics;
mod refusal;
mod sink;

pub use log::{Format, LogGuard, LogSettings, init};
pub use metrics::{Metrics, OpenConnection};
pub use refusal::log_refusal;
