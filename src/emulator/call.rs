//! A request as a vendor sees it.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::request::Parts;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::Clock;

/// A request on its way to an answer.
#[derive(Debug)]
pub struct Call {
    /// Method, target, headers.
    pub head: Parts,
    /// What follows them, still to be read.
    pub body: Incoming,
    pub(super) clock: Clock,
}

impl Call {
    /// The path asked for, as it was written.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The host asked for, in lower case and without a port.
    pub fn host(&self) -> Option<String> {
        let host = self.head.headers.get(http::header::HOST)?.to_str().ok()?;
        let authority: http::uri::Authority = host.parse().ok()?;
        Some(authority.host().to_ascii_lowercase())
    }

    /// The media type of the body, in lower case and without parameters, where exactly one is
    /// named.
    pub fn media_type(&self) -> Option<String> {
        let mut values = self.headers().get_all(http::header::CONTENT_TYPE).iter();
        let value = values.next()?.to_str().ok()?;
        let media_type = value.split(';').next()?.trim().to_ascii_lowercase();
        values.next().is_none().then_some(media_type)
    }

    /// The values of a query parameter, as they were written: no vendor here needs escapes.
    pub fn query<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let query = self.head.uri.query().unwrap_or_default();
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(move |(key, value)| (key == name).then_some(value))
    }

    /// Seconds since 1970 by the emulator's clock.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// The next part of the body.
    pub(super) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await
    }

    /// The whole body, where it ends within `limit` bytes and in good order.
    pub async fn collect(&mut self, limit: usize) -> Option<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame.ok()?.into_data() {
                whole.extend_from_slice(&data);
            }
            if whole.len() > limit {
                return None;
            }
        }
        Some(whole.freeze())
    }

    /// Reads away what nobody wanted, within `limit` bytes, so that the caller of a small upload
    /// sees the answer and not a reset.
    pub(super) async fn drain(self, limit: usize) {
        let mut body = pin!(self.body);
        let mut left = limit;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
        {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}
