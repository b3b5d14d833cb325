"""A receiver of webhooks that verifies them with the reference library of Standard Webhooks.

Says where it answers, then a line of JSON for each message: whether it was verified, and what was in it."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(sys.argv[1])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            said = {"verified": True, "id": self.headers["webhook-id"], "message": webhook.verify(body, dict(self.headers))}
        except WebhookVerificationError as error:
            said = {"verified": False, "why": str(error)}
        print(json.dumps(said), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(f"127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
