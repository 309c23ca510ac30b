use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube_api::{AccessVerdict, Api, ApiSettings, Lane, TokenVerdict};
use request::{Attributes, User};
use serde_json::{Value, json};
use testkit::upstream::{Reply, Upstream};
use tokio::time::Instant;

use super::block_on;

/// Nothing is put a second time in so short a time.
const DEADLINE: Duration = Duration::from_millis(45);

/// An answer of the API server behind one byte that says to which question: its body alone, or all of it. Only a clear yes is
/// one, and the user is who it says.
pub fn reviews(data: &[u8]) -> bool {
    let Some((choice, answer)) = data.split_first() else { return false };
    thread_local!(static WORLD: World = block_on(World::new()));
    WORLD.with(|world| {
        let is_whole = choice & 2 != 0;
        *world.answer.lock().expect("nobody panics with it") =
            if is_whole { Reply::raw(answer).then_close() } else { Reply::new(201, &[("Content-Type", "application/json")], answer) };
        let body: Value = if is_whole { Value::Null } else { serde_json::from_slice(answer).unwrap_or_default() };
        let status = &body["status"];
        let has = |word: &str| answer.windows(word.len()).any(|window| window == word.as_bytes());
        if choice & 1 == 0 {
            let audiences: &[String] = if choice & 4 == 0 { &[] } else { &["here".to_owned()] };
            let asked = world.api.review_token("token-in-three.parts", audiences, Lane::Known, Instant::now() + DEADLINE);
            let user = match block_on(asked) {
                Ok(TokenVerdict::Authenticated(user)) => user,
                Ok(TokenVerdict::Rejected { why }) => {
                    assert!(!why.contains("token-in-three"), "{why}");
                    return false;
                }
                Err(_) => return false,
            };
            if is_whole {
                assert!(has("authenticated") && !user.name.is_empty());
                return true;
            }
            assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("TokenReview"), &json!("authentication.k8s.io/v1")));
            assert_eq!(status["authenticated"], json!(true), "{body}");
            assert!(is_said(&user, &status["user"]), "{user:?} of {body}");
            let granted = status["audiences"].as_array().cloned().unwrap_or_default();
            assert!(audiences.is_empty() || granted.is_empty() || granted.contains(&json!("here")), "{body}");
            return true;
        }
        let (user, asked) =
            (User { name: "u".into(), ..User::default() }, Attributes::NonResource { verb: "get".into(), path: "/".into() });
        let verdict = block_on(world.api.review_access(&user, &asked, Instant::now() + DEADLINE));
        let is_allowed = matches!(verdict, Ok(AccessVerdict::Allowed));
        if is_allowed && is_whole {
            assert!(has("allowed") && has("true"));
        } else if is_allowed {
            assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("SubjectAccessReview"), &json!("authorization.k8s.io/v1")));
            assert!(status["allowed"] == json!(true) && status["denied"] != json!(true), "{body}");
        }
        is_allowed
    })
}

struct World {
    api: Api,
    answer: Arc<Mutex<Reply>>,
    _server: Upstream,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let answer = Arc::new(Mutex::new(Reply::ok("")));
        let said = Arc::clone(&answer);
        let server = Upstream::start(move |_| said.lock().expect("nobody panics with it").clone()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: '{}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}",
            server.url()
        );
        std::fs::write(&path, text).expect("the folder is writable");
        let settings = ApiSettings { kubeconfig: Some(path), user_agent: "fuzz".to_owned(), ..ApiSettings::default() };
        Self { api: Api::connect(settings).await.expect("a kubeconfig"), answer, _server: server, _folder: folder }
    }
}

/// Whether the answer names this user, with nothing added.
fn is_said(user: &User, said: &Value) -> bool {
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let extra = said["extra"].as_object().into_iter().flatten().map(|(name, values)| (name.clone(), texts(values))).collect();
    let expected = User { name: text("username").into(), uid: text("uid").into(), groups: texts(&said["groups"]), extra };
    *user == expected && !user.name.is_empty()
}
