//! The nginx.conf language: tokens, blocks, includes, units, places and messages.
//!
//! This crate knows no directive except `include`, which belongs to the language: what a file includes stands in the
//! tree at the place of the `include`, and each directive remembers the file it came from.
//!
//! ```
//! use daemun_conf::{Diagnostics, Files, Root, parse};
//!
//! let mut files = Files::default();
//! let mut diagnostics = Diagnostics::default();
//! let root = Root::Embedded { name: "default.conf".into(), text: b"events { worker_connections 64; }".to_vec() };
//!
//! let tree = parse(root, "/etc/daemun".as_ref(), &mut files, &mut diagnostics);
//!
//! assert!(diagnostics.is_empty());
//! let events = &tree.directives[0];
//! assert_eq!(events.name, "events");
//! assert_eq!(events.block.as_ref().unwrap().directives[0].args[0], "64");
//! ```

mod diagnostics;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod glob;
mod lexer;
mod lua;
mod parser;
mod print;
mod suggest;
mod tree;
pub mod units;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use files::{File, FileId, Files, Position, Span};
pub use parser::{QUOTE_BRACES, Root, parse};
pub use print::print;
pub use suggest::suggest;
pub use tree::{Block, Directive, Word};
