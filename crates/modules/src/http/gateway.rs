//! What FastCGI, SCGI and uwsgi have in common: requests become parameters as CGI has them (RFC 3875), and responses
//! begin with a head of fields, one of which is the status.

pub mod content;
pub mod head;
pub mod packet;
pub mod params;
pub mod pass;
