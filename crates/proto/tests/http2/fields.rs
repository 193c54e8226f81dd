//! What a message may look like.

use crate::talk::*;
use daemun_proto::http2::frame::Kind;
use daemun_proto::http2::{Code, Config, Event, Malformed, Message};

/// What is wrong with a request of these fields.
fn flaw(config: &Config, request: &[(&str, &str)]) -> Option<Malformed> {
    let mut talk = Talk::server(config.clone());
    talk.tell(&headers(1, END_HEADERS, request, &[]));
    assert!(talk.sent().is_empty(), "the owner decides");
    message(&talk).malformed
}

fn message(talk: &Talk) -> Message {
    let last = talk.events.iter().rev().find_map(|event| match event {
        Event::Message(message) => Some(*message),
        _ => None,
    });
    last.expect("a message")
}

#[test]
fn requests_have_their_pseudo_fields() {
    use Malformed::*;
    let config = Config::default();
    let method = (":method", "GET");
    let scheme = (":scheme", "https");
    let path = (":path", "/");
    let authority = (":authority", "a");
    for (request, expected) in [
        (&[method, scheme, path][..], None),
        (&[path, authority, scheme, method], None),
        (&[scheme, path], Some(NoMethod)),
        (&[method, path], Some(NoScheme)),
        (&[method, scheme], Some(NoPath)),
        (&[], Some(NoMethod)),
        (&[method, scheme, path, method], Some(DuplicatePseudo)),
        (&[method, scheme, path, authority, authority], Some(DuplicatePseudo)),
        (&[method, scheme, (":path", "")], Some(EmptyPseudo)),
        (&[method, scheme, path, (":authority", "")], Some(EmptyPseudo)),
        (&[method, scheme, path, (":status", "200")], Some(UnknownPseudo)),
        (&[method, scheme, path, (":other", "x")], Some(UnknownPseudo)),
        (&[method, scheme, path, (":", "x")], Some(UnknownPseudo)),
        (&[method, scheme, path, (":Path", "/")], Some(UnknownPseudo)),
        (&[method, scheme, ("a", "b"), path], Some(LatePseudo)),
        (&[method, scheme, ("cookie", "b"), path], Some(LatePseudo)),
        (&[method, scheme, path, authority, ("host", "a")], None),
        (&[method, scheme, path, authority, ("host", "b")], Some(Host)),
        (&[method, scheme, path, authority, ("host", "A")], Some(Host)),
        (&[(":method", "CONNECT"), authority], None),
        (&[(":method", "CONNECT")], Some(NoAuthority)),
        (&[method, scheme, path, authority, (":protocol", "websocket")], Some(Protocol)),
        (&[(":method", "CONNECT"), scheme, path, authority, (":protocol", "x")], Some(Protocol)),
    ] {
        assert_eq!(flaw(&config, request), expected, "{request:?}");
    }
    let config = Config { extended_connect: true, ..config };
    let connect = (":method", "CONNECT");
    let protocol = (":protocol", "websocket");
    for (request, expected) in [
        (&[connect, protocol, scheme, path, authority][..], None),
        (&[connect, protocol, path, authority], Some(NoScheme)),
        (&[connect, protocol, scheme, authority], Some(NoPath)),
        (&[connect, protocol, scheme, path], Some(NoAuthority)),
        (&[method, protocol, scheme, path, authority], Some(Protocol)),
    ] {
        assert_eq!(flaw(&config, request), expected, "{request:?}");
    }
}

#[test]
fn fields_are_such_that_no_line_can_be_made_of_two() {
    use Malformed::*;
    let config = Config::default();
    let with = |name: &str, value: &str| flaw(&config, &[GET, &[(name, value)]].concat());
    for (name, value, expected) in [
        ("x-a", "", None),
        ("x-a", "a\tb c\u{e9}", None),
        ("x!a~", "b", None),
        ("X-a", "b", Some(Name)),
        ("x-A", "b", Some(Name)),
        ("x a", "b", Some(Name)),
        (" x", "b", Some(Name)),
        ("x ", "b", Some(Name)),
        ("x:", "b", Some(Name)),
        ("x\r\ny", "b", Some(Name)),
        ("x\0", "b", Some(Name)),
        ("x\u{7f}", "b", Some(Name)),
        ("x\u{e9}", "b", Some(Name)),
        ("x", "a\r\nb: c", Some(Value)),
        ("x", "a\nb", Some(Value)),
        ("x", "a\rb", Some(Value)),
        ("x", "a\0b", Some(Value)),
        ("x", " a", Some(Value)),
        ("x", "a ", Some(Value)),
        ("x", "\ta", Some(Value)),
        ("cookie", "a\nb", Some(Value)),
        ("connection", "close", Some(Connection)),
        ("keep-alive", "1", Some(Connection)),
        ("proxy-connection", "close", Some(Connection)),
        ("transfer-encoding", "chunked", Some(Connection)),
        ("upgrade", "h2c", Some(Connection)),
        ("te", "trailers", None),
        ("te", "Trailers", None),
        ("te", "gzip", Some(Te)),
        ("te", "trailers, gzip", Some(Te)),
        ("content-length", "12", None),
        ("content-length", "-1", Some(ContentLength)),
        ("content-length", "", Some(ContentLength)),
        ("content-length", "1,1", Some(ContentLength)),
        ("content-length", "99999999999999999999", Some(ContentLength)),
    ] {
        assert_eq!(with(name, value), expected, "{name:?}: {value:?}");
    }
    for twice in [("content-length", "1", ContentLength), ("te", "trailers", Te)] {
        let (name, value, expected) = twice;
        let request = [GET, &[(name, value), (name, value)]].concat();
        assert_eq!(flaw(&config, &request), Some(expected));
    }
    for place in [":path", ":method", ":authority", ":scheme"] {
        let request: Vec<_> = GET
            .iter()
            .map(|field| if field.0 == place { (place, "a\r\nb") } else { *field })
            .collect();
        assert_eq!(flaw(&config, &request), Some(Value), "{place}");
    }
}

