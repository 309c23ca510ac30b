use crate::{
    case::{Case, Group},
    world::Identity,
};

/// Section 3.2, x509: who a client certificate says that the client is, alone and beside a token.
pub(crate) fn groups() -> Vec<Group> {
    const TOKEN: &[&str] = &["upstream authorization"];
    let by = |name, identity| Case::get(name, "/certificate").presenting(identity);
    // Without a client CA the token authenticates, and Go removes it too.
    let cases = |token: &'static [&'static str]| {
        vec![
            by("no certificate", Identity::None),
            by("two groups", Identity::Good),
            by("one group", Identity::OneGroup),
            by("no group", Identity::NoGroup),
            by("a user who may nothing", Identity::May),
            by("an intermediate authority", Identity::Intermediate),
            by("any usage", Identity::AnyUsage),
            by("no usage", Identity::NoUsage),
            by("a server's usage", Identity::ServerUsage),
            by("the wrong authority", Identity::WrongAuthority),
            by("expired", Identity::Expired),
            by("not yet valid", Identity::NotYetValid),
            by("no name", Identity::Nameless),
            by("a UID", Identity::Uid),
            by("two UIDs", Identity::TwoUids),
            by("an empty UID", Identity::EmptyUid),
            by("certificate and good token", Identity::Good).bearer("alice").differs("bearer-not-forwarded", token),
            by("certificate and bad token", Identity::Good).bearer("nobody").differs("bearer-not-forwarded", token),
            by("certificate that may nothing and a token that may", Identity::May).bearer("alice"),
            by("certificate and another scheme", Identity::Good).header("Authorization", "Basic dTpw"),
            by("wrong authority and good token", Identity::WrongAuthority).bearer("alice"),
            by("wrong authority and bad token", Identity::WrongAuthority).bearer("nobody"),
            by("expired and good token", Identity::Expired).bearer("alice"),
            by("no name and good token", Identity::Nameless).bearer("alice"),
            by("two UIDs and good token", Identity::TwoUids).bearer("alice").differs("bearer-not-forwarded", token),
            by("GET with a body by certificate", Identity::Good).body("x"),
        ]
    };
    vec![
        Group::new("client CA", &["--client-ca-file={folder}/clients-ca.crt", "--auth-header-fields-enabled"], cases(TOKEN)),
        Group::new("no client CA", &["--auth-header-fields-enabled"], cases(&[])),
        Group::new("TLS 1.2 and client CA", &["--client-ca-file={folder}/clients-ca.crt", "--tls-min-version=VersionTLS12"], cases(TOKEN)),
    ]
}
