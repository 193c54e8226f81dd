//! Protocols in which a request is one packet of parameters, with the body behind it: SCGI and uwsgi.

use daemun_core::log;
use daemun_http::head::Known;
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::field::Field;
use daemun_http::upstream::head::{Head, InvalidHead};
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};
use daemun_http::upstream::settings::Settings as Common;

use super::content::Content;
use super::head::CgiHead;
use super::params::{self, Param, Source};

/// How a protocol writes its packet.
pub trait Form {
    /// As the protocol's directives begin.
    const NAME: &str;

    /// `Status` is not passed to clients.
    const HIDES_STATUS: bool;

    /// Appends a parameter.
    fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>);

    /// Appends the packet around all parameters, in front of a body that long. The error is the client's answer.
    fn packet(
        &self,
        request: &Request,
        length: u64,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Status>;
}

/// One request in such a protocol, and its response.
pub struct Packet<F> {
    form: F,
    common: &'static Common,
    params: &'static [Param],
    host: &'static Param,
    head: CgiHead,
    content: Content,
    upgrades: bool,
}

impl<F: Form> Packet<F> {
    pub fn new(
        form: F,
        common: &'static Common,
        params: &'static [Param],
        host: &'static Param,
    ) -> Packet<F> {
        let head = CgiHead::after_status_line();
        let content = Content::default();
        Packet { form, common, params, host, head, content, upgrades: false }
    }
}

impl<F: Form> Protocol for Packet<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn write_request(
        &mut self,
        request: &mut Request,
        payload: Payload,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let mut params = Vec::new();
        let passes_fields = *self.common.pass_request_headers;
        let source = Source { params: self.params, host: self.host, passes_fields, payload };
        params::each(request, source, |name, value| F::param(name, value, &mut params));
        self.form.packet(request, payload.length().unwrap_or_default(), &params, out)
    }

    fn passes_body(&self) -> bool {
        *self.common.pass_request_body
    }

    /// The packet tells the body's length.
    fn streams_body(&self, request: &Request) -> bool {
        self.passes_body() && !request.body.is_chunked()
    }

    fn begin_again(&mut self) {
        self.head = CgiHead::after_status_line();
        self.content = Content::default();
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        Ok(match self.head.read(request, received, head)? {
            Some(consumed) => HeadStep::Done { consumed },
            None => HeadStep::Incomplete { consumed: 0 },
        })
    }

    fn begin_body(&mut self, request: &Request, head: &Head) {
        self.content = Content::behind(head, request.head.method());
        self.upgrades = head.status == Status::SWITCHING_PROTOCOLS.0;
    }

    fn read_body(
        &mut self,
        _request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        Ok(self.content.read(input, at))
    }

    fn expected(&self) -> Option<u64> {
        self.content.left()
    }

    fn ends_with_connection(&mut self) -> bool {
        self.content.ends_with_connection()
    }

    fn tell_excess(&self, request: &Request) {
        log!(
            request.log(),
            Warn,
            *request,
            "upstream sent more data than specified in \"Content-Length\" header"
        );
    }

    fn keeps_connection(&self) -> bool {
        false
    }

    /// The application is the origin server: its `Date` and `Server` count.
    fn hides(&self, field: Field) -> bool {
        field.is_order() || F::HIDES_STATUS && field == Field::Status
    }

    fn asks_to_upgrade(&self, request: &Request) -> bool {
        request.header(Known::Upgrade).is_some()
    }

    fn upgrades(&self) -> bool {
        self.upgrades
    }
}
