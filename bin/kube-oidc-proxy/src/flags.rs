//! Every flag of kube-oidc-proxy, defined once: the table.

mod table;

use command::{Program, Section};

pub(crate) use self::table::Options;

/// What the arguments say, and what there is to say.
pub(crate) static PROGRAM: Program<Options> = Program {
    name: "kube-oidc-proxy",
    about: "kube-oidc-proxy authenticates users of an OpenID Connect issuer in front of a Kubernetes API server, and tells it who\n\
            they are by impersonation.\n\nUsage:\n  kube-oidc-proxy [flags]\n",
    sections: &[
        Section::new("Kube-OIDC-Proxy", table::PROXY),
        Section::new("OIDC", table::OIDC),
        Section::new("Secure Serving", table::SERVING),
        Section::new("Audit", table::AUDIT),
        Section::new("Client", table::CLIENT),
        Section::new("Misc", table::MISC),
    ],
    defaults: table::defaults,
    letters: &[('P', "readiness-probe-port"), ('h', "help"), ('n', "namespace"), ('s', "server"), ('v', "v")],
    explain: |fault| fault.to_string(),
};

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use command::Standing;

    use super::*;

    fn read(arguments: &[&str]) -> command::CommandLine<Options> {
        PROGRAM.read(arguments.iter().map(|argument| (*argument).to_owned()).collect())
    }

    #[test]
    fn values_and_letters_are_read() {
        let line = read(&[
            "-P=81",
            "-s",
            "https://a",
            "-n=x",
            "--oidc-signing-algs=RS256,ES256",
            "--oidc-required-claim=a=b,c",
            "--extra-user-headers=k1=a,k2=b",
            "--extra-user-headers=",
            "--extra-user-headers=\"k1=c,d\"",
            "-v=4",
            "--skip-headers",
        ]);
        assert_eq!((line.errors, line.ignored), (vec![], vec!["namespace", "skip-headers"]));
        let expected = Options {
            readiness_probe_port: 81,
            server: "https://a".into(),
            namespace: "x".into(),
            oidc_signing_algs: vec!["RS256".into(), "ES256".into()],
            oidc_required_claim: vec!["a=b,c".into()],
            extra_user_headers: vec!["k1=a".into(), "k2=b".into(), "k1=c,d".into()],
            verbosity: 4,
            ..(PROGRAM.defaults)()
        };
        assert_eq!(line.options, expected);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_when_it_is_used() {
        let arguments = ["--audit-log-path=-", "--audit-log-maxage=0", "--audit-log-compress"];
        let expected = ["audit-log-path", "audit-log-compress"].map(|name| format!("--{name} is not supported yet"));
        assert_eq!(read(&arguments).errors, expected);
    }

    #[test]
    fn flags_that_only_client_go_knows_are_named_and_change_nothing() {
        let line = read(&["--as-uid=1", "--as-user-extra=a=b"]);
        assert_eq!((line.errors, line.options), (vec![], (PROGRAM.defaults)()));
        assert_eq!(line.ignored, ["as-uid", "as-user-extra"]);
    }

    #[test]
    fn no_line_of_the_start_shows_the_token() {
        let line = read(&["--token=hush", "--server=https://a"]);
        let said: Vec<String> = PROGRAM.lines(&line.options).collect();
        assert!(said.iter().any(|line| line == "FLAG: --server=\"https://a\""), "{said:?}");
        assert!(said.iter().all(|line| !line.contains("hush")), "{said:?}");
    }

    #[test]
    fn every_flag_of_both_go_programs_is_there_once() {
        assert_eq!(PROGRAM.flags().count(), 83 + 11 + OURS.len());
        for (index, flag) in PROGRAM.flags().enumerate() {
            assert!(PROGRAM.flags().skip(index + 1).all(|other| other.name != flag.name), "{}", flag.name);
        }
    }

    /// What neither of them has.
    const OURS: [&str; 5] = ["inbound-impersonation", "allow-reserved-groups", "trusted-proxies", "shutdown-grace", "log-format"];

    #[test]
    fn the_page_of_flags_is_the_table() {
        let head = "# Flags of kube-oidc-proxy\n\n*Obeyed*: it does what it says, shown by the test named. *Warned*: it is accepted without effect and a warning\n\
             names it. *Refused*: to use it ends the start, until it is built.\n";
        let page = format!("{head}{}", PROGRAM.page());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags-kube-oidc-proxy.md");
        if env::var_os("WRITE_DOCS").is_some() {
            fs::write(&path, &page).expect("the page can be written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page, "docs/flags-kube-oidc-proxy.md is not what the table says: run `make docs`");
    }

    #[test]
    fn the_test_that_shows_a_flag_exists() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/acceptance/oidc_proxy");
        let code: String = fs::read_dir(tests)
            .expect("a folder of tests")
            .map_while(Result::ok)
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .collect();
        for flag in PROGRAM.flags() {
            if let Standing::Obeyed(test) = flag.standing {
                assert!(code.contains(&format!("fn {test}(")), "{}: {test}", flag.name);
            }
        }
    }
}
