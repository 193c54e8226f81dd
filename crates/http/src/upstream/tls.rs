//! TLS to servers behind: `proxy_ssl_*` and their like, from a block's settings to a handshake.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use daemun_conf::{Diagnostics, Word};
use daemun_core::log;
use daemun_core::setting::Inherit;
use daemun_event::{Deadline, Stream};
use daemun_tls::client_context::{self, ClientContext, ClientTerms};
use daemun_tls::context::GROUPS;
use daemun_tls::handshake::{Failure, client};
use daemun_tls::suite::{SUITES, Version};
use daemun_tls::x509::Store;
use daemun_tls::{CertifiedKey, Session, ciphers};
use rustix::io::Errno;

use super::connect::NotConnected;
use super::settings::Settings;
use crate::request::Request;
use crate::tls::commands::{self, Commands};
use crate::tls::computed::{Computed, Source};
use crate::tls::files::Files;

/// What is wrong, and with which word.
type Wrong<'w> = (String, Option<&'w Word>);

/// What a block's settings come to, once they are complete.
#[derive(Clone, Default)]
pub struct Built(Arc<OnceLock<Option<Ready>>>);

/// Terms for servers, and the certificate for them that a request's own variables name.
struct Ready {
    context: Arc<ClientContext>,
    computed: Option<Computed>,
}

impl Inherit for Built {
    fn inherit(&mut self, _: &Self) {}
}

impl Built {
    fn get(&self) -> Option<&Ready> {
        self.0.get()?.as_ref()
    }
}

