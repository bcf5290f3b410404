module github.com/surehook/webhook

go 1.26.0
