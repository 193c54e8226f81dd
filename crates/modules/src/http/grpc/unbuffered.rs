//! The settings of a protocol that never buffers: bodies and trailers pass as they come.

use std::ops::{Deref, DerefMut};

use daemun_core::setting::{Inherit, Setting};
use daemun_http::upstream::settings::Settings;

/// What there is no directive for has other values than elsewhere.
pub struct Unbuffered(Settings);

impl Default for Unbuffered {
    fn default() -> Unbuffered {
        Unbuffered(Settings {
            request_buffering: Setting::new(false),
            buffering: Setting::new(false),
            change_buffering: Setting::new(false),
            pass_trailers: Setting::new(true),
            ..Settings::default()
        })
    }
}

impl Deref for Unbuffered {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl DerefMut for Unbuffered {
    fn deref_mut(&mut self) -> &mut Settings {
        &mut self.0
    }
}

impl Inherit for Unbuffered {
    fn inherit(&mut self, outer: &Self) {
        self.0.inherit(&outer.0);
    }
}
