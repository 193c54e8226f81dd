//! A client's side, as it is used for upstreams.

use crate::talk::*;
use daemun_proto::http2::frame::{self, Kind};
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{By, Code, Config, Event, Malformed, PREFACE, Part, Role};

/// A client with a request under way, whose body is to follow.
fn asking(is_head: bool) -> Talk {
    let mut talk = Talk::client(Config::default());
    ask(&mut talk, is_head, Part::Head);
    talk.out.clear();
    talk
}

fn ask(talk: &mut Talk, is_head: bool, part: Part) -> u32 {
    let stream = talk.connection.open_stream(is_head).expect("a stream");
    let start = talk.connection.begin_block(&mut talk.out);
    for (name, value) in GET {
        encode::pseudo(name.as_bytes(), value.as_bytes(), &mut talk.out);
    }
    talk.connection.finish_block(stream, start, part, &mut talk.out);
    stream
}

fn response(stream: u32, flags: u8, status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    headers(stream, flags, &[(":status", status)], more)
}

#[test]
fn a_request_is_answered() {
    let mut talk = Talk::new(Role::Client, Config::default());
    assert!(talk.out.starts_with(PREFACE));
    let sent = talk.sent();
    let told = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    assert_eq!(sent[0].payload[..12], told, "no table, no pushes");
    talk.tell(&settings(&[(3, 2), (8, 1)]));
    assert!(talk.connection.has_extended_connect());
    assert_eq!(ask(&mut talk, false, Part::End), 1);
    assert_eq!(ask(&mut talk, false, Part::Head), 3);
    assert_eq!(talk.connection.open_stream(false), None, "the server takes two");
    let told = talk.tell(
        &[
            response(3, END_HEADERS, "103", &[("link", "</a>")]),
            response(3, END_HEADERS, "200", &[("content-length", "2")]),
            data(3, 0, b"ok"),
            response(1, BOTH, "404", &[]),
            headers(3, BOTH, &[("x-sum", "1")], &[]),
        ]
        .concat(),
    );
    let expected = [
        Told::Message(3, fields(&[(":status", "103"), ("link", "</a>")]), false),
        Told::Message(3, fields(&[(":status", "200"), ("content-length", "2")]), false),
        Told::Data(3, b"ok".to_vec(), false),
        Told::Message(1, fields(&[(":status", "404")]), true),
        Told::Trailers(3, fields(&[("x-sum", "1")])),
    ];
    assert_eq!(told, expected);
    // The first is over, the second is over when its request is.
    assert!(!talk.connection.is_open(1) && talk.connection.is_open(3));
    talk.connection.send_data(3, b"body", true, &mut talk.out);
    assert!(talk.connection.is_idle());
    assert_eq!(ask(&mut talk, false, Part::End), 5);
}

