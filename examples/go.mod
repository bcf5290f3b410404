module github.com/surehook/webhook/examples

go 1.26.0

require (
	github.com/surehook/webhook v0.0.0
	github.com/surehook/webhook/store/sqlite v0.0.0
)

replace (
	github.com/surehook/webhook => ..
	github.com/surehook/webhook/store/sqlite => ../store/sqlite
)
