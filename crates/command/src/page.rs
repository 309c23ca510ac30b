use crate::{Flag, Program, Section, Standing};

const WIDTH: usize = 100;
const INDENT: &str = "                ";

impl<O: Clone> Program<O> {
    /// What `--help` prints.
    pub fn help(&self) -> String {
        let mut text = self.about.to_owned();
        let defaults = (self.defaults)();
        for Section { title, flags, .. } in self.sections {
            text.push_str(&format!("\n{title} flags:\n\n"));
            for flag in *flags {
                text.push_str(&format!("  {}{}\n", self.head(flag), default(flag, &defaults)));
                wrap(&mut text, flag.help);
            }
        }
        text
    }

    /// The tables of the program's page in the docs.
    pub fn page(&self) -> String {
        let mut page = String::new();
        let defaults = (self.defaults)();
        for Section { title, flags, .. } in self.sections {
            page.push_str(&format!("\n## {title} flags\n\n| flag | type | default | standing | meaning |\n|---|---|---|---|---|\n"));
            for flag in *flags {
                let kind = if flag.field.kind().is_empty() { "bool" } else { flag.field.kind() };
                let default = match flag.field.show(&defaults).as_str() {
                    "" => String::new(),
                    value => format!("`{}`", value.replace('|', "\\|")),
                };
                let standing = match flag.standing {
                    Standing::Obeyed(test) => format!("obeyed (`{test}`)"),
                    Standing::Warned => "warned".to_owned(),
                    Standing::Refused => "refused".to_owned(),
                };
                page.push_str(&format!("| `{}` | {kind} | {default} | {standing} | {} |\n", flag.spelled(), flag.help.replace('|', "\\|")));
            }
        }
        page
    }

    fn head(&self, flag: &Flag<O>) -> String {
        let letter = self.letters.iter().find(|(_, name)| *name == flag.name);
        let name = match letter {
            Some((letter, _)) => format!("-{letter}, --{}", flag.name),
            None => flag.spelled(),
        };
        match flag.field.kind() {
            "" => name,
            kind => format!("{name} {kind}"),
        }
    }
}

fn default<O: Clone>(flag: &Flag<O>, defaults: &O) -> String {
    match flag.field.show(defaults).as_str() {
        "" | "0" | "false" => String::new(),
        value => format!(" (default {value})"),
    }
}

fn wrap(text: &mut String, help: &str) {
    let mut line = String::from(INDENT);
    for word in help.split(' ') {
        if line.len() + word.len() > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = String::from(INDENT);
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
