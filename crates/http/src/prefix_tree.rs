//! Names in a tree by what they begin with.

/// Finds which of many names a text begins with, in one pass over the text.
#[derive(Default)]
pub struct PrefixTree {
    root: Node,
}

#[derive(Default)]
struct Node {
    /// What the text has to go on with behind the byte that led here.
    rest: Box<[u8]>,
    /// The position of the name that ends here.
    name: Option<usize>,
    /// The byte that leads to each child.
    firsts: Vec<u8>,
    children: Vec<Node>,
}

impl PrefixTree {
    /// Of names in ascending order, no two of them equal.
    pub fn of(names: &[&[u8]]) -> PrefixTree {
        PrefixTree { root: Node::of(names, 0, 0) }
    }

    /// Calls `found` with the position of each name that `text` begins with, from the shortest to the longest.
    pub fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize)) {
        let mut node = &self.root;
        let mut rest = text;
        loop {
            if let Some(name) = node.name {
                found(name);
            }
            let Some((first, behind)) = rest.split_first() else { return };
            let Some(child) = memchr::memchr(*first, &node.firsts) else { return };
            node = &node.children[child];
            match behind.strip_prefix(&*node.rest) {
                Some(behind) => rest = behind,
                None => return,
            }
        }
    }
}

impl Node {
    /// Of names that have their first `depth` bytes in common; the first of them is the one at `position` among all.
    fn of(names: &[&[u8]], depth: usize, position: usize) -> Node {
        let mut node = Node::default();
        let mut at = 0;
        if names.first().is_some_and(|name| name.len() == depth) {
            node.name = Some(position);
            at = 1;
        }
        while let Some(name) = names.get(at) {
            let first = name[depth];
            let count = names[at..].partition_point(|other| other[depth] == first);
            let group = &names[at..at + count];
            let common = common_length(group[0], group[count - 1]);
            let child = Node::of(group, common, position + at);
            node.firsts.push(first);
            node.children.push(Node { rest: name[depth + 1..common].into(), ..child });
            at += count;
        }
        node
    }
}

fn common_length(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_a_prefix_is_found_in_order() {
        let names: [&[u8]; 7] = [b"", b"/", b"/a", b"/abc/", b"/abd", b"/b/c", b"x"];
        let tree = PrefixTree::of(&names);
        for text in ["", "/", "/a", "/ab", "/abc", "/abc/d", "/abde", "/b/", "/b/c", "x", "y"] {
            let mut found = Vec::new();
            tree.prefixes(text.as_bytes(), |name| found.push(name));
            let expected: Vec<usize> =
                (0..names.len()).filter(|&at| text.as_bytes().starts_with(names[at])).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_empty_tree_finds_nothing() {
        PrefixTree::default().prefixes(b"/", |_| panic!("there is no name"));
    }
}
