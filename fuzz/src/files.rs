use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use auth::{GateSettings, Method, Mode, Policy, RequestGate};
use http::{HeaderValue, Request, header};
use observe::Metrics;
use request::{CanonicalRequest, Decision, Gate, NoForm, OddPaths, Peer, User};
use serde_json::{Map, Value, json};
use settings::{ClientCa, ConfigFile, Contents, PathLists, ServingPair, StaticRule, TokenAuthFile, Watched, pem as blocks, yaml as tree};

use super::{block_on, split_once};

/// A config file: what is accepted means the same when it is written anew, and has nothing in a rule that is not known.
pub fn config(data: &[u8]) -> bool {
    let Ok(config) = ConfigFile::parse(&contents(data), &[]) else { return false };
    if let Ok(Value::Object(file)) = serde_json::from_slice(data) {
        let authorization = field(&file, "authorization").expect("what has no authorization is refused");
        for rule in authorization.as_object().and_then(|given| field(given, "static")?.as_array()).into_iter().flatten() {
            const KNOWN: &str = " user verb namespace apigroup resource subresource name resourcerequest path ";
            let keys = rule.as_object().expect("a rule is a mapping").keys();
            assert!(keys.into_iter().all(|key| KNOWN.contains(&format!(" {} ", key.to_lowercase()))), "{rule}");
        }
    }
    let Some(written) = written(&config) else { return false };
    let again = ConfigFile::parse(&contents(written.as_bytes()), &[]).unwrap_or_else(|error| panic!("{written}: {error}"));
    let rules = |config: &ConfigFile| -> Vec<StaticRule> {
        config.static_rules.iter().map(|rule| StaticRule { place: String::new(), ..rule.clone() }).collect()
    };
    assert_eq!((&again.resource_attributes, rules(&again)), (&config.resource_attributes, rules(&config)), "{written}");
    true
}

/// A file of tokens: a token is its user's and nobody else's, and no other text is one.
pub fn token_file(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(file) = TokenAuthFile::parse(&contents(data)) else { return false };
    assert!(file.users().all(|user| !user.name.is_empty()));
    assert_eq!((file.user(""), file.user(text)), (None, None));
    if text.contains(['"', '\r']) {
        return true;
    }
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split(',').collect();
        let groups = columns.get(3).filter(|groups| !groups.is_empty()).map(|group| vec![(*group).to_owned()]);
        let user = User { name: columns[1].into(), uid: columns[2].into(), groups: groups.unwrap_or_default(), ..User::default() };
        assert_eq!(file.user(columns[0]), Some(&user));
        let (longer, other) = (format!("{} ", columns[0]), columns[0].to_uppercase());
        let is_other = |token: &str| text.split('\n').all(|line| line.split(',').next() != Some(token));
        assert!([longer, other].iter().filter(|token| is_other(token)).all(|token| file.user(token).is_none()));
    }
    file.users().next().is_some()
}

/// Manifests of roles and bindings: who is named nowhere may do nothing, unless it is said that everybody may.
pub fn manifests(data: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(&contents(data)) else { return false };
    let is_open = policy.warnings.iter().any(|warning| warning.contains("to everybody"));
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    // No file names itself.
    let nobody = format!("nobody-{:x}", hasher.finish());
    let tokens = TokenAuthFile::parse(&contents(format!("token,{nobody},").as_bytes())).expect("a line");
    let gate = RequestGate::new(GateSettings {
        methods: vec![Method::TokenFile(Watched::fixed(tokens))],
        modes: vec![Mode::Rbac(Watched::fixed(policy))],
        paths: PathLists::default(),
        odd_paths: OddPaths::default(),
        config: Watched::fixed(ConfigFile::default()),
        identity: None,
        compat_api_errors: false,
        metrics: Metrics::new("fuzz", "0"),
    });
    let gate = gate.expect("random bytes");
    for path in ["/", "/metrics", "/api/v1/pods"] {
        let request = Request::get(path).header(header::HOST, "h").header(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let request = CanonicalRequest::new(head, gate.reads()).expect("a plain request");
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), chain: Arc::default(), secure: true };
        let decision = block_on(gate.decide(&request, &peer, &mut NoForm));
        assert!(is_open || matches!(decision, Decision::Refuse(_)), "{nobody} may GET {path}: {decision:?}");
    }
    true
}

/// YAML: JSON in it is read as JSON, a file of one document alike by both readers, and every part has a place in it.
pub fn yaml(data: &[u8]) -> bool {
    let files = contents(data);
    let Ok(node) = tree::parse(&files[0]) else { return false };
    if let Ok(json) = serde_json::from_slice::<Value>(data) {
        assert!(is_same(&node.value, &json), "{node:?} is not {json}");
    }
    let mut documents = Vec::new();
    let result = tree::each_document(&files[0], |document| {
        documents.push(document);
        Ok(())
    });
    result.expect("what is one document is some documents");
    assert!(documents.len() <= 1 && documents.iter().all(|document| document.value == node.value), "{documents:?} is not {node:?}");
    let lines = data.split(|byte| *byte == b'\n' || *byte == b'\r').count() as u64;
    assert!(node.location.line >= 1 && node.location.line <= lines.max(1), "{:?} of {lines} lines", node.location);
    true
}

