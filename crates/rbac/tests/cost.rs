//! What a big world costs: memory, and time per decision in an optimized build.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rbac::{Aggregation, ClusterRole, Object, PolicyRule, Role, RoleBinding, RoleRef, Subject, Text, World};
use request::{Attributes, ResourceAttributes, User};
use testkit::policy::Random;

const ROLES: usize = 1_000;
const BINDINGS: usize = 10_000;
const NAMESPACES: usize = 100;
const QUESTIONS: usize = 100_000;

/// Each is measured alone.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn ten_thousand_bindings_take_little_memory_and_a_decision_little_time() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = Random::new(1);
    let before = resident();
    let world = World::new(objects(&mut random), Aggregation::Resolved);
    let resident = resident();
    assert_eq!(world.bindings().len(), BINDINGS);
    eprintln!("resident: {resident} KiB, of these for the world {} KiB", resident - before);
    assert!(resident <= 40 * 1024, "{resident} KiB");

    let questions: Vec<(User, Attributes)> = (0..QUESTIONS).map(|_| question(&mut random)).collect();
    let mut times = Vec::with_capacity(QUESTIONS);
    let mut allowed = 0;
    for (user, attributes) in &questions {
        let start = Instant::now();
        let decision = black_box(world.decide(user, attributes));
        times.push(start.elapsed());
        allowed += usize::from(decision.is_allowed());
    }
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    let median = times.get(QUESTIONS / 2).copied().expect("a middle");
    let high = times.get(QUESTIONS * 99 / 100).copied().expect("an end");
    eprintln!("{allowed} of {QUESTIONS} allowed; median {median:?}, 99% {high:?}, all {total:?}");
    assert!((QUESTIONS / 10..QUESTIONS * 9 / 10).contains(&allowed), "{allowed} allowed");
    if !cfg!(debug_assertions) {
        assert!(median <= Duration::from_micros(2), "{median:?}");
    }
}

#[test]
fn bindings_of_others_cost_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Counted in time: a decision among many bindings against the same decision among few, with room for noise.
    let mine = || {
        let subjects = vec![Subject::User("me".into())];
        [
            role(Text::from("mine"), "get"),
            Object::RoleBinding(RoleBinding { namespace: None, name: "mine".into(), role: RoleRef::ClusterRole("mine".into()), subjects }),
        ]
    };
    let few = World::new(mine(), Aggregation::AsStored);
    let many = World::new(objects(&mut Random::new(1)).chain(mine()), Aggregation::AsStored);
    let user = User { name: "me".to_owned(), groups: vec!["unknown".to_owned()], ..User::default() };
    let asked = |verb: &str| {
        let [verb, resource] = [verb, "kind-1"].map(str::to_owned);
        Attributes::Resource(ResourceAttributes { verb, resource, ..ResourceAttributes::default() })
    };
    let time = |world: &World| {
        let questions = [asked("get"), asked("delete")];
        let start = Instant::now();
        for _ in 0..20_000 {
            for attributes in &questions {
                black_box(world.decide(black_box(&user), attributes));
            }
        }
        start.elapsed()
    };
    let best = |world: &World| (0..5).map(|_| time(world)).min().expect("five");
    let (few, many) = (best(&few), best(&many));
    eprintln!("among few {few:?}, among many {many:?}");
    assert!(many < few * 10, "among few {few:?}, among many {many:?}");
}

/// Roles, then bindings, as a reader makes them: no string shared.
fn objects(random: &mut Random) -> impl Iterator<Item = Object> {
    let mut random = random.clone();
    (0..ROLES + BINDINGS).map(move |index| {
        if index < ROLES {
            let rules = (0..=random.below(6)).map(|_| rule(&mut random)).collect();
            return match index % 2 {
                0 => Object::ClusterRole(ClusterRole {
                    name: format!("role-{index}").into(),
                    labels: BTreeMap::new(),
                    rules,
                    aggregation: None,
                }),
                _ => Object::Role(Role { namespace: namespace(index), name: format!("role-{index}").into(), rules }),
            };
        }
        let (name, role) = (format!("binding-{index}").into(), random.below(ROLES));
        let subjects = (0..=random.below(3)).map(|_| subject(&mut random)).collect();
        let role_name: Text = format!("role-{role}").into();
        match (role % 2, index % 5) {
            (0, 0) => Object::RoleBinding(RoleBinding { namespace: None, name, role: RoleRef::ClusterRole(role_name), subjects }),
            (0, _) => Object::RoleBinding(RoleBinding {
                namespace: Some(namespace(index)),
                name,
                role: RoleRef::ClusterRole(role_name),
                subjects,
            }),
            _ => Object::RoleBinding(RoleBinding { namespace: Some(namespace(role)), name, role: RoleRef::Role(role_name), subjects }),
        }
    })
}

fn role(name: Text, verb: &str) -> Object {
    let rule =
        PolicyRule { verbs: vec![verb.into()], api_groups: vec!["".into()], resources: vec!["kind-1".into()], ..PolicyRule::default() };
    Object::ClusterRole(ClusterRole { name, labels: BTreeMap::new(), rules: vec![rule], aggregation: None })
}

fn rule(random: &mut Random) -> PolicyRule {
    let verbs = random.some(&["get", "list", "watch", "create", "update", "patch", "delete"], 1, 4);
    let resources = (0..=random.below(4)).map(|_| format!("kind-{}", random.below(40)).into()).collect();
    let names = if random.chance(20) { 2 } else { 0 };
    let resource_names = (0..names).map(|_| format!("name-{}", random.below(500)).into()).collect();
    PolicyRule {
        verbs: verbs.into_iter().map(Into::into).collect(),
        api_groups: vec![format!("group-{}.example.com", random.below(3)).into()],
        resources,
        resource_names,
        ..PolicyRule::default()
    }
}

fn subject(random: &mut Random) -> Subject {
    match random.below(3) {
        0 => Subject::User(format!("user-{}@example.com", random.below(3_000)).into()),
        1 => Subject::Group(format!("team-{}", random.below(300)).into()),
        _ => {
            let namespace = random.chance(50).then(|| namespace(random.below(NAMESPACES)));
            Subject::ServiceAccount {
                namespace: namespace.or_else(|| Some(self::namespace(1))),
                name: format!("account-{}", random.below(50)).into(),
            }
        }
    }
}

fn namespace(index: usize) -> Text {
    format!("namespace-{}", index % NAMESPACES).into()
}

fn question(random: &mut Random) -> (User, Attributes) {
    let mut groups: Vec<String> = (0..=random.below(8)).map(|_| format!("team-{}", random.below(400))).collect();
    groups.push("system:authenticated".to_owned());
    let name = format!("user-{}@example.com", random.below(4_000));
    let asked = ResourceAttributes {
        namespace: namespace(random.below(NAMESPACES)).to_string(),
        verb: (*random.pick(&["get", "list", "create", "delete"])).to_owned(),
        group: format!("group-{}.example.com", random.below(3)),
        resource: format!("kind-{}", random.below(40)),
        ..ResourceAttributes::default()
    };
    (User { name, groups, ..User::default() }, Attributes::Resource(asked))
}

/// The process's resident memory in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
