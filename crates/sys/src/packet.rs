//! UNIX sockets of sequenced packets: whole messages, with descriptors, between processes of one
//! machine.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::descriptor::{check, fresh};

/// Descriptors that one message may carry here.
const DESCRIPTORS: usize = 2;

/// Who holds the other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    pub pid: i32,
    pub uid: u32,
}

/// A connected or listening socket.
#[derive(Debug)]
pub struct PacketSocket {
    descriptor: OwnedFd,
}

impl PacketSocket {
    /// Two connected ends, neither blocking.
    pub fn pair() -> io::Result<(PacketSocket, PacketSocket)> {
        let mut ends = [0; 2];
        // SAFETY: the array is valid for the two numbers that are written to it.
        check(unsafe { libc::socketpair(libc::AF_UNIX, Self::KIND, 0, ends.as_mut_ptr()) })?;
        Ok((fresh(ends[0])?.into(), fresh(ends[1])?.into()))
    }

    /// Listens under an abstract name; an empty one lets the kernel choose.
    pub fn listen(name: &str) -> io::Result<PacketSocket> {
        let socket = Self::new()?;
        let address = Address::of(name)?;
        // SAFETY: the address is valid for its length.
        check(unsafe { libc::bind(socket.number(), address.pointer(), address.length) })?;
        // SAFETY: takes numbers only.
        check(unsafe { libc::listen(socket.number(), 128) })?;
        Ok(socket)
    }

    /// Connects to an abstract name. `WouldBlock` is a full backlog.
    pub fn connect(name: &str) -> io::Result<PacketSocket> {
        Self::new()?.connected_to(&Address::of(name)?)
    }

    /// Connects to the listening socket `listener`, which this process or another one accepts from.
    pub fn connect_to(listener: &PacketSocket) -> io::Result<PacketSocket> {
        let mut address = Address::empty();
        address.length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the address is valid for the length that is passed.
        check(unsafe {
            libc::getsockname(listener.number(), address.pointer_mut(), &mut address.length)
        })?;
        Self::new()?.connected_to(&address)
    }

    /// The next connection, `WouldBlock` where there is none.
    pub fn accept(&self) -> io::Result<PacketSocket> {
        let null = std::ptr::null_mut();
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: null pointers say that the peer's address is not wanted.
        let accepted = fresh(unsafe { libc::accept4(self.number(), null, null.cast(), flags) })?;
        Ok(accepted.into())
    }

    pub fn peer(&self) -> io::Result<PeerCredentials> {
        let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        let pointer = (&raw mut credentials).cast();
        // SAFETY: the record is valid for the length that is passed.
        check(unsafe {
            libc::getsockopt(
                self.number(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                pointer,
                &mut length,
            )
        })?;
        Ok(PeerCredentials { pid: credentials.pid, uid: credentials.uid })
    }

    /// Sends one message, whole or not at all.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_with(bytes, &[])
    }

