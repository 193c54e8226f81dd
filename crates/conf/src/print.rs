//! A tree back to text.

use std::borrow::Cow;

use crate::tree::{Block, Directive, Word};

/// Writes the tree in nginx.conf's language, four spaces a level. Reading the result gives the same words in the same
/// blocks; comments, line breaks and the choice of quotes are not kept.
pub fn print(tree: &Block) -> Vec<u8> {
    let mut out = Vec::new();
    print_block(tree, 0, &mut out);
    out
}

fn print_block(block: &Block, level: usize, out: &mut Vec<u8>) {
    for directive in &block.directives {
        print_directive(directive, level, out);
    }
}

fn print_directive(directive: &Directive, level: usize, out: &mut Vec<u8>) {
    indent(level, out);
    out.extend_from_slice(&spell(&directive.name));
    for arg in &directive.args {
        out.push(b' ');
        out.extend_from_slice(&spell(arg));
    }
    let Some(block) = &directive.block else {
        out.extend_from_slice(b";\n");
        return;
    };
    out.extend_from_slice(b" {\n");
    print_block(block, level + 1, out);
    indent(level, out);
    out.extend_from_slice(b"}\n");
}

fn indent(level: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + 4 * level, b' ');
}

fn spell(word: &Word) -> Cow<'_, [u8]> {
    let special = |byte: &u8| b" \t\r\n;{}\"'\\#".contains(byte);
    if !word.quoted && !word.text.is_empty() && !word.text.iter().any(special) {
        return Cow::Borrowed(&word.text);
    }
    let mut quoted = vec![b'"'];
    for &byte in &word.text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    Cow::Owned(quoted)
}
