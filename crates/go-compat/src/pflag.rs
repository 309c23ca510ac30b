use std::{iter::Peekable, vec};

use crate::quote;

/// What the grammar must know of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name, with dashes.
    pub name: &'static str,
    /// What it means without a value (pflag's `NoOptDefVal`); `None` where a value must follow. A flag that may stand
    /// alone takes a value only behind `=`.
    pub alone: Option<&'static str>,
}

/// A command line with one spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Respelled {
    /// The flags, in the order given, each with its value or what it means alone.
    pub flags: Vec<(&'static str, String)>,
    /// What is no flag, but for empty arguments, which the Go programs let pass.
    pub positional: Vec<String>,
    /// What makes no sense; pflag stops at the first.
    pub faults: Vec<Fault>,
}

/// Why an argument makes no sense. None repeats a value: it may be a secret that was meant for another flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `--=x` and the like.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A long flag that does not exist.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    /// A letter that is no flag, and all letters behind the one dash, up to any `=`.
    #[error("unknown shorthand flag: '{0}' in -{1}")]
    UnknownShorthand(char, String),
    /// `-name` for what exists as `--name`.
    #[error("-{0} has one dash: write --{0}")]
    OneDash(&'static str),
    /// The last argument is a flag that needs a value.
    #[error("flag needs an argument: {0}")]
    MissingValue(String),
    /// An argument that is not UTF-8, as near as it can be shown.
    #[error("argument {} is not UTF-8", quote(.0))]
    NotUtf8(String),
}

/// Reads a command line by pflag's grammar with `WordSepNormalizeFunc`: `_` in a long flag's name is `-`; `--x=v` or
/// `--x v`; what may stand alone takes a value only as `--x=v`; `-v4`, `-v=4`, `-v 4` and groups of letters; `--` ends
/// the flags.
///
/// Where pflag stops at the first fault this goes on, by pflag's own rule for flags that it does not know.
pub fn respell(arguments: Vec<String>, long: impl Fn(&str) -> Option<Known>, short: impl Fn(char) -> Option<Known>) -> Respelled {
    let mut reader = Reader { arguments: arguments.into_iter().peekable(), long, short, respelled: Respelled::default() };
    while let Some(argument) = reader.arguments.next() {
        match argument.strip_prefix("--") {
            Some("") => {
                reader.respelled.positional.extend(reader.arguments);
                break;
            }
            Some(flag) => reader.long(flag),
            None => match argument.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => reader.letters(letters),
                _ => reader.respelled.positional.push(argument),
            },
        }
    }
    reader.respelled.positional.retain(|argument| !argument.is_empty());
    reader.respelled
}

struct Reader<Long, Short> {
    arguments: Peekable<vec::IntoIter<String>>,
    long: Long,
    short: Short,
    respelled: Respelled,
}

impl<Long: Fn(&str) -> Option<Known>, Short: Fn(char) -> Option<Known>> Reader<Long, Short> {
    /// What stands behind two dashes.
    fn long(&mut self, flag: &str) {
        let (name, value) = split_value(flag);
        if name.is_empty() || name.starts_with('-') {
            return self.fault(Fault::BadSyntax(format!("--{name}")));
        }
        match ((self.long)(&name.replace('_', "-")), value) {
            (Some(known), Some(value)) => self.flag(known.name, value),
            (Some(known), None) => self.without_value(known, || format!("--{name}")),
            (None, value) => {
                if value.is_none() {
                    self.skip_value();
                }
                self.fault(Fault::UnknownFlag(name.to_owned()));
            }
        }
    }

    /// What stands behind one dash.
    fn letters(&mut self, all: &str) {
        let mut letters = all.chars();
        while let Some(letter) = letters.next() {
            let rest = letters.as_str();
            let Some(known) = (self.short)(letter) else {
                let (group, value) = split_value(all);
                if value.is_none() {
                    self.skip_value();
                }
                return self.fault(match (self.long)(&group.replace('_', "-")) {
                    Some(known) => Fault::OneDash(known.name),
                    None => Fault::UnknownShorthand(letter, group.to_owned()),
                });
            };
            match (rest.strip_prefix('='), known.alone) {
                // `-v=` has no value behind the `=`, so that is the value, as in pflag.
                (Some(value), _) if !value.is_empty() => return self.flag(known.name, value),
                (_, Some(alone)) => self.flag(known.name, alone),
                (_, None) if !rest.is_empty() => return self.flag(known.name, rest),
                (_, None) => self.without_value(known, || format!("'{letter}' in -{all}")),
            }
        }
    }

    fn without_value(&mut self, known: Known, spelled: impl FnOnce() -> String) {
        if let Some(alone) = known.alone {
            self.flag(known.name, alone);
        } else if let Some(value) = self.arguments.next() {
            self.flag(known.name, &value);
        } else {
            self.fault(Fault::MissingValue(spelled()));
        }
    }

    fn flag(&mut self, name: &'static str, value: &str) {
        self.respelled.flags.push((name, value.to_owned()));
    }

    fn fault(&mut self, fault: Fault) {
        self.respelled.faults.push(fault);
    }

    /// Passes over what may be the value of an unknown flag.
    fn skip_value(&mut self) {
        self.arguments.next_if(|next| !next.starts_with('-'));
    }
}

