//! Faults of framing end the connection, each with its code.

use crate::talk::*;
use daemun_proto::http2::frame::{self, Kind};
use daemun_proto::http2::{Code, Config, PREFACE, Role};

fn server() -> Talk {
    Talk::server(Config::default())
}

#[test]
fn a_server_says_its_settings_and_waits_for_the_preface() {
    let mut talk = Talk::new(Role::Server, Config::default());
    let sent = talk.sent();
    assert_eq!((sent[0].kind, sent[1].kind), (Kind::Settings, Kind::WindowUpdate));
    for byte in PREFACE {
        assert!(talk.tell(&[*byte]).is_empty());
    }
    assert!(matches!(talk.tell(&get(1))[..], [Told::Message(1, ..)]));
    for wrong in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nxx", "X"] {
        let mut talk = Talk::new(Role::Server, Config::default());
        assert_eq!(talk.fault(wrong.as_bytes()).code, Code::PROTOCOL_ERROR, "{wrong}");
        assert!(talk.try_tell(b"more").is_err() && talk.sent().is_empty());
    }
}

#[test]
fn settings_come_first_where_that_is_asked() {
    let config = Config { settings_first: true, ..Config::default() };
    for first in
        [get(1), frame(Kind::Settings, frame::ACK, 0, b""), frame(Kind::Ping, 0, 0, &[0; 8])]
    {
        let mut talk = Talk::new(Role::Server, config.clone());
        assert_eq!(talk.fault(&[&PREFACE[..], &first].concat()).code, Code::PROTOCOL_ERROR);
    }
    let mut talk = Talk::new(Role::Server, config);
    talk.tell(&[&PREFACE[..], &settings(&[]), &get(1)].concat());
}

#[test]
fn faults_have_their_codes() {
    let size = Code::FRAME_SIZE_ERROR;
    let protocol = Code::PROTOCOL_ERROR;
    for (what, bytes, code) in [
        ("DATA on 0", data(0, 0, b"a"), protocol),
        ("DATA on an idle stream", data(1, 0, b"a"), protocol),
        ("padding beyond DATA", data(1, PADDED, &[9, 0]), protocol),
        ("HEADERS on 0", get(0), protocol),
        ("HEADERS on an even stream", get(2), protocol),
        ("padding beyond HEADERS", frame(Kind::Headers, BOTH | PADDED, 1, &[9, 0]), protocol),
        ("dependency on itself", frame(Kind::Headers, BOTH | 0x20, 1, &[0, 0, 0, 1, 0]), protocol),
        ("PRIORITY on itself", frame(Kind::Priority, 0, 3, &[0, 0, 0, 3, 0]), protocol),
        ("PRIORITY of 4", frame(Kind::Priority, 0, 3, &[0; 4]), size),
        ("RST_STREAM on an idle stream", rst(1, 0), protocol),
        ("RST_STREAM of 5", frame(Kind::RstStream, 0, 1, &[0; 5]), size),
        ("SETTINGS of 7", frame(Kind::Settings, 0, 0, &[0; 7]), size),
        ("ACK with something", frame(Kind::Settings, 1, 0, &[0; 6]), size),
        ("frames of 42", settings(&[(5, 42)]), protocol),
        ("window of 2^31", settings(&[(4, 1 << 31)]), Code::FLOW_CONTROL_ERROR),
        ("push", frame(Kind::PushPromise, END_HEADERS, 1, &[0, 0, 0, 2]), protocol),
        ("PING of 6", frame(Kind::Ping, 0, 0, &[0; 6]), size),
        ("GOAWAY of 7", frame(Kind::GoAway, 0, 0, &[0; 7]), size),
        ("GOAWAY on 5", frame(Kind::GoAway, 0, 5, &[0; 8]), protocol),
        ("WINDOW_UPDATE of 0", window(0, 0), protocol),
        ("WINDOW_UPDATE too far", window(0, frame::MOST), Code::FLOW_CONTROL_ERROR),
        ("WINDOW_UPDATE on an idle stream", window(1, 1), protocol),
        ("CONTINUATION alone", frame(Kind::Continuation, END_HEADERS, 1, b""), protocol),
        ("no field's name", headers(1, BOTH, GET, &[("", "x")]), protocol),
        ("index 0", frame(Kind::Headers, BOTH, 1, &[0x80]), Code::COMPRESSION_ERROR),
        ("index of none", frame(Kind::Headers, BOTH, 1, &[0xbf]), Code::COMPRESSION_ERROR),
        ("table size", frame(Kind::Headers, BOTH, 1, &[0x3f, 0xe2, 0x1f]), Code::COMPRESSION_ERROR),
        ("long integer", frame(Kind::Headers, BOTH, 1, &[0xff; 5]), Code::COMPRESSION_ERROR),
        ("cut integer", frame(Kind::Headers, BOTH, 1, &[0xff]), Code::COMPRESSION_ERROR),
        ("cut literal", frame(Kind::Headers, BOTH, 1, &[0x42, 0xff]), Code::COMPRESSION_ERROR),
    ] {
        let mut talk = server();
        if what.starts_with("padding beyond DATA") {
            talk.tell(&post(1));
        }
        let fatal = talk.fault(&bytes);
        assert_eq!(fatal.code, code, "{what}: {}", fatal.reason);
    }
}

