-- POSTs of one body, as fast as answers come: wrk -s post.lua URL -- BODY
--
-- With a number behind the body only so many are POSTed, and wrk ends when the
-- last of them is answered (one thread only): what a connection asks for
-- meanwhile is a page that costs nothing.

local answered, sent = 0, -1             -- wrk asks once to look at it only
local wanted, post, idle

function init(args)
    wanted = tonumber(args[2])
    post = wrk.format("POST", wrk.path, { ["Content-Type"] = "application/json" }, args[1])
    idle = wrk.format("GET", "/idle")

    if wanted then
        response = count
    end
end

function request()
    if wanted and sent >= wanted then
        return idle
    end

    sent = sent + 1
    return post
end

function count(status)
    if status == 204 then
        return
    end

    answered = answered + 1

    if answered >= wanted then
        wrk.thread:stop()
    end
end

function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %d %d %d\n",
        summary.requests, summary.duration,
        summary.errors.status, summary.errors.connect + summary.errors.read
                               + summary.errors.write + summary.errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
