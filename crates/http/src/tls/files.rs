//! Files that the configuration names, each read once however many servers name it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use daemun_conf::Word;
use daemun_core::load::Paths;
use daemun_tls::CertifiedKey;
use daemun_tls::identity::{self, Unusable};

pub struct Files {
    paths: Paths,
    contents: HashMap<PathBuf, Result<Arc<[u8]>, String>>,
    /// By the names of both files.
    identities: HashMap<(Box<[u8]>, Box<[u8]>), Arc<CertifiedKey>>,
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
        if let Some(text) = word.text.strip_prefix(b"data:") {
            return Ok(text.into());
        }
        let name = word.as_str().map_err(|_| "its name is no text".to_owned())?;
        let name = name.strip_prefix("store:file:").unwrap_or(name);
        let path = self.paths.in_conf(name);
        let content = self.contents.entry(path.clone());
        let content = content.or_insert_with(|| {
            std::fs::read(&path).map(Into::into).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(0);
                let words = rustix::io::Errno::from_raw_os_error(errno);
                format!(
                    "BIO_new_file() failed (SSL: error:8000{errno:04X}:system library::{words}:\
                     calling fopen({}, r) error:10000080:BIO routines::no such file)",
                    path.display()
                )
            })
        });
        content.clone()
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
        let cannot = |why: String| format!("cannot load certificate \"{certificate}\": {why}");
        let text = self.read(certificate).map_err(|why| (cannot(why), false))?;
        let chain = identity::chain(&text).map_err(|Unusable(why)| {
            (cannot(format!("PEM_read_bio_X509_AUX() failed (SSL: {why})")), false)
        })?;
        let cannot = |why: String| format!("cannot load certificate key \"{key}\": {why}");
        let text = self.read(key).map_err(|why| (cannot(why), true))?;
        let private = identity::key(&text, passwords).map_err(|Unusable(why)| {
            (cannot(format!("PEM_read_bio_PrivateKey() failed (SSL: {why})")), true)
        })?;
        let identity = identity::certified(chain, private).map_err(|Unusable(why)| {
            (format!("SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: {why})"), true)
        })?;
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

    /// Lists of revoked certificates in DER.
    pub fn revoked(&mut self, word: &Word) -> Result<Vec<Box<[u8]>>, String> {
        let text = self.read(word)?;
        identity::lists(&text).map_err(|Unusable(why)| {
            format!("X509_LOOKUP_load_file(\"{word}\") failed (SSL: {why})")
        })
    }
}
