//! RBAC objects in manifests.
//!
//! Stricter than the API server, which drops what it does not know: a misspelt `resourceNames` would there allow all
//! names.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use rbac::{
    AggregationRule, ClusterRole, Fault, LabelSelector, Object, Operator, PolicyRule, Requirement, Role, RoleBinding, RoleRef, Step,
    Subject, Text,
};
use settings::{
    Contents, ParseError,
    yaml::{self, Field, Mapping},
};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const KINDS: [&str; 4] = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];
const LISTS: [&str; 5] = ["List", "RoleList", "ClusterRoleList", "RoleBindingList", "ClusterRoleBindingList"];

/// The RBAC objects of some files.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub(super) objects: Vec<Object>,
    /// How many objects are of other kinds.
    pub(super) skipped: usize,
    seen: HashSet<(&'static str, String, String)>,
}

impl Manifests {
    /// Reads every document of every file.
    ///
    /// # Errors
    ///
    /// A document is no Kubernetes object, or an RBAC object that the API server would not take as it is meant.
    pub(super) fn read(files: &[Contents]) -> Result<Self, ParseError> {
        let mut manifests = Self::default();
        for file in files {
            yaml::each_document(file, |document| manifests.object(&Field::root(file.path(), &document)))?;
        }
        Ok(manifests)
    }

    fn object(&mut self, object: &Field<'_>) -> Result<(), ParseError> {
        let header = object.mapping(&["apiVersion", "kind"])?;
        let required = |name| header.get(name).ok_or_else(|| object.key_error(&format!("is no Kubernetes object: it has no {name}")));
        let (version, kind) = (required("apiVersion")?, required("kind")?);
        let kind_name = kind.string()?;
        if LISTS.contains(&kind_name) {
            let list = object.mapping(&["items"])?;
            return list.get("items").map(Field::sequence).transpose()?.unwrap_or_default().iter().try_for_each(|item| self.object(item));
        }
        let Some(kind) = KINDS.iter().copied().find(|known| *known == kind_name) else {
            self.skipped += 1;
            return Ok(());
        };
        if version.string()? != API_VERSION {
            return Err(version.error(&format!("must be {API_VERSION} for a {kind}")));
        }
        let read = match kind {
            "Role" => role(object)?,
            "ClusterRole" => cluster_role(object)?,
            _ => binding(object, kind == "RoleBinding")?,
        };
        let (namespace, name) = match &read {
            Object::Role(Role { namespace, name, .. }) => (&**namespace, name),
            Object::ClusterRole(ClusterRole { name, .. }) => ("", name),
            Object::RoleBinding(RoleBinding { namespace, name, .. }) => (namespace.as_deref().unwrap_or_default(), name),
        };
        if !self.seen.insert((kind, namespace.to_owned(), name.to_string())) {
            return Err(object.key_error(&format!("is the {kind} {name} for the second time: each name may be there once")));
        }
        self.objects.push(read);
        Ok(())
    }
}

fn role(object: &Field<'_>) -> Result<Object, ParseError> {
    let fields = known(object, &["apiVersion", "kind", "metadata", "rules"])?;
    let Metadata { namespace, name, .. } = metadata(&fields)?;
    let made = Role::new(namespace, name, rules(&fields)?);
    made.map(Object::Role).map_err(|faults| at(object, &faults))
}

fn cluster_role(object: &Field<'_>) -> Result<Object, ParseError> {
    let fields = known(object, &["apiVersion", "kind", "metadata", "rules", "aggregationRule"])?;
    let Metadata { name, labels, .. } = metadata(&fields)?;
    let aggregation = fields.get("aggregationRule").map(aggregation).transpose()?;
    let made = ClusterRole::new(name, labels, rules(&fields)?, aggregation);
    made.map(Object::ClusterRole).map_err(|faults| at(object, &faults))
}

fn binding(object: &Field<'_>, in_namespace: bool) -> Result<Object, ParseError> {
    let fields = known(object, &["apiVersion", "kind", "metadata", "roleRef", "subjects"])?;
    let Metadata { namespace, name, .. } = metadata(&fields)?;
    let made = RoleBinding::new(in_namespace.then_some(namespace), name, role_ref(object, &fields)?, subjects(&fields)?);
    made.map(Object::RoleBinding).map_err(|faults| at(object, &faults))
}

struct Metadata {
    namespace: Text,
    name: Text,
    labels: BTreeMap<Text, Text>,
}

/// What else stands there decides nothing.
fn metadata(fields: &Mapping<'_>) -> Result<Metadata, ParseError> {
    let mut read = Metadata { namespace: "".into(), name: "".into(), labels: BTreeMap::new() };
    if let Some(metadata) = fields.get("metadata") {
        let metadata = metadata.mapping(&["name", "namespace", "labels"])?;
        read.name = text(&metadata, "name")?;
        read.namespace = text(&metadata, "namespace")?;
        read.labels = metadata.get("labels").map(labels).transpose()?.unwrap_or_default();
    }
    Ok(read)
}

