//! Errors of Kafka clients and brokers.

use std::ffi::CStr;

use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

pub(super) use c::rd_kafka_resp_err_t as Code;

pub(super) const OK: Code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;

/// An error of the client or the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({name})")]
pub struct Error {
    /// The kind of error, for code that makes a decision.
    pub kind: ErrorKind,
    /// librdkafka's name of the error, such as `_ALL_BROKERS_DOWN`. Only for log lines and reports.
    pub name: String,
    /// A text for users.
    pub reason: String,
    /// Whether the client cannot be used any more.
    pub fatal: bool,
}

/// The kinds of errors that callers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The client cannot connect to a broker, or to any broker.
    Unreachable,
    /// The broker did not answer in time. It may have executed the request nevertheless.
    Timeout,
    UnknownTopic,
    UnknownPartition,
    /// A permission is missing, or the authentication failed.
    Denied,
    /// The group does not accept this member: the protocols or assignors do not match, or the group is full.
    GroupRefused,
    /// Another member or producer with the same identity has replaced this one.
    Fenced,
    /// The metadata of a committed offset is larger than the broker allows.
    MetadataTooLarge,
    /// The checksum of a batch is wrong, or the batch cannot be parsed.
    Damaged,
    /// A batch cannot be decompressed, or not within the limits of the client.
    Decompression,
    /// A message or a batch of messages is larger than the broker or the client allows.
    TooLarge,
    /// The offset does not exist any more, or not yet.
    OffsetOutOfRange,
    /// The cause is this machine, or a wrong use of the client.
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

    /// Whether brokers seem to be unavailable.
    pub fn is_unavailable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout)
    }
}

impl Error {
    /// Creates an error that the client did not report.
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

    /// Converts and destroys the error object that newer functions of librdkafka return. Null means success.
    pub(super) fn check_object(error: *mut c::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is not null and belongs to the caller; it is destroyed once, after its strings are
        // copied.
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

    /// Converts an error code of the rdkafka crate, which has its own names for the codes of librdkafka.
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

    #[allow(clippy::needless_pass_by_value)] // so that `map_err(Error::invalid)` works
    pub fn invalid(reason: impl ToString) -> Self {
        Self { name: "_INVALID_ARG".to_owned(), ..Self::new(ErrorKind::Local, reason.to_string()) }
    }

    /// Adds `what` to the reason, unless the reason contains it already.
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
    fn codes_have_their_kinds_and_names() {
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
    fn an_error_names_its_object_once() {
        let error = Error::new(ErrorKind::Denied, "not you").of("group g");
        assert_eq!(error.reason, "group g: not you");
        assert_eq!(error.clone().of("group g").reason, error.reason);
    }
}
