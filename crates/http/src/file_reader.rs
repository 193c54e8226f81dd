//! Reading a file that goes through memory, past the kernel's cache where `directio` says so.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use daemun_core::log;
use rustix::fs::{Mode, OFlags};

use crate::body::FileRange;
use crate::request::Request;

/// A file and the memory that it is read into.
pub(crate) struct Reader {
    file: Arc<File>,
    buffer: Vec<u8>,
    /// Where in the buffer bytes begin, and how many fit.
    start: usize,
    room: usize,
    /// What places and lengths have to be multiples of.
    unit: u64,
}

impl Reader {
    /// Room for `output_buffers`, or less for a short file.
    pub fn new(request: &Request, range: &FileRange) -> Reader {
        let settings = &request.core().sending;
        let (number, size) = *settings.output_buffers;
        let room = number.saturating_mul(size);
        if is_direct(request, range)
            && let Some(file) = reopen(request, &range.file)
        {
            return Reader::direct(file, room, *settings.directio_alignment);
        }
        let room = room.min(usize::try_from(range.length).unwrap_or(usize::MAX));
        let file = Arc::clone(&range.file);
        Reader { file, buffer: vec![0; room], start: 0, room, unit: 1 }
    }

    fn direct(file: File, room: usize, alignment: usize) -> Reader {
        let unit = alignment.max(512).next_power_of_two();
        let room = room.next_multiple_of(unit);
        let buffer = vec![0; room + unit];
        let start = buffer.as_ptr().align_offset(unit);
        Reader { file: Arc::new(file), buffer, start, room, unit: unit as u64 }
    }

    /// Reads from the beginning of `range`, at most all of it: the bytes' place in the buffer.
    pub fn read(&mut self, range: &FileRange) -> io::Result<Range<usize>> {
        let skipped = (range.offset % self.unit) as usize;
        let wanted = usize::try_from(range.length).unwrap_or(usize::MAX);
        let wanted = wanted.min(self.room - skipped);
        let whole = (skipped + wanted).next_multiple_of(self.unit as usize);
        let buffer = &mut self.buffer[self.start..][..whole];
        let read = self.file.read_at(buffer, range.offset - skipped as u64)?;
        match read.saturating_sub(skipped).min(wanted) {
            0 => Err(has_become_shorter()),
            read => Ok(self.start + skipped..self.start + skipped + read),
        }
    }

    pub fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.buffer[place]
    }
}

pub(crate) fn has_become_shorter() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file has become shorter")
}

/// Whether the file is one for `directio`, which sendfile(2) cannot send.
pub(crate) fn is_direct(request: &Request, range: &FileRange) -> bool {
    let Some(least) = *request.core().sending.directio else {
        return false;
    };
    range.file.metadata().is_ok_and(|metadata| metadata.len() >= least)
}

/// The file once more: others may use the one that is open with the kernel's cache.
fn reopen(request: &Request, file: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Some(file.into()),
        Err(error) => {
            let error = io::Error::from(error);
            log!(request.log(), Alert, *request, "open() with O_DIRECT failed"; error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a range piece by piece, as it is sent.
    fn read_all(mut reader: Reader, mut range: FileRange) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while range.length > 0 {
            let place = reader.read(&range)?;
            range.offset += place.len() as u64;
            range.length -= place.len() as u64;
            all.extend_from_slice(reader.bytes(place));
        }
        Ok(all)
    }

    #[test]
    fn any_range_is_read_whole_in_aligned_pieces() {
        let content: Vec<u8> = (0..10_000u32).map(|number| (number % 241) as u8).collect();
        let path = std::env::temp_dir().join(format!("daemun-reading-{}", std::process::id()));
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        for (offset, length) in
            [(0, 10_000), (1, 511), (511, 2), (512, 512), (777, 9223), (9_999, 1)]
        {
            let range = FileRange { file: Arc::clone(&file), offset, length };
            // With the kernel's cache, since not every file system can do without.
            let reader = Reader::direct(file.try_clone().unwrap(), 1000, 512);
            let expected = &content[offset as usize..(offset + length) as usize];
            assert!(read_all(reader, range).unwrap() == expected, "{offset} {length}");
        }
        let beyond = FileRange { file: Arc::clone(&file), offset: 9_990, length: 20 };
        let reader = Reader::direct(file.try_clone().unwrap(), 1000, 512);
        assert_eq!(read_all(reader, beyond).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
