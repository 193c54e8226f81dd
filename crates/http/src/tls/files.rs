//! Files that the configuration names, each read once however many servers name it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use daemun_conf::Word;
use daemun_core::load::Paths;
use daemun_tls::CertifiedKey;
use daemun_tls::identity::{self, Unusable};
use daemun_tls::pem;

use crate::request::Text;

/// A certificate's and its key's.
type Names = (Box<[u8]>, Box<[u8]>);

pub struct Files {
    paths: Paths,
    contents: HashMap<PathBuf, Result<Arc<[u8]>, String>>,
    /// By the names of both files.
    identities: HashMap<Names, Arc<CertifiedKey>>,
    /// Certificates in DER.
    authorities: HashMap<Box<[u8]>, Vec<Box<[u8]>>>,
}

impl Files {
    pub fn new(paths: &Paths) -> Files {
        Files {
            paths: paths.clone(),
            contents: HashMap::new(),
            identities: HashMap::new(),
            authorities: HashMap::new(),
        }
    }

    /// What a file holds, or what stands in place of its name.
    pub fn read(&mut self, word: &Word) -> Result<Arc<[u8]>, String> {
        let name = &word.text[..];
        if name.starts_with(DATA) {
            return read(&self.paths.conf, name);
        }
        let path = path(&self.paths.conf, name)?;
        if let Some(content) = self.contents.get(&path) {
            return content.clone();
        }
        let content = match self.unchanged(&path) {
            Some(content) => Ok(content),
            None => read(&self.paths.conf, name),
        };
        self.contents.insert(path, content.clone());
        content
    }

    /// What the configuration before had of a file that has not changed since, as far as its inode and time tell.
    fn unchanged(&mut self, path: &Path) -> Option<Arc<[u8]>> {
        let stamp = Stamp::of(path)?;
        let former = remembered();
        let content = former.contents.get(path).filter(|(known, _)| *known == stamp)?.1.clone();
        Some(content)
    }

    /// The same for a certificate with its key.
    fn unchanged_identity(&self, names: &Names) -> Option<Arc<CertifiedKey>> {
        let stamps = self.stamps(names)?;
        let former = remembered();
        let (known, identity) = former.identities.get(names)?;
        (*known == stamps).then(|| Arc::clone(identity))
    }

    fn stamps(&self, (certificate, key): &Names) -> Option<[Stamp; 2]> {
        let stamp = |name| Stamp::of(&path(&self.paths.conf, name).ok()?);
        Some([stamp(certificate)?, stamp(key)?])
    }

    /// Remembers what was read for the next configuration.
    pub fn keep(&mut self) {
        let identities = self.identities.iter().filter_map(|(names, identity)| {
            Some((names.clone(), (self.stamps(names)?, Arc::clone(identity))))
        });
        let identities: HashMap<_, _> = identities.collect();
        // What certificates were made of need not be kept beside them.
        for names in identities.keys() {
            for name in [&names.0, &names.1] {
                path(&self.paths.conf, name).into_iter().for_each(|path| {
                    self.contents.remove(&path);
                });
            }
        }
        let contents = self.contents.iter().filter_map(|(path, content)| {
            Some((path.clone(), (Stamp::of(path)?, content.clone().ok()?)))
        });
        *remembered() = Remembered { contents: contents.collect(), identities };
    }

    /// Opens a file that only its owner may read, to be written to at its end.
    pub fn append_to(&self, word: &Word) -> Result<File, String> {
        let path = path(&self.paths.prefix, &word.text)?;
        let mut options = File::options();
        options.append(true).create(true).mode(0o600);
        options.open(&path).map_err(|error| {
            let errno = rustix::io::Errno::from_raw_os_error(error.raw_os_error().unwrap_or(0));
            format!("open() \"{}\" failed ({}: {errno})", path.display(), errno.raw_os_error())
        })
    }

    /// Where relative names lead.
    pub fn folder(&self) -> &Path {
        &self.paths.conf
    }

    /// One passphrase a line.
    pub fn passwords(&mut self, word: &Word) -> Result<Vec<Box<[u8]>>, String> {
        let content = self.read(word)?;
        let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        Ok(lines.filter(|line| !line.is_empty()).map(Box::from).collect())
    }

    /// A certificate with its key; an error says whether it is the key's.
    pub fn identity(
        &mut self,
        certificate: &Word,
        key: &Word,
        passwords: &[Box<[u8]>],
    ) -> Result<Arc<CertifiedKey>, (String, bool)> {
        let names = (certificate.text[..].into(), key.text[..].into());
        if let Some(known) = self.identities.get(&names) {
            return Ok(Arc::clone(known));
        }
        if let Some(known) = self.unchanged_identity(&names) {
            self.identities.insert(names, Arc::clone(&known));
            return Ok(known);
        }
        let content = |what: &str, word: &Word, is_key: bool, files: &mut Files| {
            files
                .read(word)
                .map_err(|why| (format!("cannot load {what} \"{word}\": {why}"), is_key))
        };
        let chain = content("certificate", certificate, false, self)?;
        let private = content("certificate key", key, true, self)?;
        let identity = identity(&certificate.text, &chain, &key.text, &private, passwords)?;
        let identity = Arc::new(identity);
        self.identities.insert(names, Arc::clone(&identity));
        Ok(identity)
    }

