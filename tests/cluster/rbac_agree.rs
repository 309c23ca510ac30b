//! The evaluator against the API server: random policies, applied, changed and deleted, and random questions that both
//! answer, with the real controller filling in aggregates.
//!
//! `RBAC_AGREE_PAIRS` is the number of questions, `RBAC_AGREE_SEED` repeats a run; both are printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream};
use rbac::{Aggregation, Decision, Object, RoleBinding, RoleRef, World};
use serde_json::{Value, json};
use testkit::{
    cluster::{self, Admin},
    policy::{API_VERSION, Change, Mutation, NAMESPACES, Policy, Question, Reference, apply_order, object},
    wait::wait_for,
};

const PAIRS: usize = 10_000;
const PAIRS_PER_POLICY: usize = 500;
const CONNECTIONS: usize = 8;
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

#[tokio::test]
async fn the_evaluator_decides_as_the_api_server() {
    let Some(cluster) = cluster::master().await else { return };
    if !cluster.aggregates_roles() {
        return;
    }
    let pairs = number("RBAC_AGREE_PAIRS").map_or(PAIRS, |pairs| usize::try_from(pairs).unwrap());
    let seed = number("RBAC_AGREE_SEED").unwrap_or_else(|| u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos()));
    let repeat = format!("RBAC_AGREE_PAIRS={pairs} RBAC_AGREE_SEED={seed}");
    eprintln!("{repeat}");

    let start = Instant::now();
    let mut stage = Stage::new(cluster.admin()).await;
    let mut tally = Tally::default();
    let (mut policy, mut change) = Policy::new(seed);
    while tally.asked < pairs {
        stage.apply(&change, &policy).await;
        let count = PAIRS_PER_POLICY.min(pairs - tally.asked);
        tally.judge(&stage.worlds().await, stage.ask(policy.questions(count)).await);
        change = policy.change();
    }
    eprintln!("{tally}, in {:.1} s", start.elapsed().as_secs_f64());
    let shown: Vec<&str> = tally.differences.iter().take(20).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} differences, with {repeat}, beginning with\n{}", tally.differences.len(), shown.join("\n"));
    // Which of the rarest show in one run is luck; `crates/rbac/tests/agreement.rs` notices each.
    assert!(tally.noticed() >= 15 || pairs < PAIRS, "evaluators that are wrong pass, with {repeat}: {:?}", tally.unnoticed);
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The policy as the API server has it; deleted with this.
struct Stage<'a> {
    admin: &'a Admin,
    /// What was there before.
    given: Vec<Value>,
    policy: Vec<Value>,
    canaries: Vec<Value>,
    round: usize,
}

/// The same moment, seen from both sides.
struct Worlds {
    /// What was written, its aggregates resolved here.
    written: World,
    /// What the API server has stored.
    stored: World,
    manifests: Vec<Value>,
}

impl<'a> Stage<'a> {
    async fn new(admin: &'a Admin) -> Self {
        for namespace in NAMESPACES {
            admin.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
        }
        let given = stored(admin).await;
        Self { admin, given, policy: Vec::new(), canaries: Vec::new(), round: 0 }
    }

    /// Makes the change that led to the policy, and returns when the API server and its controller have taken notice.
    async fn apply(&mut self, change: &Change, policy: &Policy) {
        for manifest in &change.deleted {
            self.admin.delete(manifest).await;
        }
        at_once(&change.applied, async |manifest| self.admin.apply(manifest).await).await;
        self.policy = policy.objects().cloned().collect();
        self.until_aggregated().await;
        self.until_seen().await;
    }

    /// What is there now.
    async fn worlds(&self) -> Worlds {
        let manifests = self.manifests();
        let stored = stored(self.admin).await;
        Worlds {
            written: World::new(objects(&manifests), Aggregation::Resolved),
            stored: World::new(objects(&stored), Aggregation::AsStored),
            manifests,
        }
    }

