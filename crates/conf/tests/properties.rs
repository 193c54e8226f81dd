//! What holds for every tree and for every sequence of bytes.

use std::path::Path;

use daemun_conf::{Block, Diagnostics, Files, Root, fuzz, parse, print};
use proptest::prelude::*;

/// A directive as words, and a block or none.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    words: Vec<Vec<u8>>,
    block: Option<Vec<Plain>>,
}

fn parsed(text: Vec<u8>) -> Block {
    let mut files = Files::default();
    let mut diagnostics = Diagnostics::default();
    let name = "test.conf".into();
    let tree = parse(Root::Embedded { name, text }, Path::new("/"), &mut files, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render("nginx", &files));
    tree
}

fn plain(block: &Block) -> Vec<Plain> {
    let directives = block.directives.iter().map(|directive| Plain {
        words: std::iter::once(&directive.name)
            .chain(&directive.args)
            .map(|word| word.text.to_vec())
            .collect(),
        block: directive.block.as_ref().map(plain),
    });
    directives.collect()
}

/// The tree in nginx's language, every word in single quotes: the plainest spelling that is always right.
fn spelled(tree: &[Plain]) -> Vec<u8> {
    let mut text = Vec::new();
    for directive in tree {
        for word in &directive.words {
            text.push(b'\'');
            for &byte in word {
                if byte == b'\'' || byte == b'\\' {
                    text.push(b'\\');
                }
                text.push(byte);
            }
            text.extend_from_slice(b"'\n");
        }
        match &directive.block {
            Some(block) => text.extend([b"{", &spelled(block)[..], b"}"].concat()),
            None => text.push(b';'),
        }
    }
    text
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(b" \t\n;{}\"'\\#$ab".to_vec());
    let not_include = |word: &Vec<u8>| word != b"include";
    prop::collection::vec(prop_oneof![special, any::<u8>()], 0..8)
        .prop_filter("include reads files", not_include)
}

fn tree() -> impl Strategy<Value = Vec<Plain>> {
    let words = || prop::collection::vec(word(), 1..5);
    let leaf = words().prop_map(|words| Plain { words, block: None });
    let directive = leaf.prop_recursive(4, 32, 4, move |inner| {
        let block = prop::option::of(prop::collection::vec(inner, 0..4));
        (words(), block).prop_map(|(words, block)| Plain { words, block })
    });
    prop::collection::vec(directive, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_read_as_it_was_written(tree in tree()) {
        prop_assert_eq!(plain(&parsed(spelled(&tree))), tree);
    }

    #[test]
    fn a_printed_tree_is_the_same_tree(tree in tree()) {
        let printed = print(&parsed(spelled(&tree)));
        prop_assert_eq!(plain(&parsed(printed)), tree);
    }

    #[test]
    fn any_bytes_parse(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::conf_parse(&data);
    }

    #[test]
    fn any_sequence_of_special_bytes_parses(data in prop::collection::vec(prop::sample::select(b" \n;{}\"'\\#$ab)".to_vec()), 0..60)) {
        fuzz::conf_parse(&data);
    }

    #[test]
    fn any_bytes_are_a_value_or_none(data in "[0-9yMwdhmskKgG ]{0,24}") {
        fuzz::units(data.as_bytes());
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    fuzz::conf_parse("a{".repeat(100_000).as_bytes());
}

#[test]
fn a_word_fills_nginx_s_buffer_at_most() {
    let read = |text: String| {
        let mut files = Files::default();
        let mut diagnostics = Diagnostics::default();
        let root = Root::Embedded { name: "test.conf".into(), text: text.into_bytes() };
        parse(root, Path::new("/"), &mut files, &mut diagnostics);
        diagnostics.iter().map(|diagnostic| diagnostic.sentence(&files)).collect::<Vec<_>>()
    };
    let fits = "x".repeat(4095);
    let spills = "x".repeat(4096);

    assert!(read(format!("a {fits};")).is_empty());
    assert!(read(format!("a \"{fits}\";")).is_empty());
    assert_eq!(
        read(format!("\na {spills};")),
        [r#"too long parameter "xxxxxxxxxx..." started in test.conf:2"#]
    );
    assert_eq!(
        read(format!("a\n \"{spills}\n\";")),
        [r#"too long parameter, probably missing terminating """ character in test.conf:2"#]
    );
}