impl Settings {
    /// Makes the terms for servers of a block that passes requests on over TLS; what is wrong goes to the diagnostics.
    ///
    /// Where HTTP/2 will be spoken, that is what servers are offered (ALPN).
    pub fn settle_tls(
        &self,
        prefix: &str,
        is_http2: bool,
        files: &mut Files,
        diagnostics: &mut Diagnostics,
    ) {
        let mut ready = || {
            let computed = self.computed(prefix, files)?;
            let context = Arc::new(self.context(prefix, is_http2, files)?);
            Ok(Ready { context, computed })
        };
        self.ssl_context.0.get_or_init(|| match ready() {
            Ok(ready) => Some(ready),
            Err::<_, Wrong<'_>>((message, word)) => {
                diagnostics.emerg(message, word.map(|word| word.span));
                None
            }
        });
    }

    fn context(
        &self,
        prefix: &str,
        is_http2: bool,
        files: &mut Files,
    ) -> Result<ClientContext, Wrong<'_>> {
        let mut commands = Commands::default();
        for (name, value) in self.ssl_conf_commands.iter() {
            commands::read(&mut commands, name, value).map_err(|why| {
                let message = format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed (SSL: {why})");
                (message, Some(name))
            })?;
        }
        let mut suites = match commands.tls13_suites {
            Some(suites) => suites,
            None => SUITES.iter().filter(|suite| suite.version == Version::Tls13).collect(),
        };
        suites.extend(ciphers::parse(commands.ciphers.as_deref().unwrap_or(&self.ssl_ciphers)));
        let mut versions = Vec::clone(&self.ssl_protocols);
        versions.retain(|version| commands.versions.contains(version));
        let terms = ClientTerms {
            certificate: match commands.certificate.zip(commands.key) {
                Some((certificate, key)) => Some(self.identity(certificate, key, files)?),
                None => self.certificate(prefix, files)?,
            },
            versions,
            suites,
            groups: commands.groups.unwrap_or_else(|| GROUPS.to_vec()),
            protocols: if is_http2 { vec![b"h2".to_vec()] } else { Vec::new() },
            sends_name: *self.ssl_server_name,
            keeps_sessions: *self.ssl_session_reuse,
            verify: self.store(prefix, files)?,
        };
        let nothing = || "SSL_CTX_set_cipher_list() failed: nothing is left to agree on".to_owned();
        terms.settle().ok_or_else(|| (nothing(), None))
    }

    fn certificate(
        &self,
        prefix: &str,
        files: &mut Files,
    ) -> Result<Option<Arc<CertifiedKey>>, Wrong<'_>> {
        match self.pair(prefix)? {
            Some((certificate, key)) if !certificate.is_computed() && !key.is_computed() => {
                self.identity(&certificate.word, &key.word, files).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn pair(&self, prefix: &str) -> Result<Option<(&Source, &Source)>, Wrong<'_>> {
        let Some(certificate) = &*self.ssl_certificate else { return Ok(None) };
        if certificate.word.text.is_empty() {
            return Ok(None);
        }
        match &*self.ssl_certificate_key {
            Some(key) => Ok(Some((certificate, key))),
            None => {
                let word = &certificate.word;
                let message = format!(
                    "no \"{prefix}ssl_certificate_key\" is defined for certificate \"{word}\""
                );
                Err((message, Some(word)))
            }
        }
    }

    fn computed(&self, prefix: &str, files: &mut Files) -> Result<Option<Computed>, Wrong<'_>> {
        let Some((certificate, key)) = self.pair(prefix)? else { return Ok(None) };
        if !certificate.is_computed() && !key.is_computed() {
            return Ok(None);
        }
        Ok(Some(Computed {
            pairs: vec![(certificate.clone(), key.clone())],
            folder: files.folder().to_owned(),
            passwords: self.passwords(files)?,
            cache: Option::clone(&self.ssl_certificate_cache),
        }))
    }

    fn passwords(&self, files: &mut Files) -> Result<Vec<Box<[u8]>>, Wrong<'_>> {
        match &*self.ssl_password_file {
            Some(file) => files.passwords(file).map_err(|why| (why, Some(file))),
            None => Ok(Vec::new()),
        }
    }

    fn identity<'w>(
        &self,
        certificate: &'w Word,
        key: &'w Word,
        files: &mut Files,
    ) -> Result<Arc<CertifiedKey>, Wrong<'w>> {
        let passwords = self.passwords(files).map_err(|(why, _)| (why, None))?;
        files
            .identity(certificate, key, &passwords)
            .map_err(|(message, is_key)| (message, Some(if is_key { key } else { certificate })))
    }

    fn store(&self, prefix: &str, files: &mut Files) -> Result<Option<Store>, Wrong<'_>> {
        if !*self.ssl_verify {
            return Ok(None);
        }
        let Some(trusted) = &*self.ssl_trusted_certificate else {
            let message = format!("no {prefix}ssl_trusted_certificate for {prefix}ssl_verify");
            return Err((message, None));
        };
        let authorities = files.authorities(trusted).map_err(|why| (why, Some(trusted)))?;
        let lists = match &*self.ssl_crl {
            Some(file) => files.revoked(file).map_err(|why| (why, Some(file)))?,
            None => Vec::new(),
        };
        Ok(Some(Store { authorities, lists, depth: *self.ssl_verify_depth }))
    }
}

/// Makes a handshake for the sake of no request, as health checks do: a certificate that depends on one is not shown.
pub async fn handshake_alone(
    settings: &Settings,
    stream: &Stream,
    group: &str,
    peer: &Arc<str>,
    deadline: Deadline,
) -> io::Result<Box<Session>> {
    let Some(Ready { context, .. }) = settings.ssl_context.get() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = settings.ssl_name.as_ref().and_then(|script| script.as_literal());
    let name = name.map_or(group.into(), String::from_utf8_lossy);
    let name = without_port(&name);
    let session = client::connect(stream, context, name, peer, deadline).await;
    let session = session.map_err(|failure| match failure {
        Failure::TimedOut => io::ErrorKind::TimedOut.into(),
        Failure::Closed => io::ErrorKind::ConnectionReset.into(),
        Failure::Io(error) => error,
        Failure::Refused { words, .. } => io::Error::other(words),
    })?;
    if context.verifies() {
        let server = session.facts().client.as_ref();
        let is_right = server.is_some_and(|server| {
            server.refused.is_none() && client_context::is_of_host(&server.chain, name)
        });
        if !is_right {
            return Err(io::Error::other("upstream SSL certificate verify error"));
        }
    }
    Ok(Box::new(session))
}

