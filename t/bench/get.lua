-- GETs of the paths in a file, one after the other: wrk -s get.lua URL -- FILE

local requests, next = {}, 0

function init(args)
    for path in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", path)
    end
end

function request()
    next = next % #requests + 1
    return requests[next]
end

function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %d %d %d\n",
        summary.requests, summary.duration,
        summary.errors.status, summary.errors.connect + summary.errors.read
                               + summary.errors.write + summary.errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
