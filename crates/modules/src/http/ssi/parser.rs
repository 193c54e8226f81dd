//! Finding commands: `<!--# NAME PARAMETER="VALUE" ... -->`.

use daemun_core::log;
use daemun_http::request::{Request, Text};

/// A command with its parameters in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub name: Vec<u8>,
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the input up to some place was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Text alone, and what may be the beginning of a command.
    Text,
    Command(Command),
    /// A command that makes no sense; it has been logged.
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// So many bytes of `<!--` have come.
    Opening(usize),
    BeforeName,
    Name,
    BeforeParameter,
    Parameter,
    BeforeEquals,
    BeforeValue,
    /// Inside quotes of this kind.
    Value(u8),
    /// Behind a backslash.
    Escaped(u8),
    AfterValue,
    /// So many bytes of `-->` have come.
    Closing(usize),
    /// The same in a command that makes no sense.
    Broken(usize),
}

/// The longest names of commands and parameters, in bytes.
const NAME: usize = 32;

const OPENING: &[u8] = b"<!--#";
const CLOSING: &[u8] = b"-->";

/// A machine that is fed piece by piece. As in nginx, the beginning of a command with which a page ends is left out.
pub(super) struct Parser {
    state: State,
    command: Command,
    value_length: usize,
}

impl Parser {
    pub fn new(value_length: usize) -> Parser {
        Parser { state: State::Text, command: Command::default(), value_length }
    }

    /// Takes input up to the end of a command or to its own end, and appends what was text: how much it took.
    pub fn parse(&mut self, input: &[u8], text: &mut Vec<u8>, request: &Request) -> (usize, Event) {
        let tell = |sentence: String| log!(request.log(), Error, *request, "{}", sentence);
        self.parse_telling(input, text, tell)
    }

