module github.com/tidegate/tidegate/examples/enrich

go 1.24

require github.com/tidegate/tidegate/sdk-go v0.1.0

replace github.com/tidegate/tidegate/sdk-go => ../../../sdk-go
