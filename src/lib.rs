//! An authenticating reverse proxy: plain requests go in, requests with a fresh bearer token go
//! out over TLS.
