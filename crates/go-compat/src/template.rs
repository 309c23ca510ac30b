use thiserror::Error;

/// The part of Go's `text/template` that authorization attributes need: text, `{{ .Value }}` and comments, with the forms
/// that trim white space.
///
/// Everything else that Go has, pipelines and functions, is refused when it is parsed: in Go what goes wrong in it shows
/// at a request, as a panic or as an empty attribute, which asks for more than was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value,
}

/// Why a text is no such template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// An action that Go may have and this has not.
    #[error("has {{{{{0}}}}}, and only {{{{ .Value }}}} is supported")]
    Action(String),
    /// `{{` without `}}`.
    #[error("has `{{{{` without `}}}}`")]
    Unclosed,
    /// A comment does not end right before `}}`, or not at all.
    #[error("has a comment that does not end with `*/}}}}`")]
    Comment,
}

/// What Go's lexer takes for white space.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

impl Template {
    /// A text that stands for itself, whatever is in it.
    pub fn literal(text: &str) -> Self {
        let mut template = Self::default();
        template.push_text(text);
        template
    }

    /// Reads a template.
    ///
    /// # Errors
    ///
    /// It is none, or one that only Go has.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut rest = text;
        let mut trims = false;
        while let Some((before, after)) = rest.split_once("{{") {
            let before = if trims { before.trim_start_matches(SPACES) } else { before };
            let inside = after.strip_prefix('-').filter(|inside| inside.starts_with(SPACES));
            template.push_text(if inside.is_some() { before.trim_end_matches(SPACES) } else { before });
            // The marker is a minus and one white space.
            let inside = inside.and_then(|inside| inside.get(1..)).unwrap_or(after);
            (trims, rest) = match inside.strip_prefix("/*") {
                Some(comment) => after_comment(comment)?,
                None => {
                    template.0.push(Part::Value);
                    after_value(inside)?
                }
            };
        }
        template.push_text(if trims { rest.trim_start_matches(SPACES) } else { rest });
        Ok(template)
    }

    /// Whether the value is in it.
    pub fn has_value(&self) -> bool {
        self.0.contains(&Part::Value)
    }

    /// The text with a value in it, as it is.
    pub fn fill(&self, value: &str) -> String {
        self.0.iter().map(|part| if let Part::Text(text) = part { text } else { value }).collect()
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push(Part::Text(text.to_owned()));
        }
    }
}

/// What follows the action, and whether its white space is trimmed.
fn after_value(inside: &str) -> Result<(bool, &str), TemplateError> {
    let (action, rest) = inside.split_once("}}").ok_or(TemplateError::Unclosed)?;
    let (trims, name) = match action.strip_suffix('-') {
        Some(name) if name.ends_with(SPACES) => (true, name),
        _ => (false, action),
    };
    match name.trim_matches(SPACES) {
        ".Value" => Ok((trims, rest)),
        _ => Err(TemplateError::Action(action.escape_debug().to_string())),
    }
}

fn after_comment(comment: &str) -> Result<(bool, &str), TemplateError> {
    let (_, end) = comment.split_once("*/").ok_or(TemplateError::Comment)?;
    let trimmed = end.strip_prefix(SPACES).and_then(|end| end.strip_prefix("-}}"));
    trimmed.map(|rest| (true, rest)).or_else(|| end.strip_prefix("}}").map(|rest| (false, rest))).ok_or(TemplateError::Comment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `text/template` of Go 1.26 has them.
    #[test]
    fn what_is_filled_in_is_what_go_fills_in() {
        for (text, filled) in [
            ("", ""),
            ("text", "text"),
            ("a } b }} c {", "a } b }} c {"),
            ("{{ .Value }}", "V"),
            ("{{.Value}}", "V"),
            ("{{\t.Value\n}}", "V"),
            ("x {{ .Value }} y", "x V y"),
            ("x {{- .Value }} y", "xV y"),
            ("x {{ .Value -}} y", "x Vy"),
            ("x \t{{-  .Value  -}}\r\n y", "xVy"),
            ("{{ .Value }} {{- .Value }}", "VV"),
            ("{{ .Value -}} {{ .Value }}", "VV"),
            ("{{ .Value -}} - {{- .Value }}", "V-V"),
            ("{{.Value}}{{.Value}}", "VV"),
            ("a{{/* words */}}b", "ab"),
            ("a {{- /* }} */ -}} b", "ab"),
            ("a {{/**/ -}} b{{.Value}}", "a bV"),
            ("a\u{a0}{{- .Value }}", "a\u{a0}V"),
        ] {
            let template = Template::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!((template.fill("V").as_str(), template.has_value()), (filled, filled.contains('V')), "{text:?}");
        }
        assert_eq!(Template::literal("{{ .Value }} {{").fill("V"), "{{ .Value }} {{");
    }

    #[test]
    fn what_else_go_has_is_refused() {
        for text in [
            "{{}}",
            "{{ }}",
            "{{ . }}",
            "{{ .value }}",
            "{{ .Values }}",
            "{{ .Value.X }}",
            "{{ $.Value }}",
            "{{ (.Value) }}",
            "{{ \"x\" }}",
            "{{ printf \"%s\" .Value }}",
            "{{ .Value | len }}",
            "{{ if .Value }}x{{ end }}",
            "{{-.Value}}",
            "{{.Value-}}",
            "{{- -}}",
            "{{ /* a */ }}",
            "{{ .Value .Value }}",
            "{{{ .Value }}}",
            "{{\u{a0}.Value}}",
        ] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Action(_))), "{text}: {:?}", Template::parse(text));
        }
        for text in ["{{", "a {{ .Value", "{{ .Value }", "{{ .Value } }"] {
            assert_eq!(Template::parse(text), Err(TemplateError::Unclosed), "{text}");
        }
        for text in ["{{/* a", "{{/* a }}", "{{/* a */ }}", "{{/* a */-}}", "{{/* a */ b}}"] {
            assert_eq!(Template::parse(text), Err(TemplateError::Comment), "{text}");
        }
        let said = Template::parse("{{ .Foo }}").expect_err("refused").to_string();
        assert_eq!(said, "has {{ .Foo }}, and only {{ .Value }} is supported");
    }

    proptest! {
        #[test]
        fn nothing_is_too_much_for_it(text in "([{}]|-| |\n|/\\*|\\*/|\\.Value|x){0,30}", value in "[{} .a]{0,8}") {
            if let Ok(template) = Template::parse(&text) {
                // What stands for the value is not read again.
                prop_assert_eq!(template.fill(&value).contains(&value), template.has_value() || template.fill("").contains(&value));
                prop_assert!(text.contains("{{") || template.fill(&value) == text);
            }
        }
    }
}
