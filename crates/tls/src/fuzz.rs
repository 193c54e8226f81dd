//! What the fuzz targets run. Ordinary tests run it too, on a few generated inputs.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use daemun_proto::http1::Parsed;
use daemun_proto::tls::client_hello;

use crate::facts::Facts;
use crate::record::{Direction, Secret};
use crate::session::{Carrier, Session, Side};
use crate::suite::SUITES;
use crate::x509::crl::Crl;
use crate::x509::time::Time;
use crate::x509::{Certificate, Purpose, Store, host, name};
use crate::{identity, ocsp, pem};

/// Whatever a client begins with is a hello or none, and no list in it is longer than the message.
pub fn client_hello(data: &[u8]) {
    let mut message = Vec::new();
    let Ok(Parsed::Done(..)) = client_hello::gather(data, &mut message) else { return };
    assert!(message.len() <= data.len());
    let Ok(hello) = client_hello::parse(&message) else { return };
    assert!(hello.cipher_suites.len() + hello.groups.len() <= message.len());
    assert!(hello.protocols().map(<[u8]>::len).sum::<usize>() <= message.len());
    hello.highest_version();
    Facts::of_hello(&hello, 0);
}

/// Bytes that come in pieces, and a place for those that are sent.
struct Pieces<'d>(RefCell<std::slice::Chunks<'d, u8>>);

impl Carrier for Pieces<'_> {
    fn try_recv_append(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let piece = self.0.borrow_mut().next().unwrap_or_default();
        bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn try_send(&self, bytes: &[u8], _: bool) -> io::Result<usize> {
        Ok(bytes.len())
    }
}

/// A session that has received this, in pieces of so many bytes, knows what became of it: it ends, one way or the
/// other. Messages whose protection holds come as the second part.
pub fn records(data: &[u8]) {
    let [choice, size, data @ ..] = data else { return };
    let suite = &SUITES[usize::from(choice >> 1) % SUITES.len()];
    let side = if choice & 1 == 0 { Side::Server } else { Side::Client };
    let key = || Direction::new(Secret::new([7; 48]), 0);
    let facts = Facts::of_hello(&client_hello::ClientHello::default(), 0);
    let facts = Arc::new(Facts { suite, ..facts });
    let mut received = Vec::new();
    // Each part behind a byte of content and one of length becomes a record that opens.
    let (mut peer, mut rest) = (key(), data);
    while let [content, length, behind @ ..] = rest {
        let (plain, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        match daemun_proto::tls::record::Content::of(*content) {
            Some(content) => {
                if peer.seal(suite, content, plain, &mut received).is_err() {
                    return;
                }
            }
            None => received.extend_from_slice(plain),
        }
        rest = behind;
    }
    let mut session = Session::new(side, key(), key(), facts);
    let pieces = Pieces(RefCell::new(received.chunks(usize::from(*size).max(1))));
    let mut total = 0;
    while let Ok(length @ 1..) = session.receive(&pieces, usize::MAX, &mut |_| {}) {
        total += length;
        session.rest();
    }
    assert!(total <= received.len());
    assert!(session.end() != crate::session::End::Open);
}

/// Any certificate, and any chain of one, has a verdict.
pub fn certificate(data: &[u8]) {
    let Some(certificate) = Certificate::parse(data) else { return };
    assert!(Certificate::length(data).is_some_and(|length| length <= data.len()));
    name::rfc2253(certificate.subject);
    name::one_line(certificate.issuer);
    name::common_names(certificate.subject);
    certificate.lasts();
    host::matches(&certificate, "www.example.org");
    ocsp::responder(data);
    ocsp::request(data, data);
    let store = Store { authorities: vec![data.into()], lists: Vec::new(), depth: 3 };
    let _ = store.judge(&[data, data], Purpose::Client, Time(0));
    store.path(&[data]);
}

/// Any text is made of blocks, or not, and keys are found in it or not.
pub fn pem(data: &[u8]) {
    for block in pem::blocks(data).unwrap_or_default() {
        assert!(block.content.len() <= data.len());
    }
    let _ = identity::chain(data);
    let _ = identity::lists(data);
}

/// Any response is one about the certificate or is not.
pub fn ocsp_response(data: &[u8]) {
    let subject = include_bytes!("../testdata/authority.der");
    for trusts_issuer_alone in [false, true] {
        let answer = ocsp::read(data, subject, subject, trusts_issuer_alone, Time(1_800_000_000));
        // Nobody has the key of the authority itself.
        assert!(answer.is_err() || !trusts_issuer_alone);
    }
}

/// Any list names a certificate or does not.
pub fn revocation_list(data: &[u8]) {
    if let Some(list) = Crl::parse(data) {
        list.names(&[1]);
    }
}

/// Any message is a session or none, and a session is given up as the message that it was made of.
pub fn exported_session(data: &[u8]) {
    if let Some(session) = Session::import(data)
        && let Ok(again) = Box::new(session).export()
    {
        let third = Session::import(&again).and_then(|session| Box::new(session).export().ok());
        assert_eq!(third.as_deref(), Some(&*again));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGETS: &[fn(&[u8])] = &[
        client_hello,
        records,
        certificate,
        pem,
        ocsp_response,
        revocation_list,
        exported_session,
    ];

    fn seeds() -> Vec<Vec<u8>> {
        vec![
            include_bytes!("../testdata/authority.der").to_vec(),
            include_bytes!("../testdata/list.der").to_vec(),
            include_bytes!("../testdata/answer.der").to_vec(),
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_vec(),
            // Records that open: content, a KeyUpdate that asks for one, content, a warning, and the end.
            [
                &[0, 9, 23, 2, 1, 2, 22, 5, 24, 0, 0, 1, 1][..],
                &[23, 1, 9, 21, 2, 1, 90, 21, 2, 1, 0],
            ]
            .concat(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn any_bytes_are_something_or_not(data in prop::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|target| target(&data));
        }

        #[test]
        fn nearly_right_bytes_are_something_or_not(
            seed in prop::sample::select(seeds()),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in 0..30usize,
        ) {
            let mut data = seed;
            for (place, byte) in changes {
                let place = place.index(data.len());
                data[place] = byte;
            }
            data.truncate(data.len() - cut.min(data.len()));
            TARGETS.iter().for_each(|target| target(&data));
        }
    }
}
