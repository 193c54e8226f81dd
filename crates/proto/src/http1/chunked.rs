//! The chunked transfer coding (RFC 9112, section 7.1), read as it arrives.

/// What the decoder found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes of data stand at the start of what is left.
    Data(usize),
    /// The last chunk and the trailer section have ended.
    End,
    /// More input is needed.
    Incomplete,
}

/// The framing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeStart,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Ended,
}

/// A decoder of one body. Feed it with [`next`](Self::next) until it says [`Chunk::End`].
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the current chunk still to come.
    left: u64,
    /// The body ends with its last chunk: the caller reads the trailer section.
    leaves_trailers: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { state: State::SizeStart, left: 0, leaves_trailers: false }
    }
}

impl Decoder {
    /// A decoder that says [`Chunk::End`] in front of the trailer section.
    pub fn leaving_trailers() -> Decoder {
        Decoder { leaves_trailers: true, ..Decoder::default() }
    }

    /// Reads framing from the front of `input`, advancing `at`; data itself is left for the caller to take.
    ///
    /// After `Data(n)` the caller passes over those bytes: `at` already stands behind them.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Chunk, Invalid> {
        loop {
            if self.state == State::Data {
                let length =
                    usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - *at);
                if length == 0 && self.left > 0 {
                    return Ok(Chunk::Incomplete);
                }
                self.left -= length as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                if length > 0 {
                    *at += length;
                    return Ok(Chunk::Data(length));
                }
                continue;
            }
            if self.state == State::Ended
                || self.leaves_trailers && self.state == State::TrailerStart
            {
                return Ok(Chunk::End);
            }
            let Some(&byte) = input.get(*at) else {
                return Ok(Chunk::Incomplete);
            };
            *at += 1;
            self.state = self.step(byte)?;
        }
    }

    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// How many bytes of the current chunk are still to come.
    pub fn left(&self) -> u64 {
        match self.state {
            State::Data => self.left,
            _ => 0,
        }
    }

    /// Every line ends in CRLF, as nginx 1.31 wants it: a bare LF is how requests are smuggled.
    fn step(&mut self, byte: u8) -> Result<State, Invalid> {
        // nginx's bound keeps the size a positive signed number.
        if self.state == State::Size && self.left > (i64::MAX as u64) / 16 {
            return Err(Invalid);
        }
        Ok(match (self.state, byte) {
            (State::SizeStart | State::Size, digit) if digit.is_ascii_hexdigit() => {
                self.left =
                    self.left * 16 + u64::from(char::from(digit).to_digit(16).ok_or(Invalid)?);
                State::Size
            }
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::SizeLf, b'\n') => self.after_size(),
            (State::Extension, byte) if byte != b'\n' => State::Extension,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Ended,
            (State::TrailerStart, byte) if byte != b'\n' => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::Trailer, byte) if byte != b'\n' => State::Trailer,
            _ => return Err(Invalid),
        })
    }

    fn after_size(&self) -> State {
        if self.left == 0 { State::TrailerStart } else { State::Data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` handed over in pieces of `step` bytes.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize), Invalid> {
        let (mut decoder, mut body, mut at) = (Decoder::default(), Vec::new(), 0);
        let mut available = 0;
        loop {
            match decoder.next(&input[..available], &mut at)? {
                Chunk::Data(length) => body.extend_from_slice(&input[at - length..at]),
                Chunk::End => return Ok((body, at)),
                Chunk::Incomplete if available == input.len() => return Err(Invalid),
                Chunk::Incomplete => available = (available + step).min(input.len()),
            }
        }
    }

    #[test]
    fn a_body_cut_anywhere() {
        let input = b"5;ext=1\r\nhello\r\n1 \r\n \r\n0\r\nTrailer: x\r\n\r\nGET";
        for step in 1..input.len() {
            let (body, end) = decode(input, step).unwrap();
            assert_eq!(body, b"hello ");
            assert_eq!(&input[end..], b"GET");
        }
    }

    #[test]
    fn trailers_can_be_left() {
        let input = b"2\r\nab\r\n0\r\nTrailer: x\r\n\r\n";
        let (mut decoder, mut at) = (Decoder::leaving_trailers(), 0);
        assert_eq!(decoder.next(input, &mut at), Ok(Chunk::Data(2)));
        assert_eq!(decoder.next(input, &mut at), Ok(Chunk::End));
        assert_eq!(&input[at..], b"Trailer: x\r\n\r\n");
    }

    #[test]
    fn wrong_framing() {
        for input in [
            "\r\n",
            "x",
            "-1\r\n",
            "5\r\nhello!",
            "1\rx",
            "ffffffffffffffff0\r\n",
            "0\r\n\rx",
            "5\nhello\r\n0\r\n\r\n",
            "5;a=\nb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
            "7fffffffffffffff\r\nx",
        ] {
            assert_eq!(decode(input.as_bytes(), 1), Err(Invalid), "{input:?}");
        }
    }
}