/// The name that a server is expected to have: without its port.
pub fn server_name(request: &mut Request, settings: &Settings, group: &str) -> String {
    let name = match &*settings.ssl_name {
        Some(script) => String::from_utf8_lossy(&script.value(request)).into_owned(),
        None => group.to_owned(),
    };
    without_port(&name).to_owned()
}

fn without_port(name: &str) -> &str {
    match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => name.split(':').next().unwrap_or_default(),
    }
}

/// Makes a handshake, and gives up where the client goes away meanwhile. Why there is none has been logged unless it is a
/// matter of time or of the client.
pub async fn handshake(
    request: &mut Request,
    settings: &Settings,
    stream: &Stream,
    name: &str,
    peer: &Arc<str>,
    watches_client: bool,
) -> Result<Box<Session>, NotConnected> {
    let Some(Ready { context, computed }) = settings.ssl_context.get() else {
        return Err(NotConnected::Broken);
    };
    request.doing = "SSL handshaking to upstream";
    let shown;
    let context = match computed {
        None => context,
        Some(computed) => match computed.identities(request) {
            Ok(identities) => {
                shown = Arc::new(context.showing(identities.into_iter().next()));
                &shown
            }
            Err(why) => {
                log!(request.log(), Error, *request, "{}", why);
                return Err(NotConnected::Broken);
            }
        },
    };
    let deadline = Deadline::after(*settings.connect_timeout);
    let made = {
        let mut handshake = pin!(client::connect(stream, context, name, peer, deadline));
        poll_fn(|cx| {
            if let Poll::Ready(made) = handshake.as_mut().poll(cx) {
                return Poll::Ready(Some(made));
            }
            match watches_client {
                true => request.poll_gone(cx).map(|()| None),
                false => Poll::Pending,
            }
        })
        .await
    };
    let session = match made {
        None => return Err(NotConnected::ClientLeft),
        Some(Err(failure)) => return Err(tell(request, failure)),
        Some(Ok(session)) => session,
    };
    if context.verifies() {
        verify(request, &session, name)?;
    }
    Ok(Box::new(session))
}

fn verify(request: &Request, session: &Session, name: &str) -> Result<(), NotConnected> {
    let Some(server) = &session.facts().client else { return Err(NotConnected::Failed) };
    if let Some(verdict) = server.refused {
        let (number, words) = (verdict.number(), verdict.words());
        log!(
            request.log(),
            Error,
            *request,
            "upstream SSL certificate verify error: ({}:{})",
            number,
            words
        );
        return Err(NotConnected::Failed);
    }
    if !client_context::is_of_host(&server.chain, name) {
        log!(
            request.log(),
            Error,
            *request,
            "upstream SSL certificate does not match \"{}\"",
            name
        );
        return Err(NotConnected::Failed);
    }
    Ok(())
}

fn tell(request: &Request, failure: Failure) -> NotConnected {
    let log = request.log();
    match failure {
        Failure::TimedOut => return NotConnected::TimedOut,
        Failure::Closed => log!(log, Error, *request, "peer closed connection in SSL handshake"),
        Failure::Io(error) if Errno::from_io_error(&error).is_some() => {
            log!(log, Error, *request, "peer closed connection in SSL handshake"; error);
        }
        Failure::Io(error) => {
            let error: io::Error = error;
            log!(log, Crit, *request, "SSL_do_handshake() failed ({})", error);
        }
        Failure::Refused { words, .. } => {
            log!(log, Error, *request, "SSL_do_handshake() failed {}", words);
        }
    }
    NotConnected::Failed
}
