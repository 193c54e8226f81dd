//! `proxy_http_version 2`: the head of a request over HTTP/2.

use std::borrow::Cow;

use bytes::Bytes;
use daemun_core::log;
use daemun_http::one_line;
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::http2::{Block, Dialect, Http2, Line};
use daemun_http::upstream::payload::Payload;

use super::pass::Place;
use super::{Settings, cookies, redirects, request_head};
use crate::http::http2_head;

/// What `proxy_pass` has to say.
pub struct Proxy {
    settings: &'static Settings,
    place: Cow<'static, Place>,
    location: Option<&'static [u8]>,
    is_tls: bool,
}

pub fn protocol(
    settings: &'static Settings,
    place: Cow<'static, Place>,
    location: Option<&'static [u8]>,
    is_tls: bool,
) -> Http2<Proxy> {
    Http2::new(Proxy { settings, place, location, is_tls })
}

impl Proxy {
    fn method(&self, request: &mut Request) -> Vec<u8> {
        let Some(script) = &*self.settings.method else {
            return match request.converts_head() {
                true => b"GET".to_vec(),
                false => request.head.method_name().to_vec(),
            };
        };
        let mut method = Vec::new();
        script.append(request, &mut method);
        one_line::settle(&mut method, 0);
        method
    }

    fn uri(&self, request: &Request) -> Result<Vec<u8>, Status> {
        let mut uri = Vec::new();
        request_head::append_uri(request, &self.place.uri, self.location, &mut uri);
        one_line::settle_uri(&mut uri, 0);
        if uri.is_empty() {
            log!(request.log(), Error, *request, "zero length URI to proxy");
            return Err(Status::INTERNAL_SERVER_ERROR);
        }
        Ok(uri)
    }
}

impl Dialect for Proxy {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn cache_key(&self, request: &mut Request, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.place.cache_key);
        request_head::append_uri(request, &self.place.uri, self.location, out);
    }

    fn write_head(
        &mut self,
        request: &mut Request,
        payload: Payload,
        block: &mut Block,
    ) -> Result<(), Status> {
        let settings = self.settings;
        let method = self.method(request);
        let uri = self.uri(request)?;
        block.body = settings.set_body.as_ref().map(|body| body.value(request));
        let payload = block.body.as_ref().map_or(payload, |body| Payload::written(body.len()));
        request_head::note(request, &self.place, &uri, payload);
        let authority = http2_head::authority(request, &settings.set_headers, &self.place.host);
        let is_tls = self.is_tls;
        block.begin(Line { method: &method, is_tls, path: &uri, authority: &authority });
        http2_head::set_fields(request, &settings.set_headers, payload, block);
        http2_head::length(&settings.set_headers, payload, block);
        if *settings.common.pass_request_headers {
            let whole = request.fetches_for_cache();
            let leaves = |name: &[u8]| whole && request_head::wants_part(name);
            http2_head::pass_fields(&request.head, &settings.set_headers, leaves, block);
            if whole {
                let put = |name: &[u8], value: &[u8]| block.field(name, value);
                request_head::conditions(request, settings, put);
            }
        }
        Ok(())
    }

    fn passes_body(&self) -> bool {
        *self.settings.common.pass_request_body && self.settings.set_body.is_none()
    }

    fn rewrite_location(
        &self,
        request: &mut Request,
        value: &Bytes,
        prefix: usize,
    ) -> Option<Bytes> {
        redirects::rewrite(request, self.settings, value, prefix)
    }

    fn rewrite_cookie(&self, request: &mut Request, value: &Bytes) -> Option<Bytes> {
        cookies::rewrite(request, self.settings, value)
    }
}
