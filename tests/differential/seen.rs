use std::collections::BTreeMap;

use serde_json::Value;
use testkit::{client::Response, upstream::Received, wire::Fields};

/// What one program made of a case.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What the client got; `Err` when the connection ended without an answer.
    pub(crate) answers: Vec<Result<Response, String>>,
    pub(crate) forwarded: Vec<Received>,
    pub(crate) token_reviews: Vec<Value>,
    pub(crate) access_reviews: Vec<Value>,
}

/// What is compared, by name.
pub(crate) type Facets = BTreeMap<String, String>;

/// Fields that say when, not what.
const OF_THE_MOMENT: &[&str] = &["date"];

impl Seen {
    /// Everything that is compared: `status`, `body`, `answer NAME`, `trailer NAME`, `interim`; `forwarded` (how many requests
    /// reached the upstream), `method`, `target`, `upstream NAME`, `upstream body`, `upstream trailer NAME`; the specs of
    /// `TokenReview` and `SubjectAccessReview`.
    pub(crate) fn facets(&self) -> Facets {
        let mut facets = Facets::new();
        for answer in &self.answers {
            match answer {
                Ok(response) => add_answer(&mut facets, response),
                Err(_) => add(&mut facets, "status", "none"),
            }
        }
        facets.insert("forwarded".to_owned(), self.forwarded.len().to_string());
        for received in &self.forwarded {
            add(&mut facets, "method", received.method());
            add(&mut facets, "target", received.target());
            add(&mut facets, "upstream body", &String::from_utf8_lossy(&received.body.content));
            add_fields(&mut facets, "upstream", &received.head.fields);
            add_fields(&mut facets, "upstream trailer", &received.body.trailers);
        }
        for (name, specs) in [("TokenReview", &self.token_reviews), ("SubjectAccessReview", &self.access_reviews)] {
            for spec in specs {
                add(&mut facets, name, &spec.to_string());
            }
        }
        facets
    }

    /// Whether the program itself kept the request from the upstream.
    pub(crate) fn is_refused(&self) -> bool {
        self.forwarded.is_empty() && !self.answers.iter().any(is_success)
    }

    /// Whether a request got through: to the upstream, or to a success.
    pub(crate) fn is_passed(&self) -> bool {
        !self.forwarded.is_empty() || self.answers.iter().any(is_success)
    }
}

/// The facets in which two outcomes differ, with both values. What follows from another difference is none of its own: what
/// the upstream got when only one reached it, and the length of another body.
pub(crate) fn differences(go: &Seen, ours: &Seen) -> BTreeMap<String, (String, String)> {
    let (go_facets, our_facets) = (go.facets(), ours.facets());
    let one_sided = go.forwarded.is_empty() != ours.forwarded.is_empty();
    let follows = |name: &str| match name {
        "answer content-length" => go_facets.get("body") != our_facets.get("body"),
        "method" | "target" => one_sided,
        _ => one_sided && name.starts_with("upstream"),
    };
    let value = |facets: &Facets, name: &str| facets.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
    let names = go_facets.keys().chain(our_facets.keys()).filter(|name| !follows(name));
    names
        .filter(|&name| go_facets.get(name) != our_facets.get(name))
        .map(|name| (name.clone(), (value(&go_facets, name), value(&our_facets, name))))
        .collect()
}

fn is_success(answer: &Result<Response, String>) -> bool {
    answer.as_ref().is_ok_and(|response| (200..300).contains(&response.status))
}

fn add_answer(facets: &mut Facets, response: &Response) {
    add(facets, "status", &response.status.to_string());
    add(facets, "body", &response.text());
    add_fields(facets, "answer", &response.fields);
    add_fields(facets, "trailer", &response.trailers);
    for interim in &response.interim {
        add(facets, "interim", interim.word(1));
        add_fields(facets, "interim", &interim.fields);
    }
}

fn add_fields(facets: &mut Facets, what: &str, fields: &Fields) {
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        // HTTP/2 need not say that nothing follows.
        let is_nothing = what == "answer" && name == "content-length" && value == "0";
        // One of the upstream's, of another time.
        let is_given = value.contains("1999");
        if (is_given || !OF_THE_MOMENT.contains(&name.as_str())) && !is_nothing {
            add(facets, &format!("{what} {name}"), value);
        }
    }
}

/// Adds one more value of a facet.
fn add(facets: &mut Facets, name: &str, value: &str) {
    let values = facets.entry(name.to_owned()).or_default();
    if !values.is_empty() {
        values.push_str(" and ");
    }
    values.push_str(&format!("{value:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, fields: &[(&str, &str)]) -> Seen {
        let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let answer = Response { status, fields, ..Response::default() };
        Seen { answers: vec![Ok(answer)], forwarded: Vec::new(), token_reviews: Vec::new(), access_reviews: Vec::new() }
    }

    #[test]
    fn order_and_case_of_names_and_the_date_are_no_difference() {
        let go = seen(200, &[("A", "1"), ("B", "2"), ("Date", "now")]);
        let ours = seen(200, &[("b", "2"), ("a", "1"), ("date", "then")]);
        assert!(differences(&go, &ours).is_empty());
    }

    #[test]
    fn values_their_order_and_absence_are_differences() {
        let go = seen(200, &[("A", "1"), ("A", "2"), ("B", "1")]);
        let ours = seen(201, &[("A", "2"), ("A", "1")]);
        let found: Vec<_> = differences(&go, &ours).into_keys().collect();
        assert_eq!(found, ["answer a", "answer b", "status"]);
    }
}
