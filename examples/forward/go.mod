module github.com/surehook/webhook/examples/forward

go 1.26.0

require (
	github.com/stretchr/testify v1.12.1
	github.com/surehook/webhook v0.0.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/surehook/webhook => ../..