fn split_value(flag: &str) -> (&str, Option<&str>) {
    flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UPSTREAM: Known = Known { name: "upstream", alone: None };
    const NO_CACHE: Known = Known { name: "no-cache", alone: Some("true") };
    const VERBOSITY: Known = Known { name: "v", alone: None };
    const HELP: Known = Known { name: "help", alone: Some("true") };

    fn read(arguments: &[&str]) -> Respelled {
        respell(
            arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            |name| [UPSTREAM, NO_CACHE, VERBOSITY, HELP].into_iter().find(|known| known.name == name),
            |letter| match letter {
                'v' => Some(VERBOSITY),
                'h' => Some(HELP),
                _ => None,
            },
        )
    }

    #[test]
    fn every_spelling_of_a_flag_is_one_flag() {
        for (arguments, flags) in [
            (&["--upstream=x"][..], &[("upstream", "x")][..]),
            (&["--upstream", "x"], &[("upstream", "x")]),
            (&["--upstream="], &[("upstream", "")]),
            (&["--upstream", ""], &[("upstream", "")]),
            (&["--upstream=a=b"], &[("upstream", "a=b")]),
            (&["--upstream", "--no-cache"], &[("upstream", "--no-cache")]),
            (&["--upstream=a", "--upstream=b"], &[("upstream", "a"), ("upstream", "b")]),
            (&["--no-cache"], &[("no-cache", "true")]),
            (&["--no_cache"], &[("no-cache", "true")]),
            (&["--no_cache=false"], &[("no-cache", "false")]),
            (&["--no-cache="], &[("no-cache", "")]),
            (&["--no-cache", "--upstream=x_y"], &[("no-cache", "true"), ("upstream", "x_y")]),
            (&["-v4"], &[("v", "4")]),
            (&["-v=4"], &[("v", "4")]),
            (&["-v", "4"], &[("v", "4")]),
            (&["--v=4"], &[("v", "4")]),
            (&["--v", "4"], &[("v", "4")]),
            (&["-v="], &[("v", "=")]),
            (&["-v", "-1"], &[("v", "-1")]),
            (&["-h"], &[("help", "true")]),
            (&["-h=false"], &[("help", "false")]),
            (&["-hv4"], &[("help", "true"), ("v", "4")]),
            (&["-hv", "4"], &[("help", "true"), ("v", "4")]),
            (&["-vh"], &[("v", "h")]),
        ] {
            let respelled = read(arguments);
            let read: Vec<(&str, &str)> = respelled.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(read, flags, "{arguments:?}");
            assert!(respelled.faults.is_empty() && respelled.positional.is_empty(), "{arguments:?}: {respelled:?}");
        }
    }

    #[test]
    fn what_is_no_flag_is_positional() {
        for (arguments, positional) in [
            (&["a", "--no-cache", "true"][..], &["a", "true"][..]),
            (&["-"], &["-"]),
            (&["--", "--upstream=x", "-v"], &["--upstream=x", "-v"]),
            (&["--"], &[]),
            (&["", "--no-cache", ""], &[]),
            (&["--upstream", "--", "a"], &["a"]),
        ] {
            let respelled = read(arguments);
            assert_eq!(respelled.positional, positional, "{arguments:?}");
            assert!(respelled.faults.is_empty(), "{arguments:?}: {respelled:?}");
        }
    }

    #[test]
    fn every_fault_is_named_and_none_hides_the_next() {
        for (arguments, faults) in [
            (&["--upstrem=x"][..], &["unknown flag: --upstrem"][..]),
            (&["--no_such=secret"], &["unknown flag: --no_such"]),
            (&["--no-such", "secret", "--nor-this"], &["unknown flag: --no-such", "unknown flag: --nor-this"]),
            (&["--no-such", "-v=1"], &["unknown flag: --no-such"]),
            (&["--=secret"], &["bad flag syntax: --"]),
            (&["---v=1"], &["bad flag syntax: ---v"]),
            (&["--upstream"], &["flag needs an argument: --upstream"]),
            (&["-v"], &["flag needs an argument: 'v' in -v"]),
            (&["-hv"], &["flag needs an argument: 'v' in -hv"]),
            (&["-upstream=x"], &["-upstream has one dash: write --upstream"]),
            (&["-no_cache", "x"], &["-no-cache has one dash: write --no-cache"]),
            (&["-token=secret", "-x"], &["unknown shorthand flag: 't' in -token", "unknown shorthand flag: 'x' in -x"]),
            (&["-hx"], &["unknown shorthand flag: 'x' in -hx"]),
        ] {
            let respelled = read(arguments);
            let read: Vec<String> = respelled.faults.iter().map(ToString::to_string).collect();
            assert_eq!(read, faults, "{arguments:?}");
            assert!(respelled.positional.is_empty(), "{arguments:?}: {respelled:?}");
        }
    }

    proptest! {
        #[test]
        fn both_long_spellings_mean_the_same(value in ".{0,8}", underscores: bool) {
            let name = if underscores { "no_cache" } else { "no-cache" };
            let joined = read(&[&format!("--{name}={value}")]);
            prop_assert_eq!(joined.flags, vec![("no-cache", value.clone())]);
            prop_assert_eq!(read(&["--upstream", &value]), read(&[&format!("--upstream={value}")]));
        }

        #[test]
        fn no_command_line_is_too_odd(arguments in prop::collection::vec("-{0,3}[vhx=_a-]{0,6}|.{0,5}", 0..6)) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let respelled = read(&arguments);
            let told = respelled.flags.len() + respelled.positional.len() + respelled.faults.len();
            prop_assert!(told <= arguments.iter().map(|argument| argument.len() + 1).sum());
        }
    }
}
