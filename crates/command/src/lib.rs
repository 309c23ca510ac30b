//! A program's flags, each defined once: the parser, `--help`, the start-up log and the page of the docs read one table; the
//! settings that both programs read from theirs alike; and how both begin and end.

mod field;
mod findings;
mod flag;
mod line;
mod page;
mod terminal;
mod tls;

pub use self::{
    field::{Field, Version},
    findings::{Findings, choice, pair, path, time, trusted},
    flag::{Flag, Program, Section, Standing, klog, refused, warned},
    line::CommandLine,
    terminal::{block_on, complain},
    tls::{TlsSettings, tls_settings},
};