    /// Sends one message and a duplicate of each descriptor with it: two at most, else `InvalidInput`.
    pub fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() > DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut part =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = Control::new();
        let mut message = message_of(&mut part);
        if !descriptors.is_empty() {
            control.put(&mut message, descriptors);
        }
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: the message points to bytes and a control buffer that live through the call.
        let sent = unsafe { libc::sendmsg(self.number(), &message, flags) };
        if sent == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The next message: its length (0 is the peer's end) and the descriptors that came with it.
    ///
    /// `WouldBlock` where there is none. One that does not fit is `InvalidData`.
    pub fn receive(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut control = Control::new();
        let mut message = message_of(&mut part);
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: the message points to buffers that are valid for the lengths in it.
        let received =
            unsafe { libc::recvmsg(self.number(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        if received == -1 {
            return Err(io::Error::last_os_error());
        }
        let descriptors = descriptors_of(&message);
        if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((received as usize, descriptors))
    }

    /// As [`receive`](Self::receive) without descriptors, waiting; `TimedOut` after `limit`.
    pub fn receive_within(&self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        let until = std::time::Instant::now() + limit;
        loop {
            match self.receive(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map(|(length, _)| length),
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            crate::poll::readable(&[self.as_fd()], Some(left))?;
        }
    }

    /// Whether what was inherited is a connected socket of packets, as [`pair`](Self::pair) makes.
    pub fn is_of_this_kind(&self) -> bool {
        let option = |name| {
            let mut value: libc::c_int = 0;
            let mut length = size_of::<libc::c_int>() as libc::socklen_t;
            let pointer = (&raw mut value).cast();
            // SAFETY: the value is valid for the length that is passed.
            let result = unsafe {
                libc::getsockopt(self.number(), libc::SOL_SOCKET, name, pointer, &mut length)
            };
            check(result).map(|_| value).ok()
        };
        option(libc::SO_DOMAIN) == Some(libc::AF_UNIX)
            && option(libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET)
            && option(libc::SO_ACCEPTCONN) == Some(0)
    }

    const KIND: libc::c_int = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

    fn new() -> io::Result<PacketSocket> {
        // SAFETY: takes numbers only.
        let descriptor = fresh(unsafe { libc::socket(libc::AF_UNIX, Self::KIND, 0) })?;
        Ok(descriptor.into())
    }

    fn connected_to(self, address: &Address) -> io::Result<PacketSocket> {
        // SAFETY: the address is valid for its length.
        check(unsafe { libc::connect(self.number(), address.pointer(), address.length) })?;
        Ok(self)
    }

    fn number(&self) -> libc::c_int {
        self.descriptor.as_raw_fd()
    }
}

impl From<OwnedFd> for PacketSocket {
    /// A socket that was inherited. What is none fails at its first use.
    fn from(descriptor: OwnedFd) -> PacketSocket {
        PacketSocket { descriptor }
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> OwnedFd {
        socket.descriptor
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// An address with the length that counts: in abstract names every byte does.
struct Address {
    address: libc::sockaddr_un,
    length: libc::socklen_t,
}

impl Address {
    const HEAD: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

    fn empty() -> Address {
        // SAFETY: an address is plain data, for which all zeroes is valid.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        Address { address, length: Self::HEAD as libc::socklen_t }
    }

    fn of(name: &str) -> io::Result<Address> {
        let mut this = Self::empty();
        if name.is_empty() {
            return Ok(this);
        }
        if name.len() >= this.address.sun_path.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in this.address.sun_path[1..].iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        this.length = (Self::HEAD + 1 + name.len()) as libc::socklen_t;
        Ok(this)
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.address).cast()
    }

    fn pointer_mut(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.address).cast()
    }
}

/// Room for one SCM_RIGHTS record, aligned as its header asks.
#[repr(C)]
struct Control {
    header: MaybeUninit<libc::cmsghdr>,
    descriptors: [MaybeUninit<libc::c_int>; DESCRIPTORS],
}

impl Control {
    fn new() -> Control {
        Control { header: MaybeUninit::zeroed(), descriptors: [MaybeUninit::zeroed(); DESCRIPTORS] }
    }

    /// `descriptors` are no more than there is room for.
    fn put(&mut self, message: &mut libc::msghdr, descriptors: &[BorrowedFd<'_>]) {
        let size = (size_of::<libc::c_int>() * descriptors.len()) as libc::c_uint;
        // SAFETY: `CMSG_LEN` and `CMSG_SPACE` only compute; the space for as many descriptors as
        // there is room for is within the record.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
        debug_assert!(space as usize <= size_of::<Control>());
        // SAFETY: the record is plain data, for which all zeroes is valid; the C libraries differ in
        // what it has beside these fields, and in their types.
        let header = self.header.write(unsafe { std::mem::zeroed() });
        header.cmsg_len = length as _;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        for (place, descriptor) in self.descriptors.iter_mut().zip(descriptors) {
            place.write(descriptor.as_raw_fd());
        }
        message.msg_control = (&raw mut *self).cast();
        message.msg_controllen = space as _;
    }
}

fn message_of(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: the record is plain data, for which all zeroes is valid: no address, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

/// Takes what the kernel put into this process's table: whatever else happens to the message, it is
/// ours to close.
fn descriptors_of(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel filled the control buffer that the message points to and set its length;
    // `CMSG_FIRSTHDR` and `CMSG_NXTHDR` stay within it, and each number in an SCM_RIGHTS record is
    // a new descriptor of ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(record) = header.as_ref() {
            if record.cmsg_level == libc::SOL_SOCKET && record.cmsg_type == libc::SCM_RIGHTS {
                let length: usize = record.cmsg_len as _;
                let bytes = length - libc::CMSG_LEN(0) as usize;
                let data: *const libc::c_int = libc::CMSG_DATA(header).cast();
                for index in 0..bytes / size_of::<libc::c_int>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_arrives_open_with_its_message() {
        let (one, other) = PacketSocket::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        one.send_with(b"take this", &[writer.as_fd()]).unwrap();
        drop(writer);

        let mut bytes = [0; 64];
        let (length, mut descriptors) = other.receive(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"take this");
        let mut file = std::fs::File::from(descriptors.pop().unwrap());
        file.write_all(b"through").unwrap();
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn two_descriptors_arrive_in_their_order_and_no_more_are_sent() {
        let (one, other) = PacketSocket::pair().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        one.send_with(b"both ends", &[reader.as_fd(), writer.as_fd()]).unwrap();
        writer.write_all(b"through").unwrap();
        let three = [reader.as_fd(), writer.as_fd(), writer.as_fd()];
        assert_eq!(
            one.send_with(b"too many", &three).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        drop((reader, writer));

        let (_, descriptors) = other.receive(&mut [0; 64]).unwrap();
        let [reader, _writer]: [OwnedFd; 2] = descriptors.try_into().unwrap();
        let mut text = [0; 7];
        std::fs::File::from(reader).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"through");
    }

    #[test]
    fn messages_keep_their_borders_and_the_end_is_seen() {
        let (one, other) = PacketSocket::pair().unwrap();
        one.send(b"first").unwrap();
        one.send(b"second").unwrap();
        let mut bytes = [0; 64];
        assert_eq!(other.receive(&mut bytes).unwrap().0, 5);
        assert_eq!(other.receive(&mut bytes[..2]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(other.receive(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(one);
        assert_eq!(other.receive(&mut bytes).unwrap().0, 0);
    }

    #[test]
    fn a_named_socket_knows_who_connects() {
        let name = format!("daemun-test-{}", crate::identity::pid());
        let listener = PacketSocket::listen(&name).unwrap();
        let client = PacketSocket::connect(&name).unwrap();
        let served = listener.accept().unwrap();
        assert_eq!(served.peer().unwrap().pid, crate::identity::pid());
        assert_eq!(client.peer().unwrap().uid, crate::identity::effective_uid());

        let unnamed = PacketSocket::listen("").unwrap();
        PacketSocket::connect_to(&unnamed).unwrap().send(b"hello").unwrap();
        assert_eq!(unnamed.accept().unwrap().receive(&mut [0; 8]).unwrap().0, 5);
    }
}