    /// Certificates in DER.
    pub fn authorities(&mut self, word: &Word) -> Result<Vec<Box<[u8]>>, String> {
        let name: Box<[u8]> = word.text[..].into();
        if let Some(known) = self.authorities.get(&name) {
            return Ok(known.clone());
        }
        let text = self.read(word)?;
        let chain = identity::chain(&text).map_err(|Unusable(why)| {
            format!("SSL_CTX_load_verify_locations(\"{word}\") failed (SSL: {why})")
        })?;
        let all: Vec<Box<[u8]>> =
            chain.iter().map(|certificate| certificate.as_ref().into()).collect();
        self.authorities.insert(name, all.clone());
        Ok(all)
    }

    /// Whether a file holds parameters (PKCS #3 or X9.42), which nobody needs: what nginx would not start with is told.
    pub fn check_dhparam(&mut self, word: &Word) -> Result<(), String> {
        const LABELS: [&str; 2] = ["DH PARAMETERS", "X9.42 DH PARAMETERS"];
        let text =
            self.read(word).map_err(|why| format!("BIO_new_file(\"{word}\") failed ({why})"))?;
        let blocks = pem::blocks(&text).unwrap_or_default();
        match blocks.iter().any(|block| LABELS.contains(&&*block.label)) {
            true => Ok(()),
            false => Err(format!("PEM_read_bio_DHparams(\"{word}\") failed (SSL: no parameters)")),
        }
    }

    /// Lists of revoked certificates in DER.
    pub fn revoked(&mut self, word: &Word) -> Result<Vec<Box<[u8]>>, String> {
        let text = self.read(word)?;
        identity::lists(&text).map_err(|Unusable(why)| {
            format!("X509_LOOKUP_load_file(\"{word}\") failed (SSL: {why})")
        })
    }
}

/// What tells of a change: the time of the last one, and which file it is. A pipe can't be remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// In seconds, as nginx compares it.
    changed: i64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok().filter(|found| found.is_file())?;
        Some(Stamp { changed: found.mtime(), inode: found.ino() })
    }
}

/// What the configuration that is in force was made of.
#[derive(Default)]
struct Remembered {
    contents: HashMap<PathBuf, (Stamp, Arc<[u8]>)>,
    identities: HashMap<Names, ([Stamp; 2], Arc<CertifiedKey>)>,
}

fn remembered() -> MutexGuard<'static, Remembered> {
    static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);
    // A table of files is whole between any two of its functions.
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands before a certificate itself, in place of a file's name.
const DATA: &[u8] = b"data:";

/// What a file holds, or what stands in place of its name. Relative names lead from `folder`.
pub fn read(folder: &Path, name: &[u8]) -> Result<Arc<[u8]>, String> {
    if let Some(text) = name.strip_prefix(DATA) {
        return Ok(text.into());
    }
    let path = path(folder, name)?;
    std::fs::read(&path).map(Into::into).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        let words = rustix::io::Errno::from_raw_os_error(errno);
        format!(
            "BIO_new_file() failed (SSL: error:8000{errno:04X}:system library::{words}:\
             calling fopen({}, r) error:10000080:BIO routines::no such file)",
            path.display()
        )
    })
}

/// The path that a name leads to.
fn path(folder: &Path, name: &[u8]) -> Result<PathBuf, String> {
    let name = str::from_utf8(name).map_err(|_| "its name is no text".to_owned())?;
    if name.starts_with("engine:") {
        return Err("loading keys from engines is not supported".to_owned());
    }
    Ok(folder.join(name.strip_prefix("store:file:").unwrap_or(name)))
}

/// A certificate with its key; an error says whether it is the key's.
pub fn identity(
    certificate: &[u8],
    chain: &[u8],
    key: &[u8],
    private: &[u8],
    passwords: &[Box<[u8]>],
) -> Result<CertifiedKey, (String, bool)> {
    let (certificate, key) = (Text(certificate), Text(key));
    let chain = identity::chain(chain).map_err(|Unusable(why)| {
        let why = format!("PEM_read_bio_X509_AUX() failed (SSL: {why})");
        (format!("cannot load certificate \"{certificate}\": {why}"), false)
    })?;
    let private = identity::key(private, passwords).map_err(|Unusable(why)| {
        let why = format!("PEM_read_bio_PrivateKey() failed (SSL: {why})");
        (format!("cannot load certificate key \"{key}\": {why}"), true)
    })?;
    identity::certified(chain, private).map_err(|Unusable(why)| {
        (format!("SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: {why})"), true)
    })
}
