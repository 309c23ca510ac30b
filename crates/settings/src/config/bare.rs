use super::{ConfigFile, resource};
use crate::{
    Contents, ParseError,
    yaml::{self, Field, Value},
};

impl ConfigFile {
    /// Reads what stands below `authorization.resourceAttributes` in a configuration file, and nothing around it: a file of
    /// `--resource-attributes-file`, in the form of the Go program's first releases.
    ///
    /// # Errors
    ///
    /// It is empty, no YAML or a configuration file, or has a value of another type or a misspelt key.
    pub fn parse_bare(contents: &[Contents]) -> Result<Self, ParseError> {
        let file = contents.first().ok_or_else(|| ParseError::new("a file of attributes is needed"))?;
        let node = yaml::parse(file)?;
        let root = Field::root(file.path(), &node);
        // Then as now every request would be authorized by its path, which is not what a file of attributes is given for.
        if *root.value() == Value::Null {
            return Err(root.error("is empty: it must have the attributes, such as `resource: services`"));
        }
        if let Some(field) = root.mapping(&["authorization"])?.get("authorization") {
            return Err(field.key_error("belongs to --config-file: this file has the attributes alone, such as `resource: services`"));
        }
        let mut warnings = Vec::new();
        let resource_attributes = Some(resource::attributes(&root, None, &mut warnings)?);
        Ok(Self { resource_attributes, static_rules: Vec::new(), warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse_bare(&[Contents::new("a.yaml", text)]).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_attributes_are_those_of_a_configuration_file() {
        let attributes = "namespace: default\napiVersion: v1\nresource: services\nsubresource: proxy\nname: kube-rbac-proxy\n";
        let nested = format!("authorization:\n  resourceAttributes:\n    {}\n", attributes.trim_end().replace('\n', "\n    "));
        assert_eq!(read(attributes), ConfigFile::parse(&[Contents::new("c.yaml", nested)], &[]).map_err(|error| error.to_string()));
        assert_eq!(read("resource: services\nx: 1").expect("read").warnings, ["a.yaml:2:1: x is unknown, and without effect"]);
    }

    #[test]
    fn what_is_no_attributes_is_refused() {
        for (text, expected) in [
            ("", "a.yaml:1:1: the file is empty: it must have the attributes, such as `resource: services`"),
            ("[]", "a.yaml:1:1: the file must be a mapping, not a list"),
            (
                "authorization: {}",
                "a.yaml:1:1: authorization belongs to --config-file: this file has the attributes alone, such as `resource: services`",
            ),
            ("resourc: x", "a.yaml:1:1: resourc is unknown: did you mean `resource`?"),
            ("name: 5", "a.yaml:1:7: name must be a string, not a number: put it in quotes"),
        ] {
            assert_eq!(read(text).expect_err(text), expected);
        }
    }
}
