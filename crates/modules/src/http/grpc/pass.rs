//! `grpc_pass`: where requests go.

use std::borrow::Cow;
use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::Target;
use daemun_upstream::{GroupId, Url, request_group};

/// `grpc_pass` of a block.
pub enum Pass {
    Fixed {
        group: GroupId,
        host: String,
        is_tls: bool,
    },
    /// It has variables.
    Computed(Script),
}

/// A request's way.
pub struct Way {
    pub target: Target,
    /// What the request says it is for, unless the configuration says otherwise.
    pub host: Cow<'static, str>,
    pub is_tls: bool,
}

impl Pass {
    /// The way for this request. The error is the client's answer.
    pub fn way(&'static self, request: &mut Request) -> Result<Way, Status> {
        let script = match self {
            Pass::Fixed { group, host, is_tls } => {
                let target = Target::Group(*group);
                return Ok(Way { target, host: Cow::Borrowed(host), is_tls: *is_tls });
            }
            Pass::Computed(script) => script,
        };
        let text = script.value(request);
        let (is_tls, rest) = without_scheme(&text);
        let url = Url::parse_server(rest, None).map_err(|reason| {
            log!(request.log(), Error, *request, "{} in upstream \"{}\"", reason, Text(rest));
            Status::INTERNAL_SERVER_ERROR
        })?;
        let host = Cow::Owned(host(&url));
        Ok(Way { target: Target::Address(Box::new(url)), host, is_tls })
    }

    /// The group that all requests go to.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Pass::Fixed { group, .. } => Some(*group),
            Pass::Computed(_) => None,
        }
    }

    /// Servers may have to be spoken to over TLS.
    pub fn may_speak_tls(&self) -> bool {
        match self {
            Pass::Fixed { is_tls, .. } => *is_tls,
            Pass::Computed(_) => true,
        }
    }
}

/// Whether TLS is to be spoken, and the address. Without a scheme it is not.
fn without_scheme(text: &[u8]) -> (bool, &[u8]) {
    let after = |scheme: &[u8]| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    match after(b"grpcs://") {
        Some(rest) => (true, rest),
        None => (false, after(b"grpc://").unwrap_or(text)),
    }
}

fn host(url: &Url) -> String {
    match url.port {
        Some(port) => format!("{}:{port}", url.host),
        // A UNIX socket has no name of its own.
        None if url.host.starts_with('/') => "localhost".to_owned(),
        None => url.host.clone(),
    }
}

pub fn grpc_pass(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.settings(&super::SETTINGS).pass.is_here() {
        return Err("is duplicate".into());
    }
    let word = &directive.args[0];
    let script = loader.script(word)?;
    let pass = match script.as_literal() {
        None => Pass::Computed(script),
        Some(_) => {
            let (is_tls, rest) = without_scheme(&word.text);
            let url = Url::parse_server(rest, None).map_err(|reason| {
                let message = format!("{reason} in upstream \"{}\"", Text(rest));
                Fault::from(message).at(word.span)
            })?;
            let group = request_group(loader, &url, word.span)?;
            Pass::Fixed { group, host: host(&url), is_tls }
        }
    };
    loader.settings(&super::SETTINGS).pass.own = Some(Arc::new(pass));
    Ok(())
}

/// A block's own `grpc_pass`, or that of the blocks around it. An `if` goes on with that of its
/// location.
#[derive(Default)]
pub struct PassSetting {
    own: Option<Arc<Pass>>,
    outer: Option<Arc<Pass>>,
}

impl PassSetting {
    pub fn is_here(&self) -> bool {
        self.own.is_some()
    }

    pub fn value(&self) -> Option<&Pass> {
        self.own.as_deref().or(self.outer.as_deref())
    }
}

impl Inherit for PassSetting {
    fn inherit(&mut self, outer: &Self) {
        self.outer = outer.own.clone().or_else(|| outer.outer.clone());
    }
}
