//! A request that is answered and not sent, to show how it would be.

use daemun_core::connection::Connection;
use daemun_core::listen::Address;

use super::read_head::{self, Head};
use super::serve;
use crate::phases::Answer;
use crate::request::Request;

/// Answers the request whose head is `text`, as if it had come over `connection`: its phases and filters run, and its
/// trace tells of them. `None` where the head is not whole.
///
/// The body is not produced, the request is not logged, and nothing is sent.
pub async fn rehearse(
    request: &mut Request,
    connection: Connection,
    text: &[u8],
) -> Option<Answer> {
    let address = &request.config.sockets[usize::from(connection.listener)].spec.address;
    if let Address::Ip(address) = address {
        request.pretend_local(*address);
    }
    let server = request.config.default_server(&connection);
    request.begin(connection, server);
    request.trace = Some(Box::default());
    request.head.bytes.extend_from_slice(text);
    match read_head::parse(request) {
        Head::Incomplete => None,
        head => Some(serve::answer_of(request, head).await),
    }
}