#[test]
fn frames_have_a_largest_size() {
    for (max_frame_size, length) in [(16_384, 16_385), (20_000, 20_001)] {
        for kind in [Kind::Data, Kind::Headers, Kind::Unknown(99)] {
            let mut talk = Talk::server(Config { max_frame_size, ..Config::default() });
            let bytes = frame(kind, END_HEADERS, 1, &vec![0; length]);
            // It is refused by its head alone.
            assert_eq!(talk.fault(&bytes[..9]).code, Code::FRAME_SIZE_ERROR);
        }
    }
}

#[test]
fn a_header_block_is_not_interrupted() {
    let begin = frame(Kind::Headers, END_STREAM, 1, &block(GET));
    for other in [
        get(3),
        data(1, 0, b"a"),
        frame(Kind::Ping, 0, 0, &[0; 8]),
        frame(Kind::Continuation, END_HEADERS, 3, b""),
        frame(Kind::Unknown(77), 0, 0, b""),
    ] {
        let mut talk = server();
        assert!(talk.tell(&begin).is_empty());
        assert_eq!(talk.fault(&other).code, Code::PROTOCOL_ERROR);
    }
    let mut talk = server();
    talk.tell(&begin);
    assert_eq!(talk.connection.unfinished_head(), Some(1));
    let told = talk.tell(&frame(Kind::Continuation, END_HEADERS, 1, b""));
    assert_eq!(told, [Told::Message(1, fields(&[GET[0], GET[1], GET[3], GET[2]]), true)]);
    assert_eq!(talk.connection.unfinished_head(), None);
}

#[test]
fn blocks_come_in_any_pieces() {
    let whole = block(&[GET, &[("x-a", "1"), ("x-b", "a longer value")]].concat());
    for cut in 0..whole.len() {
        for second in [cut, (cut + 3).min(whole.len())] {
            let mut talk = server();
            let bytes = [
                frame(Kind::Headers, END_STREAM, 1, &whole[..cut]),
                if second > cut {
                    frame(Kind::Continuation, 0, 1, &whole[cut..second])
                } else {
                    Vec::new()
                },
                frame(Kind::Continuation, END_HEADERS, 1, &whole[second..]),
            ]
            .concat();
            let told = talk.tell(&bytes);
            let [Told::Message(1, fields, true)] = &told[..] else { panic!("{told:?}") };
            assert_eq!(fields.len(), 6, "{cut}");
        }
    }
}

#[test]
fn padding_and_old_priorities_are_passed_over() {
    let mut talk = server();
    let padded = [&[2, 0, 0, 0, 0, 9][..], &block(POST), &[0, 0]].concat();
    let told = talk.tell(&frame(Kind::Headers, END_HEADERS | PADDED | 0x20, 1, &padded));
    assert!(matches!(told[..], [Told::Message(1, _, false)]));
    let told = talk.tell(&data(1, END_STREAM | PADDED, &[3, b'a', b'b', 0, 0, 0]));
    assert_eq!(told, [Told::Data(1, b"ab".to_vec(), true)]);
    // Nothing but padding, and nothing but its length.
    talk.tell(&post(3));
    assert!(talk.tell(&data(3, PADDED, &[2, 0, 0])).is_empty());
    assert_eq!(talk.tell(&data(3, PADDED | END_STREAM, &[0])), [Told::Data(3, vec![], true)]);
    talk.answer(1);
    assert!(matches!(talk.tell(&get(5))[..], [Told::Message(5, ..)]));
}

#[test]
fn frames_of_no_meaning_are_passed_over() {
    let mut talk = server();
    let large = vec![0; 20_000];
    let bytes = [
        frame(Kind::Unknown(10), 0xff, 0, b"altsvc"),
        frame(Kind::Unknown(12), 0, 0, b"origin"),
        frame(Kind::Unknown(0xee), 0, 7, &large),
        frame(Kind::Priority, 0, 9, &[0, 0, 0, 1, 5]),
        settings(&[(0x9999, 7)]),
        frame(Kind::Ping, 0, 0, b"SEE-THIS"),
    ];
    talk.tell(&bytes.concat());
    let sent = talk.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].kind, sent[0].flags), (Kind::Settings, frame::ACK));
    assert_eq!((sent[1].kind, sent[1].flags), (Kind::Ping, frame::ACK));
    assert_eq!(sent[1].payload, b"SEE-THIS");
    // What concerns the whole connection has no place in its middle.
    let many = settings(&[(0x9999, 7); 3000]);
    assert_eq!(talk.fault(&many).code, Code::FRAME_SIZE_ERROR);
}
