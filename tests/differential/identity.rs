use crate::{
    case::{Case, Group},
    world::Identity,
};

/// What is configured about identity headers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Off,
    On,
    /// Names and separator of one's own.
    Custom,
}

const CA: &str = "--client-ca-file={folder}/clients-ca.crt";
const ON: &str = "--auth-header-fields-enabled";
const CUSTOM: &[&str] = &[
    CA,
    "--auth-header-fields-enabled=true",
    "--auth-header-user-field-name=X-Who",
    "--auth-header-groups-field-name=x-teams",
    "--auth-header-groups-field-separator=, ",
];
const UNDERSCORES: &[&str] = &[ON, "--auth-header-user-field-name=x_user", "--auth-header-groups-field-name=x_groups"];

/// Who asks, as the upstream is told, and what clients say of themselves.
pub(crate) fn groups() -> Vec<Group> {
    let all = |setting| [users(setting), spoofing(setting)].concat();
    vec![
        Group::new("identity off", &[CA], all(Setting::Off)),
        Group::new("identity on", &[CA, ON], all(Setting::On)),
        Group::new("identity off by value", &[CA, "--auth-header-fields-enabled=false"], users(Setting::Off)),
        Group::new("custom names", CUSTOM, all(Setting::Custom)),
        Group::new("an empty separator", &[CA, ON, "--auth-header-groups-field-separator="], users(Setting::Custom)),
        Group::new("names with underscores", UNDERSCORES, users(Setting::On)),
    ]
}

fn users(setting: Setting) -> Vec<Case> {
    let by = |user| Case::get_by(user, user, "/identity");
    let unsendable = |user| match setting {
        Setting::Off => by(user),
        _ => by(user).refused("identity-not-sendable"),
    };
    let mut cases = ["alice", "bob", "member", "anonymous", "unicode"].map(by).to_vec();
    cases.extend([
        by("unnamed").refused("user-without-name").differs("user-without-name", &["SubjectAccessReview", "answer retry-after"]),
        // One of its groups has the usual separator in its name.
        if setting == Setting::On { unsendable("piped") } else { by("piped") },
        unsendable("spaced"),
        match setting {
            Setting::Off => by("broken"),
            _ => by("broken").differs("identity-not-sendable", &["status", "body", "answer content-type", "answer x-content-type-options"]),
        },
        Case::get("by certificate", "/identity").presenting(Identity::Good),
    ]);
    cases
}

fn spoofing(setting: Setting) -> Vec<Case> {
    let by = |name| Case::get_by(name, "alice", "/identity");
    // The names that are managed here are stripped here; the usual ones by Go too, where they are its own.
    let stripped = |case: Case, usual: &'static [&'static str], off: &'static [&'static str], custom: &'static [&'static str]| {
        case.differs(
            "identity-stripped",
            match setting {
                Setting::Off => off,
                Setting::On => usual,
                Setting::Custom => custom,
            },
        )
    };
    let kept = |case: Case, usual: &'static [&'static str], custom: &'static [&'static str]| match setting {
        Setting::Off => case,
        Setting::On => case.differs("identity-not-removable", usual),
        Setting::Custom => case.differs("identity-not-removable", custom),
    };
    const USER: &[&str] = &["upstream x-remote-user"];
    const GROUPS: &[&str] = &["upstream x-remote-groups"];
    vec![
        stripped(by("a user of the client's").header("X-Remote-User", "admin"), &[], USER, &[]),
        stripped(
            by("groups of the client's").header("x-remote-groups", "system:masters").header("X-Remote-Groups", "more"),
            &[],
            GROUPS,
            &[],
        ),
        stripped(
            by("a user with underscores").header("X_Remote_User", "admin"),
            &["upstream x_remote_user"],
            &["upstream x_remote_user"],
            &[],
        ),
        stripped(
            by("a user with one underscore").header("X-Remote_User", "admin"),
            &["upstream x-remote_user"],
            &["upstream x-remote_user"],
            &[],
        ),
        by("a custom user of the client's").header("X-Who", "admin"),
        stripped(by("a custom user with an underscore").header("X_Who", "admin"), &[], &[], &["upstream x_who"]),
        kept(by("connection names the user").header("Connection", "X-Remote-User").http1(), USER, &[]),
        kept(
            by("connection names the user and the client says one")
                .header("Connection", "close, x-remote-user")
                .header("X-Remote-User", "admin")
                .http1(),
            USER,
            &[],
        ),
        kept(
            by("connection names the groups and a custom name").header("Connection", "x-remote-groups, x-who, x-teams").http1(),
            GROUPS,
            &["upstream x-who", "upstream x-teams"],
        ),
        by("impersonation")
            .header("Impersonate-User", "admin")
            .header("Impersonate-Group", "system:masters")
            .differs("identity-stripped", &["upstream impersonate-user", "upstream impersonate-group"]),
        by("impersonation of more")
            .header("Impersonate-Uid", "1")
            .header("Impersonate-Extra-Scopes", "all")
            .differs("identity-stripped", &["upstream impersonate-uid", "upstream impersonate-extra-scopes"]),
        by("impersonation with underscores")
            .header("Impersonate_User", "admin")
            .differs("identity-stripped", &["upstream impersonate_user"]),
        by("another method")
            .header("X-HTTP-Method-Override", "DELETE")
            .header("X-HTTP-Method", "PUT")
            .header("x_method_override", "PATCH")
            .differs("identity-stripped", &["upstream x-http-method-override", "upstream x-http-method", "upstream x_method_override"]),
        by("a front proxy's header").header("X-Remote-Group", "system:masters").header("X-Remote-Extra-A", "b"),
    ]
}