    /// The API server's answers.
    async fn ask(&self, questions: Vec<Question>) -> Vec<(Question, Value)> {
        at_once(questions, async |question: Question| {
            let review = review(question.spec());
            let answer = self.admin.call("POST", REVIEWS, Some(&review)).await;
            let answer = answer.unwrap_or_else(|fault| panic!("{review}: {fault}"));
            (question, answer["status"].clone())
        })
        .await
    }

    fn manifests(&self) -> Vec<Value> {
        self.given.iter().chain(&self.policy).chain(&self.canaries).cloned().collect()
    }

    /// Waits until the controller has written what the aggregates come to here. Then it rests.
    async fn until_aggregated(&self) {
        let expected = rules_by_role(&self.manifests(), Aggregation::Resolved);
        wait_for("controller that agrees about aggregates", async || {
            let found = rules_by_role(&stored(self.admin).await, Aggregation::AsStored);
            let differs = expected.iter().find(|(name, rules)| found.get(*name) != Some(*rules));
            match differs {
                None => Ok(()),
                Some((name, rules)) => Err(format!("{name} has {:?} and not {rules:?}", found.get(name))),
            }
        })
        .await;
    }

    /// Changes an object of each kind and waits until the API server decides by it: what was written before, it has seen.
    async fn until_seen(&mut self) {
        self.round += 1;
        let verb = format!("round-{}", self.round);
        let user = |kind: &str| format!("canary-{kind}-{}", self.round);
        let object = |kind: &str, namespace: Option<&str>, name: &str, rest: Value| {
            let mut object = json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": { "name": name } });
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = json!(namespace);
            }
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        let rules = |verb: &str| json!({ "rules": [{ "verbs": [verb], "apiGroups": [""], "resources": ["canaries"] }] });
        let bound = |kind: &str, role: &str, user: &str| json!({ "roleRef": { "kind": kind, "name": role }, "subjects": [{ "kind": "User", "name": user }] });
        let home = Some(NAMESPACES[0]);
        self.canaries = vec![
            object("ClusterRole", None, "canary", rules(&verb)),
            object("ClusterRole", None, "canary-fixed", rules("get")),
            object("Role", home, "canary", rules(&verb)),
            object("ClusterRoleBinding", None, "canary", bound("ClusterRole", "canary-fixed", &user("everywhere"))),
            object("ClusterRoleBinding", None, "canary-of-role", bound("ClusterRole", "canary", "canary-of-cluster-role")),
            object("RoleBinding", home, "canary", bound("ClusterRole", "canary-fixed", &user("within"))),
            object("RoleBinding", home, "canary-of-role", bound("Role", "canary", "canary-of-role")),
        ];
        for canary in &self.canaries {
            self.admin.apply(canary).await;
        }
        let asked = [
            ("canary-of-cluster-role".to_owned(), verb.as_str()),
            ("canary-of-role".to_owned(), verb.as_str()),
            (user("everywhere"), "get"),
            (user("within"), "get"),
        ];
        for (user, verb) in asked {
            let attributes = json!({ "namespace": NAMESPACES[0], "verb": verb, "resource": "canaries" });
            let review = review(json!({ "user": user, "resourceAttributes": attributes }));
            wait_for(&format!("right of {user} to {verb}"), async || {
                let answer = self.admin.call("POST", REVIEWS, Some(&review)).await.map_err(|fault| fault.to_string())?;
                if answer["status"]["allowed"] == true { Ok(()) } else { Err(answer["status"].to_string()) }
            })
            .await;
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let mut objects: Vec<Value> = self.policy.iter().chain(&self.canaries).cloned().collect();
        // Rights go before what they consist of.
        objects.sort_by_key(|object| std::cmp::Reverse(apply_order(object)));
        self.admin.delete_at_last(objects);
    }
}

/// What came of the questions.
struct Tally {
    asked: usize,
    allowed: usize,
    differences: Vec<String>,
    /// The wrong evaluators that no answer has shown to be wrong yet.
    unnoticed: Vec<Mutation>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { asked: 0, allowed: 0, differences: Vec::new(), unnoticed: Mutation::ALL.to_vec() }
    }
}

