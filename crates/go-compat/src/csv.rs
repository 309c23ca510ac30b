/// One record, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The record's fields.
    pub fields: Vec<String>,
    /// The lines after the record. pflag drops them without a word.
    pub rest: &'a str,
}

/// Why a text is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quote inside a field that does not begin with one: its line and column, both counted from 1, this one in bytes.
    #[error("line {0}, column {1}: bare \" in non-quoted-field")]
    BareQuote(usize, usize),
    /// A quoted field that does not end where it should, or nowhere.
    #[error("line {0}, column {1}: extraneous or missing \" in quoted-field")]
    Quote(usize, usize),
    /// Nothing but line ends.
    #[error("no list, only line ends")]
    NoRecord,
}

/// Reads a list as pflag's `StringSlice` does: the first record of Go's `encoding/csv`; no text is an empty list.
///
/// # Errors
///
/// As in Go: quotes in the wrong places, or line ends alone.
pub fn read_csv(text: &str) -> Result<Record<'_>, CsvError> {
    if text.is_empty() {
        return Ok(Record { fields: Vec::new(), rest: "" });
    }
    let mut lines = Lines { rest: text, number: 0 };
    let mut line = loop {
        match lines.next() {
            None => return Err(CsvError::NoRecord),
            Some(Line { text: "", .. }) => {}
            Some(line) => break line,
        }
    };
    let mut fields = Vec::new();
    // The column of the first byte that is not read yet.
    let mut column = 1;
    loop {
        let Some(quoted) = line.text.strip_prefix('"') else {
            let (field, after) = line.text.split_once(',').map_or((line.text, None), |(field, after)| (field, Some(after)));
            if let Some(quote) = field.find('"') {
                return Err(CsvError::BareQuote(lines.number, column + quote));
            }
            fields.push(field.to_owned());
            let Some(after) = after else { break };
            column += field.len() + 1;
            line.text = after;
            continue;
        };
        line.text = quoted;
        column += 1;
        let mut field = String::new();
        let ends_record = loop {
            if let Some((before, after)) = line.text.split_once('"') {
                field.push_str(before);
                column += before.len() + 1;
                line.text = after;
                if let Some(after) = after.strip_prefix('"') {
                    field.push('"');
                    column += 1;
                    line.text = after;
                } else if let Some(after) = after.strip_prefix(',') {
                    column += 1;
                    line.text = after;
                    break false;
                } else if after.is_empty() {
                    break true;
                } else {
                    return Err(CsvError::Quote(lines.number, column - 1));
                }
            } else {
                // The field goes on in the next line.
                let length = line.text.len() + usize::from(line.ended);
                field.push_str(line.text);
                if line.ended {
                    field.push('\n');
                }
                line = lines.next().ok_or(CsvError::Quote(lines.number, column + length))?;
                column = 1;
            }
        };
        fields.push(field);
        if ends_record {
            break;
        }
    }
    Ok(Record { fields, rest: lines.rest })
}

/// Writes a list as pflag does, without the brackets: one record of Go's `encoding/csv`.
pub fn write_csv<Field: AsRef<str>>(fields: &[Field]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|field| match field.as_ref() {
            field if needs_quotes(field) => format!("\"{}\"", field.replace('"', "\"\"")),
            field => field.to_owned(),
        })
        .collect();
    fields.join(",")
}

fn needs_quotes(field: &str) -> bool {
    field == r"\." || field.contains([',', '"', '\n', '\r']) || field.starts_with(char::is_whitespace)
}

/// The lines of a text as `encoding/csv` reads them: `\r\n` is `\n`, and a `\r` at the very end is nothing.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

/// A line without its end.
struct Line<'a> {
    text: &'a str,
    ended: bool,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, ended) = match self.rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = rest;
                (line, true)
            }
            None => (std::mem::take(&mut self.rest), false),
        };
        Some(Line { text: line.strip_suffix('\r').unwrap_or(line), ended })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str) -> Result<Vec<String>, String> {
        read_csv(text).map(|record| record.fields).map_err(|error| error.to_string())
    }

    /// Expectations printed by Go 1.26.
    #[test]
    fn lists_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            (",", vec!["", ""]),
            ("a,", vec!["a", ""]),
            (" a , b", vec![" a ", " b"]),
            (r#""""#, vec![""]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#"a,"b ""c""","""#.trim_end_matches('"'), vec!["a", "b \"c\"", ""]),
            ("\"a\nb\",c", vec!["a\nb", "c"]),
            ("\"a\r\nb\"", vec!["a\nb"]),
            ("a\r", vec!["a"]),
            ("a\n", vec!["a"]),
            ("a\r\n", vec!["a"]),
            ("\n\na,b\n", vec!["a", "b"]),
            ("a\rb", vec!["a\rb"]),
            ("\"a\"\r", vec!["a"]),
        ] {
            assert_eq!(fields(text), Ok(expected.into_iter().map(String::from).collect()), "{text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (text, message) in [
            ("\"", "line 1, column 2: extraneous or missing \" in quoted-field"),
            ("a\"b", "line 1, column 2: bare \" in non-quoted-field"),
            ("x,a\"b", "line 1, column 4: bare \" in non-quoted-field"),
            ("\"a\"b", "line 1, column 3: extraneous or missing \" in quoted-field"),
            ("\"a\" ,b", "line 1, column 3: extraneous or missing \" in quoted-field"),
            ("\"a,b", "line 1, column 5: extraneous or missing \" in quoted-field"),
            ("\"a\nb", "line 2, column 2: extraneous or missing \" in quoted-field"),
            ("\n", "no list, only line ends"),
            ("\r", "no list, only line ends"),
        ] {
            assert_eq!(fields(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_follows_the_first_record_is_told() {
        assert_eq!(read_csv("a,b\nc,d"), Ok(Record { fields: vec!["a".into(), "b".into()], rest: "c,d" }));
        assert_eq!(read_csv("a\n").map(|record| record.rest), Ok(""));
    }

    #[test]
    fn lists_are_written_as_go_writes_them() {
        for (fields, text) in [(vec![], ""), (vec!["a", "b,c"], r#"a,"b,c""#), (vec!["x\"y", " z", r"\.", ""], r#""x""y"," z","\.","#)] {
            assert_eq!(write_csv(&fields), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(fields in prop::collection::vec("[ab ,\"\n]{1,6}", 1..5)) {
            prop_assert_eq!(read_csv(&write_csv(&fields)).map(|record| record.fields), Ok(fields));
        }

        #[test]
        fn no_text_is_too_odd(text in "[a,\"\r\né]{0,14}") {
            let _ = read_csv(&text);
        }
    }
}
