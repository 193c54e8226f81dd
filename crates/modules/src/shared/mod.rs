//! What modules of several protocols have in common, written against [`Session`](daemun_core::script::Session).

pub mod forwarded;
pub mod geo;
pub mod geoip;
pub mod geoip2;
pub mod hostnames;
pub mod limits;
pub mod map;
pub mod split_clients;
pub mod upstream;

use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
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

/// An address or a network, with nginx's words for what is neither.
pub fn network(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Cidr, Fault> {
    match Cidr::parse(&word.text) {
        Some((Cidr::Unix, _)) | None => {
            Err(Fault::from(format!("invalid network \"{word}\"")).at(word.span))
        }
        Some((cidr, has_low_bits)) => {
            if has_low_bits {
                let message = format!("low address bits of {word} are meaningless");
                loader.warn(word.span, message);
            }
            Ok(cidr)
        }
    }
}
