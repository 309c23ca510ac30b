use crate::case::{Case, Group};

/// Section 3.2, bearer: which words of which header are a token, and what becomes of it.
pub(crate) fn groups() -> Vec<Group> {
    let plain = vec![
        Case::get("no credential", "/c"),
        Case::get_by("a good token", "alice", "/c"),
        Case::get_by("a user in no group", "bob", "/c"),
        Case::get_by("a user who may nothing", "mallory", "/c"),
        Case::get_by("a user who is denied", "trent", "/c"),
        Case::get_by("an answer that allows and denies", "both", "/c")
            .differs("api-failure-503", &["status", "body", "answer retry-after"]),
        Case::get_by("a token of nobody", "nobody", "/c"),
        Case::get_by("a token of nobody again", "nobody", "/c").times(2).differs("rejected-token-cache", &["TokenReview"]),
        Case::get_by("a good token again", "alice", "/c").times(2),
        Case::get_by("a denied user again", "mallory", "/c").times(2),
        Case::get_by("a user who is in system:authenticated already", "member", "/c"),
        Case::get_by("a user who is unauthenticated", "outsider", "/c"),
        Case::get_by("a user who is anonymous", "anonymous", "/c"),
        Case::get_by("a user without a name", "unnamed", "/c")
            .refused("user-without-name")
            .differs("user-without-name", &["SubjectAccessReview", "answer retry-after"]),
        Case::get("lower case scheme", "/c").header("Authorization", "bearer {alice}"),
        Case::get("upper case scheme", "/c").header("Authorization", "BEARER {alice}"),
        Case::get("another scheme", "/c").header("Authorization", "Basic {alice}"),
        Case::get("scheme alone", "/c").header("Authorization", "Bearer"),
        Case::get("token alone", "/c").header("Authorization", "{alice}"),
        Case::get("empty header", "/c").header("Authorization", ""),
        Case::get("two spaces", "/c").header("Authorization", "Bearer  {alice}"),
        Case::get("spaces around", "/c").header("Authorization", "  Bearer {alice}  ").http1(),
        Case::get("a tab for the space", "/c").header("Authorization", "Bearer\t{alice}"),
        Case::get("a tab behind the space", "/c").header("Authorization", "Bearer \t{alice}"),
        Case::get("a tab behind the token", "/c").header("Authorization", "Bearer {alice}\tmore"),
        Case::get("a third word", "/c").header("Authorization", "Bearer {alice} more"),
        Case::get("a third word with a comma", "/c").header("Authorization", "Bearer {alice}, Bearer {bob}"),
        Case::get("a comma behind the token", "/c").header("Authorization", "Bearer {alice},{bob}"),
        Case::get("quotes around the token", "/c").header("Authorization", "Bearer \"{alice}\""),
        Case::get("a token that is not ASCII", "/c").header("Authorization", "Bearer tökén").http1(),
        Case::get("good then bad header", "/c").bearer("alice").bearer("nobody").refused_unasked("several-authorization"),
        Case::get("bad then good header", "/c")
            .bearer("nobody")
            .bearer("alice")
            .differs("several-authorization", &["status", "body", "TokenReview"]),
        Case::get("a header for the proxy", "/c").header("Proxy-Authorization", "Bearer {alice}"),
        Case::get("a token in the query", "/c?access_token={alice}"),
        Case::get("a token in a cookie", "/c").header("Cookie", "token={alice}"),
        Case::get("a token in a websocket's protocol without an upgrade", "/c")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:alice}, chat"),
        Case::get("a token in a websocket's protocol", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:alice}, chat")
            .http1(),
        Case::get("a token in a websocket's protocol beside one that is refused", "/c")
            .bearer("nobody")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "chat, base64url.bearer.authorization.k8s.io.{base64url:alice}, other")
            .http1()
            .differs("bearer-not-forwarded", &["upstream authorization"]),
        Case::get("a token alone in a websocket's protocol", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:alice}")
            .http1(),
        Case::get("two tokens in a websocket's protocol", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header(
                "Sec-WebSocket-Protocol",
                "base64url.bearer.authorization.k8s.io.{base64url:alice}, base64url.bearer.authorization.k8s.io.{base64url:alice}, chat",
            )
            .http1(),
        Case::get("a token that is no base64 in a websocket's protocol", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:alice}=, chat")
            .http1(),
        Case::get_by("a token in a websocket's protocol beside another", "alice", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:alice}, chat")
            .http1()
            .differs("bearer-not-forwarded", &["upstream sec-websocket-protocol"]),
        Case::get("a bad token in a websocket's protocol", "/c")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{base64url:nobody}, chat")
            .http1(),
        Case::get("headers of a front proxy", "/c").header("X-Remote-User", "alice").header("X-Remote-Group", "system:masters"),
    ];
    let audiences = || {
        vec![
            Case::get_by("a token whose answer names no audience", "alice", "/audience"),
            Case::get_by("a token for the first audience", "for-a", "/audience"),
            Case::get_by("a token for another audience", "for-other", "/audience"),
            Case::get_by("a token for two audiences", "for-b-and-c", "/audience"),
            Case::get_by("a token for another audience again", "for-other", "/audience").times(2),
        ]
    };
    vec![
        Group::new("tokens", &[], plain),
        Group::new("no audience", &[], audiences()),
        Group::new("one audience", &["--auth-token-audiences=a"], audiences()),
        Group::new("audiences in a list and repeated", &["--auth-token-audiences=x,b", "--auth_token_audiences", "a"], audiences()),
        Group::new("an audience with a comma", &["--auth-token-audiences=\"a,b\",c"], audiences()),
        Group::new("an empty list of audiences", &["--auth-token-audiences="], audiences()),
    ]
}
