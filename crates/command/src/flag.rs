use go_compat::{Fault, Known, quote};

use crate::Field;

/// A program, as its command line has it. `O` is what its flags say.
pub struct Program<O: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What `--help` begins with.
    pub about: &'static str,
    /// In the order of `--help`.
    pub sections: &'static [Section],
    /// Every flag.
    pub flags: &'static [Flag<O>],
    /// What holds without a flag.
    pub defaults: fn() -> O,
    /// Letters that stand for flags.
    pub letters: &'static [(char, &'static str)],
    /// What is said of an argument that makes no sense.
    pub explain: fn(&Fault) -> String,
}

/// Flags that `--help` shows together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What stands above them.
    pub title: &'static str,
    /// The one command that they are for; `None`: every command.
    pub command: Option<&'static str>,
}

/// One flag.
pub struct Flag<O> {
    /// Without its dashes.
    pub name: &'static str,
    /// The title of its section.
    pub section: &'static str,
    /// What it means, in sentences.
    pub help: &'static str,
    /// Where its value goes.
    pub field: Field<O>,
    /// What comes of using it.
    pub standing: Standing,
}

/// What comes of a flag that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what it says, as the test of this name shows.
    Obeyed(&'static str),
    /// It is accepted without effect, and a warning names it.
    Warned,
    /// It is refused by name until it can be obeyed: leaving it out of account could let somebody in.
    Refused,
}

impl<O: Clone> Program<O> {
    /// Each obeyed flag of serving with its value, in klog's words for the start of a Kubernetes program.
    pub fn lines(&self, options: &O) -> impl Iterator<Item = String> {
        let of_serving = |flag: &&Flag<O>| self.command_of(flag).is_none() && flag.name != "help";
        let shown = self.flags.iter().filter(of_serving).filter(|flag| matches!(flag.standing, Standing::Obeyed(_)));
        shown.map(|flag| format!("FLAG: --{}={}", flag.name, quote(&flag.field.show(options))))
    }

    pub(crate) fn command_of(&self, flag: &Flag<O>) -> Option<&'static str> {
        self.sections.iter().find(|section| section.title == flag.section).and_then(|section| section.command)
    }

    pub(crate) fn long(&self, name: &str) -> Option<Known> {
        self.flags.iter().find(|flag| flag.name == name).map(|flag| Known { name: flag.name, alone: flag.field.alone() })
    }

    pub(crate) fn short(&self, letter: char) -> Option<Known> {
        self.letters.iter().find(|(short, _)| *short == letter).and_then(|(_, name)| self.long(name))
    }
}

impl<O> Flag<O> {
    /// With its dashes.
    pub fn spelled(&self) -> String {
        match self.name.len() {
            1 => format!("-{}", self.name),
            _ => format!("--{}", self.name),
        }
    }
}
