//! The lists of what varies: a file each, a case a line, with Rust's escapes and `\e` for an empty text.

pub const URIS: &str = include_str!("data/uris.txt");
pub const SITE_URIS: &str = include_str!("data/site-uris.txt");
pub const RULE_URIS: &str = include_str!("data/rule-uris.txt");
pub const REWRITING_URIS: &str = include_str!("data/rewriting-uris.txt");
pub const CLIENT_FIELDS: &str = include_str!("data/client-fields.txt");
pub const CLIENT_URIS: &str = include_str!("data/client-uris.txt");
pub const FILTER_FIELDS: &str = include_str!("data/filter-fields.txt");
pub const FILTER_URIS: &str = include_str!("data/filter-uris.txt");
pub const RANGES: &str = include_str!("data/ranges.txt");
pub const CONDITIONS: &str = include_str!("data/conditions.txt");
pub const FIELDS: &str = include_str!("data/fields.txt");
pub const RAW: &str = include_str!("data/raw.txt");
pub const HOSTS: &str = include_str!("data/hosts.txt");
pub const HTTP_RESPONSES: &str = include_str!("data/http-responses.txt");
pub const CGI_RESPONSES: &str = include_str!("data/cgi-responses.txt");
pub const METHODS: &str = include_str!("data/methods.txt");
/// A field that tells the framing, ` | `, and the body.
pub const BODIES: &str = include_str!("data/bodies.txt");

/// The texts of a list.
pub fn lines(list: &str) -> Vec<String> {
    list.lines().map(unescape).collect()
}

/// The pairs of a list.
pub fn pairs(list: &str) -> Vec<(String, String)> {
    let pairs = list.lines().filter_map(|line| line.split_once(" | "));
    pairs.map(|(first, second)| (unescape(first), unescape(second))).collect()
}

fn unescape(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let (character, after) = character(escape);
        text.extend(character);
        rest = after;
    }
    text + rest
}

/// What stands behind a backslash, and the rest of the line.
fn character(escape: &str) -> (Option<char>, &str) {
    let (kind, rest) = escape.split_at(1);
    match kind {
        "e" => (None, rest),
        "r" => (Some('\r'), rest),
        "n" => (Some('\n'), rest),
        "t" => (Some('\t'), rest),
        "0" => (Some('\0'), rest),
        "\\" => (Some('\\'), rest),
        "u" => {
            let (digits, rest) = rest[1..].split_once('}').expect("a closing brace");
            let code = u32::from_str_radix(digits, 16).expect("hexadecimal digits");
            (char::from_u32(code), rest)
        }
        _ => panic!("no escape: \\{kind}"),
    }
}
