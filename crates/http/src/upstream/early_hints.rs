//! 103 Early Hints from an upstream, passed to the client before the response.

use bytes::Bytes;
use daemun_core::log;

use super::head::Head;
use super::headers;
use super::settings::Settings;
use crate::core::early_hints;
use crate::h1;
use crate::request::Request;

/// Passes hints on where `early_hints` says so; `total` is how many bytes of them have come for this request. They
/// are gone from `head` afterwards.
pub async fn pass(
    request: &mut Request,
    settings: &Settings,
    head: &mut Head,
    bytes: Bytes,
    total: usize,
) {
    head.bytes = bytes;
    if total > *settings.buffer_size {
        log!(request.log(), Info, *request, "upstream sent too big early hints");
    } else if !request.is_subrequest() && request.is_http11() && early_hints::are_wanted(request) {
        if let Some(handle) = request.stream() {
            handle.send_interim(103, headers::passed(settings, head));
            head.clear();
            return;
        }
        let out = h1::write_head::early_hints(headers::passed(settings, head));
        if let Some(out) = out {
            let timeout = *request.core().sending.send_timeout;
            // A client that has gone is noticed when the response is sent.
            let _ = request.connection_mut().transport().send_all(&out, timeout).await;
        }
    }
    head.clear();
}
