//go:build wasip1

package outbound

import (
	"strconv"
	"strings"

	types "github.com/tidegate/tidegate/sdk-go/internal/bindings/wasi_http_types"
	wit "github.com/tidegate/tidegate/sdk-go/internal/wit/types"
)

// codes are the names of the error codes in wit/deps/http.wit.
var codes = [...]string{
	types.ErrorCode_DnsTimeout:                     "DNS-timeout",
	types.ErrorCode_DnsError:                       "DNS-error",
	types.ErrorCode_DestinationNotFound:            "destination-not-found",
	types.ErrorCode_DestinationUnavailable:         "destination-unavailable",
	types.ErrorCode_DestinationIpProhibited:        "destination-IP-prohibited",
	types.ErrorCode_DestinationIpUnroutable:        "destination-IP-unroutable",
	types.ErrorCode_ConnectionRefused:              "connection-refused",
	types.ErrorCode_ConnectionTerminated:           "connection-terminated",
	types.ErrorCode_ConnectionTimeout:              "connection-timeout",
	types.ErrorCode_ConnectionReadTimeout:          "connection-read-timeout",
	types.ErrorCode_ConnectionWriteTimeout:         "connection-write-timeout",
	types.ErrorCode_ConnectionLimitReached:         "connection-limit-reached",
	types.ErrorCode_TlsProtocolError:               "TLS-protocol-error",
	types.ErrorCode_TlsCertificateError:            "TLS-certificate-error",
	types.ErrorCode_TlsAlertReceived:               "TLS-alert-received",
	types.ErrorCode_HttpRequestDenied:              "HTTP-request-denied",
	types.ErrorCode_HttpRequestLengthRequired:      "HTTP-request-length-required",
	types.ErrorCode_HttpRequestBodySize:            "HTTP-request-body-size",
	types.ErrorCode_HttpRequestMethodInvalid:       "HTTP-request-method-invalid",
	types.ErrorCode_HttpRequestUriInvalid:          "HTTP-request-URI-invalid",
	types.ErrorCode_HttpRequestUriTooLong:          "HTTP-request-URI-too-long",
	types.ErrorCode_HttpRequestHeaderSectionSize:   "HTTP-request-header-section-size",
	types.ErrorCode_HttpRequestHeaderSize:          "HTTP-request-header-size",
	types.ErrorCode_HttpRequestTrailerSectionSize:  "HTTP-request-trailer-section-size",
	types.ErrorCode_HttpRequestTrailerSize:         "HTTP-request-trailer-size",
	types.ErrorCode_HttpResponseIncomplete:         "HTTP-response-incomplete",
	types.ErrorCode_HttpResponseHeaderSectionSize:  "HTTP-response-header-section-size",
	types.ErrorCode_HttpResponseHeaderSize:         "HTTP-response-header-size",
	types.ErrorCode_HttpResponseBodySize:           "HTTP-response-body-size",
	types.ErrorCode_HttpResponseTrailerSectionSize: "HTTP-response-trailer-section-size",
	types.ErrorCode_HttpResponseTrailerSize:        "HTTP-response-trailer-size",
	types.ErrorCode_HttpResponseTransferCoding:     "HTTP-response-transfer-coding",
	types.ErrorCode_HttpResponseContentCoding:      "HTTP-response-content-coding",
	types.ErrorCode_HttpResponseTimeout:            "HTTP-response-timeout",
	types.ErrorCode_HttpUpgradeFailed:              "HTTP-upgrade-failed",
	types.ErrorCode_HttpProtocolError:              "HTTP-protocol-error",
	types.ErrorCode_LoopDetected:                   "loop-detected",
	types.ErrorCode_ConfigurationError:             "configuration-error",
	types.ErrorCode_InternalError:                  "internal-error",
}

// newError makes an error of a code. It copies what the code refers to.
func newError(code types.ErrorCode, origin string) error {
	err := &Error{Code: "internal-error"}
	if int(code.Tag()) < len(codes) {
		err.Code = codes[code.Tag()]
	}
	switch code.Tag() {
	case types.ErrorCode_HttpRequestDenied:
		err.Detail = "allow-hosts in the manifest does not allow " + origin
	case types.ErrorCode_DestinationIpProhibited:
		err.Detail = origin + " is not at a public address, and allow-networks in the manifest does not allow it"
	case types.ErrorCode_ConnectionLimitReached:
		err.Detail = "no connection of http.connections was free in time, or the instance has 500 requests under way"
	case types.ErrorCode_DnsError:
		err.Detail = strings.Clone(code.DnsError().Rcode.SomeOr(""))
	case types.ErrorCode_HttpRequestBodySize:
		err.Detail = most(code.HttpRequestBodySize())
	case types.ErrorCode_HttpResponseBodySize:
		err.Detail = most(code.HttpResponseBodySize())
	case types.ErrorCode_InternalError:
		err.Detail = strings.Clone(code.InternalError().SomeOr(""))
	}
	return err
}

func most(bytes wit.Option[uint64]) string {
	if bytes.IsNone() {
		return ""
	}
	return "at most " + strconv.FormatUint(bytes.Some(), 10) + " bytes"
}
