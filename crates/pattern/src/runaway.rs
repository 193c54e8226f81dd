//! Patterns whose matching can take a time that grows exponentially with the subject.

use crate::ast::{Node, Repeat};
use crate::parse::parse;

/// Whether a pattern needs backtracking and has a repetition without end within another: then a subject that almost
/// matches is tried in ways whose number doubles with each byte. A pattern that cannot be read cannot run away either.
pub fn may_run_away(pattern: &[u8], caseless: bool) -> bool {
    parse(pattern, caseless).is_ok_and(|ast| !ast.root.is_linear() && has_nested_loops(&ast.root))
}

fn has_nested_loops(node: &Node) -> bool {
    match node {
        // What an atomic group or a possessive loop matched is not tried again.
        Node::Atomic(_) => false,
        Node::Repeat(repeat) if is_loop(repeat) && can_vary(&repeat.node) => true,
        node => node.children().iter().any(has_nested_loops),
    }
}

fn is_loop(repeat: &Repeat) -> bool {
    repeat.max.is_none() && repeat.greed != crate::ast::Greed::Possessive
}

/// Whether a turn of the loop around may take more or fewer bytes without end, and nothing else marks where it ends.
fn can_vary(node: &Node) -> bool {
    match node {
        Node::Repeat(repeat) => is_loop(repeat) || can_vary(&repeat.node),
        Node::Capture(_, node) => can_vary(node),
        Node::Alternate(nodes) => nodes.iter().any(can_vary),
        // `(/a+)*` has a mark at each turn; `(a+b?)*` has none.
        Node::Concat(nodes) => {
            nodes.iter().any(can_vary)
                && nodes.iter().all(|node| can_vary(node) || node.is_nullable())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_loops_that_need_backtracking_run_away() {
        for (pattern, expected) in [
            (r"^(a+)+(?!b)$", true),
            (r"^((a|b+)*)\1$", true),
            (r"^(a+b?)*(?=c)", true),
            (r"^(a+)+$", false),
            (r"^a+(?!b)$", false),
            (r"^(/a+)+(?!b)$", false),
            (r"^(?>a+)+(?!b)$", false),
            (r"^(a++)+(?!b)$", false),
            (r"(", false),
        ] {
            assert_eq!(may_run_away(pattern.as_bytes(), false), expected, "{pattern}");
        }
    }
}
