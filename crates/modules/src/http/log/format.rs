//! Formats of lines: text and variables, each value escaped as it is written.

use daemun_core::script::{Session, VariableId};
use daemun_http::escape;
use daemun_http::module::Variable;
use daemun_http::request::Request;
use daemun_http::variables::core_variable;

/// A `log_format`.
pub(super) struct Format {
    pub name: Vec<u8>,
    parts: Vec<Part>,
    escape: Escape,
}

enum Part {
    Text(Box<[u8]>),
    Variable(VariableId),
    /// One that no configuration changes.
    Core {
        variable: &'static Variable,
        member: &'static str,
    },
}

/// How values are made safe for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `\xHH` for quotes, backslashes and what is not printable ASCII; a dash for what is not there.
    Default,
    /// As inside a JSON string; nothing for what is not there.
    Json,
    None,
}

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" \
                        $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

impl Format {
    pub fn new(name: &[u8], escape: Escape) -> Format {
        Format { name: name.to_vec(), parts: Vec::new(), escape }
    }

    /// The format that needs no `log_format`.
    pub fn combined() -> Format {
        let mut format = Format::new(b"combined", Escape::Default);
        let core = |name: &'static str| {
            let (variable, member) = core_variable(name).expect("one of the core's variables");
            Part::Core { variable, member }
        };
        split(COMBINED, &mut format.parts, core).expect("a format that is known to be good");
        format
    }

    /// Adds a part of the format; `refer` gives the variable of a name. The error is nginx's sentence.
    pub fn compile(
        &mut self,
        text: &[u8],
        mut refer: impl FnMut(&str) -> VariableId,
    ) -> Result<(), String> {
        split(text, &mut self.parts, |name| Part::Variable(refer(name)))
    }

    /// Appends the request's line, without its end.
    pub fn append(&self, request: &mut Request, line: &mut Vec<u8>) {
        for part in &self.parts {
            let start = line.len();
            let found = match part {
                Part::Text(text) => {
                    line.extend_from_slice(text);
                    continue;
                }
                Part::Variable(id) => request.variable(*id, line),
                Part::Core { variable, member } => (variable.value)(request, member, line),
            };
            self.escape.finish(found, line, start);
        }
    }
}

/// Splits into text and variables.
fn split<'t>(
    text: &'t (impl AsRef<[u8]> + ?Sized),
    parts: &mut Vec<Part>,
    mut variable: impl FnMut(&'t str) -> Part,
) -> Result<(), String> {
    let mut rest = text.as_ref();
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix(b"$") else {
            let end = memchr::memchr(b'$', rest).unwrap_or(rest.len());
            parts.push(Part::Text(rest[..end].into()));
            rest = &rest[end..];
            continue;
        };
        let invalid = || format!("invalid parameter \"{}\"", String::from_utf8_lossy(rest));
        let (name, is_open) = match after.strip_prefix(b"{") {
            Some(inside) => (inside, true),
            None => (after, false),
        };
        let is_name_byte = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let (name, mut behind) = name.split_at(name.iter().take_while(is_name_byte).count());
        let name = std::str::from_utf8(name).map_err(|_| invalid())?;
        if is_open {
            if behind.is_empty() && name.is_empty() {
                return Err(invalid());
            }
            behind = behind
                .strip_prefix(b"}")
                .ok_or_else(|| format!("the closing bracket in \"{name}\" variable is missing"))?;
        }
        if name.is_empty() {
            return Err(invalid());
        }
        parts.push(variable(name));
        rest = behind;
    }
    Ok(())
}

impl Escape {
    /// Makes the value that begins at `start` safe.
    fn finish(self, found: bool, line: &mut Vec<u8>, start: usize) {
        if !found {
            line.truncate(start);
            if self == Escape::Default {
                line.push(b'-');
            }
            return;
        }
        let is_special = match self {
            Escape::Default => is_special,
            Escape::Json => escape::is_json_special,
            Escape::None => return,
        };
        let Some(first) = line[start..].iter().position(|byte| is_special(*byte)) else {
            return;
        };
        let tail = line.split_off(start + first);
        if self == Escape::Json {
            return escape::json(&tail, line);
        }
        for byte in tail {
            if is_special(byte) {
                line.extend_from_slice(b"\\x");
                escape::push_hex(byte, line);
            } else {
                line.push(byte);
            }
        }
    }
}

fn is_special(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(escape: Escape, found: bool, value: &[u8]) -> String {
        let mut line = b"before ".to_vec();
        line.extend_from_slice(value);
        escape.finish(found, &mut line, 7);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn values_cannot_break_a_line() {
        let value = b"a\"\\\n\x7f\xff b";
        assert_eq!(finished(Escape::Default, true, value), "before a\\x22\\x5C\\x0A\\x7F\\xFF b");
        assert_eq!(finished(Escape::Json, true, b"a\"\n"), "before a\\\"\\n");
        assert_eq!(finished(Escape::None, true, b"a\"\n"), "before a\"\n");
    }

    #[test]
    fn what_is_not_there_is_a_dash_or_nothing() {
        assert_eq!(finished(Escape::Default, false, b""), "before -");
        assert_eq!(finished(Escape::Default, true, b""), "before ");
        assert_eq!(finished(Escape::Json, false, b"x"), "before ");
    }

    #[test]
    fn formats_are_text_and_variables() {
        let names = |text: &str| {
            let mut parts = Vec::new();
            let result =
                split(text, &mut parts, |name| Part::Text(format!("<{name}>").into_bytes().into()));
            let texts = parts.iter().map(|part| match part {
                Part::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => unreachable!(),
            });
            result.map(|()| texts.collect::<String>())
        };
        assert_eq!(names("a$b ${c}d$e-").as_deref(), Ok("a<b> <c>d<e>-"));
        assert_eq!(names("a $").unwrap_err(), "invalid parameter \"$\"");
        assert_eq!(names("$-a").unwrap_err(), "invalid parameter \"$-a\"");
        assert_eq!(names("${a").unwrap_err(), "the closing bracket in \"a\" variable is missing");
    }
}
