use request::{Attributes, User};

use crate::{Binding, PolicyRule, World};

/// A binding that does not allow what is asked for, and what it would take.
#[derive(Clone, Debug)]
pub struct Near<'w> {
    /// Names the user, or would allow it if it did.
    pub binding: &'w Binding,
    /// The nearest of its role's rules; `None` when there are none.
    pub rule: Option<&'w PolicyRule>,
    /// What stands in the way: all of it.
    pub short: Vec<Shortfall>,
}

/// What keeps a binding from allowing what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// No subject means the user.
    Subject,
    /// The binding counts in its own namespace alone: what is asked for is in another, or in none.
    Namespace,
    /// The role does not exist.
    NoRole,
    /// The role has no rules.
    NoRules,
    /// The rule has other verbs.
    Verb,
    /// The rule is for other API groups.
    ApiGroup,
    /// The rule is for other resources or subresources.
    Resource,
    /// The rule is for objects of other names.
    ResourceName,
    /// The rule is for other paths.
    Path,
}

impl World {
    /// The bindings that come nearest to allowing what they do not: those with the least in the way first, and of these
    /// the user's own before those of others. Looks at every binding: for explanations.
    pub fn nearest<'w>(&'w self, user: &User, attributes: &Attributes, limit: usize) -> Vec<Near<'w>> {
        let near = self.bindings().filter_map(|binding| near(binding, user, attributes));
        let mut near: Vec<Near<'w>> = near.filter(|near| !near.short.is_empty()).collect();
        near.sort_by_key(|near| (near.short.len(), near.short.contains(&Shortfall::Subject)));
        near.truncate(limit);
        near
    }
}

fn near<'w>(binding: &'w Binding, user: &User, attributes: &Attributes) -> Option<Near<'w>> {
    let (rule, lacking) = if binding.is_dangling() {
        (None, vec![Shortfall::NoRole])
    } else if binding.rules().len() == 0 {
        (None, vec![Shortfall::NoRules])
    } else {
        let judged = binding.rules().filter_map(|rule| Some((Some(rule), rule.shortfalls(attributes)?)));
        judged.min_by_key(|(_, lacking)| lacking.len())?
    };
    let mut short = Vec::new();
    if !binding.names(user) {
        short.push(Shortfall::Subject);
    }
    if !binding.counts_for(attributes) {
        short.push(Shortfall::Namespace);
    }
    short.extend(lacking);
    // The bindings of others are of interest when to be named there is all that it takes.
    let others = short.contains(&Shortfall::Subject) && short.len() > 1;
    (!others).then_some(Near { binding, rule, short })
}

#[cfg(test)]
mod tests;
