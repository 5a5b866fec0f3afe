// Typed JSON: an order comes in, the order and what it costs in all goes out.
//
// Amounts are in the smallest unit of the currency (cents), as whole numbers, because money does
// not go into floating point.
package main

import (
	"errors"
	"fmt"

	tidegate "github.com/tidegate/tidegate/sdk-go"
)

// Order is an order, as the shop writes it. What is missing is left to price, which says it in our
// words.
type Order struct {
	// ID identifies it.
	ID string `json:"id"`
	// Amount is the price of one piece, in the smallest unit of the currency.
	Amount uint64 `json:"amount"`
	// Quantity says how many pieces; one, if not said.
	Quantity *uint64 `json:"quantity,omitempty"`
	// Currency is that of all amounts.
	Currency string `json:"currency"`
}

// Priced is the order, and what it costs.
type Priced struct {
	// Order is as it came.
	Order
	// Tax is the value added tax contained in the total.
	Tax uint64 `json:"tax"`
	// Total is what is to be paid.
	Total uint64 `json:"total"`
}

// Beyond the limit an amount or a quantity is a mistake. It also keeps the products within 64 bits.
const limit = 100_000_000

func init() { tidegate.HandleJSON(price) }

func main() {}

// price prices an order. An order of nothing is dropped. One that cannot be right is rejected: it goes to
// the dead letters with this reason. What is no such JSON never gets here and goes there too, with the
// place of the mistake.
func price(order Order, _ tidegate.Record) (*Priced, error) {
	if order.ID == "" {
		return nil, tidegate.Reject(errors.New("the order has no id"))
	}
	if order.Amount == 0 {
		return nil, tidegate.Reject(fmt.Errorf("order %s has no amount", order.ID))
	}
	quantity := uint64(1)
	if order.Quantity != nil {
		quantity = *order.Quantity
	}
	if quantity == 0 {
		return nil, nil
	}
	if order.Amount > limit || quantity > limit {
		return nil, tidegate.Reject(fmt.Errorf("order %s is too large", order.ID))
	}
	percent, err := taxPercent(order)
	if err != nil {
		return nil, err
	}
	net := order.Amount * quantity
	tax := net * percent / 100
	return &Priced{Order: order, Tax: tax, Total: net + tax}, nil
}

func taxPercent(order Order) (uint64, error) {
	switch order.Currency {
	case "EUR":
		return 19, nil
	case "GBP":
		return 20, nil
	case "USD":
		return 0, nil
	case "":
		return 0, tidegate.Reject(fmt.Errorf("order %s has no currency", order.ID))
	default:
		return 0, tidegate.Reject(fmt.Errorf("order %s is in %s, which the shop does not take", order.ID, order.Currency))
	}
}
