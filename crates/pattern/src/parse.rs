//! PCRE2's syntax to a tree, as the library reads it without UTF.

mod reference;

use self::reference::Target;
use crate::ast::{Assertion, Ast, Direction, Greed, Node, Repeat};
use crate::byte_set::{ByteSet, vertical_spaces};
use crate::class::{ClassFlags, class, posix_length};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::escape::{Escape, escape, unrecognized};

/// PCRE2's own limit on brackets within brackets.
const MAX_DEPTH: usize = 250;
/// PCRE2's own limit on the numbers of a quantifier.
const MAX_REPEAT: u32 = 65535;

pub(crate) fn parse(pattern: &[u8], caseless: bool) -> Result<Ast, Fault> {
    let mut parser = Parser {
        cursor: Cursor::new(pattern),
        flags: Flags { caseless, ..Flags::default() },
        depth: 0,
        quoted: false,
        group_count: 0,
        names: Vec::new(),
        references: Vec::new(),
    };
    let root = parser.alternatives()?;
    if parser.cursor.peek().is_some() {
        return Fault::syntax("unmatched closing parenthesis", parser.cursor.at());
    }
    let references = parser.resolve_references()?;
    if root.has_keep_around() {
        let reason = "\\K is not allowed in lookarounds (but see PCRE2_EXTRA_ALLOW_LOOKAROUND_BSK)";
        return Fault::syntax(reason, pattern.len());
    }
    Ok(Ast { root, group_count: parser.group_count, names: parser.names, references })
}

/// The flags that `(?imsxnU)` change.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    caseless: bool,
    multiline: bool,
    dot_all: bool,
    extended: bool,
    extended_more: bool,
    no_auto_capture: bool,
    ungreedy: bool,
}

/// An item of a sequence, and whether a quantifier may follow it. Flags and comments are no item.
struct Item {
    node: Node,
    repeatable: bool,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    flags: Flags,
    depth: usize,
    /// Between `\Q` and `\E`.
    quoted: bool,
    group_count: usize,
    names: Vec<(String, usize)>,
    references: Vec<(Target, usize)>,
}

