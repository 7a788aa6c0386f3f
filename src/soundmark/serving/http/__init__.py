"""Requests before and around their answers: errors, checks, limits, parameters, bodies.

In reading order:

    problems         errors as application/problem+json
    guard            checks of every request: host, origin, token; security headers
    headers_timeout  the time for the headers of a request
    gate             the number of requests at once
    counters         metrics for Prometheus
    query            the parameters of a request
    uploads          the body of a request as a temporary file
    json_body        the body of a request as a JSON object
"""
