//! Opening files for a process with more rights than those who own the folders on the way.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use crate::descriptor::{check, fresh};
use crate::identity;

/// Opens `path` to write to it, and creates it with mode 0644 where it is missing.
///
/// A symbolic link on the way, or at its end, is followed only where root or this process's own user
/// made it: in a folder of somebody else it could lead to any file of the system. Others' are
/// `ELOOP`. For anybody but root that makes no difference, and is not looked at.
pub fn open(path: &Path, how: How) -> io::Result<File> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOCTTY | how.flags();
    open_with(path, flags)
}

/// Opens a folder that is there, as [`open`] does a file.
pub fn folder(path: &Path) -> io::Result<File> {
    open_with(path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
}

fn open_with(path: &Path, flags: libc::c_int) -> io::Result<File> {
    if identity::effective_uid() != 0 {
        return open_at(None, path.as_os_str(), flags).map(File::from);
    }
    Walk::default().open(path, flags).map(File::from)
}

/// What is done with what stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Append,
    Replace,
    /// Nothing, and it is not created either: whether it could be appended to.
    Look,
}

impl How {
    fn flags(self) -> libc::c_int {
        match self {
            How::Append => libc::O_CREAT | libc::O_APPEND,
            How::Replace => libc::O_CREAT | libc::O_TRUNC,
            How::Look => libc::O_APPEND,
        }
    }
}

/// A path that is walked folder by folder.
#[derive(Default)]
struct Walk {
    /// Where it has come to; `None` is the current folder.
    folder: Option<OwnedFd>,
    /// Links followed.
    links: usize,
}

impl Walk {
    /// As the kernel's.
    const MOST_LINKS: usize = 40;

