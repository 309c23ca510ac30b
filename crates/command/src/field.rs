use go_compat::{
    GoDuration, format_float32, parse_bool, parse_decimal_int32, parse_float32, parse_int, parse_uint32, quote, read_csv, write_csv,
};

/// What `--version` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Not asked for.
    #[default]
    Run,
    /// The version's number.
    Plain,
    /// All that is known of the version.
    Raw,
    /// What another version is to be called, which has no effect.
    Changed,
}

/// Where a flag's value goes, and of what type it is.
#[expect(missing_docs, reason = "each is the type of its name, as pflag has it")]
pub enum Field<O> {
    Bool(fn(&mut O) -> &mut bool),
    Text(fn(&mut O) -> &mut String),
    /// Text that is never shown.
    Secret(fn(&mut O) -> &mut String),
    Version(fn(&mut O) -> &mut Version),
    /// Comma-separated; each use adds to those before it.
    List(fn(&mut O) -> &mut Vec<String>),
    /// Each use adds one.
    Lines(fn(&mut O) -> &mut Vec<String>),
    Duration(fn(&mut O) -> &mut GoDuration),
    Int(fn(&mut O) -> &mut i64),
    Int32(fn(&mut O) -> &mut i32),
    Uint32(fn(&mut O) -> &mut u32),
    Float32(fn(&mut O) -> &mut f32),
    /// A boolean without effect; its default.
    NoBool(&'static str),
    /// A value without effect, of the named type; its default.
    NoValue(&'static str, &'static str),
}

impl<O: Clone> Field<O> {
    /// Reads a value as pflag does.
    pub(crate) fn set(&self, options: &mut O, text: &str) -> Result<(), String> {
        const DURATION: &str = "write 30s, 1m30s or the like";
        let wrong = |right: &str| format!("invalid value {}: it must be {right}", quote(text));
        match self {
            Self::Bool(field) => *field(options) = parse_bool(text).map_err(|_| wrong("true or false"))?,
            Self::Text(field) | Self::Secret(field) => *field(options) = text.to_owned(),
            Self::Version(field) => {
                *field(options) = match (text, parse_bool(text)) {
                    ("raw", _) => Version::Raw,
                    (_, Ok(true)) => Version::Plain,
                    (_, Ok(false)) => Version::Run,
                    _ if text.starts_with('v') => Version::Changed,
                    _ => return Err(wrong("true, false, raw or a version such as v1.2.3")),
                }
            }
            Self::List(field) => {
                let items = read_csv(text).map_err(|why| format!("invalid value {}: {why}", quote(text)))?;
                field(options).extend(items.fields);
            }
            Self::Lines(field) => field(options).push(text.to_owned()),
            Self::Duration(field) => *field(options) = text.parse().map_err(|why| format!("{why}: {DURATION}"))?,
            Self::Int(field) => *field(options) = parse_int(text).map_err(|_| wrong("a whole number"))?,
            Self::Int32(field) => *field(options) = parse_decimal_int32(text).map_err(|_| wrong("a whole number"))?,
            Self::Uint32(field) => *field(options) = parse_uint32(text).map_err(|_| wrong("a whole number from 0 to 4294967295"))?,
            Self::Float32(field) => *field(options) = parse_float32(text).map_err(|_| wrong("a number"))?,
            Self::NoBool(_) => drop(parse_bool(text).map_err(|_| wrong("true or false"))?),
            Self::NoValue(..) => {}
        }
        Ok(())
    }

    /// The value, as it could be given.
    pub(crate) fn show(&self, options: &O) -> String {
        // Fields are reached for writing; a copy is read.
        let options = &mut options.clone();
        match self {
            Self::Bool(field) => field(options).to_string(),
            Self::Text(field) => field(options).clone(),
            Self::Secret(field) => if field(options).is_empty() { "" } else { "(hidden)" }.to_owned(),
            Self::Version(field) => match field(options) {
                Version::Run => "false",
                Version::Plain => "true",
                Version::Raw => "raw",
                Version::Changed => "changed",
            }
            .to_owned(),
            Self::List(field) | Self::Lines(field) => write_csv(field(options)),
            Self::Duration(field) => field(options).to_string(),
            Self::Int(field) => field(options).to_string(),
            Self::Int32(field) => field(options).to_string(),
            Self::Uint32(field) => field(options).to_string(),
            Self::Float32(field) => format_float32(*field(options)),
            Self::NoBool(default) | Self::NoValue(_, default) => (*default).to_owned(),
        }
    }

    /// What a flag without effect may say without being used: its default. `None` for a flag with effect.
    pub(crate) fn inert(&self) -> Option<&'static str> {
        match self {
            Self::NoBool(default) | Self::NoValue(_, default) => Some(default),
            _ => None,
        }
    }

    /// What the flag means without a value.
    pub(crate) fn alone(&self) -> Option<&'static str> {
        match self {
            Self::Bool(_) | Self::NoBool(_) | Self::Version(_) => Some("true"),
            _ => None,
        }
    }

    /// pflag's name for the type; a boolean needs none.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) | Self::NoBool(_) => "",
            Self::Text(_) | Self::Secret(_) => "string",
            Self::Version(_) => "version",
            Self::List(_) => "strings",
            Self::Lines(_) => "stringArray",
            Self::Duration(_) => "duration",
            Self::Int(_) | Self::Int32(_) => "int",
            Self::Uint32(_) => "uint32",
            Self::Float32(_) => "float32",
            Self::NoValue(kind, _) => kind,
        }
    }
}
