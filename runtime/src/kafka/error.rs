//! What goes wrong with Kafka.

use std::ffi::CStr;

use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

pub(super) use c::rd_kafka_resp_err_t as Code;

pub(super) const OK: Code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;

/// An error of the client or the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({name})")]
pub struct Error {
    /// For code that has to decide something.
    pub kind: ErrorKind,
    /// librdkafka's name of it, such as `_ALL_BROKERS_DOWN`. For people.
    pub name: String,
    /// For people.
    pub reason: String,
    /// The client is of no use any more.
    pub fatal: bool,
}

/// What callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A broker, or all of them, cannot be connected to.
    Unreachable,
    /// There was no answer in time. The request may have been carried out all the same.
    Timeout,
    UnknownTopic,
    UnknownPartition,
    /// A permission is missing, or the broker does not accept who we are.
    Denied,
    /// The group does not accept this member: other protocols or assignors, or no room.
    GroupRefused,
    /// Another member or producer has taken the place of this one.
    Fenced,
    /// The broker takes less metadata with an offset.
    MetadataTooLarge,
    /// A batch that does not fit its checksum, or cannot be parsed.
    Damaged,
    /// A batch that cannot be unpacked, or not within the client's limits.
    Decompression,
    /// A message, or a batch of them, that the broker or the client does not take for its size.
    TooLarge,
    /// There is no record of this offset any more, or not yet.
    OffsetOutOfRange,
    /// This machine, or the way in which the client is used, is at fault.
    Local,
    Other,
}

impl ErrorKind {
    fn of(code: Code) -> Self {
        use Code as E;
        match code {
            E::RD_KAFKA_RESP_ERR__TRANSPORT
            | E::RD_KAFKA_RESP_ERR__RESOLVE
            | E::RD_KAFKA_RESP_ERR__SSL
            | E::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
            | E::RD_KAFKA_RESP_ERR__WAIT_COORD
            | E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
            | E::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
            | E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION => Self::Unreachable,
            E::RD_KAFKA_RESP_ERR__TIMED_OUT
            | E::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
            | E::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
            | E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT => Self::Timeout,
            E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID => Self::UnknownTopic,
            E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Self::UnknownPartition,
            E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            | E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | E::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
            | E::RD_KAFKA_RESP_ERR__AUTHENTICATION => Self::Denied,
            E::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL
            | E::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED
            | E::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT
            | E::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID
            | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_ASSIGNOR
            | E::RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID
            | E::RD_KAFKA_RESP_ERR__UNKNOWN_PROTOCOL => Self::GroupRefused,
            E::RD_KAFKA_RESP_ERR__FENCED
            | E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
            | E::RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH
            | E::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH
            | E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
            | E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
            | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
            | E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED => Self::Fenced,
            E::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE => Self::MetadataTooLarge,
            E::RD_KAFKA_RESP_ERR__BAD_MSG | E::RD_KAFKA_RESP_ERR_INVALID_MSG => Self::Damaged,
            E::RD_KAFKA_RESP_ERR__BAD_COMPRESSION | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE => {
                Self::Decompression
            }
            E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
            | E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE
            | E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE => Self::TooLarge,
            E::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
            | E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            | E::RD_KAFKA_RESP_ERR__LOG_TRUNCATION => Self::OffsetOutOfRange,
            E::RD_KAFKA_RESP_ERR__FAIL
            | E::RD_KAFKA_RESP_ERR__INVALID_ARG
            | E::RD_KAFKA_RESP_ERR__STATE
            | E::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE => Self::Local,
            _ => Self::Other,
        }
    }

    /// Whether brokers are away, as far as one can tell from here.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout)
    }
}

impl Error {
    /// One that the client did not report itself.
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, name: format!("{kind:?}"), reason: reason.into(), fatal: false }
    }

    pub(super) fn from_code(code: Code) -> Self {
        // SAFETY: both functions return static strings for any code.
        let (name, reason) = unsafe { (c::rd_kafka_err2name(code), c::rd_kafka_err2str(code)) };
        let (name, reason) = (text(name), text(reason));
        Self { kind: ErrorKind::of(code), name, reason, fatal: code == Code::RD_KAFKA_RESP_ERR__FATAL }
    }

    pub(super) fn check(code: Code) -> Result<(), Self> {
        if code == OK { Ok(()) } else { Err(Self::from_code(code)) }
    }

    /// Takes ownership of what librdkafka's newer functions return; null is no error.
    pub(super) fn check_object(error: *mut c::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is not null and ours; it is destroyed once, after its strings are copied.
        unsafe {
            let copied = Self {
                kind: ErrorKind::of(c::rd_kafka_error_code(error)),
                name: text(c::rd_kafka_error_name(error)),
                reason: text(c::rd_kafka_error_string(error)),
                fatal: c::rd_kafka_error_is_fatal(error) != 0,
            };
            c::rd_kafka_error_destroy(error);
            Err(copied)
        }
    }

    /// Translates an error of the wrapper, which names the same codes in its own way.
    pub(super) fn from_wrapper(code: RDKafkaErrorCode) -> Self {
        let kind = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => ErrorKind::Denied,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => ErrorKind::UnknownTopic,
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown => ErrorKind::Unreachable,
            RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Other,
        };
        Self { kind, name: format!("{code:?}"), reason: code.to_string(), fatal: false }
    }

    /// An error of this machine.
    pub fn local(error: &std::io::Error) -> Self {
        Self { name: "_FAIL".to_owned(), ..Self::new(ErrorKind::Local, error.to_string()) }
    }

    #[allow(clippy::needless_pass_by_value)] // so that `map_err` takes it as it is
    pub fn invalid(reason: impl ToString) -> Self {
        Self { name: "_INVALID_ARG".to_owned(), ..Self::new(ErrorKind::Local, reason.to_string()) }
    }

    /// The same, of something that its reason does not name.
    pub(super) fn of(mut self, what: &str) -> Self {
        if !self.reason.contains(what) {
            self.reason = format!("{what}: {}", self.reason);
        }
        self
    }
}

/// Copies a C string.
pub(super) fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings end in a null byte, and this one is not null.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        for (code, kind, name) in [
            (Code::RD_KAFKA_RESP_ERR__RESOLVE, ErrorKind::Unreachable, "_RESOLVE"),
            (Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ErrorKind::Denied, "GROUP_AUTHORIZATION_FAILED"),
            (Code::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, ErrorKind::GroupRefused, "GROUP_MAX_SIZE_REACHED"),
            (Code::RD_KAFKA_RESP_ERR__BAD_MSG, ErrorKind::Damaged, "_BAD_MSG"),
            (Code::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, ErrorKind::Other, "THROTTLING_QUOTA_EXCEEDED"),
        ] {
            let error = Error::from_code(code);
            assert_eq!((error.kind, error.name.as_str(), error.fatal), (kind, name, false));
        }
        assert!(Error::from_code(Code::RD_KAFKA_RESP_ERR__FATAL).fatal);
    }

    #[test]
    fn an_error_says_what_it_is_of_once() {
        let error = Error::new(ErrorKind::Denied, "not you").of("group g");
        assert_eq!(error.reason, "group g: not you");
        assert_eq!(error.clone().of("group g").reason, error.reason);
    }
}
