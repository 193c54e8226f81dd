//! What modules of several protocols have in common, written against [`Session`](daemun_core::script::Session).

pub mod forwarded;
pub mod geo;
pub mod hostnames;
pub mod map;
pub mod split_clients;

use daemun_conf as conf;
use daemun_core::load::Fault;
use daemun_core::module::Action;
use daemun_core::values;

/// For the sizes of hash tables.
pub const GROWS: Action = Action::Checked(
    |directive| values::integer::<i64>(directive).map(drop),
    "the tables grow by themselves",
);

/// The name in `$name`, where a directive defines a variable.
pub fn variable_name(word: &conf::Word) -> Result<&str, Fault> {
    let invalid = || Fault::from(format!("invalid variable name \"{word}\"")).at(word.span);
    let name = word.as_str().map_err(|_| invalid())?;
    match name.strip_prefix('$') {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(invalid()),
    }
}