fn labels(field: &Field<'_>) -> Result<BTreeMap<Text, Text>, ParseError> {
    let all = field.mapping(&[])?;
    all.unknown().iter().map(|(key, value)| Ok((key.text.as_str().into(), value.string()?.into()))).collect()
}

fn rules(fields: &Mapping<'_>) -> Result<Vec<PolicyRule>, ParseError> {
    list(fields, "rules", |rule| {
        let rule = known(rule, &["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"])?;
        Ok(PolicyRule {
            verbs: texts(&rule, "verbs")?,
            api_groups: texts(&rule, "apiGroups")?,
            resources: texts(&rule, "resources")?,
            resource_names: texts(&rule, "resourceNames")?,
            non_resource_urls: texts(&rule, "nonResourceURLs")?,
        })
    })
}

fn aggregation(field: &Field<'_>) -> Result<AggregationRule, ParseError> {
    let fields = known(field, &["clusterRoleSelectors"])?;
    let selectors = list(&fields, "clusterRoleSelectors", |selector| {
        let selector = known(selector, &["matchLabels", "matchExpressions"])?;
        let expressions = list(&selector, "matchExpressions", |expression| {
            let fields = known(expression, &["key", "operator", "values"])?;
            let operator = fields.get("operator").ok_or_else(|| expression.error("has no operator"))?;
            let operator = operator.string()?.parse::<Operator>().map_err(|problem| operator.error(&format!(": {problem}")))?;
            Ok(Requirement { key: text(&fields, "key")?, operator, values: texts(&fields, "values")? })
        })?;
        Ok(LabelSelector { labels: selector.get("matchLabels").map(labels).transpose()?.unwrap_or_default(), expressions })
    })?;
    Ok(AggregationRule { selectors })
}

fn role_ref(object: &Field<'_>, fields: &Mapping<'_>) -> Result<RoleRef, ParseError> {
    let field = fields.get("roleRef").ok_or_else(|| object.key_error("has no roleRef"))?;
    let fields = known(field, &["apiGroup", "kind", "name"])?;
    let made = RoleRef::new(&text(&fields, "apiGroup")?, &text(&fields, "kind")?, text(&fields, "name")?);
    made.map_err(|faults| at(field, &faults))
}

fn subjects(fields: &Mapping<'_>) -> Result<Vec<Subject>, ParseError> {
    list(fields, "subjects", |subject| {
        let fields = known(subject, &["apiGroup", "kind", "name", "namespace"])?;
        let (group, kind, namespace) = (text(&fields, "apiGroup")?, text(&fields, "kind")?, text(&fields, "namespace")?);
        Subject::new(&group, &kind, &namespace, text(&fields, "name")?).map_err(|faults| at(subject, &faults))
    })
}

/// A mapping that has no other keys.
fn known<'a>(field: &Field<'a>, keys: &[&'static str]) -> Result<Mapping<'a>, ParseError> {
    let mapping = field.mapping(keys)?;
    match mapping.unknown().first() {
        Some((_, unknown)) => Err(unknown.key_error(&format!("is unknown: what may stand here is {}", keys.join(", ")))),
        None => Ok(mapping),
    }
}

fn list<T>(fields: &Mapping<'_>, name: &str, read: impl Fn(&Field<'_>) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
    fields.get(name).map(Field::sequence).transpose()?.unwrap_or_default().iter().map(read).collect()
}

fn texts(fields: &Mapping<'_>, name: &str) -> Result<Vec<Text>, ParseError> {
    list(fields, name, |item| item.string().map(Arc::from))
}

fn text(fields: &Mapping<'_>, name: &str) -> Result<Text, ParseError> {
    Ok(fields.string(name)?.unwrap_or_default().into())
}

/// The first of these faults, at its place in the manifest, or as near to it as the manifest goes.
fn at(field: &Field<'_>, faults: &[Fault]) -> ParseError {
    let Some(Fault { place, problem }) = faults.first() else { return field.error("is refused") };
    let mut here = field.clone();
    let mut missing = String::new();
    for step in place {
        let next = match step {
            _ if !missing.is_empty() => None,
            Step::Field(name) => here.mapping(&[name]).ok().and_then(|mapping| mapping.get(name).cloned()),
            Step::Index(index) => here.sequence().ok().and_then(|items| items.get(*index).cloned()),
        };
        match (next, step) {
            (Some(next), _) => here = next,
            (None, Step::Field(name)) => missing.push_str(&format!(".{name}")),
            (None, Step::Index(index)) => missing.push_str(&format!("[{index}]")),
        }
    }
    match missing.trim_start_matches('.') {
        "" => here.error(&format!("is refused: {problem}")),
        missing => here.error(&format!("is refused: {missing}: {problem}")),
    }
}