    fn parse_telling(
        &mut self,
        input: &[u8],
        text: &mut Vec<u8>,
        tell: impl Fn(String),
    ) -> (usize, Event) {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Text => {
                    let end = memchr::memchr(b'<', &input[at..]).map(|skipped| at + skipped);
                    text.extend_from_slice(&input[at..end.unwrap_or(input.len())]);
                    let Some(end) = end else { break };
                    self.state = State::Opening(1);
                    at = end + 1;
                    continue;
                }
                State::Opening(count) => at = self.open(input, at, count, text),
                _ => {
                    self.state = self.inside(input[at], &tell);
                    at += 1;
                }
            }
            match self.state {
                State::Closing(3) => {
                    self.state = State::Text;
                    return (at, Event::Command(std::mem::take(&mut self.command)));
                }
                State::Broken(3) => {
                    self.state = State::Text;
                    return (at, Event::Error);
                }
                _ => {}
            }
        }
        (input.len(), Event::Text)
    }

    /// Goes on with what may be an opening; where to go on behind it.
    fn open(&mut self, input: &[u8], at: usize, count: usize, text: &mut Vec<u8>) -> usize {
        let byte = input[at];
        if byte == OPENING[count] {
            self.command = Command::default();
            self.state = match count + 1 {
                5 => State::BeforeName,
                count => State::Opening(count),
            };
            return at + 1;
        }
        text.extend_from_slice(&OPENING[..count]);
        self.state = State::Text;
        at
    }

    fn inside(&mut self, byte: u8, tell: &impl Fn(String)) -> State {
        let is_blank = matches!(byte, b' ' | b'\r' | b'\n' | b'\t');
        let name = || Text(&self.command.name);
        let key = |command: &Command| {
            let key = command.parameters.last().map(|(key, _)| key.as_slice());
            Text(key.unwrap_or_default()).to_string()
        };
        let shown = char::from(byte);
        match self.state {
            State::BeforeName if is_blank => State::BeforeName,
            State::BeforeName => {
                self.command.name.push(byte);
                State::Name
            }
            State::Name | State::BeforeParameter if is_blank => State::BeforeParameter,
            State::Name | State::BeforeParameter | State::AfterValue if byte == b'-' => {
                State::Closing(1)
            }
            State::Name if self.command.name.len() == NAME => {
                tell(format!("the \"{}{shown}...\" SSI command is too long", name()));
                State::Broken(0)
            }
            State::Name => {
                self.command.name.push(byte);
                State::Name
            }
            State::BeforeParameter => {
                self.command.parameters.push((vec![byte], Vec::new()));
                State::Parameter
            }
            State::Parameter | State::BeforeEquals if byte == b'=' => State::BeforeValue,
            State::Parameter | State::BeforeEquals if is_blank => State::BeforeEquals,
            State::Parameter if byte != b'-' => {
                let length = self.command.parameters.last().map_or(0, |(key, _)| key.len());
                if length == NAME {
                    tell(format!(
                        "too long \"{}{shown}...\" parameter in \"{}\" SSI command",
                        key(&self.command),
                        name()
                    ));
                    return State::Broken(0);
                }
                if let Some((key, _)) = self.command.parameters.last_mut() {
                    key.push(byte);
                }
                State::Parameter
            }
            State::Parameter | State::BeforeEquals => {
                tell(format!(
                    "unexpected \"{shown}\" symbol after \"{}\" parameter in \"{}\" SSI command",
                    key(&self.command),
                    name()
                ));
                State::Broken(usize::from(byte == b'-'))
            }
            State::BeforeValue if is_blank => State::BeforeValue,
            State::BeforeValue if matches!(byte, b'"' | b'\'') => State::Value(byte),
            State::BeforeValue => {
                tell(format!(
                    "unexpected \"{shown}\" symbol before value of \"{}\" parameter in \"{}\" SSI command",
                    key(&self.command),
                    name()
                ));
                State::Broken(usize::from(byte == b'-'))
            }
            State::Value(quote) if byte == quote => State::AfterValue,
            State::Value(quote) if byte == b'\\' => {
                self.push_value(byte, State::Escaped(quote), tell)
            }
            State::Value(quote) | State::Escaped(quote) => {
                self.push_value(byte, State::Value(quote), tell)
            }
            State::AfterValue if is_blank => State::BeforeParameter,
            State::AfterValue => {
                let value = self.command.parameters.last().map(|(_, value)| value.as_slice());
                tell(format!(
                    "unexpected \"{shown}\" symbol after \"{}\" value of \"{}\" parameter in \"{}\" SSI command",
                    Text(value.unwrap_or_default()),
                    key(&self.command),
                    name()
                ));
                State::Broken(0)
            }
            State::Closing(count) if byte == CLOSING[count] => State::Closing(count + 1),
            State::Closing(_) => {
                tell(format!("unexpected \"{shown}\" symbol in \"{}\" SSI command", name()));
                State::Broken(0)
            }
            State::Broken(count) if byte == CLOSING[count] => State::Broken(count + 1),
            State::Broken(_) => State::Broken(0),
            State::Text | State::Opening(_) => self.state,
        }
    }

    fn push_value(&mut self, byte: u8, next: State, tell: &impl Fn(String)) -> State {
        let Some((key, value)) = self.command.parameters.last_mut() else {
            return State::Broken(0);
        };
        if value.len() == self.value_length {
            tell(format!(
                "too long \"{}{}...\" value of \"{}\" parameter in \"{}\" SSI command",
                Text(value),
                char::from(byte),
                Text(key),
                Text(&self.command.name)
            ));
            return State::Broken(0);
        }
        value.push(byte);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text with commands as `{name key=value}` and errors as `{!}`, whatever the pieces are.
    fn check(input: &str, expected: &str) {
        for size in 1..=input.len() {
            let mut parser = Parser::new(20);
            let mut out = Vec::new();
            for piece in input.as_bytes().chunks(size) {
                let mut at = 0;
                while at < piece.len() {
                    let (taken, event) = parser.parse_telling(&piece[at..], &mut out, |_| {});
                    at += taken;
                    match event {
                        Event::Text => {}
                        Event::Error => out.extend_from_slice(b"{!}"),
                        Event::Command(command) => {
                            out.push(b'{');
                            out.extend_from_slice(&command.name);
                            for (key, value) in &command.parameters {
                                out.push(b' ');
                                out.extend_from_slice(key);
                                out.push(b'=');
                                out.extend_from_slice(value);
                            }
                            out.push(b'}');
                        }
                    }
                }
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn commands_are_found_wherever_the_input_is_cut() {
        check("a<!--#echo var=\"x\" -->b", "a{echo var=x}b");
        check("<!--# include virtual='/a' wait = \"yes\"-->", "{include virtual=/a wait=yes}");
        check("<!--#endif-->", "{endif}");
        check("<<!<!-<!--<!--#a -->", "<<!<!-<!--{a}");
        check("a < b <!-- c --> d <!-", "a < b <!-- c --> d ");
        check(r#"<!--#set var="a\"b" value='c"' -->"#, r#"{set var=a\"b value=c"}"#);
    }

    #[test]
    fn what_makes_no_sense_ends_like_a_command() {
        check("a<!--#echo var x=1 -->b", "a{!}b");
        check("<!--#echo var=x -->b", "{!}b");
        check("<!--#echo var=\"x\"y -->b", "{!}b");
        check("<!--#echo var=\"12345678901234567890123\" -->b", "{!}b");
        check(&format!("<!--#{} -->b", "e".repeat(33)), "{!}b");
        check("<!--#echo -x -- ->-->b", "{!}b");
    }
}
