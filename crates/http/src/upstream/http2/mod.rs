//! HTTP/2 to servers behind. What differs between those who speak it (`proxy_pass`, `grpc_pass`) is
//! a [`Dialect`]: which fields a request has. [`Http2`] makes a protocol of one.
//!
//! A connection serves one request at a time, as nginx's do. What both sides have told each other
//! on it is its [`Link`], which waits with the connection between two requests.

mod block;
mod exchange;
mod link;

use bytes::Bytes;

use super::field::Field;
use super::payload::Payload;
use crate::request::Request;
use crate::status::Status;

pub use block::{Block, Line};
pub use exchange::Http2;
pub use link::Link;

/// Who speaks HTTP/2 to a server behind.
pub trait Dialect {
    /// As [`super::protocol::Protocol::name`].
    fn name(&self) -> &'static str;

    /// As [`super::protocol::Protocol::cache_key`].
    fn cache_key(&self, _: &mut Request, _out: &mut Vec<u8>) {}

    /// Writes the head of a request whose body is framed as `payload` says. The error is the
    /// client's answer.
    fn write_head(
        &mut self,
        request: &mut Request,
        payload: Payload,
        block: &mut Block,
    ) -> Result<(), Status>;

    /// As [`super::protocol::Protocol::passes_body`].
    fn passes_body(&self) -> bool;

    /// As [`super::protocol::Protocol::hides`].
    fn hides(&self, field: Field) -> bool {
        field.is_hidden()
    }

    /// As [`super::protocol::Protocol::rewrite_location`].
    fn rewrite_location(&self, _: &mut Request, _value: &Bytes, _prefix: usize) -> Option<Bytes> {
        None
    }

    /// As [`super::protocol::Protocol::rewrite_cookie`].
    fn rewrite_cookie(&self, _: &mut Request, _value: &Bytes) -> Option<Bytes> {
        None
    }
}