    fn open(mut self, path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
        let mut steps = steps_of(path);
        while let Some(step) = steps.pop() {
            let opened = match steps.is_empty() {
                true => open_at(self.folder.as_ref(), &step, flags | libc::O_NOFOLLOW),
                false => open_at(self.folder.as_ref(), &step, FOLDER | libc::O_NOFOLLOW),
            };
            match opened {
                Ok(file) if steps.is_empty() => return Ok(file),
                Ok(folder) => self.folder = Some(folder),
                // Where the step is a link.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {
                    let link = self.link(&step, error)?;
                    if is_magic(&link)? {
                        // It leads to what a process has open, by no path.
                        let last = if steps.is_empty() { flags } else { FOLDER };
                        let target = open_at(self.folder.as_ref(), &step, last)?;
                        if steps.is_empty() {
                            return Ok(target);
                        }
                        self.folder = Some(target);
                    } else {
                        steps.extend(steps_of(Path::new(&target_of(&link)?)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EISDIR))
    }

    /// The link that the step is, where its maker is trusted; else the error.
    fn link(&mut self, step: &OsStr, error: io::Error) -> io::Result<OwnedFd> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let link = open_at(self.folder.as_ref(), step, flags)?;
        let status = status_of(&link)?;
        self.links += 1;
        if status.st_mode & libc::S_IFMT != libc::S_IFLNK {
            return Err(error);
        }
        if self.links > Self::MOST_LINKS || status.st_uid != 0 {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        Ok(link)
    }
}

const FOLDER: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;

/// The names on the way, the last one first.
fn steps_of(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter(|component| *component != Component::CurDir);
    steps.rev().map(|component| component.as_os_str().to_owned()).collect()
}

fn open_at(folder: Option<&OwnedFd>, name: &OsStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = CString::new(name.as_bytes())?;
    let folder = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
    let mode: libc::mode_t = 0o644;
    // SAFETY: `name` is a terminated string that lives through the call; the mode is of the promoted
    // type that a variadic function takes.
    fresh(unsafe { libc::openat(folder, name.as_ptr(), flags, libc::c_uint::from(mode)) })
}

fn status_of(file: &OwnedFd) -> io::Result<libc::stat> {
    // SAFETY: the record is plain data, for which all zeroes is valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the record is valid for the call.
    check(unsafe { libc::fstat(file.as_raw_fd(), &mut status) })?;
    Ok(status)
}

/// Whether a link is one of /proc's: `/dev/stdout` leads there.
fn is_magic(link: &OwnedFd) -> io::Result<bool> {
    // SAFETY: the record is plain data, for which all zeroes is valid.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the record is valid for the call.
    check(unsafe { libc::fstatfs(link.as_raw_fd(), &mut system) })?;
    Ok(i128::from(system.f_type) == i128::from(libc::PROC_SUPER_MAGIC))
}

fn target_of(link: &OwnedFd) -> io::Result<OsString> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the name is empty and terminated, which is the link itself; the buffer is valid for the
    // length that is passed.
    let length = unsafe {
        libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len())
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    target.truncate(length);
    Ok(OsString::from_vec(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, lchown, symlink};
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("daemun-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("own/deep")).unwrap();
            fs::write(path.join("secret"), "kept").unwrap();
            Folder(path)
        }

        fn at(&self, relative: &str) -> PathBuf {
            self.0.join(relative)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A user that is not root.
    const STRANGER: u32 = 65_534;

    #[test]
    fn links_of_a_stranger_lead_nowhere() {
        if identity::effective_uid() != 0 {
            // Only root can make the case, and only for root it matters.
            return;
        }
        let folder = Folder::new("strange-links");
        let links = [
            ("own/file", "../secret"),
            ("own/absolute", folder.at("secret").to_str().unwrap()),
            ("own/way", ".."),
            ("own/chain", "file"),
            ("own/new", "../created"),
        ]
        .map(|(link, target)| (folder.at(link), target.to_owned()));
        for (link, target) in &links {
            symlink(target, link).unwrap();
            lchown(link, Some(STRANGER), None).unwrap();
        }
        for path in ["own/file", "own/absolute", "own/way/secret", "own/chain", "own/new"] {
            for how in [How::Append, How::Replace, How::Look] {
                let error = open(&folder.at(path), how).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{path}");
            }
        }
        assert_eq!(
            super::folder(&folder.at("own/way")).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
        assert_eq!(fs::read_to_string(folder.at("secret")).unwrap(), "kept");
        assert!(!folder.at("created").exists());
    }

    #[test]
    fn own_links_are_followed_as_the_kernel_does() {
        let folder = Folder::new("own-links");
        symlink("deep", folder.at("own/link")).unwrap();
        symlink("../../secret", folder.at("own/deep/file")).unwrap();
        symlink(folder.at("own/link"), folder.at("far")).unwrap();
        symlink("loop", folder.at("loop")).unwrap();
        for path in ["own/deep/file", "own/link/file", "far/file", "far/../link/./file", "secret"] {
            let file = open(&folder.at(path), How::Append).unwrap();
            let secret = fs::metadata(folder.at("secret")).unwrap();
            assert_eq!(file.metadata().unwrap().ino(), secret.ino(), "{path}");
        }
        assert_eq!(
            open(&folder.at("loop"), How::Append).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
        for missing in ["nowhere/file", "secret/file"] {
            let expected = File::options().append(true).open(folder.at(missing)).unwrap_err();
            let error = open(&folder.at(missing), How::Append).unwrap_err();
            assert_eq!(error.raw_os_error(), expected.raw_os_error(), "{missing}");
        }
        assert!(open(&folder.at("own"), How::Append).is_err());
    }

    #[test]
    fn files_are_made_appended_to_and_replaced() {
        let folder = Folder::new("makes");
        let path = folder.at("own/new");
        open(&path, How::Append).unwrap().write_all(b"one").unwrap();
        open(&path, How::Append).unwrap().write_all(b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "onetwo");
        open(&path, How::Replace).unwrap().write_all(b"3").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3");
        open(Path::new("/dev/null"), How::Append).unwrap().write_all(b"x").unwrap();
        // It may be somebody else's.
        let standard_error = Path::new("/dev/stderr");
        let may = File::options().append(true).open(standard_error).is_ok();
        assert_eq!(open(standard_error, How::Append).is_ok(), may);
    }
}
