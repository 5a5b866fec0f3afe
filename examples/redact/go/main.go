// Redaction: e-mail addresses and the numbers of payment cards are masked, in values and in some
// headers.
//
// It looks at bytes, not at characters, and puts a * for each. What it masks is whole characters of
// ASCII, or whole runs of bytes beyond it, so UTF-8 stays UTF-8, and in bytes that are no text nothing is
// shifted. When in doubt it masks too much. It is made for text: in JSON a card number that is not in
// quotes would not stay a number.
//
// The key is not masked, because it decides about partition and order: leave personal data out of it.
package main

import (
	"bytes"
	"slices"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// headers are those whose values are masked as well.
var headers = []string{"user", "reply-to"}

func init() { tidegate.Handle(redact) }

func main() {}

// redact answers a record with itself, masked. Masked headers stand behind the others.
func redact(record tidegate.Record) (tidegate.Messages, error) {
	var others []tidegate.Header
	for header := range record.Headers() {
		if !slices.Contains(headers, string(header.Name)) {
			others = append(others, header)
		}
	}
	message := record.WithValue(masked(record.Value())).WithHeaders(others...)
	for _, name := range headers {
		for header := range record.Headers() {
			if string(header.Name) == name {
				message = message.AddHeader(name, masked(header.Value))
			}
		}
	}
	return tidegate.One(message), nil
}

// masked masks a copy. That of nil is nil, so null stays null.
func masked(text []byte) []byte {
	text = bytes.Clone(text)
	maskAddresses(text)
	maskCards(text)
	return text
}

// maskAddresses masks what stands around an @, if there is a dot behind it.
func maskAddresses(text []byte) {
	for at := range text {
		if text[at] != '@' {
			continue
		}
		start, end := at, at+1
		for start > 0 && isLocal(text[start-1]) {
			start--
		}
		for end < len(text) && isDomain(text[end]) {
			end++
		}
		// The full stop of a sentence is no part of it.
		for text[end-1] == '.' {
			end--
		}
		if start < at && bytes.IndexByte(text[at+1:end], '.') >= 0 {
			fill(text[start:end])
		}
	}
}

func fill(text []byte) {
	for at := range text {
		text[at] = '*'
	}
}

// A backslash is part of it: of an escape in JSON, such as \n, all is masked or nothing.
func isLocal(b byte) bool {
	return isDomain(b) || bytes.IndexByte([]byte(`_%+'\`), b) >= 0
}

func isDomain(b byte) bool {
	return isDigit(b) || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '.' || b == '-' || b >= 0x80
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// maskCards masks card numbers but for their last four digits.
func maskCards(text []byte) {
	for at := 0; at < len(text); {
		length := 0
		if at == 0 || !isDigit(text[at-1]) {
			length = cardLength(text[at:])
		}
		shown := 0
		for i := at + length - 1; i >= at; i-- {
			if !isDigit(text[i]) {
				continue
			}
			shown++
			if shown > 4 {
				text[i] = '*'
			}
		}
		at += max(length, 1)
	}
}

// cardLength says how many bytes the card number has that the text starts with; 0, if there is none. It
// has 13 to 19 digits, which may be in groups, and passes the check of Luhn. It starts with 2 to 6, as
// those of the large networks do, and times in milliseconds do not.
func cardLength(text []byte) int {
	length := 0
	// Luhn doubles every other digit from the right, and where the right end is turns out later. So
	// there are two sums, one with the even digits from the left doubled, one with the odd ones.
	digits, sums := 0, [2]int{}
	if text[0] < '2' || text[0] > '6' {
		return 0
	}
	for at := range text {
		isDigitAt := func(at int) bool { return at < len(text) && isDigit(text[at]) }
		if !isDigitAt(at) {
			if (text[at] == ' ' || text[at] == '-') && isDigitAt(at+1) {
				continue
			}
			break
		}
		digit := int(text[at] - '0')
		sums[digits%2] += 2 * digit
		if digit > 4 {
			sums[digits%2] -= 9
		}
		sums[(digits+1)%2] += digit
		digits++
		if digits > 19 {
			break
		}
		if digits >= 13 && sums[digits%2]%10 == 0 && !isDigitAt(at+1) {
			length = at + 1
		}
	}
	return length
}
