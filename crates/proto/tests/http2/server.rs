//! A server's side: streams and their states.

use crate::talk::*;
use daemun_proto::http2::frame::{self, Kind};
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{By, Code, Config, Event, Head, Malformed, Part, Role};

fn server() -> Talk {
    Talk::server(Config::default())
}

#[test]
fn a_request_and_its_response() {
    let mut talk = server();
    let told = talk.tell(&headers(1, BOTH, GET, &[("accept", "*/*")]));
    let expected = fields(&[GET[0], GET[1], GET[3], GET[2], ("accept", "*/*")]);
    assert_eq!(told, [Told::Message(1, expected, true)]);
    talk.connection.set_slot(1, 77);
    assert_eq!(talk.connection.slot(1), Some(77));

    let start = talk.connection.begin_block(&mut talk.out);
    encode::status(103, &mut talk.out);
    talk.connection.finish_block(1, start, Part::Interim, &mut talk.out);
    let start = talk.connection.begin_block(&mut talk.out);
    encode::status(200, &mut talk.out);
    talk.connection.finish_block(1, start, Part::Head, &mut talk.out);
    assert_eq!(talk.connection.send_data(1, b"body", false, &mut talk.out), 4);
    let start = talk.connection.begin_block(&mut talk.out);
    encode::field(b"X-T", b"t", &mut talk.out);
    talk.connection.finish_block(1, start, Part::End, &mut talk.out);
    let sent = talk.sent();
    let seen: Vec<_> = sent.iter().map(|sent| (sent.kind, sent.flags, sent.stream)).collect();
    let head = (Kind::Headers, END_HEADERS, 1);
    assert_eq!(seen, [head, head, (Kind::Data, 0, 1), (Kind::Headers, BOTH, 1)]);
    assert!(!talk.connection.is_open(1) && talk.connection.is_idle());
}

#[test]
fn long_blocks_are_cut_for_the_peer() {
    let around = |size: usize| size - 10..size + 10;
    let sizes = [10, 40_000, 100_000].into_iter();
    for size in sizes.chain(around(16_384)).chain(around(2 * 16_384)) {
        let mut talk = server();
        talk.tell(&get(1));
        let value: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
        let start = talk.connection.begin_block(&mut talk.out);
        encode::plain_field(b"x", &value, &mut talk.out);
        let expected = talk.out[start + frame::HEAD..].to_vec();
        talk.connection.finish_block(1, start, Part::End, &mut talk.out);
        let sent = talk.sent();
        let whole: Vec<u8> = sent.iter().flat_map(|sent| sent.payload.clone()).collect();
        assert_eq!(whole, expected);
        assert_eq!(sent.len(), expected.len().div_ceil(16_384));
        for (place, sent) in sent.iter().enumerate() {
            let kind = if place == 0 { Kind::Headers } else { Kind::Continuation };
            assert!(sent.kind == kind && sent.payload.len() <= 16_384);
            assert_eq!(sent.flags & END_HEADERS != 0, place * 16_384 + 16_384 >= expected.len());
            assert_eq!(sent.flags & END_STREAM != 0, place == 0);
        }
    }
}

#[test]
fn bodies_and_trailers() {
    let mut talk = server();
    let told = talk.tell(
        &[
            headers(1, END_HEADERS, POST, &[("content-length", "5")]),
            data(1, 0, b"he"),
            data(1, 0, b"llo"),
            headers(1, BOTH, &[("x-sum", "1")], &[]),
        ]
        .concat(),
    );
    assert_eq!(
        told[1..],
        [
            Told::Data(1, b"he".to_vec(), false),
            Told::Data(1, b"llo".to_vec(), false),
            Told::Trailers(1, fields(&[("x-sum", "1")])),
        ]
    );
    // A body is told as it comes, whatever the frame's size is.
    talk.tell(&post(3));
    let bytes = data(3, END_STREAM, b"abc");
    let told: Vec<Told> = bytes.iter().flat_map(|byte| talk.tell(&[*byte])).collect();
    let piece = |byte: &[u8], is_end| Told::Data(3, byte.to_vec(), is_end);
    assert_eq!(told, [piece(b"a", false), piece(b"b", false), piece(b"c", true)]);
}

