//! A message that a function emits: what it changes of its record.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::record::Escaped;
use crate::{Error, Header, Record, Result};

/// A key or a value of a message: bytes, or null.
///
/// Made from `&[u8]`, `Vec<u8>`, `&str`, `String`, `Cow` of these, and from an `Option` of any of
/// them, where `None` is null. What is borrowed is copied once, when the message is emitted.
#[derive(Clone, PartialEq, Eq)]
pub struct Field<'a>(pub(crate) Option<Cow<'a, [u8]>>);

impl Field<'_> {
    /// Null, which is not empty: as a value, a tombstone on a compacted topic.
    pub const NULL: Field<'static> = Field(None);
}

/// The name of a header of a message: any bytes, and never null.
///
/// Made from what a [`Field`] is made from, but for an `Option`.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderName<'a>(pub(crate) Cow<'a, [u8]>);

macro_rules! bytes_from {
    (impl [$($constant:tt)*] $source:ty: $bytes:expr) => {
        impl<'a, $($constant)*> From<$source> for HeaderName<'a> {
            #[inline]
            fn from(bytes: $source) -> Self {
                let into: fn($source) -> Cow<'a, [u8]> = $bytes;
                HeaderName(into(bytes))
            }
        }

        impl<'a, $($constant)*> From<$source> for Field<'a> {
            #[inline]
            fn from(bytes: $source) -> Self {
                Field(Some(HeaderName::from(bytes).0))
            }
        }
    };
    ($($source:ty: $bytes:expr;)*) => {$(
        bytes_from!(impl [] $source: $bytes);
    )*};
}

bytes_from! {
    &'a [u8]: Cow::Borrowed;
    &'a Vec<u8>: |bytes| Cow::Borrowed(bytes);
    Vec<u8>: Cow::Owned;
    Box<[u8]>: |bytes| Cow::Owned(bytes.into_vec());
    Cow<'a, [u8]>: |bytes| bytes;
    &'a str: |text| Cow::Borrowed(text.as_bytes());
    &'a String: |text| Cow::Borrowed(text.as_bytes());
    String: |text| Cow::Owned(text.into_bytes());
    Cow<'a, str>: |text| match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
}

bytes_from!(impl [const N: usize] &'a [u8; N]: |bytes| Cow::Borrowed(bytes));

impl<'a, T: Into<Field<'a>>> From<Option<T>> for Field<'a> {
    #[inline]
    fn from(value: Option<T>) -> Self {
        value.map_or(Field(None), Into::into)
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_deref()).fmt(f)
    }
}

impl fmt::Debug for HeaderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(Some(&self.0)).fmt(f)
    }
}

/// A header of a message, for [`Message::with_headers`].
///
/// Made from a [`Header`] of a record, or from a name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHeader<'a> {
    pub(crate) name: HeaderName<'a>,
    pub(crate) value: Field<'a>,
}

impl<'a> From<Header<'a>> for MessageHeader<'a> {
    #[inline]
    fn from(header: Header<'a>) -> Self {
        (header.name, header.value).into()
    }
}

impl<'a, N: Into<HeaderName<'a>>, V: Into<Field<'a>>> From<(N, V)> for MessageHeader<'a> {
    #[inline]
    fn from((name, value): (N, V)) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A message to produce.
///
/// It goes to the trigger's output, its partition chosen by its key. Key, value, headers and
/// timestamp are those of its source record unless they are set; what is not set costs nothing,
/// because the runtime already has it.
///
/// ```
/// use tidegate_sdk::{Message, Record};
///
/// fn route(record: Record) -> Message {
///     record.forward().with_topic("orders.large").with_key("eu").add_header("via", "route")
/// }
/// ```
///
/// Two messages are equal when they set the same things, which makes a function easy to test:
///
/// ```
/// # use tidegate_sdk::{Message, Record};
/// fn shout(record: Record) -> Message {
///     record.with_value(record.value().map(<[u8]>::to_ascii_uppercase))
/// }
///
/// let source = tidegate_sdk::testing::Record::new().value("hello");
/// assert_eq!(shout(source.view()), source.view().with_value("HELLO"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message is produced when the function returns it or an `Outcome` emits it"]
pub struct Message<'a> {
    pub(crate) source: Option<Record<'a>>,
    pub(crate) topic: Option<Cow<'a, str>>,
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Field<'a>>,
    pub(crate) value: Option<Field<'a>>,
    pub(crate) headers: MessageHeaders<'a>,
}

/// The headers of the source record, unless they are replaced, and then those of the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MessageHeaders<'a> {
    pub(crate) replaced: bool,
    pub(crate) list: Vec<MessageHeader<'a>>,
}

impl MessageHeaders<'_> {
    #[inline]
    pub(crate) fn are_as_in_source(&self) -> bool {
        !self.replaced && self.list.is_empty()
    }
}

/// "Chosen by the key", for a partition.
pub(crate) const BY_KEY: i32 = -1;
/// "As in the source record", for a length or a count.
pub(crate) const AS_IN_SOURCE: i32 = -2;
/// "That of the source record", for a timestamp.
pub(crate) const OF_SOURCE: i64 = -2;
/// "The time of producing", for a timestamp.
pub(crate) const OF_PRODUCING: i64 = -1;

