//! What must hold for any bytes: the fuzz targets' bodies, run on generated input.

use daemun_proto::fuzz;
use proptest::prelude::*;

/// Lines that look like requests, with oddities in every place.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let line = "(GET|POST|get|G\\x00T|CONNECT) {1,2}(/[a-z./%?#0-9]{0,12}|http://[a-z.:\\[\\]]{0,8}/?) ?(HTTP/1\\.[01]|HTTP/2|)";
    let field = "[A-Za-z_-]{0,6} ?:? {0,2}[a-z0-9.:\\[\\]]{0,8} ?";
    let end = prop::sample::select(vec!["\r\n", "\n", "\r", ""]);
    let lines = prop::collection::vec((field, end.clone()), 0..5);
    (line, end, lines).prop_map(|(line, end, fields)| {
        let fields: String = fields.iter().map(|(field, end)| format!("{field}{end}")).collect();
        format!("{line}{end}{fields}\r\n").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_a_head_or_none(data in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzz::request_head(&data);
    }

    #[test]
    fn odd_heads_are_a_head_or_none(data in head()) {
        fuzz::request_head(&data);
    }

    #[test]
    fn chunks_are_the_same_however_they_arrive(data in "([0-9a-fA-F]{1,3}(;[a-z]{0,3})?\r?\n[a-z]{0,18}\r?\n){0,3}(0\r?\n([a-z]{0,3}\r?\n){0,2})?") {
        fuzz::chunked_body(data.as_bytes());
    }

    #[test]
    fn any_answers_are_dns_or_not(
        kind in prop::sample::select(vec![1u16, 28, 33]),
        count in 0..4u8,
        records in prop::collection::vec(
            (
                prop::sample::select(vec![1u16, 5, 28, 33, 39]),
                prop::collection::vec(any::<u8>(), 0..20),
            ),
            0..4,
        ),
    ) {
        let mut message = b"\0\x07\x81\x80\0\x01\0\0\0\0\0\0\x01a\x01b\0".to_vec();
        message[7] = count;
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
            message.extend(data);
        }
        fuzz::dns_response(&message);
    }

    #[test]
    fn records_are_the_same_however_they_arrive(
        records in prop::collection::vec(
            (
                prop::sample::select(vec![3u8, 6, 7, 7, 9]),
                prop::collection::vec(any::<u8>(), 0..12),
                0..9u8,
            ),
            0..6,
        ),
        garbage in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut data = Vec::new();
        for (kind, content, padding) in records {
            data.extend([1, kind, 0, 1, 0, content.len() as u8, padding, 0]);
            data.extend(content);
            data.resize(data.len() + usize::from(padding), 0);
        }
        data.extend(garbage);
        fuzz::fastcgi_records(&data);
    }

    #[test]
    fn packets_tell_their_length(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::scgi_request(&data);
        fuzz::uwsgi_request(&data);
    }

    #[test]
    fn values_are_the_same_however_they_arrive(
        text in "VALUE /a [0-9]{1,2} [0-9]{1,2}\r?\n[a-z]{0,12}(\r\n)?(END)?(\r\n)?.{0,3}",
    ) {
        fuzz::memcached_reply(text.as_bytes());
    }

    #[test]
    fn proxy_headers_are_the_same_however_they_arrive(
        text in "PROXY (TCP4|TCP6|UNKNOWN) [0-9a-f.:]{0,12} [0-9a-f.:]{0,12} [0-9]{0,6} [0-9]{0,6}\r?\n?.{0,5}",
        kind in 0x10..0x40u8,
        family in prop::sample::select(vec![0x00u8, 0x11, 0x12, 0x21, 0x31]),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        fuzz::proxy_header(text.as_bytes());
        let length = (body.len() as u16).to_be_bytes();
        fuzz::proxy_header(&[b"\r\n\r\n\0\r\nQUIT\n", &[kind, family][..], &length, &body].concat());
    }
}