#[test]
fn bodies_have_the_length_that_was_told() {
    for (length, frames) in [
        ("5", vec![data(1, END_STREAM, b"four")]),
        ("5", vec![data(1, 0, b"four"), data(1, END_STREAM, b"")]),
        ("3", vec![data(1, 0, b"four")]),
        ("3", vec![data(1, END_STREAM, b"four")]),
        ("0", vec![data(1, 0, b"a")]),
        ("5", vec![data(1, 0, b"four"), headers(1, BOTH, &[("a", "b")], &[])]),
    ] {
        let mut talk = server();
        talk.tell(&headers(1, END_HEADERS, POST, &[("content-length", length)]));
        let told = talk.tell(&frames.concat());
        let is_longer = length != "5";
        let malformed = if is_longer { Malformed::Excess } else { Malformed::Length };
        let malformed = Event::Malformed { stream: 1, malformed };
        assert_eq!(told.last(), Some(&Told::Other(malformed)), "{length} {frames:?}");
        // It is for the owner to answer; what comes yet is dropped.
        assert!(talk.sent().is_empty() && talk.connection.is_open(1));
        talk.answer(1);
        talk.connection.reset(1, Code::NO_ERROR, &mut talk.out);
        assert!(!talk.connection.is_open(1));
    }
    let mut talk = server();
    let told = talk.tell(&headers(1, BOTH, POST, &[("content-length", "1")]));
    assert!(matches!(told[..], [Told::Message(1, _, true)]));
    let Some(Event::Message(message)) = talk.events.last() else { panic!() };
    assert_eq!(message.malformed, Some(Malformed::Length));
}

#[test]
fn ids_go_up() {
    let mut talk = server();
    talk.tell(&[get(5), get(7)].concat());
    assert_eq!(talk.connection.last_stream(), 7);
    for (id, code) in [(1, Code::PROTOCOL_ERROR), (4, Code::PROTOCOL_ERROR)] {
        let mut talk = server();
        talk.tell(&[get(5), get(7)].concat());
        assert_eq!(talk.fault(&get(id)).code, code, "{id}");
    }
    // One that has ended does not begin again.
    talk.answer(5);
    talk.out.clear();
    assert_eq!(talk.fault(&get(5)).code, Code::STREAM_CLOSED);
}

#[test]
fn half_closed_streams_take_nothing() {
    for late in [data(1, 0, b"x"), get(1)] {
        let mut talk = server();
        talk.tell(&get(1));
        let told = talk.tell(&late);
        let reset = Event::Reset { stream: 1, code: Code::STREAM_CLOSED, by: By::Us };
        assert_eq!(told, [Told::Other(reset)]);
        assert_eq!(talk.reset(), (1, Code::STREAM_CLOSED.0));
        assert_eq!(talk.connection.streams_in_use(), 1);
        talk.connection.release();
        assert_eq!(talk.connection.streams_in_use(), 0);
        assert!(matches!(talk.tell(&get(3))[..], [Told::Message(3, ..)]));
    }
    // Windows and resets may come.
    let mut talk = server();
    talk.tell(&[get(1), window(1, 5)].concat());
    assert!(talk.sent().is_empty());
}

