//! Reads the fields of a header block, one at a time.

use super::nature::{self, Nature};
use super::table::Table;
use super::{huffman, integer, static_table};
use crate::http1::Range;

/// The dynamic table's size that both sides begin with (RFC 9113, section 6.5.2), which we leave
/// so.
pub const TABLE_SIZE: u16 = 4096;

/// Why a header block can't be decoded. The table is lost by that, and the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Index,
    Integer,
    Huffman,
    TableSize,
    /// More bytes than the caller allows.
    TooLarge,
}

/// A field as offsets into the bytes that it was appended to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    pub name: Range,
    pub value: Range,
    pub nature: Nature,
}

/// What the peer's encoder has built up here.
#[derive(Default)]
pub struct Decoder {
    table: Option<Box<Table>>,
    /// The peer has chosen less than the whole table.
    reduction: u16,
    /// We have told the peer to do without one.
    refuses_table: bool,
}

/// How a literal's string stands in the input.
#[derive(Clone, Copy)]
struct Text {
    start: usize,
    end: usize,
    is_coded: bool,
}

enum Name {
    Indexed(usize),
    Literal(Text),
}

impl Decoder {
    /// What reads the blocks of a peer that is told to do without a table. One that has not read
    /// that yet may have one.
    pub fn without_table() -> Decoder {
        Decoder { refuses_table: true, ..Decoder::default() }
    }

    /// Reads a field at `at` and appends its name and value to `out`, where both together may have
    /// no more bytes than `room`, which gets less by them. Returns nothing where the input ends
    /// within a field, or before one; `at` then stands where that field begins. A size update
    /// before the field is passed over, which `is_first` allows.
    pub fn next(
        &mut self,
        input: &[u8],
        at: &mut usize,
        is_first: bool,
        room: &mut u32,
        out: &mut Vec<u8>,
    ) -> Result<Option<Field>, Flaw> {
        loop {
            let Some(first) = input.get(*at) else { return Ok(None) };
            match first {
                0x80.. => return self.indexed(input, at, room, out),
                0x40.. => return self.literal(input, at, 6, room, out),
                0x20.. if self.update_size(input, at, is_first)? => {}
                0x20.. => return Ok(None),
                _ => return self.literal(input, at, 4, room, out),
            }
        }
    }

    fn update_size(&mut self, input: &[u8], at: &mut usize, is_first: bool) -> Result<bool, Flaw> {
        let mut end = *at;
        let Some(size) = integer::decode(input, &mut end, 5).map_err(|_| Flaw::Integer)? else {
            return Ok(false);
        };
        let most = if self.refuses_table { 0 } else { TABLE_SIZE };
        if !is_first || size > most.into() {
            return Err(Flaw::TableSize);
        }
        self.reduction = TABLE_SIZE - size as u16;
        if let Some(table) = &mut self.table {
            table.evict(size as usize);
        }
        *at = end;
        Ok(true)
    }

    fn indexed(
        &self,
        input: &[u8],
        at: &mut usize,
        room: &mut u32,
        out: &mut Vec<u8>,
    ) -> Result<Option<Field>, Flaw> {
        let mut end = *at;
        let Some(index) = integer::decode(input, &mut end, 7).map_err(|_| Flaw::Integer)? else {
            return Ok(None);
        };
        let (name, value, nature) = self.entry(index as usize)?;
        *room = left(*room, name.len() + value.len())?;
        let start = out.len();
        out.reserve(name.len() + value.len());
        out.extend_from_slice(name);
        out.extend_from_slice(value);
        *at = end;
        Ok(Some(Field {
            name: Range::new(start, start + name.len()),
            value: Range::new(start + name.len(), out.len()),
            nature,
        }))
    }

    fn literal(
        &mut self,
        input: &[u8],
        at: &mut usize,
        bits: u32,
        room: &mut u32,
        out: &mut Vec<u8>,
    ) -> Result<Option<Field>, Flaw> {
        let mut end = *at;
        let Some(index) = integer::decode(input, &mut end, bits).map_err(|_| Flaw::Integer)? else {
            return Ok(None);
        };
        let name = match index {
            0 => match text(input, &mut end, *room)? {
                Some(text) => Name::Literal(text),
                None => return Ok(None),
            },
            index => Name::Indexed(index as usize),
        };
        let Some(value) = text(input, &mut end, *room)? else { return Ok(None) };

        let start = out.len();
        let nature = match name {
            Name::Literal(text) => {
                append(input, text, out)?;
                Nature::of_name(&out[start..])
            }
            Name::Indexed(index) => {
                let (name, _, nature) = self.entry(index)?;
                out.extend_from_slice(name);
                nature
            }
        };
        let middle = out.len();
        append(input, value, out)?;
        *room = left(*room, out.len() - start)?;
        let nature = nature.with_value(&out[middle..]);
        if bits == 6 {
            let (name, value) = out[start..].split_at(middle - start);
            let most = TABLE_SIZE - self.reduction;
            self.table.get_or_insert_default().insert(name, value, nature, most);
        }
        *at = end;
        let (name, value) = (Range::new(start, middle), Range::new(middle, out.len()));
        Ok(Some(Field { name, value, nature }))
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8], Nature), Flaw> {
        let place = index.checked_sub(1).ok_or(Flaw::Index)?;
        match static_table::ENTRIES.get(place) {
            Some((name, value)) => Ok((name, value, nature::of_static(place))),
            None => {
                let table = self.table.as_ref().ok_or(Flaw::Index)?;
                table.get(place - static_table::ENTRIES.len()).ok_or(Flaw::Index)
            }
        }
    }

    /// Gives back what an idle connection does not need.
    pub fn shrink(&mut self) {
        match &mut self.table {
            Some(table) if table.is_empty() => self.table = None,
            Some(table) => table.shrink(),
            None => {}
        }
    }

    /// What it holds in memory beside itself.
    pub fn allocated(&self) -> usize {
        self.table.as_ref().map_or(0, |table| size_of::<Table>() + table.allocated())
    }

    /// The dynamic table's size as the RFC counts it.
    pub fn table_size(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.size())
    }
}

fn left(room: u32, length: usize) -> Result<u32, Flaw> {
    let length = u32::try_from(length).map_err(|_| Flaw::TooLarge)?;
    room.checked_sub(length).ok_or(Flaw::TooLarge)
}

/// A string that is there whole. A length that does not fit is refused before its bytes have come;
/// a code that is longer than what it stands for gets no more room.
fn text(input: &[u8], at: &mut usize, room: u32) -> Result<Option<Text>, Flaw> {
    let Some(first) = input.get(*at) else { return Ok(None) };
    let is_coded = first & 0x80 != 0;
    let Some(length) = integer::decode(input, at, 7).map_err(|_| Flaw::Integer)? else {
        return Ok(None);
    };
    if length > room {
        return Err(Flaw::TooLarge);
    }
    let (start, end) = (*at, *at + length as usize);
    *at = end;
    Ok((end <= input.len()).then_some(Text { start, end, is_coded }))
}

fn append(input: &[u8], text: Text, out: &mut Vec<u8>) -> Result<(), Flaw> {
    let bytes = &input[text.start..text.end];
    if text.is_coded {
        return huffman::decode(bytes, out).map_err(|_| Flaw::Huffman);
    }
    out.extend_from_slice(bytes);
    Ok(())
}
