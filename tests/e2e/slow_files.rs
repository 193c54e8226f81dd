//! A file system on which reading waits until the test lets it go on.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use daemun_tests::{Folder, PATIENCE};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry,
    ReplyOpen, Request, SessionACL,
};

/// A folder whose one file is slow to read. It has to outlive the server.
pub struct SlowFiles {
    gate: Arc<Gate>,
    /// Unmounts the folder, which is why it stands before it.
    _session: BackgroundSession,
    folder: Folder,
}

impl SlowFiles {
    /// The file's name.
    pub const NAME: &str = "slow.bin";

    /// Mounts it; `None` where the system has no FUSE, or not for this user.
    pub fn mount(content: Vec<u8>) -> Option<SlowFiles> {
        let gate = Arc::new(Gate { content, state: Mutex::default(), changed: Condvar::new() });
        let folder = Folder::fresh();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("slow".to_owned())];
        // Workers run as another user.
        config.acl = SessionACL::All;
        match fuser::spawn_mount(Files(Arc::clone(&gate)), folder.path(""), &config) {
            Ok(session) => Some(SlowFiles { gate, _session: session, folder }),
            Err(error) => {
                eprintln!("no FUSE here, so nothing is shown: {error}");
                None
            }
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path("")
    }

    /// Waits until somebody waits for the file's content.
    pub fn await_reader(&self) {
        let state = self.gate.state.lock().unwrap();
        let nobody = |state: &mut State| state.waiting.is_empty();
        let waited = self.gate.changed.wait_timeout_while(state, PATIENCE, nobody);
        assert!(!waited.unwrap().1.timed_out(), "nobody reads the file");
    }

    /// Lets all reads go on, those that wait and those to come.
    pub fn release(&self) {
        let waiting = {
            let mut state = self.gate.state.lock().unwrap();
            state.is_open = true;
            std::mem::take(&mut state.waiting)
        };
        for (reply, offset, size) in waiting {
            reply.data(self.gate.part(offset, size));
        }
    }
}

impl Drop for SlowFiles {
    fn drop(&mut self) {
        self.release();
    }
}

struct Gate {
    content: Vec<u8>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: Vec<(ReplyData, u64, u32)>,
}

impl Gate {
    fn part(&self, offset: u64, size: u32) -> &[u8] {
        let start = (offset as usize).min(self.content.len());
        let end = (start + size as usize).min(self.content.len());
        &self.content[start..end]
    }
}

struct Files(Arc<Gate>);

impl Files {
    const FILE: INodeNo = INodeNo(2);
    const VALID: Duration = Duration::from_secs(60);

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_folder = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if is_folder { 0 } else { self.0.content.len() as u64 },
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
            perm: if is_folder { 0o755 } else { 0o644 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match parent == INodeNo::ROOT && name == SlowFiles::NAME {
            true => reply.entry(&Self::VALID, &self.attributes(Self::FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Self::VALID, &self.attributes(inode));
    }

    /// What is cached stays: dropping it would make opening wait for whoever reads.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.0.state.lock().unwrap();
        match state.is_open {
            true => reply.data(self.0.part(offset, size)),
            false => {
                state.waiting.push((reply, offset, size));
                self.0.changed.notify_all();
            }
        }
    }
}
