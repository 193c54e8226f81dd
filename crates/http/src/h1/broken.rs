//! Requests whose heads never come to their end. Nobody is answered, and the access log has a line: whoever watches it for
//! clients that try the server's patience reads these.

use daemun_proto::http1::Range;

use super::read_head;
use crate::phases;
use crate::request::Request;
use crate::status::Status;

/// The client went away within a head.
#[cold]
pub fn breaks_off(request: &mut Request) {
    write_line(request, Status::BAD_REQUEST);
}

/// The client took too long over this beginning of a head.
#[cold]
pub fn times_out(request: &mut Request, beginning: &[u8]) {
    request.head.bytes.extend_from_slice(beginning);
    write_line(request, Status::REQUEST_TIMEOUT);
}

/// What has come is read once more, for what it says of the request.
fn write_line(request: &mut Request, status: Status) {
    let _ = read_head::parse(request);
    let head = &mut request.head;
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if head.request_line().is_empty() {
        let start = head.bytes.iter().take_while(|byte| is_end(byte)).count();
        let length = head.bytes[start..].iter().take_while(|byte| !is_end(byte)).count();
        head.line.line = Range::new(start, start + length);
        request.head_end = start;
    } else {
        // Lines that are whole count.
        request.head_end = memchr::memrchr(b'\n', &head.bytes).map_or(0, |end| end + 1);
    }
    request.response.status = status;
    phases::write_log(request);
}
