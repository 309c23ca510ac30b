/// What is asked for: the half of a SubjectAccessReview's `spec` that does not name the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attributes {
    /// A verb on a Kubernetes resource.
    Resource(ResourceAttributes),
    /// A verb on a URL path that is no resource.
    NonResource {
        /// Lower case, as in `nonResourceURLs` rules.
        verb: String,
        /// The decoded path.
        path: String,
    },
}

/// The fields of `authorization.k8s.io/v1` `ResourceAttributes`; an empty string means "not given", as there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceAttributes {
    /// Empty: all namespaces, or a resource outside namespaces.
    pub namespace: String,
    /// `get`, `create`, ... or `*`.
    pub verb: String,
    /// Empty: the core group.
    pub group: String,
    /// Empty: any version.
    pub version: String,
    /// Plural, lower case.
    pub resource: String,
    /// Empty: the resource itself.
    pub subresource: String,
    /// Empty: all names.
    pub name: String,
}

impl ResourceAttributes {
    /// All fields, under the names that Kubernetes has for them.
    pub fn fields(&self) -> [(&'static str, &String); 7] {
        let Self { namespace, verb, group, version, resource, subresource, name } = self;
        [
            ("namespace", namespace),
            ("verb", verb),
            ("group", group),
            ("version", version),
            ("resource", resource),
            ("subresource", subresource),
            ("name", name),
        ]
    }
}

impl Attributes {
    /// The verb of either kind.
    pub fn verb(&self) -> &str {
        match self {
            Self::Resource(attributes) => &attributes.verb,
            Self::NonResource { verb, .. } => verb,
        }
    }

    /// The resource and subresource; both empty for a path.
    pub fn resource(&self) -> (&str, &str) {
        match self {
            Self::Resource(attributes) => (&attributes.resource, &attributes.subresource),
            Self::NonResource { .. } => ("", ""),
        }
    }
}
