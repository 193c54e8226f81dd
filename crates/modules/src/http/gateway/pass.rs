//! `fastcgi_pass` and its like: whom requests go to.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::module::{Later, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::protocol::Protocol;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream::{self, Call, Target};
use daemun_upstream::{GroupId, Url, request_group};

use super::params::{self, Param};

/// The directive of a block.
pub struct Pass {
    address: Address,
    /// Before addresses; may be left out.
    scheme: &'static str,
    /// The address stands behind the scheme with an `s` before it.
    is_tls: bool,
    /// `HTTP_HOST`, where the configuration does not say it.
    pub host: Param,
}

enum Address {
    Group(GroupId),
    /// It has variables.
    Computed(Script),
}

/// Reads `ADDRESS`, which may have variables. `scheme` may stand before it.
pub fn read(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    scheme: &'static str,
) -> Result<Pass, Fault> {
    let script = loader.script(&directive.args[0])?;
    if script.as_literal().is_some() {
        return read_group(loader, directive, scheme);
    }
    let host = params::host(loader, directive)?;
    Ok(Pass { address: Address::Computed(script), scheme, is_tls: false, host })
}

/// Reads `ADDRESS` as it stands.
pub fn read_group(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    scheme: &'static str,
) -> Result<Pass, Fault> {
    let word = &directive.args[0];
    let (is_tls, text) = without_scheme(&word.text, scheme);
    let url = Url::parse_server(text, None).map_err(|reason| {
        Fault::from(format!("{reason} in upstream \"{}\"", Text(text))).at(word.span)
    })?;
    let group = request_group(loader, &url, word.span)?;
    let host = params::host(loader, directive)?;
    Ok(Pass { address: Address::Group(group), scheme, is_tls, host })
}

/// The address, and whether its server speaks TLS: `suwsgi://`.
fn without_scheme<'t>(text: &'t [u8], scheme: &str) -> (bool, &'t [u8]) {
    let after = |text: &'t [u8]| match text.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme.as_bytes()) => Some(rest),
        _ => None,
    };
    if let [b's' | b'S', rest @ ..] = text
        && scheme == TLS_FORM
        && let Some(rest) = after(rest)
    {
        return (true, rest);
    }
    (false, after(text).unwrap_or(text))
}

/// The one scheme that has a form for TLS.
const TLS_FORM: &str = "uwsgi://";

/// Passes a request on; `scheme` is for the log.
pub async fn call(
    request: &mut Request,
    pass: &'static Pass,
    settings: &'static Common,
    scheme: &'static str,
    protocol: Box<dyn Protocol>,
    handler: Later,
) -> Step {
    match pass.target(request) {
        Ok((is_tls, target)) => {
            let scheme = if is_tls { "suwsgi://" } else { scheme };
            let call = Call { settings, scheme, is_tls, target, protocol, handler };
            upstream::pass(request, call).await
        }
        Err(status) => Step::Status(status),
    }
}

impl Pass {
    /// The group that all requests go to.
    pub fn group(&self) -> Option<GroupId> {
        match self.address {
            Address::Group(group) => Some(group),
            Address::Computed(_) => None,
        }
    }

    /// Servers may have to be spoken to over TLS.
    pub fn may_speak_tls(&self) -> bool {
        self.is_tls || self.scheme == TLS_FORM && matches!(self.address, Address::Computed(_))
    }

    fn target(&self, request: &mut Request) -> Result<(bool, Target), Status> {
        let script = match &self.address {
            Address::Group(id) => return Ok((self.is_tls, Target::Group(*id))),
            Address::Computed(script) => script,
        };
        let text = script.value(request);
        let (is_tls, text) = without_scheme(&text, self.scheme);
        let url = Url::parse_server(text, None);
        url.map(|url| (is_tls, Target::Address(Box::new(url)))).map_err(|reason| {
            log!(request.log(), Error, *request, "{} in upstream \"{}\"", reason, Text(text));
            Status::INTERNAL_SERVER_ERROR
        })
    }
}

/// A block's own directive, or that of the blocks around it. An `if` goes on with that of its location.
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

    pub fn set(&mut self, pass: Pass) -> Result<(), Fault> {
        if self.is_here() {
            return Err("is duplicate".into());
        }
        self.own = Some(Arc::new(pass));
        Ok(())
    }
}

impl Inherit for PassSetting {
    fn inherit(&mut self, outer: &Self) {
        self.outer = outer.own.clone().or_else(|| outer.outer.clone());
    }
}
