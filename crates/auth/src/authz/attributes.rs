use http::Method;
use request::{Attributes, CanonicalRequest, Reason, Refusal, ResourceAttributes};

/// What a request asks for: the configured resource, or else its decoded path. A resource without a verb takes the
/// method's.
///
/// # Errors
///
/// The path is asked about and was never read, which is this program's fault.
pub(crate) fn attributes(request: &CanonicalRequest, resource: Option<&ResourceAttributes>) -> Result<Attributes, Refusal> {
    let verb = verb(request.method());
    match resource {
        Some(resource) if resource.verb.is_empty() => {
            Ok(Attributes::Resource(ResourceAttributes { verb: verb.to_owned(), ..resource.clone() }))
        }
        Some(resource) => Ok(Attributes::Resource(resource.clone())),
        None => match request.path() {
            Some(path) => Ok(Attributes::NonResource { verb: verb.to_owned(), path: path.decoded().to_owned() }),
            None => Err(Refusal::because(Reason::Internal, "the path is asked about and was not read")),
        },
    }
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
    use request::Reads;

    use super::*;

    fn request(method: &str, target: &str) -> CanonicalRequest {
        let (head, ()) = Request::builder().method(method).uri(target).header("host", "h").body(()).expect("a request").into_parts();
        CanonicalRequest::new(head, &Reads { path: true }).expect("accepted")
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
            assert_eq!(attributes(&request(method, "/a%20b?x=y"), None).expect("attributes"), expected, "{method}");
        }
    }

    #[test]
    fn a_resource_is_literal_and_may_have_a_verb() {
        let resource = ResourceAttributes { namespace: "{{ .Value }}".into(), resource: "services".into(), ..Default::default() };
        let asked = attributes(&request("GET", "/"), Some(&resource)).expect("attributes");
        assert_eq!(asked, Attributes::Resource(ResourceAttributes { verb: "get".into(), ..resource.clone() }));
        let resource = ResourceAttributes { verb: "watch".into(), ..resource };
        assert_eq!(attributes(&request("GET", "/"), Some(&resource)).expect("attributes"), Attributes::Resource(resource));
    }
}