#[test]
fn responses_have_their_rules() {
    use Malformed::*;
    for (bytes, expected) in [
        (response(1, BOTH, "200", &[]), None),
        (response(1, BOTH, "999", &[]), None),
        (response(1, BOTH, "99", &[]), Some(Status)),
        (response(1, BOTH, "2000", &[]), Some(Status)),
        (response(1, BOTH, "2a0", &[]), Some(Status)),
        (response(1, BOTH, "", &[]), Some(Status)),
        (response(1, END_HEADERS, "101", &[]), Some(Status)),
        (response(1, BOTH, "103", &[]), Some(Interim)),
        (headers(1, BOTH, &[("a", "b")], &[]), Some(NoStatus)),
        (headers(1, BOTH, &[(":status", "200"), (":status", "200")], &[]), Some(DuplicatePseudo)),
        (headers(1, BOTH, &[(":path", "/")], &[]), Some(UnknownPseudo)),
        (response(1, BOTH, "200", &[(":status", "200")]), Some(DuplicatePseudo)),
        (response(1, BOTH, "200", &[("a", "b"), (":status", "200")]), Some(LatePseudo)),
        (response(1, BOTH, "200", &[("connection", "close")]), Some(Connection)),
        (response(1, BOTH, "200", &[("A", "b")]), Some(Name)),
        (response(1, BOTH, "200", &[("content-length", "5")]), Some(Length)),
        (response(1, BOTH, "304", &[("content-length", "5")]), None),
        (response(1, END_HEADERS, "200", &[("content-length", "x")]), Some(ContentLength)),
    ] {
        let mut talk = asking(false);
        talk.tell(&bytes);
        let Some(Event::Message(message)) = talk.events.last() else { panic!() };
        assert_eq!(message.malformed, expected, "{bytes:?}");
    }
    let mut talk = asking(true);
    talk.tell(&response(1, BOTH, "200", &[("content-length", "5")]));
    let Some(Event::Message(message)) = talk.events.last() else { panic!() };
    assert_eq!((message.malformed, message.content_length), (None, Some(5)));
    let mut talk = asking(false);
    let short =
        [response(1, END_HEADERS, "200", &[("content-length", "5")]), data(1, END_STREAM, b"four")];
    let told = talk.tell(&short.concat());
    assert_eq!(told[1], Told::Other(Event::Malformed { stream: 1, malformed: Length }));
}

#[test]
fn servers_do_not_open_streams() {
    for bytes in [
        frame(Kind::PushPromise, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]),
        response(2, BOTH, "200", &[]),
        response(3, BOTH, "200", &[]),
        data(2, 0, b"a"),
        window(3, 1),
        rst(5, 0),
        frame(Kind::PriorityUpdate, 0, 0, &[0, 0, 0, 1]),
        settings(&[(2, 1)]),
    ] {
        assert_eq!(asking(false).fault(&bytes).code, Code::PROTOCOL_ERROR, "{bytes:?}");
    }
}

#[test]
fn what_a_server_has_not_begun_may_be_tried_elsewhere() {
    let mut talk = asking(false);
    for _ in 0..3 {
        ask(&mut talk, false, Part::End);
    }
    let payload = [3u32.to_be_bytes(), 0u32.to_be_bytes()].concat();
    let told = talk.tell(&frame(Kind::GoAway, 0, 0, &payload));
    let left =
        |stream| Told::Other(Event::Reset { stream, code: Code::REFUSED_STREAM, by: By::Leaving });
    let gone = Told::Other(Event::GoAway { last: 3, code: Code::NO_ERROR });
    assert_eq!(told, [gone, left(7), left(5)]);
    assert_eq!(talk.connection.open_stream(false), None);
    assert!(!talk.connection.is_done());
    talk.tell(&[response(3, BOTH, "200", &[]), rst(1, 7)].concat());
    assert!(talk.connection.is_done());
    // In two steps: at first nothing is left behind.
    let mut talk = asking(false);
    let first = [frame::MOST.to_be_bytes(), 0u32.to_be_bytes()].concat();
    assert_eq!(talk.tell(&frame(Kind::GoAway, 0, 0, &first)).len(), 1);
    let second = [1u32.to_be_bytes(), 0u32.to_be_bytes()].concat();
    assert_eq!(talk.tell(&frame(Kind::GoAway, 0, 0, &second)).len(), 1);
    assert!(talk.connection.is_open(1));
}

#[test]
fn resets_come_with_their_code() {
    let mut talk = asking(false);
    let told = talk.tell(&rst(1, Code::REFUSED_STREAM.0));
    let reset = Event::Reset { stream: 1, code: Code::REFUSED_STREAM, by: By::Peer };
    assert_eq!(told, [Told::Other(reset)]);
    assert_eq!(talk.connection.streams_in_use(), 0);
    // What we give up may be answered yet.
    let mut talk = asking(false);
    talk.connection.reset(1, Code::CANCEL, &mut talk.out);
    let late = [response(1, END_HEADERS, "200", &[]), data(1, 0, b"x"), rst(1, 0)];
    assert!(talk.tell(&late.concat()).is_empty());
}
