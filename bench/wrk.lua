-- Sends each request once: wrk … -s wrk.lua URL -- SIGNED TEMPLATE
-- SIGNED holds, for each request and without separators, id, time and signature.
local idSize, timeSize, signatureSize = 20, 10, 44
local signed, a, b, c, d, e

function init(args)
	local template = assert(io.open(args[2], "rb")):read("*a")
	a, b, c, d, e = template:match("^(.-){id}(.-){time}(.-){signature}(.-){id}(.*)$")
	signed = assert(io.open(args[1], "rb"))
	signed:setvbuf("full", 1048576)
end

function request()
	local s = signed:read(idSize + timeSize + signatureSize)
	if not s then
		error("out of signed requests")
	end
	local id = s:sub(1, idSize)
	return a .. id .. b .. s:sub(idSize + 1, idSize + timeSize) .. c .. s:sub(idSize + timeSize + 1) .. d .. id .. e
end

function done(summary, latency, requests)
	io.write(string.format(
		'\n{"Requests":%d,"Duration":%d,"P50":%d,"P99":%d,"Non2xx":%d,"Connect":%d,"Read":%d,"Write":%d,"Timeout":%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
		summary.errors.status, summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
