"""A receiver of requests that keeps what it gets. Usage: webhook_sink.py PORT FILE

The body of each request is appended to FILE, in one line."""
import http.server
import json
import sys


class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[2], "a", encoding="utf-8") as kept:
            kept.write(json.dumps(body) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