#[test]
fn streams_that_ended_remember_how() {
    let ended = || {
        let mut talk = server();
        talk.tell(&get(1));
        talk.answer(1);
        talk.out.clear();
        talk
    };
    assert_eq!(ended().fault(&data(1, 0, b"late")).code, Code::STREAM_CLOSED);
    let mut talk = ended();
    assert!(
        talk.tell(&[window(1, 9), rst(1, 0), frame(Kind::Priority, 0, 1, &[0; 5])].concat())
            .is_empty()
    );
    assert!(talk.sent().is_empty());

    // What we have reset may still be told of, a block and its table with it.
    let mut talk = server();
    talk.tell(&post(1));
    talk.connection.reset(1, Code::CANCEL, &mut talk.out);
    talk.out.clear();
    let indexed = [0x40, 1, b'a', 1, b'b'];
    let late = [data(1, 0, b"late"), frame(Kind::Headers, BOTH, 1, &indexed)].concat();
    assert!(talk.tell(&late).is_empty() && talk.sent().is_empty());
    let told = talk.tell(&frame(Kind::Headers, BOTH, 3, &[&block(GET)[..], &[0xbe]].concat()));
    let [Told::Message(3, fields, true)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fields.last(), Some(&("a".to_owned(), "b".to_owned())));

    // What the peer has reset it may not use.
    let mut talk = server();
    talk.tell(&[post(1), rst(1, 8)].concat());
    assert!(talk.tell(&data(1, 0, b"late")).is_empty());
    assert_eq!(talk.reset(), (1, Code::STREAM_CLOSED.0));
}

#[test]
fn a_cancelled_stream_counts_until_its_work_has_stopped() {
    let config = Config { max_concurrent_streams: 2, ..Config::default() };
    let mut talk = Talk::server(config);
    let told = talk.tell(&[get(1), get(3), rst(3, 8), get(5)].concat());
    let reset = Event::Reset { stream: 3, code: Code::CANCEL, by: By::Peer };
    assert_eq!(told[2..], [Told::Other(reset)]);
    assert_eq!(talk.reset(), (5, Code::REFUSED_STREAM.0));
    talk.connection.release();
    assert!(matches!(talk.tell(&get(7))[..], [Told::Message(7, ..)]));
    // Nothing comes of one that was refused, and its fields are known to the table.
    let refused =
        frame(Kind::Headers, END_HEADERS, 9, &[&block(POST)[..], b"\x40\x01a\x01b"].concat());
    assert!(talk.tell(&[refused, data(9, END_STREAM, b"body")].concat()).is_empty());
    talk.answer(1);
    let told = talk.tell(&frame(Kind::Headers, BOTH, 11, &[&block(GET)[..], &[0xbe]].concat()));
    assert!(matches!(&told[..], [Told::Message(11, fields, _)] if fields.len() == 5));
}

#[test]
fn bodies_are_refused_before_a_smaller_window_is_confirmed() {
    for (stream_window, is_refused) in [(65_534, true), (65_535, false), (65_536, false)] {
        let mut talk = Talk::new(Role::Server, Config { stream_window, ..Config::default() });
        talk.out.clear();
        let bytes = [&daemun_proto::http2::PREFACE[..], &post(1), &get(3)].concat();
        let told = talk.tell(&bytes);
        assert_eq!(told.len(), if is_refused { 1 } else { 2 });
        if is_refused {
            assert_eq!(talk.reset(), (1, Code::REFUSED_STREAM.0));
            talk.tell(&[settings(&[]), frame(Kind::Settings, frame::ACK, 0, b"")].concat());
            assert_eq!(talk.tell(&post(5)).len(), 1);
        }
    }
}

#[test]
fn a_head_that_takes_too_long_is_given_up() {
    let mut talk = server();
    let whole = frame(Kind::Headers, BOTH, 1, &block(&[GET, &[("a", "b")]].concat()));
    talk.tell(&whole[..30]);
    let stream = talk.connection.unfinished_head().expect("a head has begun");
    talk.connection.reset(stream, Code::PROTOCOL_ERROR, &mut talk.out);
    assert_eq!(talk.reset(), (1, 1));
    assert!(talk.tell(&whole[30..]).is_empty());
    talk.tell(&frame(Kind::Ping, 0, 0, &[1; 8]));
    assert_eq!(talk.sent()[0].kind, Kind::Ping);
    assert!(matches!(talk.tell(&get(3))[..], [Told::Message(3, ..)]));
}

