//! SCGI: a request's parameters as one netstring.

/// Appends a name and its value, in the form they have within the netstring. Neither can hold a zero byte: what stands
/// behind one would be another parameter, so it is left out.
pub fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for text in [name, value] {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        out.extend_from_slice(&text[..end]);
        out.push(0);
    }
}

/// Appends the netstring. `CONTENT_LENGTH` goes first, as the protocol wants it.
pub fn request(content_length: u64, params: &[u8], out: &mut Vec<u8>) {
    let mut first = Vec::with_capacity(32);
    param(b"CONTENT_LENGTH", content_length.to_string().as_bytes(), &mut first);
    out.extend_from_slice((first.len() + params.len()).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(&first);
    out.extend_from_slice(params);
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_netstring() {
        let mut params = Vec::new();
        param(b"SCGI", b"1", &mut params);
        param(b"REQUEST_METHOD", b"POST", &mut params);
        param(b"REQUEST_URI", b"/deepthought", &mut params);
        let mut out = Vec::new();
        request(27, &params, &mut out);
        // the example of the specification
        assert_eq!(
            out,
            b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,"
        );
    }

    #[test]
    fn a_value_cannot_add_parameters() {
        let mut params = Vec::new();
        param(b"A", b"b\0HTTPS\0on", &mut params);
        assert_eq!(params, b"A\0b\0");
    }
}
