//! The directives that nginx 1.31 has: those that daemun lacks are refused by name, never ignored.

/// `DIRECTIVE<TAB>MODULE`, sorted.
const LIST: &str = include_str!("../known-directives.tsv");

/// The module of nginx that has the directive, `None` where none has.
pub fn module_of(directive: &str) -> Option<&'static str> {
    directives().find(|(name, _)| *name == directive).map(|(_, module)| module)
}

/// Every directive with its module.
pub fn directives() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.lines().filter_map(|line| line.split_once('\t'))
}