impl Parser<'_> {
    /// Reads up to a closing bracket or the end.
    fn alternatives(&mut self) -> Result<Node, Fault> {
        let mut branches = vec![self.sequence()?];
        while self.cursor.eat(b'|') {
            branches.push(self.sequence()?);
        }
        Ok(match branches.len() {
            1 => branches.remove(0),
            _ => Node::Alternate(branches),
        })
    }

    fn sequence(&mut self) -> Result<Node, Fault> {
        let mut nodes = Vec::new();
        let mut repeatable = false;
        loop {
            self.skip_ignored()?;
            if !self.quoted && matches!(self.cursor.peek(), None | Some(b'|' | b')'))
                || self.cursor.peek().is_none()
            {
                break;
            }
            if let Some((min, max)) = self.quantifier()? {
                let node = if repeatable { nodes.pop() } else { None };
                let Some(node) = node else {
                    return Fault::syntax(
                        "quantifier does not follow a repeatable item",
                        self.cursor.at() - 1,
                    );
                };
                nodes.push(self.repeat(node, min, max));
                repeatable = false;
                continue;
            }
            let item = self.item()?;
            repeatable = item.as_ref().is_some_and(|item| item.repeatable);
            nodes.extend(item.map(|item| item.node));
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    /// Passes `\Q`, `\E`, comments, and what `(?x)` ignores.
    fn skip_ignored(&mut self) -> Result<(), Fault> {
        loop {
            if self.quoted {
                if !self.cursor.eat_all(b"\\E") {
                    return Ok(());
                }
                self.quoted = false;
            } else if self.cursor.eat_all(b"\\Q") {
                self.quoted = true;
            } else if self.cursor.eat_all(b"(?#") {
                self.cursor.take_while(|byte| byte != b')');
                if !self.cursor.eat(b')') {
                    return Fault::syntax("missing ) after (?# comment", self.cursor.at());
                }
            } else if !(self.cursor.eat_all(b"\\E") || self.skip_extended()) {
                return Ok(());
            }
        }
    }

    fn skip_extended(&mut self) -> bool {
        if !self.flags.extended {
            return false;
        }
        match self.cursor.peek() {
            Some(b'\t'..=b'\r' | b' ') => self.cursor.skip(1),
            Some(b'#') => {
                self.cursor.take_while(|byte| byte != b'\n');
            }
            _ => return false,
        }
        true
    }

    /// Reads `*`, `+`, `?` or `{n,m}`. A brace that starts no quantifier is a literal.
    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, Fault> {
        if self.quoted {
            return Ok(None);
        }
        let bounds = match self.cursor.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.counted(),
            _ => return Ok(None),
        };
        self.cursor.next();
        Ok(Some(bounds))
    }

    fn counted(&mut self) -> Result<Option<(u32, Option<u32>)>, Fault> {
        let mut ahead = self.cursor.clone();
        ahead.next();
        if !ahead.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        ahead.take_while(|byte| byte.is_ascii_digit());
        if ahead.eat(b',') {
            ahead.take_while(|byte| byte.is_ascii_digit());
        }
        if !ahead.eat(b'}') {
            return Ok(None);
        }
        self.cursor.next();
        let min = self.repeat_number()?;
        let max = match self.cursor.eat(b',') {
            false => Some(min),
            true if self.cursor.peek() == Some(b'}') => None,
            true => Some(self.repeat_number()?),
        };
        self.cursor.next();
        if max.is_some_and(|max| max < min) {
            return Fault::syntax("numbers out of order in {} quantifier", self.cursor.at() - 1);
        }
        Ok(Some((min, max)))
    }

    fn repeat_number(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        while let Some(digit @ b'0'..=b'9') = self.cursor.peek() {
            self.cursor.next();
            value = value * 10 + u32::from(digit - b'0');
            if value > MAX_REPEAT {
                return Fault::syntax("number too big in {} quantifier", self.cursor.at());
            }
        }
        Ok(value)
    }

    fn repeat(&mut self, node: Node, min: u32, max: Option<u32>) -> Node {
        let greed = match self.cursor.peek() {
            Some(b'+') => Greed::Possessive,
            Some(b'?') if !self.flags.ungreedy => Greed::Lazy,
            Some(b'?') => Greed::Greedy,
            _ if self.flags.ungreedy => Greed::Lazy,
            _ => Greed::Greedy,
        };
        if matches!(self.cursor.peek(), Some(b'+' | b'?')) {
            self.cursor.next();
        }
        Node::Repeat(Repeat { node: Box::new(node), min, max, greed })
    }

    fn item(&mut self) -> Result<Option<Item>, Fault> {
        let Some(byte) = self.cursor.next() else {
            return Ok(None);
        };
        if self.quoted {
            return Ok(Some(self.literal(byte)));
        }
        let item = match byte {
            b'^' if self.flags.multiline => Item::assertion(Assertion::LineStart),
            b'^' => Item::assertion(Assertion::Start),
            b'$' if self.flags.multiline => Item::assertion(Assertion::LineEnd),
            b'$' => Item::assertion(Assertion::EndOrLastNewline),
            b'.' if self.flags.dot_all => Item::set(ByteSet::ALL),
            b'.' => Item::set(not_newline()),
            b'[' => Item::set(self.class()?),
            b'\\' => self.escape()?,
            b'(' => return self.bracket(),
            byte => self.literal(byte),
        };
        Ok(Some(item))
    }

    fn literal(&self, byte: u8) -> Item {
        let set = ByteSet::of(&[byte]);
        Item::set(if self.flags.caseless { set.caseless() } else { set })
    }

    fn class(&mut self) -> Result<ByteSet, Fault> {
        let start = self.cursor.at() - 1;
        self.cursor.back_to(start);
        if posix_length(self.cursor.rest()).is_some() {
            return Fault::syntax("POSIX named classes are supported only within a class", start);
        }
        self.cursor.next();
        let flags =
            ClassFlags { caseless: self.flags.caseless, skip_blanks: self.flags.extended_more };
        class(&mut self.cursor, flags)
    }

    fn escape(&mut self) -> Result<Item, Fault> {
        let item = match escape(&mut self.cursor, Some(self.group_count))? {
            Escape::Byte(byte) => self.literal(byte),
            Escape::Set(set) => Item::set(set),
            Escape::Number(number) => {
                self.backreference(Target::Number(number), self.cursor.at() - 1)
            }
            Escape::Letter(b'b') => Item::assertion(Assertion::WordBoundary),
            Escape::Letter(b'B') => Item::assertion(Assertion::NoWordBoundary),
            Escape::Letter(b'A' | b'G') => Item::assertion(Assertion::Start),
            Escape::Letter(b'z') => Item::assertion(Assertion::End),
            Escape::Letter(b'Z') => Item::assertion(Assertion::EndOrLastNewline),
            Escape::Letter(b'N') if self.cursor.rest().starts_with(b"{U+") => {
                return Fault::unsupported("\\N{U+hh}");
            }
            Escape::Letter(b'N') => Item::set(not_newline()),
            Escape::Letter(b'C') => Item::set(ByteSet::ALL),
            Escape::Letter(b'R') => Item::repeatable(any_newline()),
            Escape::Letter(b'K') => Item::unrepeatable(Node::Keep),
            Escape::Letter(b'X') => return Fault::unsupported("a grapheme cluster (\\X)"),
            Escape::Letter(b'k') => self.named_reference()?,
            Escape::Letter(b'g') => self.group_reference()?,
            Escape::Letter(_) => return unrecognized(&self.cursor),
        };
        Ok(item)
    }

    /// Reads what an opening bracket starts.
    fn bracket(&mut self) -> Result<Option<Item>, Fault> {
        if self.cursor.rest().first() == Some(&b'*')
            && self.cursor.rest().get(1).is_some_and(|byte| !b")".contains(byte))
        {
            return self.verb();
        }
        if !self.cursor.eat(b'?') {
            let node = match self.flags.no_auto_capture {
                true => self.inside()?,
                false => self.capture()?,
            };
            return Ok(Some(Item::repeatable(node)));
        }
        let start = self.cursor.at();
        let node = match self.cursor.next() {
            Some(b':') => self.inside()?,
            Some(b'>') => Node::Atomic(Box::new(self.inside()?)),
            Some(b'=') => self.around(Direction::Ahead, false)?,
            Some(b'!') => self.around(Direction::Ahead, true)?,
            Some(b'<') if self.cursor.eat(b'=') => self.around(Direction::Behind, false)?,
            Some(b'<') if self.cursor.eat(b'!') => self.around(Direction::Behind, true)?,
            Some(b'<') if self.cursor.peek() == Some(b'*') => {
                return Fault::unsupported("a non-atomic lookaround (?<*...)");
            }
            Some(b'*') => return Fault::unsupported("a non-atomic lookaround (?*...)"),
            Some(b'<') => self.named(b'>')?,
            Some(b'\'') => self.named(b'\'')?,
            Some(b'P') => match self.cursor.next() {
                Some(b'<') => self.named(b'>')?,
                Some(b'=') => {
                    let start = self.cursor.at();
                    let name = self.name(b')')?;
                    return Ok(Some(self.backreference(Target::Name(name), start)));
                }
                Some(b'>') => return Fault::unsupported("a subroutine call (?P>...)"),
                None => return self.unclosed(),
                Some(_) => return Fault::syntax("unrecognized character after (?P", start + 1),
            },
            Some(b'|') => return Fault::unsupported("a branch reset group (?|...)"),
            Some(b'(') => return Fault::unsupported("a conditional group (?(...)...)"),
            Some(b'R' | b'0'..=b'9' | b'+') => return Fault::unsupported("recursion (?R)"),
            Some(b'-') if self.cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) => {
                return Fault::unsupported("recursion (?-n)");
            }
            Some(b'&') => return Fault::unsupported("a subroutine call (?&...)"),
            Some(b'C') => return Fault::unsupported("a callout (?C)"),
            _ => {
                self.cursor.back_to(start);
                return self.flags();
            }
        };
        Ok(Some(Item::repeatable(node)))
    }

    fn verb(&mut self) -> Result<Option<Item>, Fault> {
        self.cursor.next();
        let name = self.cursor.take_while(|byte| byte != b')' && byte != b':');
        Fault::unsupported(format!("the verb (*{})", String::from_utf8_lossy(name)))
    }

    /// Reads up to the closing bracket. Flags that are set inside end there.
    fn inside(&mut self) -> Result<Node, Fault> {
        if self.depth == MAX_DEPTH {
            return Fault::syntax("parentheses are too deeply nested", self.cursor.at());
        }
        let flags = self.flags;
        self.depth += 1;
        let node = self.alternatives()?;
        self.depth -= 1;
        self.flags = flags;
        if !self.cursor.eat(b')') {
            return self.unclosed();
        }
        Ok(node)
    }

    fn unclosed<T>(&self) -> Result<T, Fault> {
        Fault::syntax("missing closing parenthesis", self.cursor.at())
    }

    fn capture(&mut self) -> Result<Node, Fault> {
        self.group_count += 1;
        let number = self.group_count;
        Ok(Node::Capture(number, Box::new(self.inside()?)))
    }

    fn named(&mut self, close: u8) -> Result<Node, Fault> {
        let name = self.name(close)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        if self.names.iter().any(|(known, _)| *known == name) {
            let reason = "two named subpatterns have the same name (PCRE2_DUPNAMES not set)";
            return Fault::syntax(reason, self.cursor.at());
        }
        self.names.push((name, self.group_count + 1));
        self.capture()
    }

    fn around(&mut self, direction: Direction, negated: bool) -> Result<Node, Fault> {
        let inside = self.cursor.at();
        let node = self.inside()?;
        if direction == Direction::Behind {
            if node.has_backreference() {
                return Fault::unsupported("a back reference in a lookbehind");
            }
            if node.branches().iter().any(|branch| branch.fixed_width().is_none()) {
                let bracket = inside - "(?<=".len();
                return Fault::syntax("lookbehind assertion is not fixed length", bracket);
            }
        }
        Ok(Node::Around { direction, negated, node: Box::new(node) })
    }

    /// `(?i)` for the rest of the group around, `(?i:...)` for what is inside, both after the `?`.
    fn flags(&mut self) -> Result<Option<Item>, Fault> {
        let before = self.flags;
        let mut on = true;
        if self.cursor.eat(b'^') {
            self.flags = Flags { ungreedy: before.ungreedy, ..Flags::default() };
        }
        loop {
            match self.cursor.next() {
                Some(b')') => return Ok(None),
                Some(b':') => {
                    let after = std::mem::replace(&mut self.flags, before);
                    let inner = self.with_flags(after)?;
                    return Ok(Some(Item::repeatable(inner)));
                }
                Some(b'-') => on = false,
                Some(b'i') => self.flags.caseless = on,
                Some(b'm') => self.flags.multiline = on,
                Some(b's') => self.flags.dot_all = on,
                Some(b'n') => self.flags.no_auto_capture = on,
                Some(b'U') => self.flags.ungreedy = on,
                Some(b'x') => {
                    let more = self.cursor.eat(b'x');
                    self.flags.extended = on;
                    self.flags.extended_more = on && more;
                }
                Some(b'J') => return Fault::unsupported("the flag (?J)"),
                None => return self.unclosed(),
                Some(_) => {
                    return Fault::syntax(
                        "unrecognized character after (? or (?-",
                        self.cursor.at() - 1,
                    );
                }
            }
        }
    }

    fn with_flags(&mut self, flags: Flags) -> Result<Node, Fault> {
        let before = std::mem::replace(&mut self.flags, flags);
        let node = self.inside()?;
        self.flags = before;
        Ok(node)
    }
}

impl Item {
    fn repeatable(node: Node) -> Item {
        Item { node, repeatable: true }
    }

    fn set(set: ByteSet) -> Item {
        Item::repeatable(Node::Set(set))
    }

    fn unrepeatable(node: Node) -> Item {
        Item { node, repeatable: false }
    }

    fn assertion(assertion: Assertion) -> Item {
        Item::unrepeatable(Node::Assert(assertion))
    }
}

fn not_newline() -> ByteSet {
    ByteSet::of(b"\n").complement()
}

/// `\R`: once it took `\r\n`, it does not go back to the `\r`.
fn any_newline() -> Node {
    let pair = Node::Concat(vec![Node::Set(ByteSet::of(b"\r")), Node::Set(ByteSet::of(b"\n"))]);
    Node::Atomic(Box::new(Node::Alternate(vec![pair, Node::Set(vertical_spaces())])))
}