#[test]
fn what_is_given_up_is_not_looked_for_in_the_next_sink() {
    let mut talk = server();
    let cookies = [("cookie", "a=b"), ("cookie", "c=d"), ("host", "a")];
    let begin = frame(Kind::Headers, END_STREAM, 1, &block(&[GET, &cookies].concat()));
    let mut first = Head::default();
    let event = talk.connection.receive(&begin, &mut 0, &mut first, &mut talk.out);
    assert_eq!(event, Ok(Event::Incomplete));
    talk.connection.reset(1, Code::CANCEL, &mut talk.out);
    let rest = frame(Kind::Continuation, END_HEADERS, 1, &block(&[("a", "b")]));
    let mut second = Head::default();
    let event = talk.connection.receive(&rest, &mut 0, &mut second, &mut talk.out);
    assert_eq!((event, second), (Ok(Event::Incomplete), Head::default()));
}

#[test]
fn fields_that_nobody_wants_leave_nothing_in_the_sink() {
    let config = Config { max_concurrent_streams: 1, ..Config::default() };
    let mut talk = Talk::server(config);
    talk.tell(&get(1));
    let mut sink = Head::default();
    let event = talk.connection.receive(&get(3), &mut 0, &mut sink, &mut talk.out);
    assert_eq!((event, sink), (Ok(Event::Incomplete), Head::default()));
    // Of a malformed request there is what came before the fault.
    talk.answer(1);
    let mut sink = Head::default();
    let request = headers(5, BOTH, GET, &[("a", "b"), ("C", "d"), ("e", "f")]);
    let event = talk.connection.receive(&request, &mut 0, &mut sink, &mut talk.out);
    assert!(matches!(event, Ok(Event::Message(_))));
    assert_eq!(sink.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"b"[..])]);
    assert!(sink.bytes.ends_with(b"ab"));
}

#[test]
fn leave_is_taken_in_two_steps() {
    let mut talk = server();
    talk.tell(&get(1));
    talk.connection.announce_end(&mut talk.out);
    let sent = talk.sent();
    assert_eq!((sent[0].kind, frame::word(&sent[0].payload)), (Kind::GoAway, frame::MOST));
    talk.connection.ping(*b"all come", &mut talk.out);
    assert_eq!(talk.tell(&get(3)).len(), 1);
    let told = talk.tell(&frame(Kind::Ping, frame::ACK, 0, b"all come"));
    assert_eq!(told, [Told::Other(Event::Pong { payload: *b"all come" })]);
    talk.out.clear();
    talk.connection.go_away(Code::NO_ERROR, &mut talk.out);
    talk.connection.go_away(Code::NO_ERROR, &mut talk.out);
    let sent = talk.sent();
    assert_eq!((sent.len(), frame::word(&sent[0].payload)), (1, 3));
    // Later ones are not looked at, though their fields are.
    assert!(talk.tell(&[post(5), data(5, END_STREAM, b"x")].concat()).is_empty());
    assert!(talk.sent().is_empty() && !talk.connection.is_done());
    talk.answer(1);
    talk.answer(3);
    assert!(talk.connection.is_done());
    // A fault does not promise more than was said.
    talk.out.clear();
    assert_eq!(talk.try_tell(&get(2)).unwrap_err().code, Code::PROTOCOL_ERROR);
    assert_eq!(frame::word(&talk.sent()[0].payload), 3);
}

#[test]
fn a_peer_that_goes_away_is_told_of() {
    let mut talk = server();
    let payload = [&0u32.to_be_bytes()[..], &2u32.to_be_bytes(), b"why"].concat();
    let told = talk.tell(&[get(1), frame(Kind::GoAway, 0, 0, &payload)].concat());
    assert_eq!(told[1], Told::Other(Event::GoAway { last: 0, code: Code::INTERNAL_ERROR }));
    assert!(talk.connection.is_open(1));
}

#[test]
fn a_smaller_table_is_confirmed_in_the_next_block() {
    let mut talk = server();
    talk.tell(&[settings(&[(1, 0)]), get(1), get(3)].concat());
    talk.out.clear();
    talk.answer(1);
    talk.answer(3);
    let sent = talk.sent();
    assert_eq!((&sent[0].payload[..], &sent[1].payload[..]), (&[0x20, 0x88][..], &[0x88][..]));
}
