"""What the tests ask of Python behind uwsgi."""

import hashlib


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("the till is empty")
    if path == "/body":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        text = hashlib.md5(body).hexdigest()
    else:
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_SEVERAL")
        text = "".join(f"{name}={environ.get(name, '-')}\n" for name in names)
    status = "404 Lost" if path == "/lost" else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("X-From", "python")])
    return [text.encode()]
