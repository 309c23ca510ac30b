use go_compat::{Template, quote};
use http::HeaderName;
use request::{ResourceAttributes, ValueNames};

use super::known;
use crate::{
    ParseError,
    yaml::{Field, Mapping},
};

/// `authorization.resourceAttributes`, with what `authorization.rewrites` makes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributesConfig {
    /// The verb for all requests; `None`: the one of each request's method.
    pub verb: Option<String>,
    /// Where requests name the values that the attributes are filled with, one check for each; `None`: there is one check,
    /// and the attributes are as in the file.
    pub rewrites: Option<ValueNames>,
    /// Of the namespace, group, version, resource, subresource and name.
    templates: [Template; 6],
}

/// Headers that this program writes, takes away or joins: what is decided by must be what arrives.
const CHANGED: [&str; 7] = ["content-length", "cookie", "expect", "forwarded", "host", "sec-websocket-protocol", "x-real-ip"];
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authenticate", "proxy-authorization"];
const OF_A_CONNECTION: [&str; 8] =
    ["connection", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
const CHANGED_PREFIXES: [&str; 4] = ["impersonate-", "x-forwarded-", "x-http-method", "x-method-override"];

impl ResourceAttributesConfig {
    /// The attributes for one value, which only `rewrites` put into them.
    pub fn attributes(&self, verb: &str, value: &str) -> ResourceAttributes {
        let verb = self.verb.as_deref().unwrap_or(verb).to_owned();
        let [namespace, group, version, resource, subresource, name] = self.templates.each_ref().map(|template| template.fill(value));
        ResourceAttributes { namespace, verb, group, version, resource, subresource, name }
    }
}

/// Reads `resourceAttributes` and `rewrites`, which is nothing without them. `managed`: further headers that do not pass.
pub(super) fn read(
    authorization: &Mapping<'_>,
    managed: &[HeaderName],
    warnings: &mut Vec<String>,
) -> Result<Option<ResourceAttributesConfig>, ParseError> {
    let rewrites = authorization.get("rewrites").map(|field| Ok::<_, ParseError>((field, names(field, managed, warnings)?))).transpose()?;
    let Some(field) = authorization.get("resourceAttributes") else {
        let without_effect = |(field, _): (&Field<'_>, _)| field.key_error("is without effect: it needs `resourceAttributes`").to_string();
        warnings.extend(rewrites.map(without_effect));
        return Ok(None);
    };
    let given = attributes(field, rewrites.as_ref().map(|(_, names)| names.clone()), warnings)?;
    if let Some((field, names)) = rewrites {
        if names == ValueNames::default() {
            let what = "would refuse every request: it must have byQueryParameter or byHttpHeader, each with a name";
            return Err(field.key_error(what));
        }
        if !given.templates.iter().any(Template::has_value) {
            warnings
                .push(field.key_error("asks for a value that no attribute of `resourceAttributes` has: write {{ .Value }}").to_string());
        }
    }
    Ok(Some(given))
}

/// Reads the attributes alone; they are templates where there are rewrites.
pub(super) fn attributes(
    field: &Field<'_>,
    rewrites: Option<ValueNames>,
    warnings: &mut Vec<String>,
) -> Result<ResourceAttributesConfig, ParseError> {
    const KNOWN: [&str; 7] = ["namespace", "apiGroup", "apiVersion", "resource", "subresource", "name", "verb"];
    let given = known(field, &KNOWN, warnings)?;
    for name in KNOWN {
        if let Some(field) = given.get(name)
            && field.string()?.contains("{{")
            && (rewrites.is_none() || name == "verb")
        {
            let why = if name == "verb" { "a verb is no template" } else { "without `rewrites` no template is filled in" };
            warnings.push(field.error(&format!("is sent as it is: {why}")).to_string());
        }
    }
    let template = |name| {
        let text = given.string(name)?.unwrap_or_default();
        let parsed = if rewrites.is_some() { Template::parse(text) } else { Ok(Template::literal(text)) };
        parsed.map_err(|why| given.get(name).unwrap_or(field).error(&why.to_string()).because(why))
    };
    let verb = given.get("verb").filter(|_| given.string("verb").is_ok_and(|verb| verb != Some("")));
    if let Some(verb) = verb {
        warnings.push(verb.key_error("stands for the verb of every request's method, which the Go kube-rbac-proxy ignores").to_string());
    }
    let verb = verb.map(Field::string).transpose()?.map(str::to_owned);
    let (namespace, group, version) = (template("namespace")?, template("apiGroup")?, template("apiVersion")?);
    let (resource, subresource, name) = (template("resource")?, template("subresource")?, template("name")?);
    Ok(ResourceAttributesConfig { verb, templates: [namespace, group, version, resource, subresource, name], rewrites })
}

/// What `rewrites` names. A name that is missing would be a check that is missing.
fn names(field: &Field<'_>, managed: &[HeaderName], warnings: &mut Vec<String>) -> Result<ValueNames, ParseError> {
    let given = known(field, &["byQueryParameter", "byHttpHeader"], warnings)?;
    let mut name = |of: &str| {
        let Some(field) = given.get(of) else { return Ok(None) };
        let given = known(field, &["name"], warnings)?;
        match given.string("name")? {
            None | Some("") => Err(field.key_error("must have a name")),
            Some(name) => Ok(Some((given.get("name").unwrap_or(field).clone(), name))),
        }
    };
    let parameter = name("byQueryParameter")?.map(|(_, name)| name.to_owned());
    let header = name("byHttpHeader")?.map(|(field, name)| header(&field, name, managed)).transpose()?;
    Ok(ValueNames { parameter, header })
}

fn header(field: &Field<'_>, name: &str, managed: &[HeaderName]) -> Result<HeaderName, ParseError> {
    let Ok(header) = HeaderName::try_from(name) else {
        return Err(field.error(&format!("must be the name of a header, with letters, digits and dashes, not {}", quote(name))));
    };
    let fold = |name: &str| name.replace('_', "-");
    let folded = fold(header.as_str());
    let mut changed = CHANGED.into_iter().chain(CREDENTIALS).chain(OF_A_CONNECTION).chain(managed.iter().map(HeaderName::as_str));
    match changed.any(|name| fold(name) == folded) || CHANGED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
        true => Err(field.error(&format!("must be a header that reaches the upstream as it came, and {} does not", quote(name)))),
        false => Ok(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigFile, Contents};

    const MANAGED: [HeaderName; 1] = [HeaderName::from_static("x-remote-user")];

    /// The flow mapping below `authorization`.
    fn read(text: &str) -> Result<ConfigFile, String> {
        let text = format!("authorization: {text}\n");
        ConfigFile::parse(&[Contents::new("c.yaml", text)], &MANAGED).map_err(|error| error.to_string())
    }

    fn resource(text: &str) -> ResourceAttributesConfig {
        read(text).unwrap_or_else(|error| panic!("{text}: {error}")).resource_attributes.expect("attributes")
    }

    #[test]
    fn attributes_are_filled_with_a_value() {
        let given = resource(
            "{resourceAttributes: {namespace: '{{ .Value }}', apiGroup: apps, apiVersion: v1, resource: pods, subresource: 'x{{- \
             .Value -}}y', name: 'a {{/* b */ -}} c'}, rewrites: {byQueryParameter: {name: ns}, BYHTTPHEADER: {Name: X-Tenant}}}",
        );
        let names = ValueNames { parameter: Some("ns".to_owned()), header: Some(HeaderName::from_static("x-tenant")) };
        assert_eq!(given.rewrites, Some(names));
        let text = str::to_owned;
        let expected = ResourceAttributes {
            namespace: text("{{ .Value }}"),
            verb: text("get"),
            group: text("apps"),
            version: text("v1"),
            resource: text("pods"),
            subresource: text("x{{ .Value }}y"),
            name: text("a c"),
        };
        assert_eq!(given.attributes("get", "{{ .Value }}"), expected, "a value is no template");
    }

    #[test]
    fn what_is_not_meant_is_a_warning() {
        const BY_PARAMETER: &str = "rewrites: {byQueryParameter: {name: ns}}";
        for (text, warning) in [
            ("{rewrites: {}}", "c.yaml:1:17: authorization.rewrites is without effect: it needs `resourceAttributes`"),
            (
                "{rewrites: {byHttpHeader: {name: x}}}",
                "c.yaml:1:17: authorization.rewrites is without effect: it needs `resourceAttributes`",
            ),
            (
                &format!("{{{BY_PARAMETER}, resourceAttributes: {{name: x}}}}"),
                "c.yaml:1:17: authorization.rewrites asks for a value that no attribute of `resourceAttributes` has: write {{ .Value }}",
            ),
            (
                &format!("{{resourceAttributes: {{name: '{{{{.Value}}}}'}}, {}}}", BY_PARAMETER.replace("ns}", "ns, of: x}")),
                "c.yaml:1:99: authorization.rewrites.byQueryParameter.of is unknown, and without effect",
            ),
            (
                &format!("{{resourceAttributes: {{name: '{{{{.Value}}}}'}}, {}}}", BY_PARAMETER.replace("}}", "}, other: x}")),
                "c.yaml:1:100: authorization.rewrites.other is unknown, and without effect",
            ),
        ] {
            assert_eq!(read(text).unwrap_or_else(|error| panic!("{text}: {error}")).warnings, [warning], "{text}");
        }
        let verb = format!("{{resourceAttributes: {{name: '{{{{.Value}}}}', verb: '{{{{.Value}}}}'}}, {BY_PARAMETER}}}");
        let config = read(&verb).expect("read");
        assert!(config.warnings[0].ends_with("verb is sent as it is: a verb is no template"), "{:?}", config.warnings);
        assert_eq!(config.resource_attributes.expect("attributes").attributes("get", "x").verb, "{{.Value}}");
    }

    #[test]
    fn a_check_that_would_be_missing_is_refused() {
        for (rewrites, expected) in [
            ("{}", "1:59: authorization.rewrites would refuse every request: it must have byQueryParameter or byHttpHeader, each"),
            ("[]", "1:69: authorization.rewrites must be a mapping, not a list"),
            ("{byQueryParameter: }", "1:59: authorization.rewrites would refuse every request"),
            ("{byQueryParameter: {}}", "1:70: authorization.rewrites.byQueryParameter must have a name"),
            ("{byQueryParameter: {name: ''}}", "1:70: authorization.rewrites.byQueryParameter must have a name"),
            ("{byQueryParameter: ns}", "1:88: authorization.rewrites.byQueryParameter must be a mapping, not a string"),
            ("{byQueryParameter: {name: [ns]}}", "1:95: authorization.rewrites.byQueryParameter.name must be a string, not a list"),
            ("{byQueryParameter: {nam: ns}}", "1:89: authorization.rewrites.byQueryParameter.nam is unknown: did you mean `name`?"),
            (
                "{byQueryParameters: {name: ns}}",
                "1:70: authorization.rewrites.byQueryParameters is unknown: did you mean `byQueryParameter`?",
            ),
            ("{byHttpHeaders: {name: x}}", "1:70: authorization.rewrites.byHttpHeaders is unknown: did you mean `byHttpHeader`?"),
            ("{byHttpHeader: {name: 'X Tenant'}}", "1:91: authorization.rewrites.byHttpHeader.name must be the name of a header"),
            ("{byHttpHeader: {name: host}}", "1:91: authorization.rewrites.byHttpHeader.name must be a header that reaches the upstream"),
            ("{byHttpHeader: {name: Authorization}}", "reaches the upstream as it came, and \"Authorization\" does not"),
            ("{byHttpHeader: {name: Impersonate-User}}", "reaches the upstream as it came"),
            ("{byHttpHeader: {name: X-Forwarded-For}}", "reaches the upstream as it came"),
            ("{byHttpHeader: {name: X-HTTP-Method-Override}}", "reaches the upstream as it came"),
            ("{byHttpHeader: {name: X_Remote-User}}", "reaches the upstream as it came, and \"X_Remote-User\" does not"),
        ] {
            let text = format!("{{resourceAttributes: {{name: '{{{{.Value}}}}'}}, rewrites: {rewrites}}}");
            let error = read(&text).expect_err(rewrites);
            assert!(error.contains(expected), "{rewrites}: {error}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_where_it_is() {
        for (template, expected) in [
            ("{{ .Values }}", "c.yaml:1:44: authorization.resourceAttributes.name has {{ .Values }}, and only {{ .Value }} is supported"),
            ("{{ .Value", "c.yaml:1:44: authorization.resourceAttributes.name has `{{` without `}}`"),
            ("{{/* x }}", "c.yaml:1:44: authorization.resourceAttributes.name has a comment that does not end with `*/}}`"),
        ] {
            let error = read(&format!("{{resourceAttributes: {{name: '{template}'}}, rewrites: {{byQueryParameter: {{name: ns}}}}}}"));
            assert_eq!(error.expect_err(template), expected);
        }
    }
}
