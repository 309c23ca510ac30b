//! Go behaviours that users of the Go program depend on, whether they know it or not.
//!
//! Pure: text in, values out. Each module names the Go function that it mirrors and where it knowingly differs.

mod csv;
mod duration;
mod http_proxy;
mod listen;
mod network;
mod number;
mod path_match;
mod pflag;
mod quote;
mod template;
mod tls;

pub use csv::{CsvError, Record, read_csv, write_csv};
pub use duration::{DurationError, GoDuration};
pub use http_proxy::{HttpProxy, HttpProxyError, ProxyEnvironment};
pub use listen::{ListenAddress, ListenAddressError, ListenHost};
pub use network::{Network, NetworkError};
pub use number::{NumberError, format_float32, parse_bool, parse_decimal_int32, parse_float32, parse_int, parse_uint32, parse_uint64};
pub use path_match::{BadPattern, PathPattern};
pub use pflag::{Fault, Known, Respelled, respell};
pub use quote::quote;
pub use template::{Template, TemplateError};
pub use tls::{CIPHER_SUITES, CURVES, Named, TlsVersion, UnknownTlsVersion, cipher_suite, curve};
