use go_compat::{Respelled, quote, respell};

use crate::{Flag, Program, Standing};

/// A command line that was read, with all that is wrong about it.
#[derive(Debug)]
pub struct CommandLine<O> {
    /// What is to be done; `None`: serve.
    pub command: Option<&'static str>,
    /// What the flags say, each value of its flag's type and none checked against another.
    pub options: O,
    /// Flags without effect that were used.
    pub ignored: Vec<&'static str>,
    /// What is wrong, an error each.
    pub errors: Vec<String>,
}

impl<O: Clone> Program<O> {
    /// Reads the arguments that follow the program's name.
    pub fn read(&self, mut arguments: Vec<String>) -> CommandLine<O> {
        let mut commands = self.sections.iter().filter_map(|section| section.command);
        let command = commands.find(|command| arguments.first().is_some_and(|first| first == command));
        if command.is_some() {
            arguments.remove(0);
        }
        let Respelled { flags, positional, faults } = respell(arguments, |name| self.long(name), |letter| self.short(letter));
        let mut errors: Vec<String> = faults.iter().map(self.explain).collect();
        errors.extend(positional.iter().map(|argument| {
            format!("unexpected argument {}: everything is said by flags, and a boolean's value follows `=`", quote(argument))
        }));
        let mut line = CommandLine { command, options: (self.defaults)(), ignored: Vec::new(), errors };
        for (name, value) in flags {
            if let Some((section, flag)) = self.find(name) {
                self.take(&mut line, section.command, flag, &value);
            }
        }
        line
    }

    fn take(&self, line: &mut CommandLine<O>, owner: Option<&str>, flag: &'static Flag<O>, value: &str) {
        let name = flag.spelled();
        if let Some(owner) = owner.filter(|owner| line.command != Some(owner)) {
            return line.errors.push(format!("{name} is a flag of `{} {owner}`", self.name));
        }
        if let Err(why) = flag.field.set(&mut line.options, value) {
            return line.errors.push(format!("{name}: {why}"));
        }
        let is_used = || flag.field.inert().is_none_or(|default| value != default);
        match flag.standing {
            Standing::Refused if is_used() => line.errors.push(format!("{name} is not supported yet")),
            Standing::Warned if is_used() && !line.ignored.contains(&flag.name) => line.ignored.push(flag.name),
            _ => {}
        }
    }
}