#[test]
fn the_configuration_decides_about_odd_names() {
    for (underscores, odd) in [(false, vec![true, true, false]), (true, vec![false, true, false])] {
        let mut bytes = Vec::new();
        let mut talk = Talk::server(Config { underscores, ..Config::default() });
        let request = headers(1, BOTH, GET, &[("a_b", "1"), ("a!b", "2"), ("a-b", "3")]);
        let mut sink = daemun_proto::http2::Head::default();
        let event = talk.connection.receive(&request, &mut 0, &mut sink, &mut bytes);
        assert!(matches!(event, Ok(Event::Message(_))));
        assert_eq!(sink.fields.iter().map(|field| field.is_odd).collect::<Vec<_>>(), odd);
    }
}

#[test]
fn crumbs_make_one_cookie() {
    let mut talk = Talk::server(Config::default());
    let crumbs = [("cookie", "a=b"), ("accept", "*/*"), ("cookie", "c=d"), ("cookie", "")];
    let told = talk.tell(&headers(1, BOTH, GET, &crumbs));
    let [Told::Message(1, fields, true)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fields[4..], [("accept", "*/*"), ("cookie", "a=b; c=d; ")].map(owned));
    let told = talk.tell(&headers(3, BOTH, GET, &[("cookie", "a=b"), ("accept", "*/*")]));
    let [Told::Message(3, fields, true)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fields[4..], [("accept", "*/*"), ("cookie", "a=b")].map(owned));
}

fn owned(field: (&str, &str)) -> (String, String) {
    (field.0.to_owned(), field.1.to_owned())
}

#[test]
fn a_malformed_request_leaves_the_table_as_it_has_to_be() {
    let mut talk = Talk::server(Config::default());
    let indexed = b"\x40\x03x-a\x01b\x40\x01A\x01c\x40\x03x-d\x01e";
    talk.tell(&frame(Kind::Headers, BOTH, 1, &[&block(GET)[..], indexed].concat()));
    assert_eq!(message(&talk).malformed, Some(Malformed::Name));
    let later = [&block(GET)[..], b"\xbe\xc0"].concat();
    let told = talk.tell(&frame(Kind::Headers, BOTH, 3, &later));
    let [Told::Message(3, fields, true)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fields[4..], [("x-d", "e"), ("x-a", "b")].map(owned));
}

#[test]
fn trailers_are_fields_alone_and_the_end() {
    use Malformed::*;
    for (trailer, expected) in [
        ((":path", "/"), LatePseudo),
        (("X", "a"), Name),
        (("x", "a\n"), Value),
        (("transfer-encoding", "chunked"), Connection),
    ] {
        let mut talk = Talk::server(Config::default());
        let told =
            talk.tell(&[post(1), headers(1, BOTH, &[("x-sum", "1"), trailer], &[])].concat());
        let malformed = Event::Malformed { stream: 1, malformed: expected };
        assert_eq!(told[1], Told::Other(malformed), "{trailer:?}");
    }
    let mut talk = Talk::server(Config::default());
    talk.tell(&[post(1), headers(1, END_HEADERS, &[("x-sum", "1")], &[])].concat());
    assert_eq!(talk.reset(), (1, Code::PROTOCOL_ERROR.0));
    // Neither a length nor cookies mean anything here.
    let mut talk = Talk::server(Config::default());
    let fields = [("content-length", "5"), ("cookie", "a"), ("cookie", "b")];
    let told = talk.tell(&[post(1), headers(1, BOTH, &fields, &[])].concat());
    assert_eq!(told[1], Told::Trailers(1, fields.map(owned).to_vec()));
}

#[test]
fn sections_have_a_number_of_fields_and_crumbs_count() {
    let config = Config { max_fields: 10, ..Config::default() };
    for name in ["x-a", "cookie"] {
        let mut fields = vec![(name, "1"); 10];
        assert_eq!(flaw(&config, &[GET, &fields].concat()), None);
        fields.push((name, "1"));
        assert_eq!(flaw(&config, &[GET, &fields].concat()), Some(Malformed::TooManyFields));
    }
    let mut talk = Talk::server(config);
    let told = talk.tell(&[post(1), headers(1, BOTH, &[("x-a", "1"); 11], &[])].concat());
    let malformed = Event::Malformed { stream: 1, malformed: Malformed::TooManyFields };
    assert_eq!(told[1], Told::Other(malformed));
}
