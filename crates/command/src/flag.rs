use go_compat::{Fault, Known, quote};

use crate::Field;

/// A program, as its command line has it. `O` is what its flags say.
pub struct Program<O: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What `--help` begins with.
    pub about: &'static str,
    /// Every flag, in the order of `--help`.
    pub sections: &'static [Section<O>],
    /// What holds without a flag.
    pub defaults: fn() -> O,
    /// Letters that stand for flags.
    pub letters: &'static [(char, &'static str)],
    /// What is said of an argument that makes no sense.
    pub explain: fn(&Fault) -> String,
}

/// Flags that `--help` shows together.
pub struct Section<O: 'static> {
    pub(crate) title: &'static str,
    /// The one command that they are for; `None`: every command.
    pub(crate) command: Option<&'static str>,
    pub(crate) flags: &'static [Flag<O>],
}

/// One flag.
pub struct Flag<O> {
    /// Without its dashes.
    pub name: &'static str,
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

impl<O> Section<O> {
    /// Flags for every command, below this title.
    pub const fn new(title: &'static str, flags: &'static [Flag<O>]) -> Self {
        Self { title, command: None, flags }
    }

    /// Makes them flags of one command alone.
    #[must_use]
    pub const fn of(mut self, command: &'static str) -> Self {
        self.command = Some(command);
        self
    }
}

impl<O> Flag<O> {
    /// A flag that does what it says, as the acceptance test of this name shows.
    pub const fn obeyed(name: &'static str, field: Field<O>, test: &'static str) -> Self {
        Self { name, help: "", field, standing: Standing::Obeyed(test) }
    }

    /// Says what it means.
    #[must_use]
    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// With its dashes.
    pub fn spelled(&self) -> String {
        match self.name.len() {
            1 => format!("-{}", self.name),
            _ => format!("--{}", self.name),
        }
    }
}

/// A flag without effect.
pub const fn warned<O>(name: &'static str, field: Field<O>, help: &'static str) -> Flag<O> {
    Flag { name, help, field, standing: Standing::Warned }
}

/// One of those with which klog once wrote to files.
pub const fn klog<O>(name: &'static str, field: Field<O>) -> Flag<O> {
    warned(name, field, "Without effect: logs go to standard error.")
}

/// What is not built yet, and must not be left out of account in silence.
pub const fn refused<O>(name: &'static str, field: Field<O>) -> Flag<O> {
    Flag { name, help: "Not supported yet.", field, standing: Standing::Refused }
}

impl<O: Clone> Program<O> {
    /// Every flag.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag<O>> {
        self.sections.iter().flat_map(|section| section.flags)
    }

    /// Each obeyed flag of serving with its value, in klog's words for the start of a Kubernetes program.
    pub fn lines(&self, options: &O) -> impl Iterator<Item = String> {
        let of_serving = self.sections.iter().filter(|section| section.command.is_none()).flat_map(|section| section.flags);
        let shown = of_serving.filter(|flag| flag.name != "help" && matches!(flag.standing, Standing::Obeyed(_)));
        shown.map(|flag| format!("FLAG: --{}={}", flag.name, quote(&flag.field.show(options))))
    }

    /// A flag and its section.
    pub(crate) fn find(&self, name: &str) -> Option<(&'static Section<O>, &'static Flag<O>)> {
        self.sections.iter().find_map(|section| Some((section, section.flags.iter().find(|flag| flag.name == name)?)))
    }

    pub(crate) fn long(&self, name: &str) -> Option<Known> {
        self.find(name).map(|(_, flag)| Known { name: flag.name, alone: flag.field.alone() })
    }

    pub(crate) fn short(&self, letter: char) -> Option<Known> {
        self.letters.iter().find(|(short, _)| *short == letter).and_then(|(_, name)| self.long(name))
    }
}
