//! The evaluator against a reference that looks at every binding for every question, over random policies.
//!
//! `RBAC_AGREE_SEED` picks other policies; a failure prints the seed that shows it.
#![expect(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]

use std::{collections::BTreeMap, env};

use rbac::{Aggregation, Decision, World};
use testkit::policy::{Mutation, Policy, Question, Random, Reference, object};

const POLICIES: usize = 40;
const CHANGES: usize = 4;
const QUESTIONS: usize = 250;

#[test]
fn the_evaluator_decides_as_the_reference() {
    let (mut asked, mut allowed) = (0_usize, 0_usize);
    for_each_policy(|seed, policy, questions| {
        let world = world(policy);
        let reference = Reference::new(policy.objects(), None);
        for question in questions {
            let expected = reference.allows(question);
            let decision = world.decide(&question.user, &question.attributes);
            assert_eq!(decision.is_allowed(), expected, "seed {seed}: {} {decision:?}", question.spec());
            is_explained(&world, question, &decision);
            asked += 1;
            allowed += usize::from(expected);
        }
    });
    // Otherwise the questions would hardly tell evaluators apart.
    let percent = allowed * 100 / asked;
    assert!((20..80).contains(&percent), "{percent}% of {asked} questions were allowed");
}

#[test]
fn each_mutation_is_noticed() {
    let mut unnoticed: BTreeMap<String, Mutation> = Mutation::ALL.iter().map(|mutation| (format!("{mutation:?}"), *mutation)).collect();
    assert!(unnoticed.len() >= 15);
    for_each_policy(|_, policy, questions| {
        let world = world(policy);
        unnoticed.retain(|_, mutation| {
            let wrong = Reference::new(policy.objects(), Some(*mutation));
            questions.iter().all(|asked| wrong.allows(asked) == world.decide(&asked.user, &asked.attributes).is_allowed())
        });
    });
    assert!(unnoticed.is_empty(), "not noticed: {:?}", unnoticed.keys());
}

fn for_each_policy(mut check: impl FnMut(u64, &Policy, &[Question])) {
    let seed = env::var("RBAC_AGREE_SEED").map_or(1, |seed| seed.parse().expect("RBAC_AGREE_SEED is a number"));
    eprintln!("RBAC_AGREE_SEED={seed}");
    let mut seeds = Random::new(seed);
    for _ in 0..POLICIES {
        let seed = seeds.number();
        let (mut policy, _) = Policy::new(seed);
        for _ in 0..CHANGES {
            let questions = policy.questions(QUESTIONS);
            check(seed, &policy, &questions);
            policy.change();
        }
    }
}

fn world(policy: &Policy) -> World {
    let objects = policy.objects().map(|manifest| object(manifest).unwrap_or_else(|faults| panic!("{manifest}: {faults:?}")));
    World::new(objects, Aggregation::Resolved)
}

/// What allows it does, and what comes near does not.
fn is_explained(world: &World, question: &Question, decision: &Decision<'_>) {
    let Question { user, attributes } = question;
    let nearest = world.nearest(user, attributes, 3);
    assert!(nearest.iter().all(|near| !near.short.is_empty()), "{nearest:?}");
    match decision {
        Decision::Superuser => {}
        Decision::Allowed(allowed) => {
            assert!(allowed.rule.allows(attributes));
            assert_eq!(allowed.binding.rules().nth(allowed.rule_index), Some(allowed.rule));
            assert!(allowed.binding.subjects.contains(allowed.subject));
        }
        Decision::NoOpinion { dangling } => {
            assert_eq!(world.grants(user, attributes).count(), 0);
            assert!(dangling.iter().all(|binding| binding.is_dangling()));
        }
    }
}