impl Tally {
    fn judge(&mut self, worlds: &Worlds, answers: Vec<(Question, Value)>) {
        for (question, status) in &answers {
            for (name, world) in [("written", &worlds.written), ("stored", &worlds.stored)] {
                let decision = world.decide(&question.user, &question.attributes);
                if let Some(difference) = difference(world, question, &decision, status) {
                    self.differences.push(format!("{} as {name}: {difference}: {status} {decision:?}", question.spec()));
                }
            }
        }
        self.unnoticed.retain(|mutation| {
            let wrong = Reference::new(&worlds.manifests, Some(*mutation));
            answers.iter().all(|(question, status)| status["allowed"] == wrong.allows(question))
        });
        self.asked += answers.len();
        self.allowed += answers.iter().filter(|(_, status)| status["allowed"] == true).count();
    }

    fn noticed(&self) -> usize {
        Mutation::ALL.len() - self.unnoticed.len()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, allowed, differences, .. } = self;
        let noticed = self.noticed();
        write!(
            f,
            "{asked} questions, {allowed} allowed, {} differences, {noticed} of {} mutations noticed",
            differences.len(),
            Mutation::ALL.len()
        )
    }
}

/// How the API server's answer differs: in what it says or, as far as there is one reason, in why.
fn difference(world: &World, question: &Question, decision: &Decision<'_>, status: &Value) -> Option<&'static str> {
    let (allowed, reason) = (status["allowed"] == true, status["reason"].as_str().unwrap_or_default());
    if allowed != decision.is_allowed() {
        return Some("another decision");
    }
    let known = match decision {
        Decision::Superuser => reason.is_empty(),
        Decision::Allowed(_) => {
            let mut grants = world.grants(&question.user, &question.attributes);
            grants.any(|allowed| reason == format!("RBAC: allowed by {allowed}"))
        }
        Decision::NoOpinion { .. } => words(reason) == words(&decision.to_string()),
    };
    (!known).then_some("another reason")
}

/// The parts of an error of which the API server gives any number in any order.
fn words(reason: &str) -> BTreeSet<&str> {
    reason.trim_start_matches("rbac: RBAC: ").trim_matches(['[', ']']).split(", ").collect()
}

fn review(spec: Value) -> Value {
    json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec })
}

fn objects(manifests: &[Value]) -> Vec<Object> {
    manifests.iter().map(|manifest| object(manifest).unwrap_or_else(|faults| panic!("{manifest}: {faults:?}"))).collect()
}

/// What each cluster role comes to.
fn rules_by_role(manifests: &[Value], aggregation: Aggregation) -> BTreeMap<String, BTreeSet<String>> {
    let objects = objects(manifests);
    let name = |object: &Object| match object {
        Object::ClusterRole(role) => Some(role.name.clone()),
        _ => None,
    };
    let names: Vec<Arc<str>> = objects.iter().filter_map(name).collect();
    let roles = objects.into_iter().filter(|object| matches!(object, Object::ClusterRole(_)));
    // Rules are seen through bindings.
    let bindings = names.into_iter().map(|name| {
        let role = RoleRef::ClusterRole(name.clone());
        Object::RoleBinding(RoleBinding { namespace: None, name, role, subjects: Vec::new() })
    });
    let world = World::new(roles.chain(bindings), aggregation);
    let rules = |binding: &rbac::Binding| binding.rules().map(|rule| format!("{rule:?}")).collect();
    world.bindings().map(|binding| (binding.name.to_string(), rules(binding))).collect()
}

/// All of the four kinds.
async fn stored(admin: &Admin) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"] {
        let path = format!("/apis/{API_VERSION}/{}s", kind.to_lowercase());
        let mut list = admin.get(&path).await.unwrap_or_else(|fault| panic!("{path}: {fault}"));
        for item in list["items"].as_array_mut().unwrap() {
            item["kind"] = json!(kind);
            all.push(item.take());
        }
    }
    all
}

/// Works on the items over several connections; the results come in any order.
async fn at_once<T, R>(items: impl IntoIterator<Item = T>, work: impl AsyncFn(T) -> R) -> Vec<R> {
    stream::iter(items).map(|item| work(item)).buffer_unordered(CONNECTIONS).collect().await
}