impl<'a> Message<'a> {
    /// A message with this value; key, headers and timestamp are those of the record that it is
    /// returned or emitted for.
    pub fn new(value: impl Into<Field<'a>>) -> Self {
        Self::unset(None).with_value(value)
    }

    #[inline]
    pub(crate) fn from_record(record: Record<'a>) -> Self {
        Self::unset(Some(record))
    }

    #[inline]
    fn unset(source: Option<Record<'a>>) -> Self {
        Self {
            source,
            topic: None,
            partition: BY_KEY,
            timestamp: OF_SOURCE,
            key: None,
            value: None,
            headers: MessageHeaders::default(),
        }
    }

    /// Sends it to another topic, which the trigger must allow (`allow-topics`), or the whole call fails.
    /// The empty name stands for the trigger's output, as by default.
    pub fn with_topic(mut self, topic: impl Into<Cow<'a, str>>) -> Self {
        let topic: Cow<'a, str> = topic.into();
        self.topic = (!topic.is_empty()).then_some(topic);
        self
    }

    /// Sends it to this partition. A negative number: chosen by its key, as by default, in the way
    /// of Kafka's own clients. If the topic has no such partition, the record is given up at once, as
    /// `on-exhausted` says, with the cause `output`.
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.partition = partition.max(BY_KEY);
        self
    }

    /// Gives it this timestamp, in milliseconds since 1970-01-01 UTC. A negative number: the time
    /// of producing. So does 0, which means now to the Kafka client.
    pub fn with_timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = timestamp_ms.max(OF_PRODUCING);
        self
    }

    /// Gives it the time of producing as its timestamp.
    pub fn without_timestamp(self) -> Self {
        self.with_timestamp(OF_PRODUCING)
    }

    /// Sets its key. `None` is null.
    #[inline]
    pub fn with_key(mut self, key: impl Into<Field<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Takes its key away.
    pub fn without_key(self) -> Self {
        self.with_key(Field::NULL)
    }

    /// Sets its value. `None` is null.
    #[inline]
    pub fn with_value(mut self, value: impl Into<Field<'a>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Takes its value away: a tombstone.
    pub fn without_value(self) -> Self {
        self.with_value(Field::NULL)
    }

    /// Sets its value, written as JSON.
    ///
    /// # Errors
    /// A reject when `value` has no form in JSON, as a map whose keys are not strings.
    pub fn with_json(self, value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Error::reject(format_args!("the value cannot be written as JSON: {error}")))?;
        Ok(self.with_value(json))
    }

    /// Adds a header behind those it has: those of the source record, unless they were replaced,
    /// and those already added. A value of `None` is null.
    pub fn add_header(mut self, name: impl Into<HeaderName<'a>>, value: impl Into<Field<'a>>) -> Self {
        self.headers.list.push((name, value).into());
        self
    }

    /// Replaces its headers by these: headers of a record, or pairs of a name and a value. Any that
    /// were added before are gone.
    ///
    /// ```
    /// use tidegate_sdk::{Message, Record};
    ///
    /// fn without_trace(record: Record) -> Message {
    ///     record.forward().with_headers(record.headers().filter(|header| header.name != b"trace"))
    /// }
    ///
    /// fn lower_case(record: Record) -> Message {
    ///     let lower = |name: &[u8]| name.to_ascii_lowercase();
    ///     record.forward().with_headers(record.headers().map(|header| (lower(header.name), header.value)))
    /// }
    ///
    /// fn only_ours(record: Record) -> Message {
    ///     record.forward().with_headers([("via", "route"), ("kind", "order")])
    /// }
    /// ```
    pub fn with_headers<H: Into<MessageHeader<'a>>>(mut self, headers: impl IntoIterator<Item = H>) -> Self {
        let list = headers.into_iter().map(Into::into).collect();
        self.headers = MessageHeaders { replaced: true, list };
        self
    }

    /// Takes its headers away; headers can be added after.
    pub fn without_headers(mut self) -> Self {
        self.headers = MessageHeaders { replaced: true, list: Vec::new() };
        self
    }

    /// Spells out what is as in its source record, so that it can be emitted for another one.
    pub(crate) fn spelled_out(mut self, source: Record<'a>) -> Self {
        if self.timestamp == OF_SOURCE {
            self.timestamp = source.timestamp().unwrap_or(OF_PRODUCING);
        }
        self.key.get_or_insert_with(|| source.key().into());
        self.value.get_or_insert_with(|| source.value().into());
        if !self.headers.replaced {
            let added = std::mem::take(&mut self.headers.list);
            self = self.with_headers(source.headers());
            self.headers.list.extend(added);
        }
        self
    }
}

/// What they set is compared, not the source records.
impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.partition == other.partition
            && self.timestamp == other.timestamp
            && self.key == other.key
            && self.value == other.value
            && self.headers == other.headers
    }
}
