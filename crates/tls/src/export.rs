//! A connection that passes to another process: its keys, their counters and what is known of it, as bytes.
//!
//! Keys are given up before they travel: whoever has the bytes goes on with the counters, and nobody else. Layout,
//! big-endian, lengths before texts:
//!
//! ```text
//! side u8 │ suite u16 │ opens 56 │ seals 56 │ record size u16 │ ramp u16 │ group u16 │ flags u8 │ signatures u16 u16
//! │ name? │ protocol? │ suites │ groups │ session │ partial │ verdict u8 │ status u8
//! │ number of certificates u8 │ certificates
//! ```

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::facts::{ClientCertificate, Facts};
use crate::record::{Direction, EXPORTED};
use crate::session::{Session, Side};
use crate::suite::Suite;
use crate::x509::Verdict;

/// The place of a server that has to be found anew, by its name.
pub const UNKNOWN_SERVER: usize = usize::MAX;

/// What an authority may say against a client, by number.
const STATUSES: [Option<&str>; 4] = [
    None,
    Some("certificate revoked"),
    Some("certificate status unknown"),
    Some("certificate status request failed"),
];

const REUSED: u8 = 1;
const EARLY: u8 = 2;

/// What a session is taken apart into, and made of again.
pub(crate) struct Parts {
    pub side: Side,
    pub opens: Direction,
    pub seals: Direction,
    pub facts: Arc<Facts>,
    pub record_size: u16,
    pub ramp: u16,
    pub partial: Vec<u8>,
}

impl Session {
    /// Gives the session up, unless bytes wait in it that are on their way.
    pub fn export(self: Box<Self>) -> Result<Zeroizing<Vec<u8>>, Box<Session>> {
        let Parts { side, opens, seals, facts, record_size, ramp, partial } = self.into_parts()?;
        let mut out = Zeroizing::new(Vec::with_capacity(512));
        out.push(match side {
            Side::Server => 0,
            Side::Client => 1,
        });
        number(&mut out, facts.suite.id);
        out.extend_from_slice(&*opens.export());
        out.extend_from_slice(&*seals.export());
        number(&mut out, record_size);
        number(&mut out, ramp);
        number(&mut out, facts.group);
        let reused = if facts.reused { REUSED } else { 0 };
        out.push(reused | if facts.early_data { EARLY } else { 0 });
        number(&mut out, facts.signature);
        number(&mut out, facts.client_signature);
        optional(&mut out, facts.server_name.as_deref());
        optional(&mut out, facts.protocol.as_deref());
        text(&mut out, &facts.offered_suites);
        text(&mut out, &facts.offered_groups);
        text(&mut out, &facts.session_id);
        text(&mut out, &partial);
        let client = facts.client.as_ref();
        out.push(client.and_then(|client| client.refused).map_or(0, |verdict| verdict as u8));
        let status = client.and_then(|client| client.status);
        out.push(STATUSES.iter().position(|known| *known == status).unwrap_or(0) as u8);
        let chain = client.map_or(&[][..], |client| &client.chain);
        out.push(chain.len() as u8);
        chain.iter().for_each(|certificate| text(&mut out, certificate));
        Ok(out)
    }

    /// Makes the session of what another process gave up; `None` where that can't be understood.
    pub fn import(bytes: &[u8]) -> Option<Session> {
        let mut reader = Reader(bytes);
        let side = match reader.byte()? {
            0 => Side::Server,
            1 => Side::Client,
            _ => return None,
        };
        let suite = Suite::by_id(reader.number()?)?;
        let opens = Direction::import(reader.array::<EXPORTED>()?);
        let seals = Direction::import(reader.array::<EXPORTED>()?);
        let (record_size, ramp) = (reader.number()?, reader.number()?);
        let group = reader.number()?;
        let flags = reader.byte()?;
        let (signature, client_signature) = (reader.number()?, reader.number()?);
        let (server_name, protocol) = (reader.optional()?, reader.optional()?);
        let (offered_suites, offered_groups) = (reader.text()?.into(), reader.text()?.into());
        let session_id = reader.text()?.into();
        let partial = reader.text()?.to_vec();
        let refused = match reader.byte()? {
            0 => None,
            number => Some(Verdict::of(number)?),
        };
        let status = *STATUSES.get(usize::from(reader.byte()?))?;
        let count = reader.byte()?;
        let chain: Option<Vec<Box<[u8]>>> =
            (0..count).map(|_| reader.text().map(Into::into)).collect();
        let client = Some(chain?).filter(|chain| !chain.is_empty());
        let facts = Facts {
            suite,
            group,
            server_name,
            protocol,
            reused: flags & REUSED != 0,
            early_data: flags & EARLY != 0,
            offered_suites,
            offered_groups,
            signature,
            client_signature,
            session_id,
            client: client.map(|chain| Arc::new(ClientCertificate { chain, refused, status })),
            server: UNKNOWN_SERVER,
        };
        let facts = facts.share();
        let parts = Parts { side, opens, seals, facts, record_size, ramp, partial };
        reader.0.is_empty().then(|| Session::of_parts(parts))
    }
}

fn number(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

fn optional(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.push(u8::from(value.is_some()));
    text(out, value.unwrap_or_default());
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn array<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn number(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_be_bytes(*self.array()?);
        let (taken, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(taken)
    }

    fn optional(&mut self) -> Option<Option<Box<[u8]>>> {
        let is_there = self.byte()? == 1;
        let text = self.text()?;
        Some(is_there.then(|| text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Secret;
    use crate::suite::SUITES;

    fn session(suite: &'static Suite) -> Session {
        let secret = |byte| Secret::new([byte; 48]);
        let facts = Facts {
            suite,
            group: 29,
            server_name: Some((*b"example.org").into()),
            protocol: None,
            reused: true,
            early_data: false,
            offered_suites: [19, 1].into(),
            offered_groups: [0, 29].into(),
            signature: 0x0804,
            client_signature: 0,
            session_id: [7; 32].into(),
            client: Some(Arc::new(ClientCertificate {
                chain: vec![[1, 2, 3].into()],
                refused: Some(Verdict::SelfSigned),
                status: Some("certificate revoked"),
            })),
            server: UNKNOWN_SERVER,
        };
        Session::of_parts(Parts {
            side: Side::Server,
            opens: Direction::new(secret(1), 5),
            seals: Direction::new(secret(2), 9),
            facts: Arc::new(facts),
            record_size: 16_384,
            ramp: 3,
            partial: vec![23, 3],
        })
    }

    #[test]
    fn a_session_goes_on_elsewhere() {
        for suite in &SUITES {
            let facts = Arc::clone(session(suite).facts());
            let bytes = Box::new(session(suite)).export().ok().unwrap();
            let again = Session::import(&bytes).unwrap();
            assert_eq!(**again.facts(), *facts);
            assert_eq!(*Box::new(again).export().ok().unwrap(), *bytes);
        }
    }

    #[test]
    fn no_shorter_or_longer_message_is_understood() {
        let mut bytes = Box::new(session(&SUITES[0])).export().ok().unwrap();
        for length in 0..bytes.len() {
            assert!(Session::import(&bytes[..length]).is_none(), "{length} bytes");
        }
        bytes.push(0);
        assert!(Session::import(&bytes).is_none());
    }
}
