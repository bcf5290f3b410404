package main

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/surehook/webhook"
)

// function is the same check where there is no net/http: a serverless function, which
// is called with the request in a JSON object. It verifies and stores; the process
// that serves runs the handlers.
type function struct {
	verifier webhook.Verifier
	inbox    *webhook.Inbox
}

// invocation is what the function is called with, in version 2.0 of
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
type invocation struct {
	Headers         map[string]string `json:"headers"` // in lower case: Verify does not mind
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

// response is what it returns.
type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
}

// receive is the function. It answers 200 when the event is durable, and not before.
func (f function) receive(ctx context.Context, in invocation) response {
	r, err := in.request()
	if err != nil {
		return response{StatusCode: http.StatusBadRequest, Body: "malformed request\n"}
	}
	events, err := f.verifier.Verify(ctx, r)
	if err != nil {
		return refused(ctx, err)
	}
	for i := range events {
		events[i].Source, events[i].To = source, []string{tracking}
	}
	if _, err := f.inbox.Add(ctx, events...); err != nil {
		slog.ErrorContext(ctx, "webhook not stored", "source", source, "error", err)
		return response{
			StatusCode: http.StatusServiceUnavailable,
			Headers:    map[string]string{"Retry-After": "10"}, Body: "try again later\n",
		}
	}
	return response{StatusCode: http.StatusOK}
}

// request has the bytes that the sender signed: some platforms encode the body.
func (in invocation) request() (*webhook.Request, error) {
	r := &webhook.Request{Method: in.RequestContext.HTTP.Method, Header: http.Header{}, Body: []byte(in.Body)}
	for name, value := range in.Headers {
		r.Header.Set(name, value)
	}
	var err error
	if in.IsBase64Encoded {
		r.Body, err = base64.StdEncoding.DecodeString(in.Body)
	}
	return r, err
}

// refused is the answer that the middleware would have written, and its log record.
func refused(ctx context.Context, err error) response {
	answer, ok := errors.AsType[*webhook.Answer](err)
	if !ok {
		return response{StatusCode: http.StatusInternalServerError}
	}
	if answer.Err != nil { // else a handshake
		slog.WarnContext(ctx, "webhook rejected", "source", source, "status", answer.Status, "error", answer.Err)
	}
	out := response{StatusCode: answer.Status, Headers: map[string]string{}, Body: string(answer.Body)}
	for name, values := range answer.Header {
		out.Headers[name] = strings.Join(values, ", ")
	}
	return out
}
