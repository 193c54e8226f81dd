//! The head of a request as a gRPC server gets it.

use std::borrow::Cow;

use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::field::Field;
use daemun_http::upstream::http2::{Block, Dialect, Line};
use daemun_http::upstream::payload::Payload;

use super::Settings;
use crate::http::http2_head;
use crate::http::proxy::request_head;

/// What `grpc_pass` has to say.
pub struct Grpc {
    pub settings: &'static Settings,
    /// Where the request goes, as the configuration spells it.
    pub host: Cow<'static, str>,
    pub is_tls: bool,
}

impl Dialect for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn write_head(
        &mut self,
        request: &mut Request,
        payload: Payload,
        block: &mut Block,
    ) -> Result<(), Status> {
        let set = &self.settings.set_headers;
        let mut path = Vec::new();
        request_head::append_uri(request, b"", Some(b""), &mut path);
        let authority = http2_head::authority(request, set, self.host.as_bytes());
        let method = request.head.method_name();
        let is_tls = self.is_tls;
        block.begin(Line { method, is_tls, path: &path, authority: &authority });
        http2_head::length(set, payload, block);
        // Servers take it for a sign that nobody on the way loses their trailers.
        if accepts_trailers(request) && !http2_head::is_set(set, b"te") {
            block.field(b"te", b"trailers");
        }
        http2_head::set_fields(request, set, payload, block);
        http2_head::pass_fields(&request.head, set, |_| false, block);
        Ok(())
    }

    fn passes_body(&self) -> bool {
        true
    }

    fn hides(&self, field: Field) -> bool {
        field.is_hidden() && field != Field::Pad
    }
}

/// Whether the client has said that it takes fields behind the body.
pub fn accepts_trailers(request: &Request) -> bool {
    let mut encodings = request.head.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"te"));
    encodings.any(|(_, value)| value.windows(8).any(|word| word.eq_ignore_ascii_case(b"trailers")))
}
