-- One path, as fast as answers come.

function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %d %d %d\n",
        summary.requests, summary.duration,
        summary.errors.status, summary.errors.connect + summary.errors.read
                               + summary.errors.write + summary.errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
