//! The examples of RFC 7541, appendix C, and everything a block may not be.

use daemun_proto::http2::hpack::{Decoder, Flaw, encode, huffman};

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// The fields of a block as text, whatever pieces it comes in.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<String, Flaw> {
    let (mut out, mut text, mut room, mut at, mut shown) = (Vec::new(), Vec::new(), 4096, 0, 0);
    let mut is_first = true;
    while shown <= block.len() {
        let field = decoder.next(&block[..shown], &mut at, is_first, &mut room, &mut out)?;
        let Some(field) = field else {
            shown += 1;
            continue;
        };
        is_first = false;
        let part = |range: daemun_proto::http1::Range| {
            String::from_utf8_lossy(range.of(&out)).into_owned()
        };
        text.push(format!("{}: {}", part(field.name), part(field.value)));
    }
    assert_eq!((at, room as usize), (block.len(), 4096 - out.len()));
    Ok(text.join("\n"))
}

#[test]
fn fields_of_each_form() {
    for (block, text, size) in [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header", 55),
        ("040c2f73616d706c652f70617468", ":path: /sample/path", 0),
        ("100870617373776f726406736563726574", "password: secret", 0),
        ("82", ":method: GET", 0),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(decode(&mut decoder, &bytes(block)).as_deref(), Ok(text));
        assert_eq!(decoder.table_size(), size);
    }
}

#[test]
fn requests_one_after_another() {
    let requests = [
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
        ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value",
    ];
    for blocks in [
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        for ((block, text), size) in blocks.iter().zip(requests).zip([57, 110, 164]) {
            assert_eq!(decode(&mut decoder, &bytes(block)).as_deref(), Ok(text));
            assert_eq!(decoder.table_size(), size);
        }
    }
}

#[test]
fn responses_with_eviction() {
    let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    let responses = [
        format!(":status: 302\ncache-control: private\n{date}\nlocation: https://www.example.com"),
        format!(":status: 307\ncache-control: private\n{date}\nlocation: https://www.example.com"),
        ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
         location: https://www.example.com\ncontent-encoding: gzip\n\
         set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
            .to_owned(),
    ];
    for blocks in [
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ],
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (place, ((block, text), size)) in
            blocks.iter().zip(&responses).zip([222, 222, 215]).enumerate()
        {
            // These examples have a table of 256 bytes.
            let update = if place == 0 { "3fe101" } else { "" };
            let block = bytes(&format!("{update}{block}"));
            assert_eq!(decode(&mut decoder, &block).as_ref(), Ok(text));
            assert_eq!(decoder.table_size(), size);
        }
    }
}

#[test]
fn blocks_that_are_none() {
    for (block, flaw) in [
        ("80", Flaw::Index),
        ("be", Flaw::Index),
        ("7e0161", Flaw::Index),
        ("0f2f0161", Flaw::Index),
        ("ffffffffff", Flaw::Integer),
        ("ff8080808000", Flaw::Integer),
        ("42ffffffffff", Flaw::Integer),
        ("40ffffffffff", Flaw::Integer),
        ("3fffffffff", Flaw::Integer),
        ("3fe21f", Flaw::TableSize),
        ("8220", Flaw::TableSize),
        ("0081000161", Flaw::Huffman),
        ("0084ffffffff0161", Flaw::Huffman),
        ("0082fffe0161", Flaw::Huffman),
        ("000161ff8120", Flaw::TooLarge),
        ("00ff8120", Flaw::TooLarge),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &bytes(block)), Err(flaw), "{block}");
    }
}

#[test]
fn size_updates_stand_before_the_first_field_as_often_as_they_like() {
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, &bytes("4001610162")).as_deref(), Ok("a: b"));
    assert_eq!(decode(&mut decoder, &bytes("203fe11f82")).as_deref(), Ok(":method: GET"));
    assert_eq!(decoder.table_size(), 0);
    assert_eq!(decode(&mut decoder, &bytes("40016101623fe11f")), Err(Flaw::TableSize));
    let many = ["20".repeat(100_000), "82".to_owned()].concat();
    let mut at = 0;
    let block = bytes(&many);
    let field = decoder.next(&block, &mut at, true, &mut 100, &mut Vec::new());
    assert!(field.is_ok_and(|field| field.is_some()) && at == block.len());
}

#[test]
fn an_indexed_name_may_be_of_the_entry_that_is_evicted_for_it() {
    let mut decoder = Decoder::default();
    // A table for one entry of 35 bytes.
    assert_eq!(decode(&mut decoder, &bytes("3f044001610162")).as_deref(), Ok("a: b"));
    assert_eq!(decode(&mut decoder, &bytes("7e0163")).as_deref(), Ok("a: c"));
    assert_eq!(decode(&mut decoder, &bytes("be")).as_deref(), Ok("a: c"));
    // One that is too large leaves nothing.
    assert_eq!(decode(&mut decoder, &bytes("7e03646566")).as_deref(), Ok("a: def"));
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn what_is_encoded_comes_back() {
    let mut block = Vec::new();
    encode::pseudo(b":method", b"GET", &mut block);
    encode::pseudo(b":path", b"/a?b", &mut block);
    for status in [200, 204, 206, 304, 400, 404, 500, 100, 999, 301] {
        encode::status(status, &mut block);
    }
    encode::field(b"Content-Type", b"text/html", &mut block);
    encode::field(b"X-Long-And-Unknown-Name-That-Goes-On-And-On", b"\0\xff", &mut block);
    encode::plain_field(b"ETag", b"\"abc\"", &mut block);
    encode::field(&[b'N'; 200], &[b'v'; 1000], &mut block);
    let text = decode(&mut Decoder::default(), &block).unwrap();
    let expected = [
        ":method: GET\n:path: /a?b\n:status: 200\n:status: 204\n:status: 206\n:status: 304",
        ":status: 400\n:status: 404\n:status: 500\n:status: 100\n:status: 999\n:status: 301",
        "content-type: text/html\nx-long-and-unknown-name-that-goes-on-and-on: \0\u{fffd}",
        "etag: \"abc\"",
        &format!("{}: {}", "n".repeat(200), "v".repeat(1000)),
    ];
    assert_eq!(text, expected.join("\n"));
    // Huffman is taken where it is shorter alone.
    let mut plain = Vec::new();
    encode::field(b"etag", b"\"\x01\x02\"", &mut plain);
    assert!(plain.ends_with(b"\x04\"\x01\x02\""));
    assert_eq!(huffman::encoded_length(b"www.example.com"), 12);
}
