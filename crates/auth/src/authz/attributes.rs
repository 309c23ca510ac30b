use http::Method;
use request::{Attributes, CanonicalRequest, Reason, Refusal};
use settings::ResourceAttributesConfig;

/// What a request asks for, all of which must be allowed, in this order: the configured resource, once for each of the
/// request's values where there are rewrites, or else its path, once for each reading. A resource without a verb takes the method's.
///
/// # Errors
///
/// The request has no value, or the path is asked about and was never read, which is this program's fault.
pub(crate) fn attributes(request: &CanonicalRequest, resource: Option<&ResourceAttributesConfig>) -> Result<Vec<Attributes>, Refusal> {
    let verb = verb(request.method());
    let Some(resource) = resource else {
        return match request.path() {
            Some(path) => {
                Ok(path.readings().map(|path| Attributes::NonResource { verb: verb.to_owned(), path: path.to_owned() }).collect())
            }
            None => Err(Refusal::because(Reason::Internal, "the path is asked about and was not read")),
        };
    };
    match (&resource.rewrites, request.values()) {
        (None, _) => Ok(vec![Attributes::Resource(resource.attributes(verb, ""))]),
        (Some(_), []) => Err(Refusal::new(Reason::NoValue)),
        (Some(_), values) => Ok(attributes_of_values(request, resource, values)),
    }
}

/// The configured resource, once for each value.
pub(crate) fn attributes_of_values(request: &CanonicalRequest, resource: &ResourceAttributesConfig, values: &[String]) -> Vec<Attributes> {
    let verb = verb(request.method());
    values.iter().map(|value| Attributes::Resource(resource.attributes(verb, value))).collect()
}

/// The Go program's table. What is not in it needs a rule with `*`.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "*",
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use request::{Reads, ResourceAttributes, ValueNames};
    use settings::{ConfigFile, Contents};

    use super::*;

    fn request(method: &str, target: &str) -> CanonicalRequest {
        let (head, ()) = Request::builder().method(method).uri(target).header("host", "h").body(()).expect("a request").into_parts();
        let values = ValueNames { parameter: Some("ns".to_owned()), header: None };
        CanonicalRequest::new(head, &Reads { path: true, values, ..Reads::default() }).expect("accepted")
    }

    #[test]
    fn the_verb_is_the_methods_and_the_path_is_decoded() {
        for (method, verb) in [
            ("POST", "create"),
            ("GET", "get"),
            ("PUT", "update"),
            ("PATCH", "patch"),
            ("DELETE", "delete"),
            ("HEAD", "*"),
            ("OPTIONS", "*"),
            ("TRACE", "*"),
            ("PROPFIND", "*"),
        ] {
            let expected = Attributes::NonResource { verb: verb.into(), path: "/a b".into() };
            assert_eq!(attributes(&request(method, "/a%20b?ns=y"), None).expect("attributes"), [expected], "{method}");
        }
    }

    /// What is below `authorization`.
    fn asked(config: &str, request: &CanonicalRequest) -> Result<Vec<ResourceAttributes>, Reason> {
        let config = ConfigFile::parse(&[Contents::new("c", format!("authorization: {config}"))], &[]).expect("a configuration");
        let asked = attributes(request, config.resource_attributes.as_ref()).map_err(|refusal| refusal.reason())?;
        let resource = |asked| if let Attributes::Resource(resource) = asked { resource } else { panic!("{asked:?}") };
        Ok(asked.into_iter().map(resource).collect())
    }

    #[test]
    fn a_resource_is_literal_and_may_have_a_verb() {
        let literal = |verb: &str| ResourceAttributes {
            verb: verb.into(),
            namespace: "{{ .Value }}".into(),
            resource: "services".into(),
            ..Default::default()
        };
        let config = |more: &str| format!("{{resourceAttributes: {{namespace: '{{{{ .Value }}}}', resource: services{more}}}}}");
        assert_eq!(asked(&config(""), &request("GET", "/?ns=a&ns=b")), Ok(vec![literal("get")]));
        assert_eq!(asked(&config(", verb: watch"), &request("GET", "/")), Ok(vec![literal("watch")]));
    }

    #[test]
    fn rewrites_ask_once_for_each_value() {
        let config = "{rewrites: {byQueryParameter: {name: ns}}, resourceAttributes: {namespace: '{{ .Value }}', resource: pods}}";
        let of = |namespace: &str| ResourceAttributes {
            verb: "create".into(),
            namespace: namespace.into(),
            resource: "pods".into(),
            ..Default::default()
        };
        assert_eq!(asked(config, &request("POST", "/?ns=b&x=y&ns=&ns=a")), Ok(vec![of("b"), of(""), of("a")]));
        assert_eq!(asked(config, &request("POST", "/?x=y")), Err(Reason::NoValue));
    }
}
