use crate::case::{Case, Group};

/// Section 3.5: which paths exist, and which need nobody's permission.
pub(crate) fn groups() -> Vec<Group> {
    vec![
        Group::new("allow paths", &["--allow-paths=/metrics,/api/*,/v[0-9]", "--allow-paths=/a\\*b,/x?z"], allowed()),
        Group::new("ignore paths", &["--ignore-paths=/healthz,/api/*/live", "--ignore-paths=/[^a]x"], ignored()),
    ]
}

fn allowed() -> Vec<Case> {
    let by = |name, target: &str| Case::get_by(name, "alice", target);
    vec![
        by("on the list", "/metrics"),
        by("on the list with a query", "/metrics?x=1"),
        by("on the list, escaped", "/%6Detrics"),
        by("off the list", "/other"),
        by("below the list", "/metrics/x"),
        by("the root, off the list", "/"),
        by("a star", "/api/x"),
        by("a star for nothing", "/api/"),
        by("a star and a slash", "/api/x/y"),
        by("a class", "/v1"),
        by("off the class", "/vx"),
        by("an escaped star of a pattern", "/a*b"),
        by("not any text for it", "/aab"),
        by("a question mark of a pattern", "/x%3Fz"),
        by("a character for it", "/x%C3%A9z"),
        Case::get("off the list by nobody", "/other"),
        Case::get("on the list by nobody", "/metrics"),
        Case::get_by("on the list, not allowed", "mallory", "/metrics"),
        Case::new("off the list with POST", "POST", "/other").body("x"),
        Case::new("off the list with HEAD", "HEAD", "/other"),
    ]
}

fn ignored() -> Vec<Case> {
    vec![
        Case::get("ignored", "/healthz"),
        Case::get("ignored with a query", "/healthz?x=1"),
        Case::get("ignored, escaped", "/he%61lthz"),
        Case::new("ignored with POST", "POST", "/healthz").body("x"),
        Case::get("a star in the middle", "/api/v1/live"),
        Case::get("escaped dots for a star", "/api/%2e%2e/live").refused("ambiguous-path"),
        Case::get("dots with a parameter for a star", "/api/..;x/live").refused("ambiguous-path"),
        Case::get("two steps for a star", "/api/v1/x/live"),
        Case::get("a class that is not", "/bx"),
        Case::get("off the class that is not", "/ax"),
        Case::get("not ignored", "/metrics"),
        Case::get_by("not ignored, by somebody", "alice", "/metrics"),
        Case::get_by("ignored, by somebody", "alice", "/healthz").differs("ignored-path-bare", &["upstream authorization"]),
        Case::get("ignored, with a name", "/healthz")
            .header("X-Remote-User", "root")
            .differs("ignored-path-bare", &["upstream x-remote-user"]),
    ]
}
