use super::{Flag, Options, Section, table::FLAGS};

const SECTIONS: [Section; 12] = [
    Section::Serving,
    Section::Upstream,
    Section::Authentication,
    Section::Authorization,
    Section::Identity,
    Section::Kubernetes,
    Section::Limits,
    Section::Oidc,
    Section::Global,
    Section::Explain,
    Section::Check,
    Section::Ignored,
];
const WIDTH: usize = 100;
const INDENT: &str = "                ";

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "kube-rbac-proxy is a small HTTP proxy for a single upstream that authenticates requests and authorizes them against\n\
         the Kubernetes API.\n\nUsage:\n  kube-rbac-proxy [flags]            serve\n  \
         kube-rbac-proxy check [flags]      say what is wrong with these flags and their files, and what is unwise\n  \
         kube-rbac-proxy explain [flags]    say what would become of a request, and why\n",
    );
    let defaults = Options::default();
    for section in SECTIONS {
        text.push_str(&format!("\n{} flags:\n\n", section.title()));
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            text.push_str(&format!("  {}{}\n", head(flag), default(flag, &defaults)));
            wrap(&mut text, flag.help);
        }
    }
    text
}

fn head(flag: &Flag) -> String {
    let name = match flag.name {
        "help" => "-h, --help".to_owned(),
        "v" => "-v, --v".to_owned(),
        "output" => "-o, --output".to_owned(),
        _ => flag.spelled(),
    };
    match flag.field.kind() {
        "" => name,
        kind => format!("{name} {kind}"),
    }
}

fn default(flag: &Flag, defaults: &Options) -> String {
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

impl Section {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Limits => "Limit",
            Self::Upstream => "Upstream",
            Self::Authentication => "Authentication",
            Self::Authorization => "Authorization",
            Self::Kubernetes => "Kubernetes API",
            Self::Identity => "Identity header",
            Self::Oidc => "OIDC",
            Self::Global => "Global",
            Self::Explain => "Explain",
            Self::Check => "Check",
            Self::Ignored => "Ignored logging",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;
    use crate::flags::Standing;

    /// docs/flags.md.
    fn page() -> String {
        let mut page = String::from(
            "# Flags\n\nEvery flag of kube-rbac-proxy. *Obeyed*: it does what it says, shown by the test named. *Warned*: it is \
             accepted without\neffect and a warning names it.\n\nSpelling is pflag's: `--flag=value` or `--flag value`, booleans `--flag` or `--flag=false`, `_` for `-`; \
             lists are comma-separated\nand each use adds to the list. Durations are Go's: `300ms`, `1m30s`.\n",
        );
        let defaults = Options::default();
        for section in SECTIONS {
            page.push_str(&format!(
                "\n## {} flags\n\n| flag | type | default | standing | meaning |\n|---|---|---|---|---|\n",
                section.title()
            ));
            for flag in FLAGS.iter().filter(|flag| flag.section == section) {
                let kind = if flag.field.kind().is_empty() { "bool" } else { flag.field.kind() };
                let default = match flag.field.show(&defaults).as_str() {
                    "" => String::new(),
                    value => format!("`{}`", value.replace('|', "\\|")),
                };
                let standing = match flag.standing {
                    Standing::Obeyed(test) => format!("obeyed (`{test}`)"),
                    Standing::Warned => "warned".to_owned(),
                };
                page.push_str(&format!("| `{}` | {kind} | {default} | {standing} | {} |\n", flag.spelled(), flag.help.replace('|', "\\|")));
            }
        }
        page
    }

    #[test]
    fn the_page_of_flags_is_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md");
        if env::var_os("WRITE_DOCS").is_some() {
            fs::write(&path, page()).expect("docs/flags.md can be written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page(), "docs/flags.md is not what the table says: run `make docs`");
    }

    #[test]
    fn the_test_that_shows_a_flag_exists() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        let mut code = String::new();
        for folder in ["acceptance", "cluster", "differential"] {
            for file in fs::read_dir(tests.join(folder)).expect("a folder of tests").map_while(Result::ok) {
                code.push_str(&fs::read_to_string(file.path()).unwrap_or_default());
            }
        }
        let missing: Vec<_> = FLAGS
            .iter()
            .filter_map(|flag| match flag.standing {
                Standing::Obeyed(test) if !code.contains(&format!("fn {test}(")) => Some(format!("{}: {test}", flag.name)),
                _ => None,
            })
            .collect();
        assert!(missing.is_empty(), "no such tests: {missing:#?}");
    }

    #[test]
    fn help_fits_a_terminal_and_names_every_flag() {
        let help = help();
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.name)), "{}", flag.name);
        }
    }
}
