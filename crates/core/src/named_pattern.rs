//! A pattern whose named groups are variables.

use daemun_pattern::Pattern;

use crate::script::VariableId;

/// A pattern, and for each of its named groups the variable that a match fills.
pub struct NamedPattern {
    /// As it stands in the configuration.
    pub text: Box<[u8]>,
    pub pattern: Pattern,
    pub names: Vec<(VariableId, usize)>,
}
