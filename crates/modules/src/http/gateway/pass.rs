//! `fastcgi_pass` and its like: whom requests go to.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::module::Step;
use daemun_http::request::Request;
use daemun_http::upstream::protocol::Protocol;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream::{self, Call};

use super::params::{self, Param};

/// The directive of a block.
pub struct Pass {
    target: Target,
    /// `HTTP_HOST`, where the configuration does not say it.
    pub host: Param,
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
