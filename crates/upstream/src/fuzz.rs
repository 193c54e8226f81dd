//! What the fuzz targets run. Ordinary tests run it too, on a few generated inputs.

use daemun_core::listen::Address;

use crate::url::Url;

/// Any bytes are an address or none, and an address has a host, and its URI at its end.
pub fn url(data: &[u8]) {
    for default_port in [None, Some(80)] {
        let Ok(url) = Url::parse(data, default_port) else { continue };
        assert!(!url.host.is_empty());
        assert!(data.ends_with(&url.uri));
        assert!(url.has_port || url.port == default_port);
        // a socket's path may go on behind a colon where no URI may follow
        let is_socket = matches!(url.address, Some(Address::Unix(_)));
        if url.uri.is_empty() && !is_socket {
            assert_eq!(Url::parse_server(data, default_port), Ok(url));
        }
    }
}
