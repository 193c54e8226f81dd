//! What keeps clients out of a block.

use super::Scope;

/// Whether an access rule, a password or a subrequest decides who gets an answer here.
pub fn is_guarded(scope: Scope<'_>) -> bool {
    let is_on = |name| scope.value(name).is_some_and(|word| *word != "off");
    denies(scope)
        || (is_on("auth_basic") && scope.value("auth_basic_user_file").is_some())
        || is_on("auth_request")
}

/// Whether `deny` is in force.
fn denies(scope: Scope<'_>) -> bool {
    scope.in_force(&["allow", "deny"]).iter().any(|rule| rule.name == "deny")
}
