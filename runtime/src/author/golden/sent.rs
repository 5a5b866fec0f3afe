//! What a request has to carry to fit its answer, and where it did not.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};

/// Headers that say nothing of a function: they follow from the URL and the body.
const OF_THE_CLIENT: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// What a function has to send. What it does not name is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSent {
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// A request that differs from what it had to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUnlike {
    /// The place of the answer that it got.
    pub answer: usize,
    /// At least one.
    pub differences: Vec<HttpDifference>,
}

/// One difference of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpDifference {
    /// The values of a header, in order.
    Header { name: String, expected: Vec<Vec<u8>>, came: Vec<Vec<u8>> },
    /// The body.
    Body { expected: Bytes, came: Bytes },
    /// Its body had not come to its end when all calls were over: the function, or a limit, ended it.
    Unfinished,
}

impl HttpSent {
    /// These headers, each with all of its values in order, and this body.
    ///
    /// # Errors
    ///
    /// A header that no function sends.
    pub fn new(headers: &[(Vec<u8>, Vec<u8>)], body: Option<Vec<u8>>) -> Result<Self, String> {
        let headers = read_headers(headers)?;
        if let Some(name) = OF_THE_CLIENT.iter().find(|name| headers.contains_key(*name)) {
            return Err(format!("the header {name} follows from the URL and the body: leave it out"));
        }
        Ok(Self { headers, body: body.map(Bytes::from) })
    }

    pub(super) fn differences(&self, headers: &HeaderMap, body: &Bytes) -> Vec<HttpDifference> {
        let values = |of: &HeaderMap, name: &HeaderName| -> Vec<Vec<u8>> {
            of.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
        };
        let listed = self.headers.keys().filter_map(|name| {
            let (expected, came) = (values(&self.headers, name), values(headers, name));
            (expected != came).then(|| HttpDifference::Header { name: name.to_string(), expected, came })
        });
        let mut differences: Vec<HttpDifference> = listed.collect();
        if let Some(expected) = self.body.as_ref().filter(|expected| *expected != body) {
            differences.push(HttpDifference::Body { expected: expected.clone(), came: body.clone() });
        }
        differences
    }
}

/// Headers as they are written.
pub(super) fn read_headers(headers: &[(Vec<u8>, Vec<u8>)]) -> Result<HeaderMap, String> {
    let mut read = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let shown = String::from_utf8_lossy(name);
        let name = HeaderName::from_bytes(name).map_err(|_| format!("no header of HTTP is called {shown}"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| format!("the header {name} cannot have this value"))?;
        read.append(name, value);
    }
    Ok(read)
}
