"""A mail server that keeps what it gets. Usage: mail_sink.py PORT FILE [CERT KEY USER PASSWORD]

With the port 0 it takes a free one. It says on which it listens.
Each mail is appended to FILE. An address that begins with `nobody` is refused for good, one that begins with `later` for now.
With a certificate it wants STARTTLS, and this login."""
import asyncio
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, file, rest = int(sys.argv[1]), sys.argv[2], sys.argv[3:]


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user here"
        if address.startswith("later"):
            return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        with open(file, "ab") as kept:
            kept.write(b"=== " + ",".join(envelope.rcpt_tos).encode() + b"\n" + envelope.content + b"\n")
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    given = (data.login.decode(), data.password.decode())
    # Not handled: it is the server that says so to the client.
    return AuthResult(success=given == (rest[2], rest[3]), handled=False)


more = {}
if rest:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(rest[0], rest[1])
    more = dict(require_starttls=True, tls_context=context, auth_required=True, authenticator=login)


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), hostname="localhost", **more), "127.0.0.1", port)
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