/// A certificate and its key, one behind the other: what is accepted fits together, and no error repeats a key.
pub fn pem(data: &[u8]) -> bool {
    let file = &contents(data)[0];
    let count = |what: &str| data.windows(what.len()).filter(|window| *window == what.as_bytes()).count();
    match blocks::certificates(file) {
        Ok(found) => assert!(!found.is_empty() && found.len() <= count("-----BEGIN CERTIFICATE-----")),
        Err(error) => says_nothing_of(data, &error.to_string()),
    }
    match blocks::private_key(file) {
        Ok(_) => assert!(count("PRIVATE KEY-----") > 0),
        Err(error) => says_nothing_of(data, &error.to_string()),
    }
    if let Ok(authorities) = ClientCa::parse(&contents(data)) {
        assert!(authorities.anchors_at(0).count() <= count("-----BEGIN CERTIFICATE-----"));
    }
    let (certificate, key) = split_once(data, b"\n\n");
    let pair = [Contents::new("tls.crt", certificate), Contents::new("tls.key", key)];
    match ServingPair::parse(&pair) {
        Ok(pair) => {
            let key = pair.certified.key.public_key().expect("a key has a public half");
            let certificate: &[u8] = &pair.certified.cert[0];
            assert!(certificate.windows(key.len()).any(|window| window == key.as_ref()), "the key is another certificate's");
            true
        }
        Err(error) => {
            says_nothing_of(key, &error.to_string());
            false
        }
    }
}

fn says_nothing_of(key: &[u8], error: &str) {
    let is_secret = |line: &&[u8]| line.len() >= 16 && !line.contains(&b' ');
    let lines = key.split(|byte| *byte == b'\n').filter(is_secret);
    for line in lines {
        assert!(!error.as_bytes().windows(line.len()).any(|window| window == line), "the error has a line of the file: {error}");
    }
}

fn contents(data: &[u8]) -> [Contents; 1] {
    [Contents::new("file", data)]
}

/// The value of a key in any case.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The config as JSON, where it can be written: text that looks like a template is a template when it is read again.
fn written(config: &ConfigFile) -> Option<String> {
    let mut authorization = json!({"static": config.static_rules.iter().map(rule).collect::<Vec<_>>()});
    if let Some(given) = &config.resource_attributes {
        if serde_json::to_string(&format!("{:?}", given.attributes("", ""))).ok()?.contains("{{") {
            return None;
        }
        let filled = given.attributes("", if given.rewrites.is_some() { "{{ .Value }}" } else { "" });
        authorization["resourceAttributes"] = json!({
            "namespace": filled.namespace, "apiGroup": filled.group, "apiVersion": filled.version, "resource": filled.resource,
            "subresource": filled.subresource, "name": filled.name, "verb": given.verb,
        });
        if let Some(names) = &given.rewrites {
            let by = |name: Option<&str>| name.map_or(Value::Null, |name| json!({"name": name}));
            authorization["rewrites"] = json!({"byQueryParameter": by(names.parameter.as_deref()), "byHttpHeader": by(names.header.as_ref().map(|name| name.as_str()))});
        }
    }
    Some(json!({ "authorization": authorization }).to_string())
}

fn rule(rule: &StaticRule) -> Value {
    let mut written = json!({
        "user": {"name": rule.user, "groups": rule.groups}, "verb": rule.verb, "namespace": rule.namespace, "apiGroup": rule.api_group,
        "resource": rule.resource, "subresource": rule.subresource, "name": rule.name, "resourceRequest": rule.path.is_empty(),
    });
    if !rule.path.is_empty() {
        written["path"] = rule.path.clone().into();
    }
    written
}

/// Numbers have many spellings, and their own are not kept.
fn is_same(node: &tree::Value, json: &Value) -> bool {
    match (node, json) {
        (tree::Value::Null, Value::Null) | (tree::Value::Number(_), Value::Number(_)) => true,
        (tree::Value::Bool(node), Value::Bool(json)) => node == json,
        (tree::Value::String(node), Value::String(json)) => node == json,
        (tree::Value::Sequence(nodes), Value::Array(items)) => {
            nodes.len() == items.len() && nodes.iter().zip(items).all(|(node, item)| is_same(&node.value, item))
        }
        (tree::Value::Mapping(nodes), Value::Object(fields)) => {
            nodes.len() == fields.len()
                && nodes.iter().all(|(key, node)| fields.get(&key.text).is_some_and(|field| is_same(&node.value, field)))
        }
        _ => false,
    }
}
