//! A program's flags, each defined once: the parser, `--help`, the start-up log and the page of the docs read one table.

mod field;
mod flag;
mod line;
mod page;

pub use self::{
    field::{Field, Version},
    flag::{Flag, Program, Section, Standing},
    line::CommandLine,
};
