//! Where a block of Lua ends. OpenResty's directives hold programs between their braces, which are read past,
//! so that one error says what they are, and not one for each brace, quote and semicolon in them.

/// Whether the block that a directive of this name opens holds a program.
pub(crate) fn is_opened_by(name: &[u8]) -> bool {
    name.ends_with(b"_by_lua_block")
}

/// Where the brace stands that closes the block whose content begins the text: braces in strings and
/// comments are none (Lua 5.1, section 2.1).
pub(crate) fn end_of_block(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at = match byte {
            b'}' if depth == 0 => return Some(at),
            b'}' => {
                depth -= 1;
                at + 1
            }
            b'{' => {
                depth += 1;
                at + 1
            }
            b'-' if text[at..].starts_with(b"--") => end_of_comment(text, at + 2),
            b'[' => end_of_long(text, at).unwrap_or(at + 1),
            quote @ (b'"' | b'\'') => end_of_string(text, at + 1, *quote),
            _ => at + 1,
        };
    }
    None
}

fn end_of_comment(text: &[u8], at: usize) -> usize {
    let line = || text[at..].iter().position(|byte| *byte == b'\n');
    end_of_long(text, at).unwrap_or_else(|| line().map_or(text.len(), |length| at + length))
}

/// Behind `[==[ … ]==]`, with any number of equals signs; none where nothing of the kind begins here.
fn end_of_long(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix(b"[")?;
    let level = rest.iter().take_while(|byte| **byte == b'=').count();
    let content = rest[level..].strip_prefix(b"[")?;
    let closing = [b"]", &rest[..level], b"]"].concat();
    let length = content.windows(closing.len()).position(|window| window == closing);
    let begin = at + level + 2;
    Some(length.map_or(text.len(), |length| begin + length + closing.len()))
}

fn end_of_string(text: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_strings_and_comments_close_nothing() {
        for program in [
            "local t = { a = 1, b = { 2 } } ",
            r#"say("}", '}', "\"}", '\'}') "#,
            "-- a } brace\n",
            "--[[ } \n }} ]] ",
            "--[==[ } ]] } ]==] ",
            "x = [[ } ]] y = [=[ ]] } ]=] z = t[1] ",
            "",
        ] {
            let text = format!("{program}}} rest }}");
            assert_eq!(end_of_block(text.as_bytes()), Some(program.len()), "{program}");
        }
        for program in ["{ } ", "say(\"} ", "--[[ } ", "[==[ } ]] ", "x = '\\"] {
            assert_eq!(end_of_block(program.as_bytes()), None, "{program}");
        }
    }
}
