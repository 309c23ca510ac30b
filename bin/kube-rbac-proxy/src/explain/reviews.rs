use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::ExitCode,
};

use auth::{Judgement, RequestGate};
use request::{Attributes, ResourceAttributes, User};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use settings::{
    Contents,
    yaml::{self, Node},
};

/// `authorization.k8s.io/v1` SubjectAccessReview, as it is read: what is not known in it is repeated and not looked at.
#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    spec: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec<'a> {
    #[serde(default, borrow)]
    user: Cow<'a, str>,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
    resource_attributes: Option<Resource>,
    non_resource_attributes: Option<NonResource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Resource {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct NonResource {
    path: String,
    verb: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: &'a RawValue,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    denied: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    evaluation_error: &'a str,
}

/// Answers each review of a file, or of standard input for `-`, with a line of JSON.
pub(super) async fn answer(gate: &RequestGate, source: &str) -> Result<ExitCode, String> {
    let unreadable = |why| format!("--reviews: {source}: cannot be read: {why}");
    let mut text = open(source).map_err(unreadable)?;
    let mut out = BufWriter::new(io::stdout().lock());
    // A line of JSON begins with a brace, and a YAML document hardly does.
    match text.fill_buf().map_err(unreadable)?.trim_ascii_start().starts_with(b"{") {
        true => {
            for (index, line) in text.lines().enumerate() {
                let line = line.map_err(unreadable)?;
                if !line.trim().is_empty() {
                    one(gate, &line, &mut out).await.map_err(|why| format!("--reviews: {source}:{}: {why}", index + 1))?;
                }
            }
        }
        false => {
            let mut bytes = Vec::new();
            text.read_to_end(&mut bytes).map_err(unreadable)?;
            let mut reviews = Vec::new();
            let read = yaml::each_document(&Contents::new(source, bytes), |document| {
                reviews.push((document.location.line, json(&document).to_string()));
                Ok(())
            });
            read.map_err(|why| format!("--reviews: {why}"))?;
            for (line, review) in reviews {
                one(gate, &review, &mut out).await.map_err(|why| format!("--reviews: {source}:{line}: {why}"))?;
            }
        }
    }
    out.flush().map_err(|why| format!("standard output: {why}"))?;
    Ok(ExitCode::SUCCESS)
}

async fn one(gate: &RequestGate, text: &str, out: &mut impl Write) -> Result<(), String> {
    let review: Review<'_> = serde_json::from_str(text).map_err(|why| format!("it is no SubjectAccessReview with a spec: {why}"))?;
    let spec: Spec<'_> = serde_json::from_str(review.spec.get()).map_err(|why| format!("its spec is none: {why}"))?;
    let (user, asked) = spec.question()?;
    let Judgement { allowed, denied, reason, error } = gate.judge(&user, &asked).await;
    let status = Status { allowed, denied, reason: &reason, evaluation_error: &error };
    let answer = Answer { api_version: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec: review.spec, status };
    serde_json::to_writer(&mut *out, &answer)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(|why| format!("standard output: {why}"))
}

impl Spec<'_> {
    /// What kube-apiserver makes of it, which refuses a spec of both kinds of attributes, or of none, or about nobody.
    fn question(self) -> Result<(User, Attributes), String> {
        let Self { user, uid, groups, extra, resource_attributes, non_resource_attributes } = self;
        let asked = match (resource_attributes, non_resource_attributes) {
            (Some(Resource { namespace, verb, group, version, resource, subresource, name }), None) => {
                Attributes::Resource(ResourceAttributes { namespace, verb, group, version, resource, subresource, name })
            }
            (None, Some(NonResource { path, verb })) => Attributes::NonResource { verb, path },
            _ => return Err("its spec must have either resourceAttributes or nonResourceAttributes".to_owned()),
        };
        if user.is_empty() && groups.is_empty() {
            return Err("its spec must name a user or a group".to_owned());
        }
        Ok((User { name: user.into_owned(), uid, groups, extra }, asked))
    }
}

fn open(source: &str) -> io::Result<Box<dyn BufRead>> {
    match source {
        "-" => Ok(Box::new(BufReader::new(io::stdin()))),
        path => Ok(Box::new(BufReader::new(File::open(path)?))),
    }
}

fn json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Bool(value) => Value::Bool(*value),
        yaml::Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        yaml::Value::String(text) => Value::String(text.clone()),
        yaml::Value::Sequence(nodes) => Value::Array(nodes.iter().map(json).collect()),
        yaml::Value::Mapping(entries) => Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect()),
    }
}
