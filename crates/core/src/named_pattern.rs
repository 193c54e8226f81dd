//! A pattern whose named groups are variables.

use std::sync::Arc;

use daemun_pattern::Pattern;

use crate::script::VariableId;

/// A pattern, and for each of its named groups the variable that a match fills.
pub struct NamedPattern {
    /// As it stands in the configuration.
    pub text: Box<[u8]>,
    /// Shared with all that have the same text.
    pub pattern: Arc<Pattern>,
    pub names: Vec<(VariableId, usize)>,
}
