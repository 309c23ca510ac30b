use std::{collections::BTreeMap, str::FromStr};

use crate::{Problem, Text};

/// Selects by labels: all of its conditions must hold; without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`.
    pub labels: BTreeMap<Text, Text>,
    /// `matchExpressions`.
    pub expressions: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: Text,
    /// What is asked of it.
    pub operator: Operator,
    /// For `In` and `NotIn` alone.
    pub values: Vec<Text>,
}

/// What a [`Requirement`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    pub(crate) fn selects(&self, labels: &BTreeMap<Text, Text>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<Text, Text>) -> bool {
        let value = labels.get(&self.key);
        let among = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => among,
            Operator::NotIn => !among,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl FromStr for Operator {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "In" => Ok(Self::In),
            "NotIn" => Ok(Self::NotIn),
            "Exists" => Ok(Self::Exists),
            "DoesNotExist" => Ok(Self::DoesNotExist),
            _ => Err(Problem::NotSupported { value: text.to_owned(), supported: "In, NotIn, Exists, DoesNotExist" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<Text, Text> {
        pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
    }

    fn selector(pairs: &[(&str, &str)], expressions: &[(&str, &str, &[&str])]) -> LabelSelector {
        let requirement = |&(key, operator, values): &(&str, &str, &[&str])| Requirement {
            key: key.into(),
            operator: operator.parse().unwrap(),
            values: values.iter().map(|&value| value.into()).collect(),
        };
        LabelSelector { labels: labels(pairs), expressions: expressions.iter().map(requirement).collect() }
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(LabelSelector::default().selects(&labels(&[])));
        assert!(LabelSelector::default().selects(&labels(&[("a", "1")])));
    }

    #[test]
    fn all_conditions_must_hold() {
        let selector = selector(&[("a", "1")], &[("b", "Exists", &[])]);
        assert!(selector.selects(&labels(&[("a", "1"), ("b", "2")])));
        assert!(!selector.selects(&labels(&[("a", "1")])));
        assert!(!selector.selects(&labels(&[("a", "2"), ("b", "2")])));
    }

    #[test]
    fn an_absent_label_is_not_in_any_values() {
        let cases: &[(&str, &[&str], bool, bool, bool)] = &[
            // operator, values; for a=1, a=3 and no label
            ("In", &["1", "2"], true, false, false),
            ("NotIn", &["1", "2"], false, true, true),
            ("Exists", &[], true, true, false),
            ("DoesNotExist", &[], false, false, true),
        ];
        for &(operator, values, one, three, absent) in cases {
            let selector = selector(&[], &[("a", operator, values)]);
            let answers = [&[("a", "1")][..], &[("a", "3")], &[]].map(|pairs| selector.selects(&labels(pairs)));
            assert_eq!(answers, [one, three, absent], "{operator}");
        }
    }
}
