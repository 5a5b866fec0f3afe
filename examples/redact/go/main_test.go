package main

import "testing"

func check(t *testing.T, text, expected string) {
	t.Helper()
	if got := string(masked([]byte(text))); got != expected {
		t.Errorf("%s\nbecame   %s\nexpected %s", text, got, expected)
	}
}

func TestAddressesAreMaskedWhole(t *testing.T) {
	check(t, "Ask joe.doe+x@mail.example.com.", "Ask **************************.")
	check(t, "<a@b.c>,<d@e.f>", "<*****>,<*****>")
	check(t, "jörg@exämple.de", "*****************")
	check(t, `a:\njoe@example.com\n`, `a:*****************\n`)
	check(t, "@home, me@home, me@home., @b.c", "@home, me@home, me@home., @b.c")
}

func TestCardsAreMaskedButForTheLastFourDigits(t *testing.T) {
	check(t, "4111111111111111", "************1111")
	check(t, "on 12 4111 1111 1111 1111, thanks", "on 12 **** **** **** 1111, thanks")
	check(t, "378282246310005/5555-5555-5555-4444", "***********0005/****-****-****-4444")
	check(t, "4111111111111112 1700000000000 41111111111111111111", "4111111111111112 1700000000000 41111111111111111111")
}
