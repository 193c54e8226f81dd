//! Regular expressions in PCRE2's syntax, as nginx's users write them, on bytes.
//!
//! A pattern is parsed here into a tree in which flags, escapes and classes are resolved, and printed for one of two
//! engines: a linear-time one wherever it gives exactly PCRE2's answer, otherwise a backtracking one with a step limit.
//! Simple ones need neither.
//! What neither can express is refused by name.
//!
//! ```
//! use daemun_pattern::Pattern;
//!
//! let pattern = Pattern::compile(br"^/(?<user>\w+)/(.*)$", false)?;
//! let mut slots = Vec::new();
//!
//! assert_eq!(pattern.captures(b"/kim/a.html", &mut slots), Ok(true));
//! assert_eq!(slots, [Some((0, 11)), Some((1, 4)), Some((5, 11))]);
//! assert_eq!(pattern.names(), [("user".to_owned(), 1)]);
//! # Ok::<(), daemun_pattern::Error>(())
//! ```

mod ast;
mod byte_set;
mod class;
mod cursor;
mod direct;
mod error;
mod escape;
#[doc(hidden)]
pub mod fuzz;
mod matcher;
mod parse;
mod print;
mod property;
mod runaway;

pub use error::{Error, StepLimit};
pub use matcher::{Pattern, Slot};
pub use runaway::may_run_away;
