//! TLS directives where no listener speaks TLS. Configurations carry them at the `http` or `server` level beside plain
//! listeners too; their form is checked, and `-t` notes that they have no effect.
//!
//! ```nginx
//! ssl_protocols TLSv1.2 TLSv1.3;
//! ```

use daemun_conf as conf;
use daemun_core::directives;
use daemun_core::load::Fault;
use daemun_core::module::Module;
use daemun_core::values;
use daemun_http::module::HttpModule;

const NO_TLS: &str = "daemun does not speak TLS yet";

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_ssl_module",
        settings: None,
        directives: directives! {
            "ssl_certificate" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_certificate_key" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_certificate_cache" in HTTP_SERVER, Between(1, 3), "off", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ech_file" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_password_file" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_certificate_compression" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_dhparam" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ecdh_curve" in HTTP_SERVER, Exactly(1), "auto", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_protocols" in HTTP_SERVER, AtLeast(1), "TLSv1.2 TLSv1.3", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ciphers" in HTTP_SERVER, Exactly(1), "HIGH:!aNULL:!MD5", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_buffer_size" in HTTP_SERVER, Exactly(1), "16k", Action::Noted(size, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_verify_client" in HTTP_SERVER, Exactly(1), "off", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_verify_depth" in HTTP_SERVER, Exactly(1), "1", Action::Noted(number, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_client_certificate" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_trusted_certificate" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_prefer_server_ciphers" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_session_cache" in HTTP_SERVER, Between(1, 2), "none", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_session_tickets" in HTTP_SERVER, Flag, "on", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_session_ticket_key" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_session_timeout" in HTTP_SERVER, Exactly(1), "5m", Action::Noted(seconds, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_crl" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ocsp" in HTTP_SERVER, Exactly(1), "off", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ocsp_responder" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_ocsp_cache" in HTTP_SERVER, Exactly(1), "off", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_stapling" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_stapling_file" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_stapling_responder" in HTTP_SERVER, Exactly(1), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_stapling_verify" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_early_data" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_conf_command" in HTTP_SERVER, Exactly(2), "", Action::Noted(any, NO_TLS),
                "Accepted where no listener speaks TLS.";
            "ssl_reject_handshake" in HTTP_SERVER, Flag, "off", Action::Noted(flag, NO_TLS),
                "Accepted where no listener speaks TLS.";
        },
    },
    ..HttpModule::EMPTY
};

fn any(_: &conf::Directive) -> Result<(), Fault> {
    Ok(())
}

fn flag(directive: &conf::Directive) -> Result<(), Fault> {
    values::flag(directive).map(drop)
}

fn seconds(directive: &conf::Directive) -> Result<(), Fault> {
    values::seconds(directive).map(drop)
}

fn size(directive: &conf::Directive) -> Result<(), Fault> {
    values::size(directive).map(drop)
}

fn number(directive: &conf::Directive) -> Result<(), Fault> {
    values::integer::<usize>(directive).map(drop)
}
