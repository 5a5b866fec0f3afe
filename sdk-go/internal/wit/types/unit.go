// Of wit-bindgen-go 0.63.0, under the licence beside this folder (../LICENSE), unchanged.

package wit_types

type Unit struct{}
