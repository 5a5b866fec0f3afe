// Enriching: an order gets its customer, whom another service knows.
//
// What the service answers is remembered for a minute, by this instance and nobody else: each instance,
// here and on other nodes, asks for itself. So an order may get a customer as it was a minute ago, another
// order of the same moment as it is now, and a customer is asked for at most once a minute by each of them.
// What an instance knows goes with it: at a trap or a deadline, with a new revision, after a while without
// calls. It saves requests; that an answer is there is never counted on.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	tidegate "github.com/tidegate/tidegate/sdk-go"
	"github.com/tidegate/tidegate/sdk-go/fetch"
)

const (
	// most customers are remembered. With the longest answer that the manifest allows they take 16 MiB.
	most = 1_000
	// age is how old what is remembered may be.
	age = time.Minute
)

var (
	// api is who is asked, as the manifest says. Read once by each instance.
	api = cmp.Or(os.Getenv("API"), "http://localhost:8080")
	// customers are those that are remembered. An instance has one thread, and no other goroutine.
	customers = newCache[Customer](most, age)
)

// Order is an order, as the shop writes it. What is missing is left to enrich, which says it in our words.
type Order struct {
	ID string `json:"id"`
	// Customer is the customer's id.
	Customer string `json:"customer"`
	// Amount is in cents.
	Amount *uint64 `json:"amount"`
}

// Customer is a customer, as the service knows them. What else it says of them is left out.
type Customer struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	City string `json:"city"`
}

// Enriched is the order with its customer.
type Enriched struct {
	ID       string   `json:"id"`
	Amount   uint64   `json:"amount"`
	Customer Customer `json:"customer"`
}

func init() { tidegate.HandleJSON(enrich) }

func main() {}

// enrich answers an order with its customer. One that is no order, or of nobody, is rejected: it goes to
// the dead letters. After any other trouble with the service the record is tried again.
func enrich(order Order, _ tidegate.Record) (Enriched, error) {
	if order.ID == "" {
		return Enriched{}, tidegate.Reject(errors.New("the order has no id"))
	}
	if order.Amount == nil {
		return Enriched{}, tidegate.Reject(fmt.Errorf("order %s has no amount", order.ID))
	}
	if !isID(order.Customer) {
		return Enriched{}, tidegate.Reject(fmt.Errorf("order %s is of no customer", order.ID))
	}
	customer, err := known(order.Customer)
	return Enriched{ID: order.ID, Amount: *order.Amount, Customer: customer}, err
}

// isID says whether it is an id. What else it might be does not get into a URL.
func isID(text string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return text != "" && strings.Trim(text, allowed) == ""
}

// known returns the customer as remembered, or else as the service says now. An answer is as old as its
// question.
func known(id string) (Customer, error) {
	now := time.Now()
	if customer, ok := customers.get(id, now); ok {
		return customer, nil
	}
	customer, err := ask(id)
	if err == nil {
		customers.put(id, customer, now)
	}
	return customer, err
}

func ask(id string) (customer Customer, err error) {
	response, err := fetch.Get(context.Background(), api+"/customers/"+id)
	if err != nil {
		return customer, noAnswer(id, err)
	}
	defer response.Body.Close()
	switch response.Status {
	case 200:
	case 404:
		return customer, tidegate.Reject(fmt.Errorf("customer %s: nobody knows them", id))
	default:
		return customer, fmt.Errorf("customer %s: the answer has status %d", id, response.Status)
	}
	body, err := response.Bytes()
	if err != nil {
		return customer, noAnswer(id, err)
	}
	if json.Unmarshal(body, &customer) != nil || !isComplete(customer, id) {
		return Customer{}, fmt.Errorf("customer %s: the answer is not this customer", id)
	}
	return customer, nil
}

// isComplete says whether it is the customer that was asked for, with all that an order is to get. To Go
// any object is a customer, and null too.
func isComplete(customer Customer, id string) bool {
	return customer.ID == id && customer.Name != "" && customer.City != ""
}

// noAnswer is what the dead letter would say. The log says exactly what happened.
func noAnswer(id string, err error) error {
	fmt.Fprintf(os.Stderr, "customer %s: %v\n", id, err)
	var late interface{ Timeout() bool }
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("customer %s: no answer in time", id)
	}
	return fmt.Errorf("customer %s: no answer", id)
}
