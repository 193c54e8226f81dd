//! `fastcgi_pass` and its like: whom requests go to.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::module::Step;
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
    Ok(Pass { address: Address::Computed(script), scheme, host })
}

/// Reads `ADDRESS` as it stands.
pub fn read_group(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    scheme: &'static str,
) -> Result<Pass, Fault> {
    let word = &directive.args[0];
    let text = without_scheme(&word.text, scheme);
    let url = Url::parse_server(text, None).map_err(|reason| {
        Fault::from(format!("{reason} in upstream \"{}\"", Text(text))).at(word.span)
    })?;
    let group = request_group(loader, &url, word.span)?;
    let host = params::host(loader, directive)?;
    Ok(Pass { address: Address::Group(group), scheme, host })
}

fn without_scheme<'t>(text: &'t [u8], scheme: &str) -> &'t [u8] {
    match text.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme.as_bytes()) => rest,
        _ => text,
    }
}

/// Passes a request on; `scheme` is for the log.
pub async fn call(
    request: &mut Request,
    pass: &'static Pass,
    settings: &'static Common,
    scheme: &'static str,
    protocol: Box<dyn Protocol>,
) -> Step {
    match pass.target(request) {
        Ok(target) => upstream::pass(request, Call { settings, scheme, target, protocol }).await,
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

    fn target(&self, request: &mut Request) -> Result<Target, Status> {
        let script = match &self.address {
            Address::Group(id) => return Ok(Target::Group(*id)),
            Address::Computed(script) => script,
        };
        let text = script.value(request);
        let text = without_scheme(&text, self.scheme);
        Url::parse_server(text, None).map(|url| Target::Address(Box::new(url))).map_err(|reason| {
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
